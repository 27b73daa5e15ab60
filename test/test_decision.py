import math
from dataclasses import replace

import numpy as np
import pytest

from pad_inspection.config import DecisionConfig
from pad_inspection.datatypes import Reason, Verdict
from pad_inspection.decision import (
    ObjectVerdict,
    StopRule,
    ViewResult,
    decide_object,
    decide_view,
    object_score,
    seconds_to_decide,
)

CONFIG = DecisionConfig()
NAN = float('nan')


def judged(score, threshold=2.0):
    verdict = Verdict.REJECT if score >= threshold else Verdict.PASS
    reason = Reason.ANOMALY if score >= threshold else Reason.NONE
    return ViewResult(verdict, reason, score, threshold)


def failed(reason):
    return ViewResult(Verdict.UNDETERMINED, reason, NAN, NAN)


@pytest.mark.parametrize(
    ('score', 'threshold', 'fraction', 'verdict', 'reason'),
    [
        (1.0, 2.0, 1.0, Verdict.PASS, Reason.NONE),
        (2.0, 2.0, 1.0, Verdict.REJECT, Reason.ANOMALY),
        (2.5, 2.0, 0.1, Verdict.REJECT, Reason.ANOMALY),
        (1.0, 2.0, 0.1, Verdict.UNDETERMINED, Reason.VIEW_NOT_COVERED),
        (NAN, 2.0, 1.0, Verdict.UNDETERMINED, Reason.INTERNAL_ERROR),
        (1.0, NAN, 1.0, Verdict.UNDETERMINED, Reason.INTERNAL_ERROR),
        (1.0, 0.0, 1.0, Verdict.UNDETERMINED, Reason.INTERNAL_ERROR),
    ],
)
def test_decide_view(score, threshold, fraction, verdict, reason):
    assert decide_view(score, threshold, fraction, CONFIG)[:2] == (verdict, reason)


def test_one_anomalous_view_rejects_the_object():
    result = decide_object([judged(0.5), judged(3.0), failed(Reason.NOT_LOCALIZED)], CONFIG)
    assert (result.verdict, result.reason, result.reject) == (Verdict.REJECT, Reason.ANOMALY, True)
    assert result.score == pytest.approx(1.5)
    assert (result.num_judged, result.num_views) == (2, 3)


def test_scores_of_views_with_other_thresholds_compare():
    result = decide_object([judged(9.0, 10.0), judged(1.0, 2.0)], CONFIG)
    assert result.verdict == Verdict.PASS
    assert result.score == pytest.approx(0.9)


def test_several_views_say_more_than_one():
    good = [0.3] * 6
    assert object_score([0.9, 0.9, 0.9, *good], CONFIG) == pytest.approx(0.9)
    assert object_score([1.2, 0.3, 0.3, *good], CONFIG) == pytest.approx(0.6 * 1.2)
    assert object_score([9.0, 0.3, 0.3, *good], CONFIG) == pytest.approx(0.6 * 9.0)
    assert object_score([0.4, 0.8], CONFIG) == pytest.approx(0.8)  # few views: the worst one
    assert math.isnan(object_score([], CONFIG))


def test_views_are_joined_on_the_surface():
    quiet, spot = np.array([0.2, NAN, 0.1]), np.array([0.3, 0.2, 1.4])
    views = [
        replace(judged(1.0), surface=surface) for surface in (quiet, spot, spot, spot, spot, spot)
    ]
    # no view is anomalous, but several say the same of one place
    result = decide_object(views, CONFIG)
    assert (result.verdict, result.score) == (Verdict.REJECT, pytest.approx(1.4))
    assert '0 of 6 judged views anomalous, together they show a defect' in result.message
    # a view that was not judged says nothing
    views[1:] = [replace(failed(Reason.NOT_LOCALIZED), surface=spot)] * 5
    assert decide_object(views, CONFIG).score == pytest.approx(0.5)
    # what views score on their own is never lowered
    assert object_score([0.9], CONFIG, [quiet]) == pytest.approx(0.9)


def test_joined_maps_decide_as_well():
    views = [judged(1.0), *[replace(judged(1.0), piece_score=0.9, piece_views=2)] * 2]
    last = replace(judged(1.0), piece_score=1.1, piece_views=4)
    assert decide_object(views, CONFIG, 0.8).score == pytest.approx(0.9 * 0.8)
    result = decide_object([*views, last], CONFIG, 0.8)
    assert (result.verdict, result.score) == (Verdict.REJECT, pytest.approx(1.1 * 0.8))
    assert '0 of 4 judged views anomalous, their maps, joined, show a defect' in result.message
    # what was joined of more views counts, also where it is less
    calm = replace(last, piece_score=0.1)
    earlier = [replace(v, piece_score=3.0) for v in views[1:]]
    assert decide_object([*earlier, calm], CONFIG).score == pytest.approx(0.5)
    # the views' own score is never lowered, and a view that was not judged says nothing
    assert decide_object([judged(4.0), calm], CONFIG).score == pytest.approx(2.0)
    lost = replace(failed(Reason.NOT_LOCALIZED), piece_score=9.0, piece_views=5)
    one_is_enough = DecisionConfig(min_views=1)
    assert decide_object([judged(1.0), lost], one_is_enough).verdict == Verdict.PASS
    assert decide_object([lost], CONFIG).verdict == Verdict.UNDETERMINED


