import math

import pytest

from pad_inspection.config import DecisionConfig
from pad_inspection.datatypes import Reason, Verdict
from pad_inspection.decision import ViewResult
from pad_inspection.ros.node_configs import RejectNodeConfig
from pad_inspection.ros.object_tracker import ObjectTracker
from pad_inspection.ros.tracked_pieces import Decided

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
    second.restore([*kept.values()], {'done': Decided(clock.now - 3.0, 4, True)})
    assert second.is_decided('done', 4) and second.on_result('done', 4, view('a'), 1.0) == []
    second.on_result('judged later', 5, view('a'), 1.0)
    (decision,) = second.on_result('judged later', 5, view('b'), 1.0)
    assert not decision.verdict.reject and decision.restored
    clock.now += 5
    (decision,) = second.on_time()
    assert decision.verdict.reject and decision.verdict.reason == Reason.NODE_LOST
    assert second.counts['restored'] == 2


def test_each_camera_must_give_its_images():
    tracker, clock = make(object_timeout=4.0)
    # a free-running camera gives two images of one exposure: they are not those of the other
    tracker.on_trigger('p', 5, [], 0, NOWHERE)
    assert tracker.on_result('p', 4, view('a'), 1.0) == []
    assert tracker.on_result('p', 6, view('a'), 1.0) == []
    (decision,) = tracker.on_result('p', 5, view('b', 6.0), 1.0)
    assert decision.verdict.verdict == Verdict.REJECT
    tracker.on_trigger('q', 25, [], 0, NOWHERE)
    for stamp in (24, 25, 26):
        assert tracker.on_result('q', stamp, view('a'), 1.0) == []
    clock.now += 4
    (decision,) = tracker.on_time()
    assert decision.verdict.reject and decision.missing == ('b',)
    # of 2 cameras that give 4 images each gives 2, where there is no trigger
    tracker, _ = make(expected_views=4)
    for stamp, camera in ((1, 'a'), (2, 'a'), (3, 'a'), (1, 'b')):
        assert tracker.on_result('r', stamp, view(camera), 1.0) == []
    assert len(tracker.on_result('r', 2, view('b'), 1.0)) == 1


def test_along_a_belt_results_tell_how_many_images_their_camera_takes():
    tracker, clock = make(object_timeout=9.0)
    told = {'expected_views': 2}
    tracker.on_trigger('p', 5, [], 0, NOWHERE)
    for stamp in (10, 20):
        assert tracker.on_result('p', stamp, view('a'), 1.0, **told) == []
    assert tracker.on_result('p', 30, view('b'), 1.0, **told) == []
    (decision,) = tracker.on_result('p', 40, view('b', 9.0), 1.0, **told)
    assert decision.verdict.verdict == Verdict.REJECT and decision.verdict.num_views == 4
    tracker.on_trigger('only a', 50, ['a'], 0, NOWHERE)
    assert tracker.on_result('only a', 60, view('a'), 1.0, **told) == []
    clock.now += 9
    (decision,) = tracker.on_time()
    assert '1 of 2 views came within 9 s, missing: a' in decision.verdict.message


def test_a_required_camera_is_not_made_up_for():
    tracker, _ = make(required_cameras=('b',), decision={'min_views': 1})
    for name, blind in (('p', 'a'), ('q', 'b')):
        tracker.on_trigger(name, 5, [], 0, NOWHERE)
        other = 'ab'.replace(blind, '')
        tracker.on_result(name, 5, view(blind, verdict=Verdict.UNDETERMINED), NAN)
        (decision,) = tracker.on_result(name, 5, view(other), 1.0)
        assert decision.verdict.reject == (blind == 'b')


def test_a_name_that_is_used_again_is_another_piece():
    tracker, clock = make(object_timeout=4.0)
    second = 10**9

    def piece(stamp_ns, scores, trigger_first=True):
        made = []
        if trigger_first:
            made += tracker.on_trigger('re', stamp_ns, [], 0, NOWHERE)
        for camera, score in zip('ab', scores):
            made += tracker.on_result('re', stamp_ns, view(camera, score), 1.0)
        if not trigger_first:
            made += tracker.on_trigger('re', stamp_ns, [], 0, NOWHERE)
        return [decision.verdict.reject for decision in made]

    assert piece(second, [1.0, 1.0]) == [False]
    assert piece(second, [9.0, 9.0]) == []  # the same exposure again
    assert piece(2 * second, [1.0, 9.0]) == [True]
    # results that overtake their trigger are kept for it
    assert piece(3 * second, [1.0, 1.0], trigger_first=False) == [False]
    assert tracker.counts['names used again'] == 2
    # a view is missing: what comes a little later is late, what comes much later is another piece
    tracker.on_trigger('re', 4 * second, [], 0, NOWHERE)
    clock.now += 4
    assert len(tracker.on_time()) == 1
    assert piece(5 * second, [1.0, 1.0]) == []
    assert piece(9 * second, [1.0, 1.0]) == [False]


