"""What triggers and samples of the belt may say; the first fault is named. Plain Python."""

from __future__ import annotations

import math

from pad_inspection.text_safety import MAX_ID_LENGTH, printable

# Farther along the belt than any line is long, m.
MAX_POSITION_M = 1000.0
# The belt may have run for years, m.
MAX_TRAVEL_M = 1e9
# Of one trigger; more are a mistake of whoever sends it.
MAX_CAMERAS = 256
MAX_VIEWS = 100_000


def id_fault(object_id: str) -> str:
    """Why an object_id cannot name an object; '' = it can."""
    return name_fault('object_id', object_id)


def name_fault(field: str, name: str) -> str:
    """Why a name is none; '' = it is one.

    Args:
        field: of the message that has it.
        name: of an object, a product or a camera.
    """
    shown = printable(name, 60)
    if not name:
        return f'{field} is empty'
    if len(name) > MAX_ID_LENGTH:
        return f'{field} {shown} is longer than {MAX_ID_LENGTH} characters'
    if not name.isprintable():
        return f'{field} {shown} has characters that cannot be printed'
    return ''


def stamp_fault(stamp) -> str:
    """Why a stamp is no time; '' = it is one."""
    if stamp.sec < 0:
        return f'header.stamp.sec is {stamp.sec}, wanted 0 or more'
    if stamp.nanosec >= 10**9:
        return f'header.stamp.nanosec is {stamp.nanosec}, wanted less than 1000000000'
    return ''


def trigger_fault(message) -> str:
    """What is wrong with an ObjectTrigger beside its object_id; '' = nothing.

    NaN positions are allowed: they mean unknown.
    """
    fault = stamp_fault(message.header.stamp)
    if fault:
        return fault
    for axis in 'xyz':
        fault = position_fault(f'position.{axis}', getattr(message.position, axis))
        if fault:
            return fault
    if len(message.cameras) > MAX_CAMERAS:
        return f'cameras has {len(message.cameras)} names, wanted {MAX_CAMERAS} at most'
    if message.expected_views > MAX_VIEWS:
        return f'expected_views is {message.expected_views}, wanted {MAX_VIEWS} at most'
    for camera in message.cameras:
        fault = name_fault('cameras: name', camera)
        if fault:
            return fault
    return name_fault('object_type', message.object_type) if message.object_type else ''


def position_fault(name: str, value: float) -> str:
    """Why a position, m, cannot be on a line; NaN is allowed."""
    if math.isinf(value) or abs(value) > MAX_POSITION_M:
        return f'{name} is {value:g} m, wanted +-{MAX_POSITION_M:g} m, or NaN for unknown'
    return ''


def travel_fault(message) -> str:
    """What is wrong with a sample of the belt's encoder (JointState); '' = nothing."""
    fault = stamp_fault(message.header.stamp)
    if fault:
        return fault
    if not len(message.position):
        return 'position is empty, wanted how far the belt has gone, m'
    value = message.position[0]
    if not math.isfinite(value) or abs(value) > MAX_TRAVEL_M:
        return f'position[0] is {value:g} m, wanted +-{MAX_TRAVEL_M:g} m'
    return ''