def test_object_threshold_moves_the_limit():
    views = [judged(3.0), judged(1.0), judged(1.0)]
    assert decide_object(views, CONFIG, object_threshold=2.0).verdict == Verdict.PASS
    assert decide_object([judged(1.0)], CONFIG, object_threshold=0.4).verdict == Verdict.REJECT


def test_the_message_tells_of_single_anomalous_views():
    passed = decide_object([judged(2.4), *[judged(0.6)] * 8], CONFIG, object_threshold=0.9)
    assert passed.verdict == Verdict.PASS
    assert passed.message == '9 of 9 views judged, 1 anomalous, score 0.72 < limit 0.90'
    rejected = decide_object([*[judged(1.9)] * 3, *[judged(0.6)] * 6], CONFIG, 0.9)
    assert rejected.message == '0 of 9 judged views anomalous, score 0.95 >= limit 0.90'
    assert 'none anomalous' in decide_object([judged(0.6)], CONFIG).message


def test_no_view_is_never_a_pass():
    result = decide_object([], CONFIG)
    assert (result.verdict, result.reject) == (Verdict.UNDETERMINED, True)
    assert math.isnan(result.score)


def test_unjudged_views_give_their_most_frequent_reason():
    views = [
        failed(Reason.NOT_LOCALIZED),
        failed(Reason.NOT_LOCALIZED),
        failed(Reason.FRAME_DROPPED),
    ]
    result = decide_object(views, CONFIG)
    assert (result.verdict, result.reason) == (Verdict.UNDETERMINED, Reason.NOT_LOCALIZED)
    assert result.reject


@pytest.mark.parametrize(
    'reason',
    [
        Reason.FRAME_DROPPED,
        Reason.DEADLINE_MISSED,
        Reason.IMAGE_INVALID,
        Reason.INTERNAL_ERROR,
        Reason.MODEL_NOT_LOADED,
        Reason.CONFLICT,
    ],
)
def test_a_view_that_nobody_looked_at_is_never_made_up_for(reason):
    everything = np.zeros(4, np.float32)
    views = [replace(judged(0.1), surface=everything, visible_places=4)] * 5
    lax = DecisionConfig(min_views=1, min_coverage=0.0, reject_undetermined=False)
    result = decide_object([*views, failed(reason)], lax)
    assert (result.verdict, result.reason, result.reject) == (Verdict.UNDETERMINED, reason, True)
    assert f'5 of 6 views judged, 1 never looked at ({reason.name})' in result.message


def test_what_the_others_saw_makes_up_for_a_view_that_was_not_localised():
    left, right = np.array([0.1, 0.2, NAN, NAN]), np.array([NAN, 0.1, 0.1, NAN])
    lost = replace(failed(Reason.NOT_LOCALIZED), camera_name='top')
    views = [
        replace(judged(1.0), surface=left, visible_places=3),
        replace(judged(1.0), surface=right, visible_places=3),
        lost,
    ]
    result = decide_object(views, CONFIG)
    assert (result.verdict, result.coverage) == (Verdict.PASS, 1.0)
    assert result.message == '2 of 3 views judged, 100% of the surface seen, none anomalous'
    # a camera that the integrator requires is never made up for
    result = decide_object(views, CONFIG, required_cameras=['top'])
    assert result.verdict == Verdict.UNDETERMINED and 'that of top' in result.message

    more = [replace(view, visible_places=4) for view in views]
    result = decide_object(more, CONFIG)
    assert (result.verdict, result.reason) == (Verdict.UNDETERMINED, Reason.NOT_LOCALIZED)
    assert 'saw 75% of the surface, wanted all views or 95%' in result.message and result.reject
    # a written rule of the integrator
    assert decide_object(more, DecisionConfig(min_coverage=0.7)).verdict == Verdict.PASS
    assert decide_object(more, DecisionConfig(min_views=2)).verdict == Verdict.PASS
    assert decide_object(more, DecisionConfig(min_views=3)).verdict == Verdict.UNDETERMINED
    # unknown coverage, or views of two models, cover nothing
    other = replace(judged(1.0), surface=np.zeros(9), visible_places=9)
    for unknown in ([judged(1.0), lost], [views[0], other, lost]):
        assert decide_object(unknown, CONFIG).verdict == Verdict.UNDETERMINED


