import numpy as np
import pytest

from pad_inspection.datatypes import Inspection, PoseEstimate, PoseStatus, Reason, Verdict
from pad_inspection.offline import report
from pad_inspection.offline.evaluate import ViewRecord, summarize

SIZE = 48


def _record(index, defect, score, localized=True):
    rng = np.random.default_rng(index)
    query = rng.integers(0, 256, (SIZE, SIZE, 3)).astype(np.uint8)
    gt_mask = np.zeros((SIZE, SIZE), bool)
    if defect != 'good':
        gt_mask[10:20, 10:20] = True
    scores = np.full((SIZE, SIZE), np.nan, np.float32)
    scores[5:40, 5:40] = 0.1
    scores[10:20, 10:20] = score
    if localized:
        rejected = score >= 1
        inspection = Inspection(
            Verdict.REJECT if rejected else Verdict.PASS,
            Reason.ANOMALY if rejected else Reason.NONE,
            score=score,
            threshold=1.0,
            anomaly_map=scores,
            reference=query,
            query=query,
            timings_ms={'segment': 12.0, 'compare': 5.0},
        )
    else:
        inspection = Inspection(
            Verdict.UNDETERMINED,
            Reason.NOT_LOCALIZED,
            'too few matches <&>',
            PoseEstimate(PoseStatus.TOO_FEW_MATCHES),
            query=query,
        )
    shown = np.nan_to_num(scores) if localized else np.zeros((SIZE, SIZE), np.float32)
    return ViewRecord(
        f'test/{defect}/{index:02d}.png', f'{index:02d}', defect, defect != 'good', inspection,
        gt_mask, shown.astype(np.float32), float('nan'), 0.5,
    )  # fmt: skip


def _write(records, path):
    report.write_report(records, summarize(records, 'coupe <1>', 'ours'), path)
    return path.read_text()


def test_report_shows_everything_and_stands_alone(tmp_path):
    records = [_record(i, 'good', 0.2 + 0.1 * i) for i in range(4)]
    records += [_record(10 + i, 'added', 0.9 + 0.3 * i) for i in range(3)]
    records.append(_record(20, 'removed', 0.0, localized=False))
    html = _write(records, tmp_path / 'report.html')
    for text in ('image AUROC', 'AUPRO', 'PRO curve', 'ROC curves', 'Image scores', 'compare'):
        assert text in html
    for record in records:
        assert record.name in html
    assert html.count('<img') == len(records) and html.count('<svg') == 3
    assert 'coupe &lt;1&gt;' in html and 'too few matches &lt;&amp;&gt;' in html
    assert 'src="http' not in html and '<script' not in html and '<link' not in html


def test_report_without_defects(tmp_path):
    html = _write([_record(0, 'good', 0.3), _record(1, 'good', 0.4)], tmp_path / 'report.html')
    assert 'undefined' in html and 'PRO curve' not in html


def test_galleries_show_the_worst_first(tmp_path):
    records = [_record(i, 'good', 0.1 * i) for i in range(1, 12)]
    records += [_record(20 + i, 'added', 1.0 + i) for i in range(3)]
    html = _write(records, tmp_path / 'report.html')
    panels = html.split('<h2>Every picture')[0]
    assert panels.index('good/11.png') < panels.index('good/10.png')
    assert 'good/01.png' not in panels
    assert panels.index('added/20.png') < panels.index('added/22.png')


def test_view_panel_shape_and_truth():
    record = _record(3, 'added', 1.5)
    panel = report.view_panel(
        record.inspection.query, None, record.inspection.anomaly_map, None, record.gt_mask,
        tile_px=SIZE,
    )  # fmt: skip
    assert panel.shape == (SIZE, 4 * SIZE + 3 * 4, 3) and panel.dtype == np.uint8
    yellow = (panel[:, :SIZE] == (255, 220, 0)).all(axis=2)
    assert yellow.any() and not yellow[15, 15]
    heat = panel[:, 2 * (SIZE + 4) : 2 * (SIZE + 4) + SIZE]
    assert heat[15, 15].astype(int).sum() > heat[30, 30].astype(int).sum()
    assert heat[0, 0] == pytest.approx(40)
