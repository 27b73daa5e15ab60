"""Measure mapping without known cameras: training views of a class with their poses withheld.

The poses serve for measuring only: the estimated cameras are aligned to them by one similarity,
and what is left is the error. The scale is set by the distance of two cameras (their true one),
as a user would set it, and compared with that of the alignment. Written to
out/bench/mapping.json as well.

`--around` and `--within` take the views from one side only, which is what most lines show and far
easier: no side is there that looks like another. The views of a data set are in no order;
`--tour` puts them into the order of a walk from view to nearest view, as a turntable or a video
would give them, and matches neighbours only.

Examples:
  python bench/bench_mapping.py
  python bench/bench_mapping.py --around 030 --within 48 --matcher mutual_nn
  python bench/bench_mapping.py --tour 4 --estimate-intrinsics
  python bench/bench_mapping.py out/benchmark/police_car --features xfeat --matcher mutual_nn
"""

import argparse
import json
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

from pad_inspection.config import LocalizationConfig
from pad_inspection.dataset import TrainingView, read_training_views
from pad_inspection.datatypes import Rigid3
from pad_inspection.geometry import camera_center, identity, rotation_angle_deg
from pad_inspection.offline.build_model import ModelTooPoorError
from pad_inspection.offline.photographs.estimate import EstimatedCameras, estimate_cameras
from pad_inspection.offline.photographs.options import PhotographsConfig
from pad_inspection.offline.photographs.scale import KnownScale


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('class_dir', type=Path, nargs='?', default=Path('demo/data/coupe'))
    parser.add_argument('--features', default='aliked', choices=('xfeat', 'aliked', 'sift'))
    parser.add_argument('--matcher', default='lightglue', choices=('mutual_nn', 'lightglue'))
    parser.add_argument('--tour', type=int, default=0, metavar='N', help='ordered; match N next')
    parser.add_argument('--around', metavar='VIEW', help='only views from around this one')
    parser.add_argument('--within', type=float, default=48.0, metavar='DEG', help='of --around')
    parser.add_argument('--estimate-intrinsics', action='store_true', help='focal 20% off')
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--out', type=Path, default=Path('out/bench/mapping.json'))
    return parser.parse_args()


def tour(views: list[TrainingView]) -> list[TrainingView]:
    """Views in the order of a walk to the nearest one that was not visited."""
    centers = np.stack([camera_center(view.cam_from_object) for view in views])
    order, left = [0], set(range(1, len(views)))
    while left:
        here = centers[order[-1]]
        order.append(min(left, key=lambda i: float(np.linalg.norm(centers[i] - here))))
        left.remove(order[-1])
    return [views[i] for i in order]


def around(views: list[TrainingView], name: str, within_deg: float) -> list[TrainingView]:
    """Views whose direction differs by less than an angle from that of a view."""
    rays = np.stack([camera_center(view.cam_from_object) for view in views])
    rays /= np.linalg.norm(rays, axis=1, keepdims=True)
    (middle,) = (ray for view, ray in zip(views, rays) if view.name == name)
    near = rays @ middle > np.cos(np.radians(within_deg))
    return [view for view, kept in zip(views, near) if kept]


def withheld(views: list[TrainingView], wrong_focal: bool) -> list[TrainingView]:
    """The same pictures without poses, and with a wrong focal length if asked for."""
    camera = views[0].camera
    if wrong_focal:
        K = camera.K.copy()
        K[0, 0], K[1, 1] = 1.2 * K[0, 0], 1.2 * K[1, 1]
        camera = replace(camera, K=K)
    return [replace(view, camera=camera, cam_from_object=identity()) for view in views]


def errors(found: EstimatedCameras, views: list[TrainingView]) -> dict:
    """Rotation and position errors after a similarity, and the scale of that similarity.

    Source: Umeyama, IEEE TPAMI 1991.
    """
    truth = {view.name: view.cam_from_object for view in views}
    names = sorted(found.poses)
    a = np.stack([camera_center(found.poses[name]) for name in names])
    b = np.stack([camera_center(truth[name]) for name in names])
    mean_a, mean_b = a.mean(axis=0), b.mean(axis=0)
    U, S, Vt = np.linalg.svd((b - mean_b).T @ (a - mean_a))
    sign = np.diag([1, 1, np.sign(np.linalg.det(U @ Vt))])
    rotation = U @ sign @ Vt
    scale = float((S * np.diag(sign)).sum() / ((a - mean_a) ** 2).sum())
    position = np.linalg.norm(scale * (a - mean_a) @ rotation.T + mean_b - b, axis=1)
    turn = np.array(
        [
            rotation_angle_deg(
                Rigid3(found.poses[name].rotation @ rotation.T, np.zeros(3)), truth[name]
            )
            for name in names
        ]
    )
    distance = np.linalg.norm(b, axis=1)
    return {
        'rotation_deg': {'median': float(np.median(turn)), 'largest': float(turn.max())},
        'position_share_of_distance': {
            'median': float(np.median(position / distance)),
            'largest': float((position / distance).max()),
        },
        'off_by_more_than_5_deg': int((turn > 5).sum()),
        'scale_error': abs(1 / scale - 1),
    }


def main() -> None:
    options = arguments()
    views = read_training_views(options.class_dir)
    if options.around:
        views = around(views, options.around, options.within)
    if options.tour:
        views = tour(views)
    first, second = views[0], views[len(views) // 2]
    spacing = np.linalg.norm(
        camera_center(first.cam_from_object) - camera_center(second.cam_from_object)
    )
    config = PhotographsConfig(sequence_window=options.tour, min_photos=min(12, len(views) // 2))
    localization = LocalizationConfig(features=options.features, matcher=options.matcher)
    report = {
        'class': options.class_dir.name,
        'views': f'within {options.within:g} deg of {options.around}' if options.around else 'all',
        'features': options.features,
        'matcher': options.matcher,
        'ordered': options.tour,
        'intrinsics': 'estimated from 20% off' if options.estimate_intrinsics else 'known',
    }
    begin, cpu = time.perf_counter(), time.process_time()
    with tempfile.TemporaryDirectory() as work_dir:
        try:
            found = estimate_cameras(
                withheld(views, options.estimate_intrinsics),
                KnownScale(camera_spacing=(first.name, second.name, float(spacing))),
                config,
                localization,
                Path(work_dir),
                fixed_intrinsics=not options.estimate_intrinsics,
                seed=options.seed,
                progress=lambda share, text: print(f'{share:5.0%} {text}', flush=True),
            )
            report |= {'refused': '', **found.report, **errors(found, views)}
            true_focal = views[0].camera.K[0, 0]
            report['focal_error'] = abs(found.report['focal_px'] / true_focal - 1)
        except ModelTooPoorError as error:
            report['refused'] = str(error)
    report['wall_s'] = round(time.perf_counter() - begin, 1)
    report['cpu_s'] = round(time.process_time() - cpu, 1)
    for name, value in report.items():
        print(f'{name:<28} {value}')
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(report, indent=1) + '\n')


if __name__ == '__main__':
    main()
