import json

import pytest

from pad_inspection.offline.evaluation_summary import summary_tables, write_summary


def report(class_name, method, seed=0, image_auroc=0.9, false_rejects=1, **changes):
    return {
        'class': class_name,
        'preset': method,
        'seed': seed,
        'resolution': [40, 60],
        'image_auroc': image_auroc,
        'object_auroc': 1.0,
        'pixel_auroc': 0.99,
        'aupro': None,
        'f1_max_pixel': 0.5,
        'f1_pixel': 0.4,
        'localized_fraction': 1.0,
        'pose_fraction_below_1px': 1.0,
        'pose_median_px': 0.2,
        'pose_silent_failures': 0,
        'median_seconds_per_image': 1.5,
        'median_ms_per_step': {'segment': 100.0, 'compare': 50.0},
        'calibration': {'num_normals': 26},
        'verdicts': {
            'false_rejects': false_rejects,
            'intact_objects': 6,
            'missed_defects': 0,
            'defective_objects': 7,
        },
        **changes,
    }


def rows_of(tables, title_part):
    (found,) = [t for t in tables if title_part in t[0]]
    return {row[0]: dict(zip(found[1], row, strict=True)) for row in found[2]}


def test_means_over_classes():
    tables = summary_tables(
        [
            report('car', 'ours', image_auroc=0.9),
            report('truck', 'ours', image_auroc=1.0),
            report('car', 'paper', image_auroc=0.5),
        ]
    )
    row = rows_of(tables, 'Mean over 2 classes')
    assert row['ours']['image AUROC'] == '0.950'
    assert row['paper']['image AUROC'] == '0.500'
    assert row['ours']['AUPRO'] == '-'  # undefined everywhere
    by_class = rows_of(tables, 'image AUROC')
    assert by_class['truck'] == {'class': 'truck', 'ours': '1.000', 'paper': '-'}
    assert rows_of(tables, 'milliseconds')['ours']['all'] == '150'


def test_seeds_give_a_standard_deviation_of_their_means():
    reports = [
        report(name, 'ours', seed, value)
        for seed, values in enumerate([(0.8, 0.9), (0.9, 1.0)])
        for name, value in zip(('car', 'truck'), values)
    ]
    # means .85 and .95: standard deviation .0707
    assert rows_of(summary_tables(reports), 'Mean over')['ours']['image AUROC'] == '0.900 ± 0.071'


def test_verdicts_are_pooled():
    tables = summary_tables([report('car', 'ours'), report('truck', 'ours', false_rejects=2)])
    row = rows_of(tables, 'calibrated threshold')['ours']
    assert row['intact objects rejected'].startswith('3 of 12: 25.0%')
    assert row['defective objects missed'].startswith('0 of 14: 0.0%')
    without = [report('car', 'ours', verdicts=None)]
    assert rows_of(summary_tables(without), 'calibrated')['ours']['normals a class'] == '-'


def test_files_are_written(tmp_path):
    write_summary([report('car', 'ours')], tmp_path / 'out')
    page = (tmp_path / 'out' / 'summary.html').read_text()
    assert 'seed_0/car/ours/report.html' in page and '<table>' in page
    assert '| car | 0.900 |' in (tmp_path / 'out' / 'summary.md').read_text()
    assert json.loads((tmp_path / 'out' / 'summary.json').read_text())[0]['class'] == 'car'
    with pytest.raises(ValueError, match='no reports'):
        summary_tables([])
