"""report.html of an evaluation: tables, curves, histograms, and galleries of the worst errors.

One self-contained file: pictures are embedded, figures are inline SVG, nothing is fetched.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pad_inspection import images
from pad_inspection.datatypes import Inspection
from pad_inspection.drawing import heat_colors, overlay_picture
from pad_inspection.offline import figures, metrics
from pad_inspection.text_safety import MAX_TEXT_LENGTH, printable
from pad_inspection.whole_files import write_text

if TYPE_CHECKING:
    from pad_inspection.offline.evaluate import ViewRecord

GALLERY_SIZE = 8
_JOINED = (
    'Pictures are ranked by their maps joined with those of the other views of the piece; the '
    'verdict on a picture is that of the line, from its own score.'
)
_TILE_PX = 220
_TRUTH_COLOR = (255, 220, 0)
_STYLE = """
body { font: 14px/1.45 system-ui, sans-serif; margin: 24px auto; max-width: 1180px; color: #222; }
h1 { font-size: 22px; } h2 { font-size: 17px; margin-top: 32px; }
table { border-collapse: collapse; margin: 8px 24px 8px 0; }
td, th { border-bottom: 1px solid #ddd; padding: 3px 12px 3px 0; text-align: left; }
td.number { text-align: right; font-variant-numeric: tabular-nums; }
.row { display: flex; flex-wrap: wrap; gap: 12px; align-items: flex-start; }
.panel { margin: 6px 0 14px; } .panel img { display: block; }
.note { color: #666; }
svg text { font: 11px system-ui, sans-serif; fill: #333; text-anchor: middle; }
svg .title { font-weight: 600; font-size: 12px; } svg .end { text-anchor: end; }
svg .small { font-size: 10px; text-anchor: start; }
svg .grid { stroke: #e4e4e4; }
"""
METRIC_NAMES = {
    'image_auroc': 'image AUROC',
    'object_auroc': 'object AUROC',
    'pixel_auroc': 'pixel AUROC',
    'aupro': 'AUPRO (FPR up to 0.3)',
    'aupro_visible': 'AUPRO of defect regions of 8 px and more',
    'f1_max_pixel': 'best pixel F1 (threshold chosen on these pictures)',
    'f1_pixel': 'pixel F1 at the threshold from normals',
    'localized_fraction': 'localised fraction',
    'pose_median_px': 'median pose error, px',
    'pose_fraction_below_1px': 'share of poses below 1 px',
    'pose_silent_failures': 'poses off by more than 5 px, unnoticed',
    'median_seconds_per_image': 'median seconds per picture',
}


def view_panel(
    query: np.ndarray,
    reference: np.ndarray | None,
    anomaly_map: np.ndarray | None,
    overlay: np.ndarray | None,
    gt_mask: np.ndarray | None = None,
    *,
    score_high: float | None = None,
    tile_px: int = _TILE_PX,
) -> np.ndarray:
    """Query (defect outlined), reference, anomaly map and overlay side by side.

    Args:
        query: uint8 (H, W, 3).
        reference: uint8 (H, W, 3), or None.
        anomaly_map: float32 (H, W), NaN = not compared, or None.
        overlay: uint8 (H, W, 3), or None.
        gt_mask: bool (H, W), true defect, or None.
        score_high: map score of the strongest colour; None = the highest one.
        tile_px: height of each picture.

    Returns:
        uint8 (tile_px, w, 3).
    """
    shown = query
    if gt_mask is not None and gt_mask.any():
        shown = images.outline(query, images.dilate(gt_mask, 1), _TRUTH_COLOR)
    heat = None
    if anomaly_map is not None:
        finite = np.isfinite(anomaly_map)
        if score_high is None:
            score_high = float(anomaly_map[finite].max()) if finite.any() else 1.0
        heat = heat_colors(np.where(finite, anomaly_map, 0) / max(score_high, 1e-9))
        heat[~finite] = 40
    width = max(1, round(tile_px * query.shape[1] / query.shape[0]))
    tiles = []
    for picture in (shown, reference, heat, overlay):
        blank = np.full((tile_px, width, 3), 40, np.uint8)
        tiles.append(blank if picture is None else images.resize(picture, width, tile_px))
        tiles.append(np.full((tile_px, 4, 3), 255, np.uint8))
    return np.concatenate(tiles[:-1], axis=1)


def write_report(
    records: Sequence[ViewRecord],
    report: dict[str, Any],
    path: Path,
    curve: metrics.PixelCurve | None = None,
) -> None:
    """Write report.html.

    Args:
        records: evaluated pictures.
        report: what evaluate.summarize gave.
        path: file to write.
        curve: of evaluate.pixel_curve_of(records), or None = it is made here.
    """
    from pad_inspection.offline.evaluate import pixel_curve_of

    curve = pixel_curve_of(records) if curve is None else curve
    title = f'{report["class"]}: {report["preset"]}'
    parts = [
        f'<h1>Inspection of {escape(title)}</h1>',
        f'<p>{report["images"]} pictures ({report["anomalous_images"]} with a visible defect) of '
        f'{report["objects"]} objects ({report["defective_objects"]} defective), compared at '
        f'{report["resolution"][1]} x {report["resolution"][0]} px. A view that could not be '
        f'localised counts as rejected. {_JOINED if _joined(records) else ""}</p>',
        '<div class="row">',
        _metrics_table(report),
        _verdict_table(report),
        _steps_table(report),
        '</div>',
        '<h2>Curves and scores</h2><div class="row">',
        *_figures(records, curve),
        '</div>',
    ]
    for heading, note, chosen in _galleries(records):
        parts.append(f'<h2>{escape(heading)}</h2><p class="note">{escape(note)}</p>')
        parts += [_panel(record, _scale(records)) for record in chosen]
        if not chosen:
            parts.append('<p>None.</p>')
    parts.append('<h2>Every picture</h2>')
    parts.append(_records_table(records))
    body = '\n'.join(parts)
    write_text(path, page(title, body))


def _joined(records: Sequence[ViewRecord]) -> bool:
    """Whether maps of a piece's views were joined."""
    return any(math.isfinite(r.inspection.joined_score) for r in records)


def page(title: str, body: str) -> str:
    """A self-contained HTML page."""
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{escape(title)}'
        f'</title><style>{_STYLE}</style></head><body>{body}</body></html>\n'
    )


def _metrics_table(report: dict[str, Any]) -> str:
    """The measures, with the reason where one is undefined."""
    undefined = report.get('undefined', {})
    rows = []
    for name, label in METRIC_NAMES.items():
        if name in report:
            value = report[name]
            shown = f'undefined: {undefined.get(name, "")}' if value is None else number(value)
            rows.append((label, shown))
    return table(('measure', 'value'), rows)


def _verdict_table(report: dict[str, Any]) -> str:
    """Errors at the calibrated threshold."""
    verdicts = report.get('verdicts')
    if not verdicts:
        return '<p class="note">No verdicts: this configuration is not calibrated.</p>'
    rows = []
    for label, wrong, total, interval in (
        ('intact objects rejected', 'false_rejects', 'intact_objects', 'false_reject_interval_95'),
        ('defective objects missed', 'missed_defects', 'defective_objects', 'missed_interval_95'),
    ):
        low, high = verdicts[interval]
        rows.append((label, f'{verdicts[wrong]} of {verdicts[total]}', f'{low:.1%} to {high:.1%}'))
    return table(('at the calibrated threshold', 'objects', '95% interval'), rows)


def _steps_table(report: dict[str, Any]) -> str:
    """Median time of each step."""
    steps = report.get('median_ms_per_step', {})
    rows = [(step, f'{ms:.0f}') for step, ms in steps.items()]
    rows.append(('all', f'{sum(steps.values()):.0f}'))
    return table(('step', 'median ms'), rows)


def _figures(records: Sequence[ViewRecord], curve: metrics.PixelCurve) -> list[str]:
    """ROC and PRO curves as far as they are defined, and the histogram of image scores."""
    parts = []
    labels = np.array([r.anomalous for r in records])
    scores = np.array([r.score for r in records])
    finite = scores[np.isfinite(scores)]
    ranked = np.where(np.isfinite(scores), scores, (finite.max() if finite.size else 0) + 1)
    curves = []
    if labels.any() and not labels.all():
        curves.append(('pictures', *metrics.roc_curve(labels, ranked)))
    if curve.defined:
        curves.append(('pixels', *curve.roc()))
        regions = [('regions', *curve.pro())]
        parts.append(
            figures.curve_figure(
                'PRO curve', 'false positive rate', 'region overlap', regions, x_limit=0.3
            )
        )
    if curves:
        figure = figures.curve_figure(
            'ROC curves', 'false positive rate', 'true positive rate', curves
        )
        parts.insert(0, figure)
    thresholds = {r.inspection.threshold for r in records if r.inspection.threshold > 0}
    if _joined(records):
        thresholds = set()  # they are those of a view alone
    parts.append(
        figures.histogram_figure(
            'Image scores',
            'score',
            [('intact', scores[~labels]), ('defective', scores[labels])],
            [('threshold', threshold) for threshold in sorted(thresholds)[:1]],
        )
    )
    return parts


def _galleries(
    records: Sequence[ViewRecord],
) -> list[tuple[str, str, list[ViewRecord]]]:
    """Heading, note and pictures of each gallery."""
    compared = [r for r in records if r.localized]
    good = sorted((r for r in compared if not r.anomalous), key=lambda r: -r.score)
    bad = sorted((r for r in compared if r.anomalous), key=lambda r: r.score)
    order = 'Query (true defect in yellow), reference, anomaly map, overlay.'
    return [
        ('Intact views with the highest scores', order, good[:GALLERY_SIZE]),
        ('Defective views with the lowest scores', order, bad[:GALLERY_SIZE]),
        (
            'Defective views with the highest scores',
            order,
            bad[::-1][: max(0, min(GALLERY_SIZE // 2, len(bad) - GALLERY_SIZE))],
        ),
        (
            'Views that were not localised',
            'No pose was found, or it was not trusted; the line rejects them.',
            [r for r in records if not r.localized][:GALLERY_SIZE],
        ),
    ]


def _scale(records: Sequence[ViewRecord]) -> float:
    """Map score of the strongest colour, the same in all galleries."""
    peaks = [float(r.anomaly_map.max()) for r in records if r.localized]
    return float(np.median(peaks)) * 1.5 if peaks and np.median(peaks) > 0 else 1.0


def _panel(record: ViewRecord, score_high: float) -> str:
    """One picture of a gallery with its numbers."""
    seen: Inspection = record.inspection
    text = (
        f'{record.name}: {seen.verdict.name}, score {number(seen.score)}, threshold '
        f'{number(seen.threshold)}, {record.defect}'
    )
    if math.isfinite(seen.joined_score):
        text += f', {number(seen.joined_score)} with the other views of the piece'
    if math.isfinite(record.pose_error_px):
        text += f', pose off by {record.pose_error_px:.2f} px'
    if seen.message:
        text += f' ({seen.message})'
    picture = ''
    if seen.query is not None:
        panel = view_panel(
            seen.query,
            seen.reference,
            seen.best_map,
            overlay_picture(seen, score_high=score_high),
            record.gt_mask & record.anomalous,
            score_high=score_high,
        )
        picture = f'<img alt="" src="data:image/jpeg;base64,{_jpeg(panel)}">'
    return f'<div class="panel">{escape(printable(text, MAX_TEXT_LENGTH))}{picture}</div>'


def _records_table(records: Sequence[ViewRecord]) -> str:
    """Name, truth, verdict and score of every picture."""
    rows = [
        (
            r.name,
            r.object_id,
            r.defect if r.anomalous or r.defect == 'good' else f'{r.defect} (not visible)',
            r.inspection.verdict.name,
            number(r.inspection.score),
            number(r.inspection.joined_score),
            number(r.pose_error_px),
            f'{r.seconds:.2f}',
        )
        for r in records
    ]
    header = (
        'picture', 'object', 'truth', 'verdict', 'score', 'joined', 'pose px', 'seconds',
    )  # fmt: skip
    return table(header, rows)


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """An HTML table."""
    head = ''.join(f'<th>{escape(cell)}</th>' for cell in header)
    lines = [
        ''.join(f'<td>{escape(printable(cell, MAX_TEXT_LENGTH))}</td>' for cell in row)
        for row in rows
    ]
    return f'<table><tr>{head}</tr>{"".join(f"<tr>{line}</tr>" for line in lines)}</table>'


def number(value: float) -> str:
    """A number for people; a dash when it is not one."""
    return f'{value:.4g}' if math.isfinite(value) else '-'


def _jpeg(picture: np.ndarray) -> str:
    """Base64 of a picture uint8 (H, W, 3) as JPEG."""
    import cv2

    ok, data = cv2.imencode('.jpg', picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 82])
    assert ok
    return base64.b64encode(data.tobytes()).decode()
