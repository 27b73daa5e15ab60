"""`pad log` shows what is in the log, and can do nothing to its reader."""

import csv
import time

from pad_inspection.datatypes import Reason, Verdict
from pad_inspection.ros.log_command import table, write_csv
from pad_inspection.ros.verdict_log import LoggedVerdict
from pad_inspection.text_safety import MAX_ID_LENGTH


def logged(object_id, message='', score=-1.5):
    return LoggedVerdict(
        sequence=1,
        decided_ns=time.time_ns(),
        object_id=object_id,
        stamp_ns=5,
        reject=True,
        verdict=Verdict.REJECT,
        reason=Reason.ANOMALY,
        message=message,
        score=score,
        threshold=1.0,
        num_views=1,
        num_judged=1,
        x=float('nan'),
        y=0.0,
        z=0.0,
        restored=False,
        views='[]',
    )


def test_a_verdict_is_one_line_whatever_its_texts():
    forged = 'p1\n2026-11-30 06:00:00.000  q  pass  \x1b[2J\u202eevil'
    lines = table([logged(forged, message=f'missing: {"a, " * 50_000}\r\x07'), logged('p2')])
    assert len(lines) == 3 and all(line.isprintable() for line in lines)
    assert r'p1\n2026-11-30' in lines[1] and r'\x1b[2J\u202eevil' in lines[1]
    assert lines[1].endswith('characters]') and len(lines[1]) < 2500
    (long,) = table([logged('x' * 1_000_000)])[1:]
    assert len(long) < MAX_ID_LENGTH + 200


def test_no_text_is_a_formula_and_numbers_stay_numbers(tmp_path):
    path = tmp_path / 'shift.csv'
    write_csv(path, [logged('=HYPERLINK("http://evil","x")', message='@SUM(1)\n=2'), logged('-7')])
    with open(path, newline='') as stream:
        first, second = csv.DictReader(stream)
    assert first['object_id'] == '\'=HYPERLINK("http://evil","x")'
    assert first['message'] == r"'@SUM(1)\n=2"
    assert float(first['score']) == -1.5 and first['verdict'] == 'REJECT'
    assert second['object_id'] == '-7'
    assert [entry.name for entry in tmp_path.iterdir()] == ['shift.csv']
