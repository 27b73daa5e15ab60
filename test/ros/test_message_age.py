"""How old a message is: by the middleware's note, and after the process stood still."""

import time
from types import SimpleNamespace

import pytest

from pad_inspection.ros import message_age
from pad_inspection.ros.message_age import MessageAge

NOW_NS = 1_800_000_000 * 10**9


@pytest.fixture
def clock(monkeypatch):
    """Both clocks, which only a test moves on; no thread looks at them."""
    now = SimpleNamespace(monotonic=100.0, system=0.0)
    monkeypatch.setattr(message_age.threading.Thread, 'start', lambda thread: None)
    monkeypatch.setattr(message_age.time, 'monotonic', lambda: now.monotonic)
    monkeypatch.setattr(
        message_age.time, 'time_ns', lambda: NOW_NS + round((now.monotonic + now.system) * 1e9)
    )
    return now


def ages(is_simulated=False):
    return MessageAge(SimpleNamespace(is_simulated=is_simulated))


def received():
    return {'received_timestamp': time.time_ns()}


def test_it_counts_from_when_the_middleware_received_it(clock):
    age, info = ages(), received()
    assert age.of(info) == 0.0
    clock.monotonic += 0.2
    assert age.of(info) == pytest.approx(0.2)
    # a middleware that notes nothing
    assert age.of({'received_timestamp': 0}) == age.of({}) == 0.0


def test_a_clock_that_was_set_back_makes_nothing_younger_than_it_is(clock):
    age, info = ages(), received()
    clock.system = -3600.0
    assert age.of(info) == 0.0


def test_what_was_sent_while_the_process_stood_still_is_as_old_as_that(clock):
    age = ages()
    # stopped; what was sent meanwhile is received right afterwards
    clock.monotonic += 4.0
    info = received()
    clock.monotonic += 0.1
    assert age.of(info) == pytest.approx(4.1)
    for _ in range(20):
        clock.monotonic += 0.05
        age._look()
    assert age.of(received()) == 0.0


def test_in_simulated_time_nobody_knows(clock):
    age, info = ages(is_simulated=True), received()
    clock.monotonic += 5.0
    assert age.of(info) == 0.0
