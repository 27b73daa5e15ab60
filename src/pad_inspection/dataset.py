"""The dataset folder: what it holds, and how it is read and written.

A class (one product) is a folder::

    transforms.json           cameras of the training views (NeRF convention, metres)
    train/good/*.png          training views, RGBA with straight alpha, or RGB on white
    test/<good|defect>/*.png  test images
    ground_truth/<defect>/    masks of the defects, 0 or 255, named as the image (or *_mask.png)
    test.json                 optional, evaluation only: object, view, defect, camera, pose
    validation/good/*.png     optional: images of intact pieces taken at commissioning
    validation.json           their list, as test.json
    dataset.json              provenance

This is a superset of the MAD layout, so MAD-Sim and PIAD folders are read unchanged
(``camera_angle_x`` instead of ``fl_x``), and so are NeRF-synthetic scenes
(``transforms_train.json``) and folders of photographs with a COLMAP model (``sparse/0`` and
``images``). Lengths are what the files say; everything this project writes is in metres.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pad_inspection import colmap_files, images, nerf_files
from pad_inspection.camera_checks import check_camera
from pad_inspection.datatypes import Camera, Rigid3
from pad_inspection.geometry import from_matrix, opengl_of_cam_from_world, to_matrix
from pad_inspection.nerf_files import error_text, read_json, write_json

GOOD = 'good'
# A picture without alpha counts as background where every channel is at least this bright.
WHITE_LEVEL = 250


@dataclass(frozen=True)
class TrainingView:
    """A photograph of a good piece, alone on white, with its known camera.

    Attributes:
        name: file name without suffix.
        path: the picture.
        camera: its intrinsics.
        cam_from_object: its pose, m.
    """

    name: str
    path: Path
    camera: Camera
    cam_from_object: Rigid3

    def load(self) -> tuple[np.ndarray, np.ndarray]:
        """Read the picture.

        Returns:
            rgb uint8 (H, W, 3) on white, and alpha float32 (H, W), 0 to 1: from the alpha channel,
            else 0 where the picture is white.

        Raises:
            FileNotFoundError: there is no such file.
            ValueError: it is not a picture, or not of the camera's size.
        """
        image, alpha = images.read_rgba(self.path, self.camera)
        if alpha is None:
            return image, (image.min(axis=2) < WHITE_LEVEL).astype(np.float32)
        return images.on_background(image, alpha, 255), alpha.astype(np.float32) / 255


@dataclass(frozen=True)
class TestImage:
    """A test (or validation) image with what is known about it; for evaluation only.

    Attributes:
        name: path below the class folder without suffix, 'test/good/07_0'.
        path: the picture.
        camera: its intrinsics.
        object_id: which piece it shows.
        view: number of the view of this piece.
        defect: kind of defect of the piece, 'good' when it is intact.
        visible: whether the defect can be seen in this view; False for an intact piece.
        mask_path: mask of the defect, or None.
        cam_from_object: pose, m, or None when it is not known.
        camera_name: which of several cameras took it, '' when there is one.
    """

    __test__ = False  # the name looks like a test class to pytest

    name: str
    path: Path
    camera: Camera
    object_id: str
    view: int
    defect: str
    visible: bool
    mask_path: Path | None
    cam_from_object: Rigid3 | None
    camera_name: str = ''

    @property
    def is_anomalous(self) -> bool:
        """Label of the image: the piece is defective and the defect can be seen here."""
        return self.defect != GOOD and self.visible

    def load_image(self) -> np.ndarray:
        """Read the picture, uint8 (H, W, 3) RGB. Raises as TrainingView.load."""
        return images.read_rgb(self.path, self.camera)

    def load_mask(self) -> np.ndarray:
        """Read the mask, bool (H, W); all False when there is none. Raises as load_image."""
        if self.mask_path is None:
            return np.zeros((self.camera.height, self.camera.width), bool)
        return images.read_mask(self.mask_path, self.camera)


def class_name(class_dir: Path) -> str:
    """Name of the class in a folder: the folder's name."""
    return Path(class_dir).resolve().name


