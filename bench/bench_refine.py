"""Measure the pose refinement on the intact test pieces of a class.

Each true pose is disturbed by some pixels and refined; the error is the mean distance in px
between the projections of surface points. Written to out/bench/refine.json as well.

Examples:
  make bench-refine
  python bench/bench_refine.py demo/bundle/coupe/gaussians.ply demo/data/coupe --off-px 3
"""

import argparse
import json
import time
from pathlib import Path

import numpy as np
import torch

from pad_inspection.config import RefinementConfig
from pad_inspection.dataset import read_test_images
from pad_inspection.datatypes import Rigid3
from pad_inspection.geometry import pose_error_px, rotation_from_axis_angle
from pad_inspection.rendering.gaussians import read_ply
from pad_inspection.rendering.pose_refiner import refine_pose
from pad_inspection.rendering.renderer import SplatScene


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    bundle = Path('demo/bundle/coupe/gaussians.ply')
    parser.add_argument('model', type=Path, nargs='?', default=bundle)
    parser.add_argument('class_dir', type=Path, nargs='?', default=Path('demo/data/coupe'))
    parser.add_argument('--off-px', type=float, default=1.0, help='size of the disturbance')
    parser.add_argument('--coarse-factor', type=int, default=RefinementConfig().coarse_factor)
    parser.add_argument('--all', action='store_true', help='defective pieces as well')
    parser.add_argument('--threads', type=int, default=1)
    parser.add_argument('--out', type=Path, default=Path('out/bench/refine.json'))
    return parser.parse_args()


def disturbed(pose: Rigid3, scene: SplatScene, camera, off_px: float, rng) -> Rigid3:
    """A pose whose six motions each move the object's rim by about ``off_px``."""
    middle = pose.rotation @ scene.center + pose.translation
    distance, focal = np.linalg.norm(middle), camera.K[0, 0]
    turn = rng.normal(size=3) * off_px * distance / (focal * scene.radius)
    shift = rng.normal(size=3) * off_px * distance / focal * [1, 1, distance / scene.radius]
    rotation = rotation_from_axis_angle(turn) @ pose.rotation
    return Rigid3(rotation, middle + shift - rotation @ scene.center)


def main() -> None:
    options = arguments()
    torch.set_num_threads(options.threads)
    gaussians = read_ply(options.model)
    scene = SplatScene(gaussians, 'cpu', options.threads)
    points = gaussians.means[gaussians.opacities > 0.3][::40].astype(np.float64)
    config = RefinementConfig(coarse_factor=options.coarse_factor)
    rng = np.random.default_rng(0)
    rows = []
    for test in read_test_images(options.class_dir):
        if test.cam_from_object is None or (test.defect != 'good' and not options.all):
            continue
        truth = test.cam_from_object
        start = disturbed(truth, scene, test.camera, options.off_px, rng)
        image = test.load_image()
        wall, cpu = time.perf_counter(), time.process_time()
        refined = refine_pose(scene, image, None, test.camera, start, config)
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        before, after = (
            pose_error_px(test.camera, pose, truth, points)
            for pose in (start, refined.cam_from_object)
        )
        rows.append(
            {
                'image': test.name,
                'before_px': before,
                'after_px': after,
                'steps': refined.steps,
                'agreement': refined.agreement,
                'wall_s': wall,
                'cpu_s': cpu,
            }
        )
        print(
            f'{test.name:>20}: {before:5.2f} -> {after:5.2f} px, {refined.steps:2} steps, '
            f'agreement {refined.agreement:.3f}, {cpu:.2f} s of CPU',
            flush=True,
        )
    names = ('before_px', 'after_px', 'steps', 'wall_s', 'cpu_s')
    summary = {name: float(np.median([row[name] for row in rows])) for name in names}
    summary['after_px_p90'] = float(np.quantile([row['after_px'] for row in rows], 0.9))
    print('median:', ', '.join(f'{name} {value:.3g}' for name, value in summary.items()))
    options.out.parent.mkdir(parents=True, exist_ok=True)
    record = {'gaussians': len(gaussians), 'threads': options.threads}
    record |= {'off_px': options.off_px, 'median': summary, 'rows': rows}
    options.out.write_text(json.dumps(record, indent=1))


if __name__ == '__main__':
    main()
