"""Find the cameras of photographs: from plain pictures to a data set that `pad build` takes.

PHOTOS is a folder of photographs of ONE good piece, alone, from all sides, taken with one camera
at one focal length. The result is a folder with transforms.json and train/good/*.png.

Two ways:
  a marker board under the product (--board): each photograph that shows the board gets its camera
  from it, in metres. The surest way; `pad dataset board` makes the picture to print.
  the photographs alone: exactly one length must be known, or there are no metres: the length of
  the object, the distance of two cameras, or of two points marked in photographs. What does not
  fit together is refused with the reason.

Examples:
  pad dataset cameras photos --board 7x5:0.03:0.022 --segment --out my_product
  pad dataset cameras photos --object-length 0.112 --out my_product
  pad dataset cameras photos --camera camera.json --camera-spacing A B 0.05 --out my_product
  pad dataset cameras video --sequence 6 --points marked.json --out my_product
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import numpy as np

from pad_inspection import images
from pad_inspection.config import (
    LocalizationConfig,
    SegmentationConfig,
    from_dict,
    load_yaml,
)
from pad_inspection.dataset import TrainingView, read_camera, write_transforms
from pad_inspection.datatypes import Camera
from pad_inspection.geometry import scale_camera
from pad_inspection.nerf_files import write_json
from pad_inspection.offline.photographs import photos
from pad_inspection.offline.photographs.arguments import add_source_arguments
from pad_inspection.offline.photographs.estimate import EstimatedCameras, estimate_cameras
from pad_inspection.offline.photographs.options import PhotographsConfig
from pad_inspection.offline.photographs.scale import KnownScale, read_point_distance
from pad_inspection.rendering.backends import torch_device

REPORT = 'cameras.json'


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `pad dataset cameras`."""
    parser.add_argument('photos', type=Path, metavar='PHOTOS', help='folder of photographs')
    parser.add_argument('--out', type=Path, required=True, metavar='CLASS_DIR')
    add_source_arguments(parser)
    parser.add_argument('--features', default='aliked', choices=('aliked', 'xfeat', 'sift'))
    parser.add_argument('--matcher', default='lightglue', choices=('lightglue', 'mutual_nn'))
    parser.add_argument('--seed', type=int, default=0, help='of everything random')
    parser.add_argument(
        '--device',
        choices=('auto', 'cpu', 'cuda'),
        default='auto',
        help='where networks run (default: auto, cuda if there is any)',
    )


def run(arguments: argparse.Namespace) -> int:
    """Run `pad dataset cameras`."""
    localization = LocalizationConfig(features=arguments.features, matcher=arguments.matcher)
    report = make_class_dir(arguments, arguments.photos, arguments.out, localization)
    print_report(report, arguments.out)
    return 0


def make_class_dir(
    arguments: argparse.Namespace,
    photo_dir: Path,
    class_dir: Path,
    localization: LocalizationConfig,
    progress: Callable[[str], object] | None = None,
) -> dict:
    """Write a data set of photographs with their cameras.

    Args:
        arguments: what add_source_arguments gave, seed and device.
        photo_dir: the photographs.
        class_dir: where the data set goes.
        localization: features and matcher for mapping.
        progress: gives a context manager with an update(fraction, text) function for a title.

    Returns:
        The report, as written to cameras.json.

    Raises:
        NoCudaError: device 'cuda' was asked for and there is none.
        ModelTooPoorError: the photographs do not give cameras that can be trusted.
        FileNotFoundError, ValueError: bad input.
    """
    config = PhotographsConfig()
    if arguments.photographs_config:
        config = load_yaml(PhotographsConfig, arguments.photographs_config)
    if arguments.sequence is not None:
        config = from_dict(PhotographsConfig, {'sequence_window': arguments.sequence}, config)
    paths = photos.find_photos(photo_dir)
    given = read_camera(arguments.camera) if arguments.camera else None
    device = torch_device(arguments.device)
    segment = _segmenter(device) if arguments.segment else None
    if (class_dir / 'transforms.json').exists() or (class_dir / 'train').exists():
        raise ValueError(f'{class_dir} holds a data set already: name another folder')
    class_dir.parent.mkdir(parents=True, exist_ok=True)
    # what is refused leaves nothing behind
    with (
        tempfile.TemporaryDirectory(prefix='.photographs_', dir=class_dir.parent) as unfinished,
        (progress or _silent)('cameras') as update,
    ):
        target = Path(unfinished)
        if arguments.board:
            if arguments.object_length or arguments.camera_spacing or arguments.points:
                raise ValueError('the marker board gives the metres: name no other length')
            report = _from_board(arguments.board, paths, given, target, config, segment)
        else:
            known = _known_scale(arguments, paths)
            report = _from_photos(
                paths, given, known, target, config, localization, segment,
                arguments.seed or 0, update, device,
            )  # fmt: skip
        write_json(target / REPORT, report)
        class_dir.mkdir(exist_ok=True)
        for part in target.iterdir():
            part.rename(class_dir / part.name)
    return report