def test_two_nodes_or_models_on_one_piece_are_a_conflict():
    tracker, _ = make()
    tracker.on_trigger('models', 5, [], 0, NOWHERE)
    tracker.on_result('models', 5, view('a'), 1.0, model=('', 'car', '1'))
    (decision,) = tracker.on_result('models', 5, view('b'), 1.0, model=('', 'car', '2'))
    assert decision.verdict.reject and decision.verdict.reason == Reason.CONFLICT
    assert decision.verdict.message == 'its views were judged by different models: car 1, car 2'
    tracker.on_trigger('results', 6, [], 0, NOWHERE)
    for identity in ('1', '2'):
        tracker.on_result('results', 6, view('a', identity=identity), 1.0)
    (decision,) = tracker.on_result('results', 6, view('b'), 1.0)
    assert decision.verdict.reject and 'same image of a' in decision.verdict.message
    # what the node sees holds for every piece
    tracker.conflicts['a'] = 'two nodes publish the results of a'
    for score in (1.0, 9.0):
        tracker.on_trigger(f'p{score}', 7, ['a'], 0, NOWHERE)
        (decision,) = tracker.on_result(f'p{score}', 7, view('a', score), 1.0)
        assert decision.verdict.reject
    assert decision.verdict.reason == Reason.ANOMALY
    tracker.conflicts.clear()
    tracker.on_trigger('fine', 8, ['a'], 0, NOWHERE)
    assert not tracker.on_result('fine', 8, view('a'), 1.0)[0].verdict.reject


def test_a_piece_with_a_bad_trigger_is_known_and_rejected():
    tracker, _ = make()
    for name, values in (('told', {'fault': 'position.x is inf'}), ('unknown', {})):
        cameras = ['a'] if values else ['a', 'nobody']
        assert tracker.on_trigger(name, 5, cameras, 0, NOWHERE, **values) == []
    (decision,) = tracker.on_result('told', 5, view('a'), 1.0)
    assert decision.verdict.reject and decision.verdict.message == 'position.x is inf'
    assert decision.verdict.reason == Reason.INTERNAL_ERROR


def test_the_clock_is_looked_at_again_when_the_signal_goes_out():
    tracker, clock = make(object_timeout=4.0)
    for name in ('in time', 'late'):
        tracker.on_trigger(name, 5, ['a'], 0, NOWHERE)
    (in_time,) = tracker.on_result('in time', 5, view('a'), 1.0)
    (late,) = tracker.on_result('late', 5, view('a'), 1.0)
    clock.now += 3.9
    assert not tracker.confirm(in_time).verdict.reject
    clock.now += 0.2
    told = tracker.confirm(late)
    assert told.verdict.reject and told.verdict.reason == Reason.DEADLINE_MISSED
    assert told.seconds_late == pytest.approx(0.1) and tracker.counts['passed'] == 1


def test_what_is_open_is_rejected_when_simulated_time_is_set_back():
    tracker, clock = make(object_timeout=4.0)
    for name in ('done', 'open'):
        tracker.on_trigger(name, 5, ['a'], 0, NOWHERE)
    assert len(tracker.on_result('done', 5, view('a'), 1.0)) == 1
    clock.now -= 30
    (decision,) = tracker.on_time()
    assert decision.object_id == 'open' and decision.verdict.reject
    assert 'clock was set back' in decision.verdict.message
    # a recording that is played again
    tracker.on_trigger('done', 5, ['a'], 0, NOWHERE)
    assert not tracker.on_result('done', 5, view('a'), 1.0)[0].verdict.reject


def test_a_piece_that_cannot_be_decided_is_rejected(monkeypatch):
    tracker, _ = make()
    tracker.on_trigger('p', 5, ['a'], 0, NOWHERE)
    broken = view('a')
    object.__setattr__(broken, 'threshold', 'no number')
    (decision,) = tracker.on_result('p', 5, broken, 1.0)
    assert decision.verdict.reject and decision.verdict.reason == Reason.INTERNAL_ERROR
    assert 'cannot be decided' in decision.verdict.message and len(tracker) == 0
