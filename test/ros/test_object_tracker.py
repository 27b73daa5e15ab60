import math

import pytest

from pad_inspection.config import DecisionConfig
from pad_inspection.datatypes import Reason, Verdict
from pad_inspection.decision import ViewResult
from pad_inspection.ros.node_configs import RejectNodeConfig
from pad_inspection.ros.object_tracker import ObjectTracker

NAN = float('nan')
NOWHERE = (NAN, NAN, NAN)


class Clock:
    now = 50.0

    def __call__(self):
        return self.now


def make(**options):
    decision = DecisionConfig(**options.pop('decision', {}))
    clock = Clock()
    config = RejectNodeConfig(cameras=('a', 'b'), **options)
    return ObjectTracker(config, decision, clock), clock


def view(camera='a', score=1.0, verdict=None, identity=''):
    if verdict == Verdict.UNDETERMINED:
        return ViewResult(verdict, Reason.NOT_LOCALIZED, NAN, NAN, identity, camera)
    if score >= 2.0:
        return ViewResult(Verdict.REJECT, Reason.ANOMALY, score, 2.0, identity, camera)
    return ViewResult(Verdict.PASS, Reason.NONE, score, 2.0, identity, camera)


def test_decided_when_all_views_of_the_trigger_are_there():
    tracker, _ = make()
    assert tracker.on_trigger('p', 5, [], 0, (1.0, 0.0, 0.0)) == []
    assert tracker.on_result('p', 5, view('a', identity='i1'), 1.0) == []
    (decision,) = tracker.on_result('p', 5, view('b', identity='i2'), 1.0)
    assert decision.verdict.verdict == Verdict.PASS and not decision.verdict.reject
    assert decision.verdict.score == pytest.approx(0.5)
    assert (decision.verdict.num_judged, decision.verdict.num_views) == (2, 2)
    assert decision.inspection_ids == ('i1', 'i2')
    assert decision.position == (1.0, 0.0, 0.0) and decision.stamp_ns == 5
    assert len(tracker) == 0


def test_results_may_come_before_the_trigger():
    tracker, _ = make()
    assert tracker.on_result('p', 5, view('a'), 1.0) == []
    (decision,) = tracker.on_trigger('p', 5, ['a'], 0, NOWHERE)
    assert decision.verdict.verdict == Verdict.PASS


def test_one_anomalous_view_rejects():
    tracker, _ = make()
    tracker.on_trigger('p', 5, [], 0, NOWHERE)
    tracker.on_result('p', 5, view('a', 6.0), 1.0)
    (decision,) = tracker.on_result('p', 5, view('b'), 1.0)
    assert decision.verdict.reject and decision.verdict.reason == Reason.ANOMALY
    assert decision.verdict.score == pytest.approx(3.0)


def test_views_of_several_exposures_make_one_piece():
    tracker, _ = make()
    for stamp in (1, 2, 3):
        tracker.on_trigger('p', stamp, ['a'], 3, NOWHERE)
    assert tracker.on_result('p', 1, view('a'), 1.0) == []
    assert tracker.on_result('p', 2, view('a'), 1.0) == []
    (decision,) = tracker.on_result('p', 3, view('a'), 1.0)
    assert decision.verdict.num_views == 3


def test_missing_view_rejects_when_the_time_is_over_and_names_the_camera():
    tracker, clock = make(object_timeout=4.0, decision={'reject_undetermined': False})
    tracker.on_trigger('p', 5, [], 0, NOWHERE)
    tracker.on_result('p', 5, view('b'), 1.0)
    clock.now += 3.9
    assert tracker.on_time() == []
    clock.now += 0.1
    (decision,) = tracker.on_time()
    assert decision.verdict.reject and decision.verdict.verdict == Verdict.UNDETERMINED
    assert decision.verdict.reason == Reason.DEADLINE_MISSED
    assert '1 of 2 views' in decision.verdict.message and 'missing: a' in decision.verdict.message
    assert tracker.on_time() == []


