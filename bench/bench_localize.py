"""Measure localisation from local features alone, before the photometric refinement.

Prints the milliseconds of each stage (median over the pictures) and how far off the poses are:
mean distance in px between the projections of the model's points at the estimated and at the true
pose. The true poses are used for measuring only. Written to out/bench/localize.json as well.

Every test picture of the class is segmented by the network (or not at all: --no-mask); with
other features than the bundle's, the training views are mapped first.

Examples:
  make bench-localize
  python bench/bench_localize.py --features aliked --matcher lightglue --limit 12
  python bench/bench_localize.py demo/bundle/coupe demo/data/coupe --no-mask
"""

import argparse
import json
import tempfile
import time
from pathlib import Path

import numpy as np

from pad_inspection.background.segmentation import create_segmenter
from pad_inspection.config import InspectionConfig, MappingConfig, from_dict
from pad_inspection.dataset import read_test_images, read_training_views
from pad_inspection.geometry import pose_error_px
from pad_inspection.localization.localizer import Localizer
from pad_inspection.localization.reference import ReferenceModel


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('bundle', type=Path, nargs='?', default=Path('demo/bundle/coupe'))
    parser.add_argument('class_dir', type=Path, nargs='?', default=Path('demo/data/coupe'))
    parser.add_argument('--features', default='xfeat', choices=('xfeat', 'aliked', 'sift'))
    parser.add_argument('--matcher', default='mutual_nn', choices=('mutual_nn', 'lightglue'))
    parser.add_argument('--no-mask', action='store_true', help='match on the whole picture')
    parser.add_argument('--limit', type=int, help='only the first pictures')
    parser.add_argument('--out', type=Path, default=Path('out/bench/localize.json'))
    return parser.parse_args()


def reference_of(options: argparse.Namespace, config: InspectionConfig) -> ReferenceModel:
    """The bundle's reference model, or one mapped anew for other features."""
    stored = options.bundle / 'features.npz'
    if stored.is_file():
        reference = ReferenceModel.load(stored)
        if reference.features == options.features:
            return reference
    from pad_inspection.offline.build_model import map_views

    print(f'mapping {options.class_dir} with {options.features}')
    with tempfile.TemporaryDirectory() as work_dir:
        views = read_training_views(options.class_dir)
        return map_views(views, MappingConfig(), config.localization, work_dir).reference


def main() -> None:
    options = arguments()
    config = from_dict(
        InspectionConfig,
        {'localization': {'features': options.features, 'matcher': options.matcher}},
    )
    reference = reference_of(options, config)
    localizer = Localizer(reference, config.localization)
    segmenter = None if options.no_mask else create_segmenter(config.segmentation, 1)
    points = reference.points[:: max(1, len(reference.points) // 600)]
    rows, stages = [], []
    for test in read_test_images(options.class_dir)[: options.limit]:
        image = test.load_image()
        probability = None if segmenter is None else segmenter.segment(image)
        if not rows:
            localizer.localize(image, probability, test.camera)  # warm-up
        begin, cpu = time.perf_counter(), time.process_time()
        found = localizer.localize(image, probability, test.camera)
        cpu_ms = (time.process_time() - cpu) * 1e3
        wall_ms = (time.perf_counter() - begin) * 1e3
        best = found[0]
        error = None
        if best.cam_from_object is not None:
            error = pose_error_px(test.camera, best.cam_from_object, test.cam_from_object, points)
        rows.append(
            {
                'image': test.name,
                'status': best.status.value,
                'error_px': error,
                'inliers': best.num_inliers,
                'correspondences': len(best.points2d),
                'hypotheses': len(found),
                'wall_ms': wall_ms,
                'cpu_ms': cpu_ms,
            }
        )
        stages.append(dict(localizer.timings_ms))
    errors = np.array([np.inf if row['error_px'] is None else row['error_px'] for row in rows])
    names = list(stages[0])
    report = {
        'features': options.features,
        'matcher': options.matcher,
        'mask': not options.no_mask,
        'images': len(rows),
        'localized': float(np.isfinite(errors).mean()),
        'share_below_1px': float((errors < 1).mean()),
        'share_below_5px': float((errors < 5).mean()),
        'off_by_more_than_5px': int((np.isfinite(errors) & (errors >= 5)).sum()),
        'median_error_px': float(np.median(errors)),
        'median_wall_ms': float(np.median([row['wall_ms'] for row in rows])),
        'median_cpu_ms': float(np.median([row['cpu_ms'] for row in rows])),
        'stages_ms': {n: float(np.median([s.get(n, 0.0) for s in stages])) for n in names},
        'rows': rows,
    }
    for name, value in report.items():
        if name not in ('rows', 'stages_ms'):
            print(f'{name:<22} {value:.3f}' if isinstance(value, float) else f'{name:<22} {value}')
    for name, value in report['stages_ms'].items():
        print(f'  {name:<20} {value:.1f} ms')
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(report, indent=1) + '\n')


if __name__ == '__main__':
    main()
