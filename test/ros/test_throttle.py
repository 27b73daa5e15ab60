from types import SimpleNamespace

import pytest
import rclpy.logging

from pad_inspection.ros.throttle import Throttle


def test_each_kind_is_written_at_most_once_a_period():
    now, lines = [0.0], []
    logger = SimpleNamespace(info=lines.append, warning=lines.append, error=lines.append)
    throttle = Throttle(5.0, logger, clock=lambda: now[0])
    for _ in range(3):
        throttle.warning('a', 'first')
    throttle.error('b', 'other')
    assert lines == ['first', 'other']
    now[0] = 5.0
    throttle.warning('a', 'again')
    throttle.error('b', 'other')
    assert lines[2:] == ['again (and 2 more since the last such line)', 'other']


def test_one_throttle_writes_all_severities():
    """rclpy refuses two severities from one line of code."""
    logger = rclpy.logging.get_logger('test_throttle')
    throttle = Throttle(0.0, logger)
    for write in (throttle.warning, throttle.error, throttle.info) * 2:
        write('kind', 'text')

    def both(write):
        write('text')

    both(logger.warning)
    with pytest.raises(ValueError, match='severity'):
        both(logger.error)