def print_report(report: dict, class_dir: Path) -> None:
    """Tell what was found."""
    print(f'{class_dir}: {report["registered"]} of {report["photographs"]} photographs')
    for key, value in report.items():
        if key not in ('left_out', 'registered', 'photographs'):
            print(f'  {key}: {json.dumps(_rounded(value))}')
    for name, why in report['left_out'].items():
        print(f'  left out {name}: {why}')


def _rounded(value):
    """Numbers for people."""
    if isinstance(value, dict):
        return {k: _rounded(v) for k, v in value.items()}
    return round(value, 3) if isinstance(value, float) else value


def _silent(title: str):
    """A context manager whose update function does nothing."""
    del title
    return nullcontext(lambda fraction, text='': None)


def _segmenter(device: str) -> Callable[[np.ndarray], np.ndarray]:
    """The default segmentation network."""
    from pad_inspection.background.segmentation import create_segmenter

    return create_segmenter(SegmentationConfig(), device=device).segment


def _known_scale(arguments: argparse.Namespace, paths: list[Path]) -> KnownScale:
    """What the arguments say about lengths."""
    names = {path.stem for path in paths}
    spacing = arguments.camera_spacing
    if spacing is not None:
        try:
            spacing = (spacing[0], spacing[1], float(spacing[2]))
        except ValueError as error:
            raise ValueError(f'--camera-spacing wants metres, got {spacing[2]!r}') from error
        unknown = sorted(set(spacing[:2]) - names)
        if unknown:
            raise ValueError(
                f'--camera-spacing names {unknown}, which are no photographs; wanted names '
                f'without suffix, as {sorted(names)[0]}'
            )
    points = read_point_distance(arguments.points) if arguments.points else None
    return KnownScale(arguments.object_length, spacing, points)


def _from_photos(
    paths, given, known: KnownScale, class_dir, config, localization, segment, seed, update, device
) -> dict:
    """Cameras from the photographs alone."""
    guess = photos.guess_camera(paths, given, config.max_side_px)
    views = photos.prepare_photos(paths, guess.camera, given, class_dir, segment)
    if known.point_distance is not None:
        factor = guess.camera.width / guess.full_width
        first, second, distance = known.point_distance
        marked = (first.scaled(factor), second.scaled(factor), distance)
        known = replace(known, point_distance=marked)
    with tempfile.TemporaryDirectory(prefix='pad_cameras_') as work_dir:
        found = estimate_cameras(
            views, known, config, localization, Path(work_dir),
            fixed_intrinsics=guess.source == 'given', seed=seed, progress=update, device=device,
        )  # fmt: skip
    _write(views, found, class_dir)
    return {'method': 'photographs', 'intrinsics': guess.source, **found.report}


def _from_board(text, paths, given: Camera | None, class_dir, config, segment) -> dict:
    """Cameras from a marker board."""
    from pad_inspection.offline.photographs.estimate import seen_directions
    from pad_inspection.offline.photographs.marker_board import MarkerBoard, cameras_from_board

    found = cameras_from_board(paths, MarkerBoard.parse(text), given)
    factor = min(1.0, config.max_side_px / max(found.camera.width, found.camera.height))
    small = scale_camera(
        Camera(found.camera.width, found.camera.height, found.camera.K),
        round(found.camera.width * factor),
        round(found.camera.height * factor),
    )
    used = [path for path in paths if path.stem in found.poses]
    views = photos.prepare_photos(used, small, found.camera, class_dir, segment)
    views = [replace(view, cam_from_object=found.poses[view.name]) for view in views]
    write_transforms(class_dir, views)
    errors = list(found.errors_px.values())
    return {
        'method': 'marker board',
        'intrinsics': 'given' if given is not None else 'calibrated',
        'photographs': len(paths),
        'registered': len(views),
        'left_out': found.failed,
        'mean_reprojection_error_px': float(np.mean(errors)),
        'seen_directions': seen_directions([view.cam_from_object for view in views]),
        'focal_px': float(small.K[0, 0]),
    }


def _write(views: list[TrainingView], found: EstimatedCameras, class_dir: Path) -> None:
    """Write transforms.json; pictures that got no camera go, an estimated lens is taken out."""
    pinhole = Camera(found.camera.width, found.camera.height, found.camera.K)
    kept = []
    for view in views:
        if view.name not in found.poses:
            view.path.unlink()
            continue
        if np.any(found.camera.distortion):
            image, alpha = images.read_rgba(view.path)
            image, alpha = (images.undistort(part, found.camera)[0] for part in (image, alpha))
            images.write(view.path, np.dstack([image, alpha]))
        kept.append(replace(view, camera=pinhole, cam_from_object=found.poses[view.name]))
    write_transforms(class_dir, kept)
