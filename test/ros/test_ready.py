"""`pad ready`: says when a line may start, and what it still lacks."""

import subprocess
import sys

from diagnostic_msgs.msg import DiagnosticStatus, KeyValue

from pad_inspection.ros.ready import missing_of

OK, WARN, ERROR = DiagnosticStatus.OK, DiagnosticStatus.WARN, DiagnosticStatus.ERROR


def statuses(*rows):
    return {
        name: DiagnosticStatus(
            name=name,
            level=level,
            message=message,
            values=[KeyValue(key=key, value=value) for key, value in values.items()],
        )
        for name, level, message, values in rows
    }


def test_what_keeps_a_line_from_being_ready():
    assert missing_of({}) == ['no reject_node is heard', 'no inspection_node is heard']
    decisions = ('/reject_node: decisions', WARN, '1 signals were too late for the gate', {})
    inspection = ('/inspection_node: inspection', OK, 'active', {'queued': '0'})
    controller = ('/line_controller_node: line controller', OK, '', {'connected': 'True'})
    assert missing_of(statuses(decisions, inspection, controller)) == []
    found = statuses(
        ('/reject_node: decisions', ERROR, 'no inspection node of left is alive', {}),
        ('/inspection_node: inspection', OK, 'not active', {}),
        (controller[0], OK, '', {'connected': 'False', 'endpoint': 'tcp://plc:502'}),
    )
    assert missing_of(found) == [
        '/inspection_node: inspection: not active',
        '/line_controller_node: line controller: not connected to tcp://plc:502',
        '/reject_node: decisions: no inspection node of left is alive',
    ]


def pad_ready(line, timeout, *words):
    command = [sys.executable, '-m', 'pad_inspection.cli', 'ready', '--timeout', str(timeout)]
    return subprocess.run(
        [*command, *words],
        env=line.graph.environment,
        capture_output=True,
        text=True,
        timeout=180,
    )


def test_a_line_becomes_ready(line):
    line.start_reject(cameras=['camera'], diagnostics_period=0.1)
    line.start_inspection(diagnostics_period=0.1, autostart=False)
    assert line.transition('configure')
    done = pad_ready(line, 3)
    assert done.returncode == 1 and 'not active' in done.stdout, done
    assert line.transition('activate')
    done = pad_ready(line, 120)
    assert (done.returncode, done.stdout) == (0, 'ready\n'), done
    # a line with a namespace is another one
    done = pad_ready(line, 1, '--namespace', '/line_2')
    assert done.returncode == 1 and 'no reject_node is heard' in done.stdout, done
