from pad_inspection.ros.throttle import Throttle


def test_each_kind_is_written_at_most_once_a_period():
    now, lines = [0.0], []
    throttle = Throttle(5.0, clock=lambda: now[0])
    for _ in range(3):
        throttle.pass_on('a', lines.append, 'first')
    throttle.pass_on('b', lines.append, 'other')
    assert lines == ['first', 'other']
    now[0] = 5.0
    throttle.pass_on('a', lines.append, 'again')
    throttle.pass_on('b', lines.append, 'other')
    assert lines[2:] == ['again (and 2 more since the last such line)', 'other']