def class_dirs(root: Path) -> list[Path]:
    """Class folders of a data set: ``root`` itself when it is one, else those inside it, sorted.

    Raises:
        FileNotFoundError: there is none.
    """
    root = Path(root)
    if _training_source(root):
        return [root]
    found = sorted(p for p in root.iterdir() if _training_source(p)) if root.is_dir() else []
    if not found:
        raise FileNotFoundError(
            f'{root} holds no class folder (wanted transforms.json, transforms_train.json or a '
            'COLMAP model in sparse/0)'
        )
    return found


def read_training_views(class_dir: Path) -> list[TrainingView]:
    """Read the list of training views of a class folder, sorted as its file lists them.

    Raises:
        FileNotFoundError: no transforms.json, transforms_train.json or COLMAP model.
        ValueError: a file does not hold what it should; the message names it.
    """
    class_dir = Path(class_dir)
    source = _training_source(class_dir)
    if source is None:
        raise FileNotFoundError(
            f'{class_dir} has no transforms.json, transforms_train.json or sparse/0 (COLMAP model)'
        )
    if source.suffix == '.json':
        views = nerf_files.read_views(class_dir, source)
    else:
        views = colmap_files.read_views(source, class_dir / 'images')
    return [TrainingView(path.stem, path, camera, pose) for path, camera, pose in views]


def read_test_images(class_dir: Path) -> list[TestImage]:
    """Read the list of test images: from test.json, else from the folders of the MAD layout.

    Without test.json each image counts as a piece of its own, its defect is its folder, and its
    camera that of the first training view.

    Raises:
        FileNotFoundError: neither test.json nor a test folder.
        ValueError: a file does not hold what it should.
    """
    class_dir = Path(class_dir)
    if (class_dir / 'test.json').is_file():
        return _images_of_json(class_dir, class_dir / 'test.json')
    return _images_of_folders(class_dir)


def read_validation_images(class_dir: Path) -> list[TestImage]:
    """Read the list of commissioning images of intact pieces; empty when there are none.

    Raises:
        ValueError: validation.json does not hold what it should, or lists a defective piece.
    """
    class_dir = Path(class_dir)
    path = class_dir / 'validation.json'
    found = _images_of_json(class_dir, path) if path.is_file() else []
    for image in found:
        if image.defect != GOOD:
            raise ValueError(
                f'{path}: {image.name} is {image.defect!r}, wanted intact pieces only'
            )
    return found


def read_camera(path: Path) -> Camera:
    """Read a camera: {"width", "height", "K", "distortion"}, as CAMERA.json and test.json have.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it does not hold a camera.
    """
    return _camera_of(read_json(path), path)


def write_transforms(class_dir: Path, views: list[TrainingView]) -> None:
    """Write transforms.json for views that share one camera without distortion.

    Raises:
        ValueError: the views have several cameras, or distortion.
    """
    camera = views[0].camera
    for view in views:
        if view.camera is not camera and not np.array_equal(view.camera.K, camera.K):
            raise ValueError(f'view {view.name} has another camera than {views[0].name}')
    if np.any(camera.distortion):
        raise ValueError('transforms.json is written for cameras without distortion')
    frames = [
        {
            'file_path': view.path.relative_to(class_dir).as_posix(),
            'transform_matrix': opengl_of_cam_from_world(view.cam_from_object).tolist(),
        }
        for view in views
    ]
    K = camera.K
    content = {'w': camera.width, 'h': camera.height, 'fl_x': K[0, 0], 'fl_y': K[1, 1]}
    content |= {'cx': K[0, 2], 'cy': K[1, 2], 'frames': frames}
    write_json(Path(class_dir) / 'transforms.json', content)


