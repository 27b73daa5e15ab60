"""Check a data set, this project's own or any folder in the MAD layout, before it is used.

Examples:
    pad dataset check out/benchmark
    pad dataset check out/benchmark/coupe
    pad dataset check my_product        # photographs with transforms.json or a COLMAP model
    pad dataset check out/benchmark --checksums    # to compare two renderings

Checked are: files, sizes, cameras (do the silhouettes of all views fit one object?), objects that
the picture's edge cuts off, masks (0 and 255 only, of the image's size, empty exactly where the
defect is not visible), poses of the test images, and that no test image is a training view. The
table counts what is there; what is wrong is listed below it, and the exit code is 1.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from pad_inspection import dataset, images
from pad_inspection.offline.silhouettes import (
    Silhouette,
    agreed_hull,
    bounds_px,
    contains,
    covered,
)

MIN_VIEWS = 8
# More than this share of the object outside a view's silhouette: its camera is wrong.
_MAX_OUTSIDE = 0.1
# Less of the silhouette than this near the object: the same.
_MIN_COVERED = 0.75
_MAX_LISTED = 12


@dataclass
class ClassReport:
    """What was found in a class.

    Attributes:
        name: of the class.
        faults: what is wrong, for people.
        training: number of training views.
        test: number of test images.
        validation: number of commissioning images.
        anomalous: number of test images that show a defect.
        visible_by_defect: number of such images of each defect.
        fill: smallest and largest share of the frame that the object's longer side takes in the
            test images with a pose; NaN when unknown.
    """

    name: str
    faults: list[str] = field(default_factory=list)
    training: int = 0
    test: int = 0
    validation: int = 0
    anomalous: int = 0
    visible_by_defect: Counter = field(default_factory=Counter)
    fill: tuple[float, float] = (float('nan'), float('nan'))


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of ``pad dataset check``."""
    parser.add_argument('folder', type=Path, help='data set, or one class of it')
    parser.add_argument(
        '--checksums', action='store_true', help='print a SHA-256 over the files of each class'
    )


def run(args: argparse.Namespace) -> int:
    """Check; 0 when nothing is wrong, 1 with the list of faults.

    Raises:
        FileNotFoundError: there is no class folder.
    """
    folders = dataset.class_dirs(args.folder)
    reports = [check_class(folder) for folder in folders]
    print(table(reports))
    if args.checksums:
        for folder in folders:
            print(f'{checksum(folder)}  {dataset.class_name(folder)}')
    for report in reports:
        for fault in report.faults[:_MAX_LISTED]:
            print(f'{report.name}: {fault}', file=sys.stderr)
        if len(report.faults) > _MAX_LISTED:
            print(f'{report.name}: ... {len(report.faults)} faults in all', file=sys.stderr)
    return 1 if any(report.faults for report in reports) else 0


def check_class(class_dir: Path) -> ClassReport:
    """Check one class; never raises for what a folder holds."""
    report = ClassReport(dataset.class_name(class_dir))
    seen: dict[str, str] = {}
    hull = _check_training(class_dir, report, seen)
    fills: list[float] = []
    for what, read in (
        ('test', dataset.read_test_images),
        ('validation', dataset.read_validation_images),
    ):
        try:
            found = read(class_dir)
        except FileNotFoundError as error:
            report.faults.append(str(error))
            continue
        except ValueError as error:
            report.faults.append(str(error))
            continue
        setattr(report, what, len(found))
        for image in found:
            _check_image(image, report, seen)
            fill = _check_pose(image, hull, report)
            if fill is not None:
                fills.append(fill)
        if what == 'test':
            report.anomalous = sum(image.is_anomalous for image in found)
            report.visible_by_defect = Counter(i.defect for i in found if i.is_anomalous)
            if not found:
                report.faults.append('there are no test images')
    if fills:
        report.fill = (min(fills), max(fills))
    return report


