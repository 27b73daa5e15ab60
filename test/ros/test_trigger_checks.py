"""What triggers and encoder samples may say; the faults name the field."""

import math

import pytest
from builtin_interfaces.msg import Time
from pad_msgs.msg import ObjectTrigger
from sensor_msgs.msg import JointState

from pad_inspection.ros.trigger_checks import id_fault, name_fault, travel_fault, trigger_fault


def trigger(stamp=(1, 0), position=(math.nan, 0.0, -1000.0), **values):
    message = ObjectTrigger(object_id='p', **values)
    message.header.stamp = Time(sec=stamp[0], nanosec=stamp[1])
    message.position.x, message.position.y, message.position.z = position
    return message


@pytest.mark.parametrize('name', ['p', 'ä☃ 7', 'a' * 128])
def test_names_that_can_be_told(name):
    assert id_fault(name) == '' and trigger_fault(trigger(object_type=name, cameras=[name])) == ''


@pytest.mark.parametrize(
    ('name', 'words'),
    [
        ('', 'is empty'),
        ('a' * 129, 'longer than 128'),
        ('q' * 100_000, 'longer than 128'),
        ('x\ny', r'x\ny has characters'),
        ('\x1b[31m', 'cannot be printed'),
        ('\u202e', 'cannot be printed'),
    ],
)
def test_names_that_are_refused(name, words):
    for field, fault in (('object_id', id_fault(name)), ('data', name_fault('data', name))):
        assert fault.startswith(field)
        assert words in fault and fault.isprintable() and len(fault) < 200
    assert trigger_fault(trigger(cameras=['a', name])).startswith('cameras: name')


@pytest.mark.parametrize(
    ('message', 'field'),
    [
        (trigger(position=(math.inf, 0.0, 0.0)), 'position.x is inf'),
        (trigger(position=(0.0, -1e300, 0.0)), 'position.y is -1e+300'),
        (trigger(position=(0.0, 0.0, 1000.1)), 'position.z is 1000.1'),
        (trigger(stamp=(-(2**31), 0)), 'header.stamp.sec is -2147483648'),
        (trigger(stamp=(0, 10**9)), 'header.stamp.nanosec is 1000000000'),
        (trigger(cameras=['a'] * 257), 'cameras has 257 names'),
        (trigger(expected_views=2**32 - 1), 'expected_views is 4294967295'),
        (trigger(object_type='a\x00'), 'object_type'),
    ],
)
def test_triggers_that_are_refused(message, field):
    assert trigger_fault(message).startswith(field)


def test_a_trigger_of_an_unknown_place_is_fine():
    assert trigger_fault(trigger(position=(math.nan,) * 3)) == ''
    assert trigger_fault(trigger(stamp=(2**31 - 1, 10**9 - 1))) == ''


def test_encoder_samples():
    def fault(positions, sec=1, nanosec=0):
        message = JointState(position=positions)
        message.header.stamp = Time(sec=sec, nanosec=nanosec)
        return travel_fault(message)

    assert fault([-12.5]) == '' and fault([0.0, math.nan]) == ''
    assert fault([]).startswith('position is empty')
    for value in (math.nan, math.inf, -math.inf, 1e300):
        assert fault([value]).startswith(f'position[0] is {value:g} m')
    assert fault([0.0], sec=-1).startswith('header.stamp.sec is -1')
    assert fault([0.0], nanosec=2**32 - 1).startswith('header.stamp.nanosec')
