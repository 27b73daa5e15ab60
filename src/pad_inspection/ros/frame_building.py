"""From an image message and its CameraInfo to a Frame of the pipeline; no rclpy node needed."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from pad_inspection import geometry
from pad_inspection.datatypes import Camera, Frame
from pad_inspection.ros import conversions
from pad_inspection.ros.camera_infos import Lens, read_camera_info
from pad_inspection.ros.compressed_images import picture_size

# Larger pictures cannot be remapped by OpenCV.
_MAX_REMAP_PX = 32766


def build_frame(
    message: Image | CompressedImage,
    info: CameraInfo,
    *,
    camera_name: str,
    object_id: str,
    rectified: bool,
    image_bits: int = 16,
    allow_grey: bool = False,
) -> Frame:
    """Frame of an image.

    Args:
        message: the image.
        info: its calibration.
        camera_name: which camera took it.
        object_id: which piece it shows.
        rectified: see camera_infos.read_camera_info.
        image_bits: see image_encodings.to_rgb.
        allow_grey: see datatypes.Frame.

    Raises:
        ValueError: image or calibration cannot be used; the message says why.
    """
    stamp_ns = conversions.stamp_to_ns(message.header.stamp)
    if stamp_ns <= 0:
        raise ValueError('the image has no stamp: set header.stamp to the acquisition time')
    camera, lens = read_camera_info(info, rectified=rectified)
    if isinstance(message, CompressedImage):
        # a small file may hold a huge image
        _check_size(picture_size(bytes(message.data)), camera)
    picture, is_grey = conversions.read_image(message, image_bits=image_bits)
    _check_size(picture.shape[1::-1], camera)
    if lens is not None:
        picture = _rectify(picture, camera, lens)
    return Frame(picture, camera, stamp_ns, camera_name, object_id, is_grey, allow_grey)


def _check_size(size: tuple[int, int] | None, camera: Camera) -> None:
    """Raise a ValueError when an image has another size, px, than its camera; None = unknown."""
    if size is not None and tuple(size) != (camera.width, camera.height):
        raise ValueError(
            f'image is {size[0]}x{size[1]} px, its CameraInfo says '
            f'{camera.width}x{camera.height} px'
        )


def _rectify(picture: np.ndarray, camera: Camera, lens: Lens) -> np.ndarray:
    """Picture as the same camera without distortion would see it."""
    import cv2

    if max(picture.shape[:2]) > _MAX_REMAP_PX:
        raise ValueError(f'image is larger than {_MAX_REMAP_PX} px, rectify it first')
    K, d = geometry.opencv_matrix(camera), lens.coefficients
    maps = _maps(lens.model, K.tobytes(), d.tobytes(), camera.width, camera.height)
    return cv2.remap(picture, *maps, cv2.INTER_LINEAR)


@lru_cache(maxsize=32)
def _maps(model: str, K: bytes, d: bytes, width: int, height: int):
    """Maps for cv2.remap; made once for each camera."""
    import cv2

    matrix, coefficients = np.frombuffer(K).reshape(3, 3), np.frombuffer(d)
    is_fisheye = model == 'equidistant'
    make = cv2.fisheye.initUndistortRectifyMap if is_fisheye else cv2.initUndistortRectifyMap
    return make(matrix, coefficients, np.eye(3), matrix, (width, height), cv2.CV_16SC2)