def checksum(class_dir: Path) -> str:
    """SHA-256 over names and contents of all files of a class, hexadecimal."""
    total = hashlib.sha256()
    for path in sorted(p for p in Path(class_dir).rglob('*') if p.is_file()):
        name = path.relative_to(class_dir).as_posix()
        total.update(f'{hashlib.sha256(path.read_bytes()).hexdigest()}  {name}\n'.encode())
    return total.hexdigest()


def table(reports: list[ClassReport]) -> str:
    """Counts of all classes as a Markdown table, with a line for the sum."""
    defects = sorted({defect for r in reports for defect in r.visible_by_defect})
    head = ['class', 'training', 'test', 'validation', *defects, 'anomalous', 'share', 'fill']
    rows = [[*_cells(r, defects), _fill(r.fill), str(len(r.faults))] for r in reports]
    if len(reports) > 1:
        total = ClassReport('all')
        for r in reports:
            total.training += r.training
            total.test += r.test
            total.validation += r.validation
            total.anomalous += r.anomalous
            total.visible_by_defect += r.visible_by_defect
        rows.append([*_cells(total, defects), '', str(sum(len(r.faults) for r in reports))])
    head.append('faults')
    widths = [max(len(row[k]) for row in [head, *rows]) for k in range(len(head))]
    lines = [head, ['-' * w for w in widths], *rows]
    return '\n'.join(
        '| ' + ' | '.join(cell.ljust(w) for cell, w in zip(row, widths)) + ' |' for row in lines
    )


def _cells(report: ClassReport, defects: list[str]) -> list[str]:
    """Cells of a table row up to the share of anomalous images."""
    counts = [report.training, report.test, report.validation]
    counts += [report.visible_by_defect[defect] for defect in defects]
    share = f'{report.anomalous / report.test:.1%}' if report.test else '-'
    return [report.name, *map(str, counts), str(report.anomalous), share]


def _fill(fill: tuple[float, float]) -> str:
    """Range of the frame's filling for people."""
    return '-' if np.isnan(fill[0]) else f'{fill[0]:.0%} to {fill[1]:.0%}'


def _check_training(class_dir: Path, report: ClassReport, seen: dict[str, str]):
    """Check the training views; returns points of the object (N, 3) m, or None."""
    try:
        views = dataset.read_training_views(class_dir)
    except (FileNotFoundError, ValueError) as error:
        report.faults.append(str(error))
        return None
    report.training = len(views)
    if len(views) < MIN_VIEWS:
        report.faults.append(f'{len(views)} training views, wanted at least {MIN_VIEWS}')
    names, silhouettes = [], []
    for view in views:
        try:
            picture, alpha = view.load()
        except (FileNotFoundError, ValueError) as error:
            report.faults.append(str(error))
            continue
        _note_duplicate(picture, view.path.relative_to(class_dir).as_posix(), seen, report)
        fault = _camera_fault(view.camera)
        if fault:
            report.faults.append(f'{view.name}: {fault}')
            continue
        alpha, camera = images.undistort(alpha, view.camera)
        inside = alpha > 0.5
        fault = _silhouette_fault(inside)
        if fault:
            report.faults.append(f'{view.name}: {fault}')
        if inside.any():
            names.append(view.name)
            filled = without_holes(inside)
            silhouettes.append(Silhouette(camera, view.cam_from_object, filled))
    return _check_agreement(names, silhouettes, report)


def _camera_fault(camera) -> str | None:
    """What is implausible about a camera, or None."""
    # what no camera can have is refused when it is read; photographs are not so wide or narrow
    angle = 2 * np.degrees(np.arctan(camera.width / 2 / camera.K[0, 0]))
    if not 3 < angle < 150:
        return f'field of view {angle:.0f} degrees, wanted 3 to 150 (focal length in px?)'
    return None


