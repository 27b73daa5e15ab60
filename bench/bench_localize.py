"""Measure localisation: from local features alone, and after the photometric refinement.

Prints the milliseconds of each stage (median over the pictures) and how far off the poses are:
mean distance in px between the projections of the model's points at the estimated and at the true
pose. The true poses are used for measuring only. Written to out/bench/localize.json as well.
Limits on agreement and silhouette are not applied here: `pad evaluate` shows what is refused.

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

from pad_inspection import pose_trust
from pad_inspection.background.segmentation import create_segmenter
from pad_inspection.config import InspectionConfig, MappingConfig, RefinementConfig, from_dict
from pad_inspection.dataset import read_test_images, read_training_views
from pad_inspection.datatypes import PoseEstimate, Rigid3
from pad_inspection.geometry import pose_error_px
from pad_inspection.localization.localizer import Localizer
from pad_inspection.localization.reference import ReferenceModel
from pad_inspection.offline.evaluate_all import spread
from pad_inspection.rendering.gaussians import read_ply
from pad_inspection.rendering.pose_anchors import Matches
from pad_inspection.rendering.pose_refiner import refine_pose, verify_pose
from pad_inspection.rendering.renderer import SplatScene


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('bundle', type=Path, nargs='?', default=Path('demo/bundle/coupe'))
    parser.add_argument('class_dir', type=Path, nargs='?', default=Path('demo/data/coupe'))
    parser.add_argument('--features', default='xfeat', choices=('xfeat', 'aliked', 'sift'))
    parser.add_argument('--matcher', default='mutual_nn', choices=('mutual_nn', 'lightglue'))
    parser.add_argument('--no-mask', action='store_true', help='match on the whole picture')
    parser.add_argument('--no-refine', action='store_true', help='local features only')
    parser.add_argument('--limit', type=int, help='only so many pictures, spread over all')
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


def error_array(rows: list[dict], key: str) -> np.ndarray:
    """Errors (N,) px of the pictures, infinite where there is no pose."""
    return np.array([np.inf if row[key] is None else row[key] for row in rows])


def refined(
    scene: SplatScene, image: np.ndarray, probability, test, found: list[PoseEstimate]
) -> Rigid3 | None:
    """The hypothesis whose render explains the picture best, aligned to the picture."""
    found = [one for one in found if one.cam_from_object is not None]
    if not found:
        return None

    def evidence(one: PoseEstimate) -> float:
        explained = verify_pose(scene, image, probability, test.camera, one.cam_from_object)
        return pose_trust.evidence(one, *explained)

    best = max(found, key=evidence) if len(found) > 1 else found[0]
    matches = Matches(best.points2d[best.inliers], best.points3d[best.inliers])
    return refine_pose(
        scene,
        image,
        probability,
        test.camera,
        best.cam_from_object,
        RefinementConfig(),
        matches,
    ).cam_from_object


def main() -> None:
    options = arguments()
    config = from_dict(
        InspectionConfig,
        {'localization': {'features': options.features, 'matcher': options.matcher}},
    )
    reference = reference_of(options, config)
    localizer = Localizer(reference, config.localization)
    segmenter = None if options.no_mask else create_segmenter(config.segmentation, threads=1)
    scene = None
    if not options.no_refine:
        scene = SplatScene(read_ply(options.bundle / 'gaussians.ply'), device='cpu')
    points = reference.points[:: max(1, len(reference.points) // 600)]
    rows, stages = [], []
    for test in spread(read_test_images(options.class_dir), options.limit):
        image = test.load_image()
        probability = None if segmenter is None else segmenter.segment(image)
        if not rows:
            warm = localizer.localize(image, probability, test.camera)
            if scene is not None:
                refined(scene, image, probability, test, warm)
        begin, cpu = time.perf_counter(), time.process_time()
        found = localizer.localize(image, probability, test.camera)
        cpu_ms = (time.process_time() - cpu) * 1e3
        wall_ms = (time.perf_counter() - begin) * 1e3
        best, pose = found[0], None
        timings = dict(localizer.timings_ms)
        if scene is not None:
            begin = time.perf_counter()
            pose = refined(scene, image, probability, test, found)
            timings['refine'] = (time.perf_counter() - begin) * 1e3
        error, refined_error = None, None
        if best.cam_from_object is not None:
            error = pose_error_px(test.camera, best.cam_from_object, test.cam_from_object, points)
        if pose is not None:
            refined_error = pose_error_px(test.camera, pose, test.cam_from_object, points)
        rows.append(
            {
                'image': test.name,
                'status': best.status.value,
                'error_px': error,
                'refined_error_px': refined_error,
                'inliers': best.num_inliers,
                'correspondences': len(best.points2d),
                'hypotheses': len(found),
                'wall_ms': wall_ms,
                'cpu_ms': cpu_ms,
            }
        )
        timings['total'] = sum(timings.values())
        stages.append(timings)
    errors = error_array(rows, 'error_px')
    after = error_array(rows, 'refined_error_px')
    names = list(dict.fromkeys(name for one in stages for name in one))
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
        'refined_share_below_1px': float((after < 1).mean()),
        'refined_off_by_more_than_5px': int((np.isfinite(after) & (after >= 5)).sum()),
        'refined_median_error_px': float(np.median(after)),
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