def test_a_view_of_part_of_the_object_counts_for_what_it_shows():
    def part(surface, score=1.0):
        half = replace(judged(score), verdict=Verdict.UNDETERMINED, visible_places=4)
        return replace(half, reason=Reason.VIEW_NOT_COVERED, surface=np.array(surface))

    left, right = part([0.1, 0.1, NAN, NAN]), part([NAN, NAN, 0.1, 0.1])
    assert decide_object([left, right], CONFIG).verdict == Verdict.PASS
    result = decide_object([left, left, judged(1.0)], CONFIG)
    assert (result.verdict, result.reason) == (Verdict.UNDETERMINED, Reason.VIEW_NOT_COVERED)
    # what part of it shows is a defect all the same
    spot = part([NAN, NAN, 0.1, 1.5])
    views = [replace(judged(1.0), surface=np.array([0.1, 0.1, 0.1, 1.4])), spot]
    assert decide_object(views, CONFIG).verdict == Verdict.REJECT


def test_views_that_reject_are_not_outvoted():
    bad, good = judged(2.2), judged(0.4)
    result = decide_object([bad, bad, good], CONFIG, object_threshold=1.3)
    assert (result.verdict, result.reason) == (Verdict.REJECT, Reason.ANOMALY)
    assert '2 of 3 judged views anomalous, that is enough' in result.message
    assert decide_object([bad], CONFIG, object_threshold=1.3).verdict == Verdict.REJECT
    # a reflection in one view of three
    assert decide_object([bad, good, good], CONFIG, object_threshold=1.3).verdict == Verdict.PASS
    # one that is clearly worse
    assert decide_object([judged(5.0), good, good], CONFIG, 1.3).verdict == Verdict.REJECT
    chosen = DecisionConfig(reject_share=0.0)
    assert decide_object([bad, bad, good], chosen, object_threshold=1.3).verdict == Verdict.PASS


def test_too_few_judged_views_do_not_pass():
    config = DecisionConfig(min_views=2)
    assert decide_object([judged(0.1), failed(Reason.NOT_LOCALIZED)], config).verdict == (
        Verdict.UNDETERMINED
    )
    assert decide_object([judged(0.1), judged(0.2)], config).verdict == Verdict.PASS


def test_undetermined_can_be_let_through_only_on_request():
    config = DecisionConfig(reject_undetermined=False)
    assert decide_object([], config).reject is False


def test_a_view_with_a_bad_threshold_counts_as_not_judged():
    broken = ViewResult(Verdict.PASS, Reason.NONE, 1.0, 0.0)
    assert decide_object([broken], CONFIG).verdict == Verdict.UNDETERMINED


@pytest.mark.parametrize('threshold', [0.0, -1.0, NAN, float('inf')])
def test_a_bad_object_threshold_is_refused(threshold):
    with pytest.raises(ValueError, match='object_threshold'):
        decide_object([judged(1.0)], CONFIG, threshold)


def test_time_that_is_left_until_the_gate():
    # 1.5 m at 0.5 m/s take 3 s; the gate needs 0.2 s, and 0.3 s are gone
    left = seconds_to_decide(0.5, 0.3, belt_speed=0.5, gate_position=2.0, gate_latency=0.2)
    assert left == pytest.approx(2.5)
    assert seconds_to_decide(2.5, 0, belt_speed=0.5, gate_position=2.0, gate_latency=0) < 0


def outcome(verdict, reject=True):
    return ObjectVerdict(verdict, Reason.NONE, 1.0, '', 1, 1, reject)


def test_rejects_in_a_row_ask_for_a_stop_until_reset():
    rule = StopRule(max_rejects=3)
    good, bad = outcome(Verdict.PASS, False), outcome(Verdict.REJECT)
    assert [rule.update(v) for v in (bad, bad, good, bad, bad)] == [False] * 5
    assert rule.update(bad) and rule.cause == 'rejects' and '3 pieces' in rule.message
    assert not rule.update(bad) and not rule.update(good) and rule.cause
    rule.reset()
    assert not rule.cause and [rule.update(bad) for _ in range(3)] == [False, False, True]


def test_undetermined_in_a_row_ask_for_a_stop_even_when_they_pass():
    rule = StopRule(max_undetermined=2)
    unclear = outcome(Verdict.UNDETERMINED, False)
    assert [rule.update(v) for v in (unclear, outcome(Verdict.REJECT), unclear)] == [False] * 3
    assert rule.update(unclear) and rule.cause == 'undetermined'
    assert not any(StopRule().update(unclear) for _ in range(100))