def test_an_anomaly_that_was_seen_stays_the_reason_when_views_are_missing():
    tracker, clock = make()
    tracker.on_trigger('p', 5, [], 0, NOWHERE)
    tracker.on_result('p', 5, view('b', 9.0), 1.0)
    clock.now += 10
    assert tracker.on_time()[0].verdict.reason == Reason.ANOMALY


def test_duplicates_and_late_results_give_no_second_decision():
    tracker, clock = make(object_timeout=4.0, forget_after=600.0)
    tracker.on_trigger('p', 5, [], 0, NOWHERE)
    assert tracker.on_result('p', 5, view('a'), 1.0) == []
    assert tracker.on_result('p', 5, view('a'), 1.0) == []
    assert len(tracker.on_result('p', 5, view('b'), 1.0)) == 1
    assert tracker.on_result('p', 5, view('b', 9.0), 1.0) == []
    assert tracker.on_trigger('p', 5, [], 0, NOWHERE) == []
    clock.now += 5
    assert tracker.on_time() == []
    assert tracker.counts['late or repeated results'] == 1
    clock.now += 600
    tracker.on_trigger('p', 6, ['a'], 0, NOWHERE)
    assert len(tracker.on_result('p', 6, view('a'), 1.0)) == 1


def test_repeated_trigger_counts_once():
    tracker, _ = make()
    tracker.on_trigger('p', 5, ['a'], 0, NOWHERE)
    tracker.on_trigger('p', 5, ['a'], 0, NOWHERE)
    assert len(tracker.on_result('p', 5, view('a'), 1.0)) == 1


def test_of_two_results_on_one_image_the_judged_and_worse_one_counts():
    tracker, _ = make()
    tracker.on_trigger('p', 5, [], 0, NOWHERE)
    tracker.on_result('p', 5, view('a', verdict=Verdict.UNDETERMINED), NAN)
    tracker.on_result('p', 5, view('a', 8.0), 1.0)
    tracker.on_result('p', 5, view('a', 1.0), 1.0)
    (decision,) = tracker.on_result('p', 5, view('b'), 1.0)
    assert decision.verdict.score == pytest.approx(4.0)


def test_without_trigger_and_expected_views_a_piece_is_rejected():
    tracker, clock = make(object_timeout=1.0)
    assert tracker.on_result('stamp-5', 5, view('a'), 1.0) == []
    clock.now += 1
    (decision,) = tracker.on_time()
    assert decision.verdict.reject and 'no trigger' in decision.verdict.message
    assert math.isnan(decision.position[0])


def test_without_trigger_the_expected_number_of_views_decides():
    tracker, _ = make(expected_views=2)
    tracker.on_result('stamp-5', 5, view('a'), 1.0)
    (decision,) = tracker.on_result('stamp-5', 5, view('b'), 1.0)
    assert not decision.verdict.reject


def test_strictest_threshold_of_the_results_holds():
    tracker, _ = make()
    tracker.on_trigger('p', 5, [], 0, NOWHERE)
    tracker.on_result('p', 5, view('a', 1.0), 0.4)
    (decision,) = tracker.on_result('p', 5, view('b', 1.0), 2.0)
    assert decision.verdict.verdict == Verdict.REJECT and decision.threshold == 0.4


def test_shutdown_rejects_what_is_open():
    tracker, _ = make()
    tracker.on_trigger('p', 5, [], 0, NOWHERE)
    (decision,) = tracker.on_shutdown()
    assert decision.verdict.reject and len(tracker) == 0


GATE = {'belt_speed': 0.5, 'gate_position': 2.0, 'gate_latency': 0.2, 'object_timeout': 60.0}


def test_the_signal_is_out_in_time_for_the_gate():
    tracker, clock = make(**GATE)
    # at 1 m: 2 s to the gate, 0.2 s for the gate, 0.5 s are gone
    tracker.on_trigger('p', 5, [], 0, (1.0, 0.0, 0.0), age=0.5)
    assert tracker.seconds_to_next() == pytest.approx(1.3)
    clock.now += 1.29
    assert tracker.on_time() == []
    clock.now += 0.02
    (decision,) = tracker.on_time()
    assert decision.verdict.reject and decision.verdict.reason == Reason.DEADLINE_MISSED
    assert decision.seconds_late == pytest.approx(0.01) and decision.missing == ('a', 'b')


