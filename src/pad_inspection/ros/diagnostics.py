"""Messages for /diagnostics (diagnostic_updater exists only in full ROS 2 installations)."""

from __future__ import annotations

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue


def status(
    node,
    part: str,
    text: str,
    values: dict[str, str],
    *,
    warn: bool = False,
    error: bool = False,
) -> DiagnosticArray:
    """DiagnosticArray with one status.

    Args:
        node: who reports.
        part: what of it, e.g. 'inspection'.
        text: for people.
        values: details.
        warn: level WARN instead of OK.
        error: level ERROR.
    """
    level = DiagnosticStatus.WARN if warn else DiagnosticStatus.OK
    array = DiagnosticArray()
    array.header.stamp = node.get_clock().now().to_msg()
    array.status.append(
        DiagnosticStatus(
            level=DiagnosticStatus.ERROR if error else level,
            name=f'{node.get_fully_qualified_name()}: {part}',
            message=text,
            hardware_id='pad_inspection',
            values=[KeyValue(key=key, value=value) for key, value in values.items()],
        )
    )
    return array
