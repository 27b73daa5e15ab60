"""From an image message and its CameraInfo to a Frame of the pipeline; no rclpy node needed."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from pad_inspection import geometry
from pad_inspection.datatypes import Camera, Frame
from pad_inspection.ros import conversions

# Distortion models of ROS that the pipeline does not know; their images are rectified here.
_REMAPPED = ('rational_polynomial', 'equidistant')
# Larger pictures cannot be remapped by OpenCV.
_MAX_REMAP_PX = 32766


def build_frame(
    message: Image | CompressedImage,
    info: CameraInfo,
    *,
    camera_name: str,
    object_id: str,
    rectified: bool,
) -> Frame:
    """Frame of an image.

    Args:
        message: the image.
        info: its calibration.
        camera_name: which camera took it.
        object_id: which piece it shows.
        rectified: see conversions.camera_from_info.

    Raises:
        ValueError: image or calibration cannot be used; the message says why.
    """
    stamp_ns = conversions.stamp_to_ns(message.header.stamp)
    if stamp_ns <= 0:
        raise ValueError('the image has no stamp: set header.stamp to the acquisition time')
    picture = conversions.image_to_rgb(message)
    remapped = not rectified and info.distortion_model in _REMAPPED and bool(np.any(info.d))
    camera = conversions.camera_from_info(info, rectified=rectified, with_distortion=not remapped)
    if picture.shape[:2] != (camera.height, camera.width):
        raise ValueError(
            f'image is {picture.shape[1]}x{picture.shape[0]} px, its CameraInfo says '
            f'{camera.width}x{camera.height} px'
        )
    if remapped:
        picture = _rectify(picture, camera, info)
    return Frame(picture, camera, stamp_ns, camera_name, object_id)


def _rectify(picture: np.ndarray, camera: Camera, info: CameraInfo) -> np.ndarray:
    """Picture as the same camera without distortion would see it."""
    import cv2

    d = np.array(info.d, np.float64)
    if not np.isfinite(d).all():
        raise ValueError('CameraInfo.d holds NaN or infinity')
    if max(picture.shape[:2]) > _MAX_REMAP_PX:
        raise ValueError(f'image is larger than {_MAX_REMAP_PX} px, rectify it first')
    K = geometry.opencv_matrix(camera)
    maps = _maps(info.distortion_model, K.tobytes(), d.tobytes(), camera.width, camera.height)
    return cv2.remap(picture, *maps, cv2.INTER_LINEAR)


@lru_cache(maxsize=32)
def _maps(model: str, K: bytes, d: bytes, width: int, height: int):
    """Maps for cv2.remap; made once for each camera."""
    import cv2

    matrix, coefficients = np.frombuffer(K).reshape(3, 3), np.frombuffer(d)
    if model == 'equidistant':
        wanted, make = (4,), cv2.fisheye.initUndistortRectifyMap
    else:
        wanted, make = (8, 12, 14), cv2.initUndistortRectifyMap
    if coefficients.size not in wanted:
        raise ValueError(
            f'{coefficients.size} distortion coefficients of model {model}, wanted one of {wanted}'
        )
    return make(matrix, coefficients, np.eye(3), matrix, (width, height), cv2.CV_16SC2)
