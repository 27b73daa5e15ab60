import csv
import math
from dataclasses import replace

import numpy as np
import pytest

from pad_inspection.config import DecisionConfig
from pad_inspection.datatypes import Inspection, PoseEstimate, PoseStatus, Reason, Verdict
from pad_inspection.offline.evaluate import ViewRecord, summarize, write_objects, write_scores


def view(object_id, defect, score, pose_error_px=float('nan')):
    """A view of 8x8 px whose map is its score in the defect; score None = not localised."""
    mask = np.zeros((8, 8), bool)
    mask[2:4, 2:4] = defect != 'good'
    scores = np.zeros((8, 8), np.float32)
    if score is None:
        pose = PoseEstimate(PoseStatus.TOO_FEW_MATCHES)
        seen = Inspection(Verdict.UNDETERMINED, Reason.NOT_LOCALIZED, pose=pose)
    else:
        scores[2:4, 2:4] = score
        rejected = score >= 1
        seen = Inspection(
            Verdict.REJECT if rejected else Verdict.PASS,
            Reason.ANOMALY if rejected else Reason.NONE,
            score=score,
            threshold=1.0,
            anomaly_map=scores,
        )
    return ViewRecord(
        'v', object_id, defect, defect != 'good', seen, mask, scores, pose_error_px, 1.0
    )


def test_views_that_were_not_localised_count_as_rejected():
    records = [view('a', 'good', 0.5), view('b', 'good', None), view('c', 'added', 2.0)]
    report = summarize(records, 'part', 'ours')
    # the unlocalised intact view ranks above the defect: one of two pairs is right
    assert report['image_auroc'] == pytest.approx(0.5)
    assert report['object_auroc'] == pytest.approx(0.5)
    assert report['localized_fraction'] == pytest.approx(2 / 3)
    assert report['verdicts']['false_rejects'] == 1
    assert report['verdicts']['missed_defects'] == 0


def test_objects_are_judged_by_the_rules_of_the_model():
    records = [view('a', 'good', 1.2), view('b', 'added', 3.0)]
    assert summarize(records, 'part', 'ours')['verdicts']['false_rejects'] == 1
    by_score = DecisionConfig(reject_share=0.0)
    calibrated = summarize(records, 'part', 'ours', by_score, 1.5)['verdicts']
    assert (calibrated['false_rejects'], calibrated['missed_defects']) == (0, 0)
    # a single view that rejects is not outvoted by a wide limit on the object
    assert summarize(records, 'part', 'ours', DecisionConfig(), 1.5)['verdicts']['false_rejects']
    strict = summarize(records, 'part', 'ours', DecisionConfig(min_views=2), 1.5)['verdicts']
    assert strict['false_rejects'] == 1


def test_a_joined_score_ranks_a_picture_and_leaves_its_verdict():
    records = [view('a', 'good', 1.2), view('b', 'added', 0.8)]
    assert summarize(records, 'part', 'ours')['image_auroc'] == 0.0
    for index, joined in enumerate((0.3, 0.7)):
        seen = replace(records[index].inspection, joined_score=joined)
        records[index] = replace(records[index], inspection=seen)
    report = summarize(records, 'part', 'ours')
    assert report['image_auroc'] == 1.0
    assert report['verdicts']['false_rejects'] == 1
    lost = view('b', 'added', None)
    assert lost.score == math.inf


def test_a_line_for_each_object_says_what_its_score_is_made_of(tmp_path):
    records = [view('a', 'good', 0.2), view('b', 'added', 0.8), view('b', 'added', 0.6)]
    for index in (1, 2):
        seen = replace(records[index].inspection, surface=np.array([0.1, 1.2], np.float32))
        records[index] = replace(records[index], inspection=seen)
    records.append(view('c', 'good', None))
    write_objects(records, tmp_path / 'objects.csv', DecisionConfig(), 1.0)
    with open(tmp_path / 'objects.csv', newline='') as stream:
        intact, defective, lost = csv.DictReader(stream)
    assert (intact['verdict'], intact['score'], intact['score_at_places']) == (
        'PASS',
        '0.2',
        'nan',
    )
    assert (defective['verdict'], defective['views'], defective['judged']) == ('REJECT', '2', '2')
    assert defective['score_of_views'] == '0.8' and defective['score'] == '1.2'
    assert (lost['verdict'], lost['reason']) == ('UNDETERMINED', 'NOT_LOCALIZED')


def test_joined_maps_count_for_the_object(tmp_path):
    records = [view('a', 'good', 0.9), view('b', 'added', 0.8), view('b', 'added', 0.6)]
    assert summarize(records, 'part', 'ours')['object_auroc'] == 0.0
    for index, ratio in enumerate((0.4, 1.5, 1.5)):
        seen = replace(records[index].inspection, piece_score=ratio, piece_views=2)
        records[index] = replace(records[index], inspection=seen)
    report = summarize(records, 'part', 'ours', DecisionConfig(), 0.95)
    assert report['object_auroc'] == 1.0
    assert report['verdicts']['false_rejects'] == report['verdicts']['missed_defects'] == 0
    write_objects(records, tmp_path / 'objects.csv', DecisionConfig(), 0.95)
    with open(tmp_path / 'objects.csv', newline='') as stream:
        rows = list(csv.DictReader(stream))
    assert [row['score_of_joined_maps'] for row in rows] == ['0.38', '1.425']
    assert [row['score'] for row in rows] == ['0.9', '1.425']


def test_pose_numbers_and_silent_failures():
    records = [view('a', 'good', 0.1, e) for e in (0.2, 0.4, 6.0)] + [view('a', 'good', None)]
    report = summarize(records, 'part', 'ours')
    assert report['pose_median_px'] == pytest.approx(0.4)
    assert report['pose_fraction_below_1px'] == pytest.approx(0.5)
    assert report['pose_silent_failures'] == 1


def test_undefined_numbers_are_null_with_a_reason():
    report = summarize([view('a', 'good', 0.1)], 'part', 'ours')
    for name in ('image_auroc', 'pixel_auroc', 'aupro', 'pose_median_px'):
        assert report[name] is None
        assert report['undefined'][name]
    assert math.isfinite(report['median_seconds_per_image'])
    with pytest.raises(ValueError, match='no test pictures'):
        summarize([], 'part', 'ours')


def test_no_text_of_a_data_set_is_a_formula_in_a_table(tmp_path):
    records = [replace(view('=1+1', 'added', 2.0), name='@x\n')]
    write_scores(records, tmp_path / 'scores.csv')
    write_objects(records, tmp_path / 'objects.csv', DecisionConfig(), 1.0)
    for name in ('scores.csv', 'objects.csv'):
        with open(tmp_path / name, newline='') as stream:
            (row,) = csv.DictReader(stream)
        assert row['object_id'] == "'=1+1"
        assert all(cell[0] not in '=+@' for cell in row.values() if cell)
        assert row.get('image', r"'@x\n") == r"'@x\n"
    assert sorted(path.name for path in tmp_path.iterdir()) == ['objects.csv', 'scores.csv']