def _silhouette_fault(inside: np.ndarray) -> str | None:
    """What is implausible about a silhouette, or None."""
    share = inside.mean()
    if share < 0.005:
        return f'the object covers {share:.1%} of the picture: come nearer (or is it all white?)'
    border = np.concatenate([inside[0], inside[-1], inside[:, 0], inside[:, -1]])
    if border.mean() > 0.5:
        return 'the background is neither white nor transparent'
    if border.any():
        return 'the edge of the picture cuts the object off'
    return None


def without_holes(inside: np.ndarray) -> np.ndarray:
    """A silhouette, bool (H, W), with its holes filled.

    Few views look through a window; the hull of all views has none there, and that is no fault of
    these few.
    """
    import cv2

    outlines, _ = cv2.findContours(
        inside.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE
    )
    filled = np.zeros(inside.shape, np.uint8)
    cv2.drawContours(filled, outlines, -1, 1, cv2.FILLED)
    return filled > 0


def _check_agreement(names: list[str], silhouettes: list[Silhouette], report: ClassReport):
    """Check that one object explains all silhouettes; returns its points, or None."""
    if len(silhouettes) < MIN_VIEWS:
        return None
    hull = agreed_hull(silhouettes, MIN_VIEWS, _MIN_COVERED)
    if not len(hull):
        report.faults.append(
            'no object fits the silhouettes of most views: are the matrices camera-to-world with '
            'OpenGL axes, and do the pictures belong to them?'
        )
        return None
    for name, view in zip(names, silhouettes):
        outside = 1 - contains(view, hull).mean()
        if outside <= _MAX_OUTSIDE and covered(view, hull) < _MIN_COVERED:
            report.faults.append(
                f'{name}: the object that the other views show is smaller than this silhouette: '
                'the camera or the picture is wrong'
            )
        elif outside > _MAX_OUTSIDE:
            report.faults.append(
                f'{name}: {outside:.0%} of the object lies outside its silhouette: the camera or '
                'the picture is wrong'
            )
    return hull


def _check_image(image: dataset.TestImage, report: ClassReport, seen: dict[str, str]) -> None:
    """Check a test image and its mask."""
    try:
        picture = image.load_image()
    except (FileNotFoundError, ValueError) as error:
        report.faults.append(str(error))
        return
    _note_duplicate(picture, image.name, seen, report)
    if image.mask_path is None:
        if image.is_anomalous:
            report.faults.append(f'{image.name} is {image.defect!r} and has no mask')
        return
    try:
        levels = np.unique(images.read_rgba(image.mask_path, image.camera)[0])
        mask = image.load_mask()
    except (FileNotFoundError, ValueError) as error:
        report.faults.append(str(error))
        return
    if not np.isin(levels, (0, 255)).all():
        report.faults.append(f'{image.mask_path} has {len(levels)} grey levels, wanted 0 and 255')
    if mask.any() != image.is_anomalous:
        state = 'is empty' if image.is_anomalous else 'is not empty'
        report.faults.append(
            f'{image.mask_path} {state}, but the image is {image.defect!r} with a '
            f'{"visible" if image.visible else "hidden"} defect'
        )


def _check_pose(image: dataset.TestImage, hull, report: ClassReport) -> float | None:
    """Check that the object is in the picture; returns the share of the frame that it takes."""
    if hull is None or image.cam_from_object is None:
        return None
    box = bounds_px(image.camera, image.cam_from_object, hull)
    size = np.array([image.camera.width, image.camera.height])
    if not np.isfinite(box).all() or (box[:2] < 0).any() or (box[2:] > size).any():
        report.faults.append(f'{image.name}: the object is not completely in the picture')
        return None
    return float(((box[2:] - box[:2]) / size).max())


def _note_duplicate(picture: np.ndarray, name: str, seen: dict[str, str], report) -> None:
    """Fault when the same pixels were met before."""
    key = hashlib.sha256(picture.tobytes()).hexdigest()
    if key in seen:
        report.faults.append(f'{name} is the same picture as {seen[key]}')
    else:
        seen[key] = name
