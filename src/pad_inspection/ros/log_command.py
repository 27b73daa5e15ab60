"""Read the verdict log that reject_node writes (its parameter log_dir), also while it runs.

Examples:
  pad log /var/log/pad/line_1                        the last 20 verdicts as a table, and totals
  pad log /var/log/pad/line_1 --rejects --last 0     all rejects
  pad log /var/log/pad/line_1 --object piece-17      every verdict on one piece
  pad log /var/log/pad/line_1 --since 2026-11-24T06:00 --csv shift.csv
  pad log /var/log/pad/line_1 --rejects --sheet rejects.png

Times are local. Exit code 2: there is no log, or it is damaged.
"""

from __future__ import annotations

import argparse
import csv
import math
import sqlite3
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from pathlib import Path

from pad_inspection.datatypes import Reason, Verdict
from pad_inspection.ros.verdict_log import FILE_NAME, PICTURES, LoggedVerdict, read_rows
from pad_inspection.text_safety import MAX_TEXT_LENGTH, csv_cell, printable
from pad_inspection.whole_files import replacing

_SHEET_ROWS = 100


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `pad log`."""
    parser.add_argument('folder', type=Path, help='log_dir of reject_node')
    parser.add_argument('--last', type=int, default=20, help='the last N that fit (0: all)')
    parser.add_argument('--rejects', action='store_true', help='only rejected pieces')
    parser.add_argument('--object', help='only the piece of this id')
    parser.add_argument(
        '--since', type=datetime.fromisoformat, help='only later ones, e.g. 2026-11-24T06:00'
    )
    parser.add_argument('--csv', type=Path, help='write them all to this file, with every column')
    parser.add_argument(
        '--sheet', type=Path, help=f'write the pictures of the last {_SHEET_ROWS} to one picture'
    )


def run(arguments: argparse.Namespace) -> int:
    """`pad log`."""
    if arguments.last < 0:
        raise ValueError(f'--last is {arguments.last}, wanted 0 or more')
    condition, values = _condition(arguments)
    try:
        with _open(arguments.folder) as db:
            rows = read_rows(db, condition, values)[::-1]
            pictures = _pictures(db, arguments.folder) if arguments.sheet else {}
    except sqlite3.DatabaseError as error:
        raise ValueError(f'{arguments.folder / FILE_NAME} cannot be read: {error}') from error
    for line in table(rows):
        print(line)
    print(totals(rows))
    if arguments.csv:
        write_csv(arguments.csv, rows)
        print(f'{len(rows)} verdicts in {arguments.csv}')
    if arguments.sheet:
        shown = write_sheet(arguments.sheet, rows, pictures)
        print(f'{shown} verdicts in {arguments.sheet}')
    return 0


def _open(folder: Path) -> sqlite3.Connection:
    """Connection that cannot write."""
    path = folder / FILE_NAME
    if not path.is_file():
        raise FileNotFoundError(
            f'{path} does not exist, wanted the folder that log_dir of reject_node names'
        )
    return sqlite3.connect(f'{path.resolve().as_uri()}?mode=ro', uri=True)


def _condition(arguments: argparse.Namespace) -> tuple[str, list]:
    """SQL of the choice, newest first."""
    parts, values = [], []
    if arguments.rejects:
        parts.append('reject = 1')
    if arguments.object is not None:
        parts.append('object_id = ?')
        values.append(arguments.object)
    if arguments.since is not None:
        parts.append('decided_ns >= ?')
        values.append(int(arguments.since.timestamp() * 1e9))
    where = f'WHERE {" AND ".join(parts)} ' if parts else ''
    limit = f' LIMIT {arguments.last}' if arguments.last else ''
    return f'{where}ORDER BY sequence DESC{limit}', values


def _pictures(db: sqlite3.Connection, folder: Path) -> dict[int, list[Path]]:
    """Sequence -> pictures, by camera."""
    found: dict[int, list[Path]] = {}
    for sequence, name in db.execute('SELECT sequence, file FROM pictures ORDER BY camera'):
        found.setdefault(sequence, []).append(folder / PICTURES / name)
    return found


def _time(row: LoggedVerdict) -> str:
    """Local time to the millisecond."""
    moment = datetime.fromtimestamp(row.decided_ns / 1e9)
    return moment.isoformat(sep=' ', timespec='milliseconds')


def table(rows: Sequence[LoggedVerdict]) -> list[str]:
    """Lines of a table for people."""
    header = ('sequence', 'decided', 'object', 'signal', 'verdict', 'reason', 'score', 'views')
    cells = [header] + [
        (
            str(row.sequence),
            _time(row),
            printable(row.object_id),
            'reject' if row.reject else 'pass',
            row.verdict.name,
            row.reason.name,
            f'{row.score:.2f}' if math.isfinite(row.score) else '-',
            f'{row.num_judged}/{row.num_views}',
        )
        for row in rows
    ]
    widths = [max(map(len, column)) for column in zip(*cells)]
    messages = ['message'] + [printable(row.message, MAX_TEXT_LENGTH) for row in rows]
    return [
        '  '.join([cell.ljust(width) for cell, width in zip(line, widths)] + [message])
        for line, message in zip(cells, messages)
    ]


def totals(rows: Sequence[LoggedVerdict]) -> str:
    """One line about all that is shown."""
    verdicts = Counter(row.verdict for row in rows)
    text = f'{len(rows)} verdicts: ' + ', '.join(
        f'{verdicts[verdict]} {verdict.name}' for verdict in Verdict
    )
    reasons = Counter(row.reason for row in rows if row.verdict == Verdict.UNDETERMINED)
    if reasons:
        named = ', '.join(f'{n} {Reason(reason).name}' for reason, n in reasons.most_common())
        text += f' ({named})'
    return text


def write_csv(path: Path, rows: Sequence[LoggedVerdict]) -> None:
    """Write all columns; verdict and reason by name, times in ns and as local time.

    Texts are escaped as printable and csv_cell tell.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path, newline='') as stream:
        names = ['decided', *LoggedVerdict.__dataclass_fields__]
        writer = csv.DictWriter(stream, names)
        writer.writeheader()
        for row in rows:
            content = {'decided': _time(row), **asdict(row)}
            content['verdict'], content['reason'] = row.verdict.name, row.reason.name
            writer.writerow({name: csv_cell(value) for name, value in content.items()})


def write_sheet(path: Path, rows: Sequence[LoggedVerdict], pictures: dict[int, list[Path]]) -> int:
    """Write the pictures of the newest verdicts that have some; returns how many.

    Raises:
        ValueError: none of them has a picture.
    """
    from pad_inspection import drawing, images

    shown = [row for row in rows if row.sequence in pictures][-_SHEET_ROWS:]
    if not shown:
        raise ValueError(
            'none of these verdicts has a picture; pictures are made of rejected pieces, and the '
            'oldest are deleted (log_max_pictures)'
        )
    sheet = drawing.contact_sheet(
        [
            (
                f'{row.sequence} {printable(row.object_id)} {row.reason.name} {_time(row)}',
                row.verdict,
                [images.read_rgb(p) if p.is_file() else None for p in pictures[row.sequence]],
            )
            for row in shown
        ],
        tile_px=320,
    )
    images.write(path, sheet)
    return len(shown)