def write_images_json(
    path: Path, camera: Camera, test_images: list[TestImage], extra: list[dict[str, Any]]
) -> None:
    """Write test.json or validation.json.

    Args:
        path: the file; its folder is the class folder.
        camera: intrinsics that all images share.
        test_images: the images, poses known.
        extra: further JSON values of each image (part, pose on the belt...).
    """
    root = Path(path).parent
    content: dict[str, Any] = {'width': camera.width, 'height': camera.height}
    content |= {'K': camera.K.tolist(), 'distortion': camera.distortion.tolist()}
    content['images'] = []
    for image, more in zip(test_images, extra, strict=True):
        mask = image.mask_path
        entry: dict[str, Any] = {
            'file_path': image.path.relative_to(root).as_posix(),
            'object_id': image.object_id,
            'view': image.view,
            'defect': image.defect,
            'visible': image.visible,
            'mask_path': mask.relative_to(root).as_posix() if mask else None,
            'cam_from_object': to_matrix(image.cam_from_object).tolist(),
        }
        if image.camera_name:
            entry['camera'] = image.camera_name
        content['images'].append(entry | more)
    write_json(path, content)


def _training_source(class_dir: Path) -> Path | None:
    """File or COLMAP folder that lists the training views, or None."""
    for name in ('transforms.json', 'transforms_train.json'):
        if (class_dir / name).is_file():
            return class_dir / name
    for name in ('sparse/0', 'sparse'):
        if any((class_dir / name / f'cameras.{suffix}').is_file() for suffix in ('bin', 'txt')):
            return class_dir / name
    return None


def _camera_of(content: dict[str, Any], path: Path) -> Camera:
    """Camera of a JSON object with width, height, K and distortion."""
    try:
        camera = Camera(
            int(content['width']),
            int(content['height']),
            content['K'],
            content.get('distortion') or np.zeros(5),
        )
        check_camera(camera)
        return camera
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f'{path} holds no camera (wanted width, height, K 3x3, distortion 5): '
            f'{error_text(error)}'
        ) from error


def _images_of_json(class_dir: Path, path: Path) -> list[TestImage]:
    """Images that test.json or validation.json lists."""
    content = read_json(path)
    shared = _camera_of(content, path)
    named = {k: _camera_of(v, path) for k, v in content.get('cameras', {}).items()}
    found = []
    for index, entry in enumerate(content.get('images', [])):
        try:
            pose = entry.get('cam_from_object')
            mask = entry.get('mask_path')
            found.append(
                TestImage(
                    name=Path(entry['file_path']).with_suffix('').as_posix(),
                    path=class_dir / entry['file_path'],
                    camera=named.get(entry.get('camera', ''), shared),
                    object_id=str(entry['object_id']),
                    view=int(entry['view']),
                    defect=str(entry['defect']),
                    visible=bool(entry['visible']),
                    mask_path=class_dir / mask if mask else None,
                    cam_from_object=from_matrix(pose) if pose else None,
                    camera_name=str(entry.get('camera', '')),
                )
            )
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f'{path}, image {index}: {error_text(error)}') from error
    return found


def _images_of_folders(class_dir: Path) -> list[TestImage]:
    """Images of the folders test/<defect> with masks in ground_truth/<defect>."""
    folders = sorted(p for p in (class_dir / 'test').glob('*') if p.is_dir())
    if not folders:
        raise FileNotFoundError(f'{class_dir} has neither test.json nor folders in test')
    camera = read_training_views(class_dir)[0].camera
    found = []
    for folder in folders:
        truth = class_dir / 'ground_truth' / folder.name
        pictures = (p for p in folder.iterdir() if p.suffix.lower() in images.IMAGE_SUFFIXES)
        for path in sorted(pictures):
            name = path.relative_to(class_dir).with_suffix('').as_posix()
            masks = (truth / f'{path.stem}.png', truth / f'{path.stem}_mask.png')
            mask = None if folder.name == GOOD else next(filter(Path.is_file, masks), None)
            defective = folder.name != GOOD
            found.append(
                TestImage(name, path, camera, name, 0, folder.name, defective, mask, None)
            )
    return found