def test_where_nobody_says_where_the_piece_is_the_configured_place_counts():
    tracker, _ = make(trigger_position=1.5, trigger_delay=0.1, **GATE)
    tracker.on_trigger('p', 5, [], 0, NOWHERE)
    assert tracker.seconds_to_next() == pytest.approx(1.0 - 0.2 - 0.1)
    tracker, _ = make(**GATE)
    tracker.on_result('p', 5, view('a'), 1.0, age=1.0)
    assert tracker.seconds_to_next() == pytest.approx(4.0 - 0.2 - 1.0)


def test_of_several_exposures_the_first_arrival_at_the_gate_counts():
    tracker, _ = make(**GATE)
    tracker.on_trigger('p', 1, ['a'], 2, (1.0, 0.0, 0.0))
    tracker.on_trigger('p', 2, ['a'], 2, (0.0, 0.0, 0.0))
    assert tracker.seconds_to_next() == pytest.approx(1.8)


def test_a_pass_that_comes_after_the_deadline_is_a_reject():
    tracker, clock = make(**GATE)
    tracker.on_trigger('p', 5, ['a'], 0, (1.0, 0.0, 0.0))
    clock.now += 2
    (decision,) = tracker.on_result('p', 5, view('a'), 1.0)
    assert decision.verdict.reject and decision.verdict.reason == Reason.DEADLINE_MISSED
    # the trigger says that the piece is at the gate already, though all views are there
    tracker.on_result('q', 6, view('a'), 1.0)
    (decision,) = tracker.on_trigger('q', 6, ['a'], 0, (2.0, 0.0, 0.0))
    assert decision.verdict.reject and 'its time is over' in decision.verdict.message


def test_a_gate_that_can_never_act_in_time_is_refused():
    with pytest.raises(ValueError, match='gate_latency 5 s'):
        make(belt_speed=0.5, gate_position=2.0, gate_latency=5.0)


def test_pieces_of_a_dead_inspection_node_are_rejected_after_the_grace():
    tracker, clock = make(object_timeout=60.0, inspection_grace=1.0)
    lost = {'b': clock.now - 10}
    tracker.on_trigger('needs b', 5, ['a', 'b'], 0, NOWHERE)
    tracker.on_trigger('only a', 6, ['a'], 0, NOWHERE)
    clock.now += 0.9
    assert tracker.on_time(lost) == []
    clock.now += 0.2
    (decision,) = tracker.on_time(lost)
    assert decision.object_id == 'needs b' and decision.verdict.reason == Reason.NODE_LOST
    assert 'no inspection node of b is alive' in decision.verdict.message
    # the results were there before it died
    tracker.on_trigger('has b', 7, ['a', 'b'], 0, NOWHERE)
    tracker.on_result('has b', 7, view('b'), 1.0)
    clock.now += 5
    assert tracker.on_time(lost) == []


def test_a_new_tracker_goes_on_where_another_ended():
    kept = {}
    config = RejectNodeConfig(cameras=('a', 'b'), object_timeout=10.0)
    clock = Clock()
    first = ObjectTracker(
        config, DecisionConfig(), clock, on_change=lambda p: kept.update({p.object_id: p})
    )
    for name in ('judged later', 'late'):
        first.on_trigger(name, 5, [], 0, NOWHERE)
    clock.now += 5
    second = ObjectTracker(config, DecisionConfig(), clock)
    second.restore([*kept.values()], [('done', 3.0)])
    assert second.is_decided('done') and second.on_result('done', 4, view('a'), 1.0) == []
    second.on_result('judged later', 5, view('a'), 1.0)
    (decision,) = second.on_result('judged later', 5, view('b'), 1.0)
    assert not decision.verdict.reject and decision.restored
    clock.now += 5
    (decision,) = second.on_time()
    assert decision.verdict.reject and decision.verdict.reason == Reason.NODE_LOST
    assert second.counts['restored'] == 2
