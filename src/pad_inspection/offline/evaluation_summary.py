"""Tables over all classes and methods of `pad evaluate-all`: summary.json, .md and .html.

Every report is one class, method and seed. A mean over classes is taken for each seed; where there
are several seeds, means and standard deviations over them are shown.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

from pad_inspection.offline import metrics
from pad_inspection.offline.report import METRIC_NAMES, page, table
from pad_inspection.whole_files import write_text

Report = dict[str, Any]
Table = tuple[str, list[str], list[list[str]]]

_DETECTION = (
    'pixel_auroc', 'aupro', 'aupro_visible', 'image_auroc', 'object_auroc',
    'f1_max_pixel', 'f1_pixel',
)  # fmt: skip
_LOCALISATION = (
    'localized_fraction', 'pose_fraction_below_1px', 'pose_median_px', 'pose_silent_failures',
)  # fmt: skip
_DIGITS = {'pose_silent_failures': 0, 'pose_median_px': 2}


def write_summary(reports: Sequence[Report], out: Path) -> None:
    """Write summary.json, summary.md and summary.html.

    Args:
        reports: those of report.json with 'seed', in the order in which methods are to be shown.
        out: folder, made when it is missing.
    """
    tables = summary_tables(reports)
    out.mkdir(parents=True, exist_ok=True)
    write_text(out / 'summary.json', json.dumps(list(reports), indent=1) + '\n')
    write_text(out / 'summary.md', '\n'.join(map(_markdown, tables)))
    body = ['<h1>Comparison of methods</h1>']
    for title, header, rows in tables:
        body.append(f'<h2>{escape(title)}</h2>{table(header, rows)}')
    body.append('<h2>Single reports</h2><ul>')
    for report in reports:
        path = f'seed_{report["seed"]}/{report["class"]}/{report["preset"]}/report.html'
        body.append(f'<li><a href="{escape(path)}">{escape(path)}</a></li>')
    body.append('</ul>')
    write_text(out / 'summary.html', page('Comparison of methods', '\n'.join(body)))


def summary_tables(reports: Sequence[Report]) -> list[Table]:
    """(title, header, rows) of every table.

    Raises:
        ValueError: no reports.
    """
    if not reports:
        raise ValueError('there are no reports to sum up')
    methods, classes = _order(reports, 'preset'), _order(reports, 'class')
    num_seeds = len(_order(reports, 'seed'))
    seeds = f', mean and standard deviation over {num_seeds} seeds' if num_seeds > 1 else ''
    resolution = ' x '.join(map(str, sorted({tuple(r['resolution']) for r in reports})[0]))
    tables: list[Table] = [
        (
            f'Mean over {len(classes)} classes{seeds} (maps of {resolution} px)',
            ['method', *(_short(m) for m in _DETECTION), 'seconds a picture'],
            [
                [method]
                + [_mean_text(reports, method, m) for m in _DETECTION]
                + [_mean_text(reports, method, 'median_seconds_per_image', 2)]
                for method in methods
            ],
        ),
        (
            'Objects at the calibrated threshold, all classes and seeds (95% interval)',
            ['method', 'intact objects rejected', 'defective objects missed', 'normals a class'],
            [_verdict_row(reports, method) for method in methods],
        ),
    ]
    for name in _DETECTION[:4]:
        tables.append(_class_table(reports, _short(name), name, methods, classes))
    for name in _LOCALISATION:
        title = METRIC_NAMES.get(name, name)
        tables.append(_class_table(reports, title, name, methods, classes))
    tables.append(_step_table(reports, methods))
    return tables


def _short(name: str) -> str:
    """Name of a measure for a column."""
    return METRIC_NAMES.get(name, name).split(' (')[0]


def _order(reports: Sequence[Report], key: str) -> list[Any]:
    """Distinct values in the order in which they first appear."""
    return list(dict.fromkeys(report[key] for report in reports))


def _class_table(
    reports: Sequence[Report], title: str, name: str, methods: list[str], classes: list[str]
) -> Table:
    """A measure for each class and method."""
    digits = _DIGITS.get(name, 3)
    rows = []
    for class_name in classes:
        of_class = [r for r in reports if r['class'] == class_name]
        rows.append([class_name, *(_mean_text(of_class, m, name, digits) for m in methods)])
    rows.append(['mean', *(_mean_text(reports, m, name, max(digits, 1)) for m in methods)])
    return title, ['class', *methods], rows


def _mean_text(reports: Sequence[Report], method: str, name: str, digits: int = 3) -> str:
    """Mean over classes; with several seeds the mean and standard deviation over them."""
    means = []
    for seed in _order(reports, 'seed'):
        values = [
            r[name]
            for r in reports
            if r['preset'] == method and r['seed'] == seed and r.get(name) is not None
        ]
        if values:
            means.append(float(np.mean(values)))
    if not means:
        return '-'
    text = f'{np.mean(means):.{digits}f}'
    return f'{text} ± {np.std(means, ddof=1):.{digits}f}' if len(means) > 1 else text


def _verdict_row(reports: Sequence[Report], method: str) -> list[str]:
    """False rejects and missed defects of a method, pooled."""
    chosen = [r for r in reports if r['preset'] == method and r.get('verdicts')]
    if not chosen:
        return [method, '-', '-', '-']
    cells = [method]
    for wrong, total in (
        ('false_rejects', 'intact_objects'),
        ('missed_defects', 'defective_objects'),
    ):
        k, n = (sum(r['verdicts'][key] for r in chosen) for key in (wrong, total))
        low, high = metrics.binomial_interval(k, n)
        cells.append(f'{k} of {n}: {k / max(n, 1):.1%} ({low:.1%} to {high:.1%})')
    normals = [r['calibration']['num_normals'] for r in chosen if 'calibration' in r]
    cells.append(f'{min(normals)} to {max(normals)}' if normals else '-')
    return cells


def _step_table(reports: Sequence[Report], methods: list[str]) -> Table:
    """Median milliseconds of each step, averaged over classes."""
    steps = list(dict.fromkeys(s for r in reports for s in r['median_ms_per_step']))
    rows = []
    for method in methods:
        chosen = [r['median_ms_per_step'] for r in reports if r['preset'] == method]
        values = [np.mean([c.get(step, 0.0) for c in chosen]) for step in steps]
        rows.append([method, *(f'{v:.0f}' for v in values), f'{sum(values):.0f}'])
    return 'Median milliseconds of each step', ['method', *steps, 'all'], rows


def _markdown(item: Table) -> str:
    """A table as Markdown."""
    title, header, rows = item
    lines = [f'**{title}**', '', '| ' + ' | '.join(header) + ' |', '|---' * len(header) + '|']
    lines += ['| ' + ' | '.join(row) + ' |' for row in rows]
    return '\n'.join(lines) + '\n'
