"""Health of an inspection node: counts, silent cameras, drift."""

import mmap

import numpy as np
import pytest

from pad_inspection.datatypes import Inspection, Reason, Verdict
from pad_inspection.ros.monitor import Monitor, drift_of, resident_mb


class Clock:
    now = 100.0

    def __call__(self):
        return self.now


def passed(score):
    return Inspection(Verdict.PASS, Reason.NONE, score=score, threshold=1.0)


DROPPED = Inspection(Verdict.UNDETERMINED, Reason.FRAME_DROPPED)
REJECTED = Inspection(Verdict.REJECT, Reason.ANOMALY, score=2.0, threshold=1.0)


def test_counts_and_latency():
    monitor = Monitor(['a'])
    for index in range(9):
        monitor.on_image('a')
        monitor.on_result(passed(0.5) if index < 8 else REJECTED, (index + 1) / 10, '')
    monitor.on_image('a')
    monitor.count('ignored while inactive')
    report = monitor.inspection_report(active=True, queued=1, extra={'model': 'm'})
    values = report.values
    assert not report.warn and report.text == 'active'
    assert (values['received'], values['answered'], values['unanswered']) == ('10', '9', '1')
    assert (values['pass'], values['anomaly'], values['queued']) == ('8', '1', '1')
    assert values['latency median, s'] == '0.500' and values['latency maximum, s'] == '0.900'
    assert values['undetermined rate'] == '0.000' and values['ignored while inactive'] == '1'
    assert values['model'] == 'm' and float(values['memory, MB']) > 1


def test_many_undetermined_images_are_a_warning():
    monitor = Monitor(['a'])
    for inspection in (passed(0.5), DROPPED, DROPPED):
        monitor.on_result(inspection, 0.1, '')
    report = monitor.inspection_report(active=True, queued=0, extra={})
    assert report.warn and '2 of the last 3' in report.text
    assert report.values['undetermined rate'] == '0.667'
    assert not monitor.inspection_report(active=False, queued=0, extra={}).warn


def test_images_of_the_empty_belt_are_not_failures():
    monitor = Monitor(['a'])
    monitor.on_result(passed(0.5), 0.1, '')
    for _ in range(50):
        monitor.on_result(Inspection(Verdict.UNDETERMINED, Reason.NO_PIECE), 0.0, '')
    report = monitor.inspection_report(active=True, queued=0, extra={})
    assert not report.warn and report.values['no_piece'] == '50'


def test_a_silent_camera_is_a_warning():
    clock = Clock()
    monitor = Monitor(['a', 'b'], camera_timeout=2.0, clock=clock)
    clock.now += 60
    monitor.restart_cameras()
    clock.now += 1
    monitor.on_image('a')
    assert not monitor.camera_report(active=True).warn
    clock.now += 1.5
    report = monitor.camera_report(active=True)
    assert report.warn and report.text == 'no image within 2 s from b'
    assert report.values['a: images'] == '1' and report.values['b: silent, s'] == '2.5'
    assert not monitor.camera_report(active=False).warn


@pytest.mark.parametrize(('offset', 'drifted'), [(0.0, False), (0.1, True), (-0.1, True)])
def test_drift_of_passed_scores(offset, drifted):
    rng = np.random.default_rng(0)
    normal = list(rng.normal(0.5, 0.05, 150))
    monitor = Monitor(['a'], drift_window=200)
    for score in rng.normal(0.5 + offset, 0.05, 250):
        monitor.on_result(passed(float(score)), 0.1, 'car')
    report = monitor.drift_report('car', normal)
    assert report.warn == drifted and report.values['passed views'] == '200'
    assert ('higher' in report.text) == (offset > 0) and ('lower' in report.text) == (offset < 0)
    monitor.forget_scores('car')
    assert not monitor.drift_report('car', normal).warn


def test_drift_compares_only_what_could_pass():
    """Normal views above the threshold never pass, so they are no sign of drift."""
    normal = [0.4] * 50 + [5.0] * 50
    drift = drift_of([0.4] * 60, normal, threshold=1.0)
    assert drift.shift == 0.0


def test_few_views_say_nothing_about_drift():
    assert drift_of([9.0] * 10, [0.5] * 100, 10.0) is None
    assert drift_of([9.0] * 100, [0.5] * 3, 10.0) is None
    monitor = Monitor(['a'])
    assert monitor.drift_report('', ()).text == 'too few views'


def test_memory_of_the_process():
    before = resident_mb()
    # fresh pages: the allocator may hand out memory that is resident already
    with mmap.mmap(-1, 40_000_000) as block:
        block.write(b'1' * len(block))
        assert resident_mb() - before > 30
