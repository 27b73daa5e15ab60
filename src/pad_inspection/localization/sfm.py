"""COLMAP's triangulation from keypoints and matches that were found elsewhere."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pad_inspection import geometry
from pad_inspection.datatypes import Camera, Rigid3

# A point that is farther than this from a keypoint is not seen there, px.
_MAX_REPROJECTION_PX = 4.0


@dataclass(frozen=True)
class SfmImage:
    """An image with a known camera; its COLMAP id is its place in the list, from 1.

    Attributes:
        file_name: name in the COLMAP model.
        camera: without distortion.
        keypoints: float (N, 2), px.
        cam_from_object: m.
    """

    file_name: str
    camera: Camera
    keypoints: np.ndarray
    cam_from_object: Rigid3


def colmap_camera(camera: Camera, camera_id: int = 1):
    """pycolmap.Camera of a camera without distortion."""
    import pycolmap

    K = camera.K
    return pycolmap.Camera(
        model='PINHOLE',
        width=camera.width,
        height=camera.height,
        params=[K[0, 0], K[1, 1], K[0, 2], K[1, 2]],
        camera_id=camera_id,
    )


def triangulate(
    sfm_images: list[SfmImage],
    matches: dict[tuple[int, int], np.ndarray],
    min_angle_deg: float,
    model_dir: Path,
):
    """Points with fixed cameras, adjusted; the same at each call.

    Args:
        sfm_images: the images.
        matches: uint32 (M, 2) keypoint indices that fit the known geometry, by pair of images.
        min_angle_deg: least triangulation angle.
        model_dir: the COLMAP model is written there.

    Returns:
        pycolmap.Reconstruction.
    """
    import pycolmap

    empty = model_without_points(sfm_images)
    database_path = fresh_database(model_dir)
    verified = {}
    for pair, found in matches.items():
        if len(found):
            geometry_of_pair = pycolmap.TwoViewGeometry(inlier_matches=found)
            # with the default (undefined) COLMAP silently ignores the pair
            geometry_of_pair.config = pycolmap.TwoViewGeometryConfiguration.CALIBRATED
            verified[pair] = geometry_of_pair
    write_database(database_path, empty, [image.keypoints for image in sfm_images], verified)
    pycolmap.logging.minloglevel = int(pycolmap.logging.ERROR)
    options = triangulation_options(min_angle_deg)
    reconstruction = pycolmap.triangulate_points(
        empty, database_path, model_dir.parent, model_dir, clear_points=True, options=options
    )
    database_path.unlink()
    return reconstruction


def triangulation_options(min_angle_deg: float):
    """pycolmap.IncrementalPipelineOptions for triangulation with fixed cameras."""
    import pycolmap

    options = pycolmap.IncrementalPipelineOptions()
    options.num_threads = 1  # the order of the sums, and so the points, do not depend on threads
    options.extract_colors = False
    options.min_num_matches = 1
    options.triangulation.min_angle = min_angle_deg
    options.triangulation.ignore_two_view_tracks = False
    options.mapper.filter_min_tri_angle = min_angle_deg
    options.mapper.filter_max_reproj_error = _MAX_REPROJECTION_PX
    return options


def fresh_database(model_dir: Path) -> Path:
    """Empty a model's folder; returns the path of a database beside it that does not exist."""
    shutil.rmtree(model_dir, ignore_errors=True)
    model_dir.mkdir(parents=True)
    database_path = model_dir.parent / 'matches.db'
    database_path.unlink(missing_ok=True)
    return database_path


def model_without_points(sfm_images: list[SfmImage]):
    """pycolmap.Reconstruction of the cameras and images."""
    import pycolmap

    model = pycolmap.Reconstruction()
    for number, image in enumerate(sfm_images, 1):
        model.add_camera_with_trivial_rig(colmap_camera(image.camera, number))
        model.add_image_with_trivial_frame(
            pycolmap.Image(name=image.file_name, camera_id=number, image_id=number),
            pycolmap.Rigid3d(geometry.to_matrix(image.cam_from_object)[:3]),
        )
    return model


def write_database(
    path: Path, model, keypoints: list[np.ndarray], verified: dict[tuple[int, int], object]
) -> None:
    """Write cameras, images, keypoints and verified pairs into a new COLMAP database.

    Args:
        path: of the database.
        model: pycolmap.Reconstruction with the cameras and images; ids of images count from 1.
        keypoints: (N, 2) px of each image.
        verified: pycolmap.TwoViewGeometry by pair of images, counted from 0.
    """
    import pycolmap

    with pycolmap.Database.open(path) as database:
        for camera in model.cameras.values():
            database.write_camera(camera, use_camera_id=True)
        for rig in model.rigs.values():
            database.write_rig(rig, use_rig_id=True)
        for frame in model.frames.values():
            database.write_frame(frame, use_frame_id=True)
        for image in model.images.values():
            database.write_image(image, use_image_id=True)
        for number, points in enumerate(keypoints, 1):
            database.write_keypoints(number, np.ascontiguousarray(points, np.float32))
        for (i, j), geometry_of_pair in verified.items():
            database.write_matches(i + 1, j + 1, geometry_of_pair.inlier_matches)
            database.write_two_view_geometry(i + 1, j + 1, geometry_of_pair)
