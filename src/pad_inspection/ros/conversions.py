"""Our data types <-> ROS messages. Errors are ValueErrors that say what was got and wanted.

Images are read without a copy where layout allows; data of outgoing images goes in as
``array.array``, the only type that rclpy takes without walking through every byte.
"""

from __future__ import annotations

import array
import math
import re
import sys

import numpy as np
from builtin_interfaces.msg import Duration, Time
from geometry_msgs.msg import Point, Pose, PoseWithCovariance, Quaternion
from pad_msgs.msg import AnomalyRegion, InspectionResult, ModelInfo, ObjectPose
from sensor_msgs.msg import CameraInfo, CompressedImage, Image, RegionOfInterest
from std_msgs.msg import Header

from pad_inspection import geometry
from pad_inspection.datatypes import Camera, Inspection, PoseStatus, Reason, Rigid3, Verdict
from pad_inspection.decision import ViewResult
from pad_inspection.ros.compressed_images import decompress

# Encoding -> (dtype without byte order, channels).
_ENCODINGS = {
    'mono8': ('u1', 1),
    'mono16': ('u2', 1),
    'rgb8': ('u1', 3),
    'bgr8': ('u1', 3),
    'rgba8': ('u1', 4),
    'bgra8': ('u1', 4),
}
_GENERIC = re.compile(r'^(8|16|32|64)([USF])C([1-9]\d?)?$')
_GENERIC_DTYPES = {
    ('8', 'U'): 'u1',
    ('8', 'S'): 'i1',
    ('16', 'U'): 'u2',
    ('16', 'S'): 'i2',
    ('32', 'S'): 'i4',
    ('32', 'F'): 'f4',
    ('64', 'F'): 'f8',
}
# How each colour encoding that can be inspected becomes RGB: channels, None = grey.
_RGB_CHANNELS: dict[str, slice | None] = {
    'rgb8': slice(None),
    'bgr8': slice(None, None, -1),
    'rgba8': slice(3),
    'bgra8': slice(2, None, -1),
    'mono8': None,
}
# Larger pictures are a damaged message, not a camera.
_MAX_PIXELS = 200_000_000
MAX_REGIONS = 64

POSE_STATUS = {
    PoseStatus.NOT_ATTEMPTED: ObjectPose.STATUS_NOT_ATTEMPTED,
    PoseStatus.LOCALIZED: ObjectPose.STATUS_LOCALIZED,
    PoseStatus.NO_OBJECT: ObjectPose.STATUS_NO_OBJECT,
    PoseStatus.TOO_FEW_MATCHES: ObjectPose.STATUS_TOO_FEW_MATCHES,
    PoseStatus.POSE_REJECTED: ObjectPose.STATUS_POSE_REJECTED,
}


def stamp_to_ns(stamp: Time) -> int:
    """Nanoseconds of a stamp."""
    return stamp.sec * 10**9 + stamp.nanosec


def stamp_of_ns(nanoseconds: int) -> Time:
    """Stamp of nanoseconds."""
    return Time(sec=nanoseconds // 10**9, nanosec=nanoseconds % 10**9)


def duration_of_seconds(seconds: float) -> Duration:
    """Duration message of seconds."""
    nanoseconds = max(0, round(seconds * 1e9))
    return Duration(sec=nanoseconds // 10**9, nanosec=nanoseconds % 10**9)


def _encoding_dtype(encoding: str) -> tuple[str, int]:
    """(dtype without byte order, channels) of an encoding."""
    if encoding in _ENCODINGS:
        return _ENCODINGS[encoding]
    match = _GENERIC.match(encoding)
    if match and (match[1], match[2]) in _GENERIC_DTYPES:
        return _GENERIC_DTYPES[match[1], match[2]], int(match[3] or 1)
    raise ValueError(f'image encoding is {encoding[:40]!r}, wanted one of {sorted(_RGB_CHANNELS)}')


def image_to_array(message: Image) -> np.ndarray:
    """View of an Image as (H, W) or (H, W, C); a copy only where the byte order is foreign.

    Raises:
        ValueError: an unknown encoding, an empty image, or less data than its size needs.
    """
    kind, channels = _encoding_dtype(message.encoding)
    dtype = np.dtype(kind)
    height, width = message.height, message.width
    if height < 1 or width < 1 or height * width > _MAX_PIXELS:
        raise ValueError(f'image size is {width}x{height} px, wanted 1x1 to {_MAX_PIXELS} pixels')
    row = width * channels * dtype.itemsize
    step, size = message.step or row, len(message.data)
    if step < row or size < step * (height - 1) + row:
        raise ValueError(
            f'image of {width}x{height} px {message.encoding} has step {message.step} and {size} '
            f'bytes, wanted step >= {row} and {step * (height - 1) + row} bytes'
        )
    wire = dtype.newbyteorder('>' if message.is_bigendian else '<')
    strides = (step, channels * dtype.itemsize, dtype.itemsize)
    picture = np.ndarray(
        (height, width, channels), wire, np.frombuffer(message.data, np.uint8), 0, strides
    )
    picture = picture[..., 0] if channels == 1 else picture
    return picture if wire.isnative else picture.astype(dtype)


def image_to_rgb(message: Image | CompressedImage) -> np.ndarray:
    """Picture uint8 (H, W, 3) RGB of a raw or compressed image; may share the message's data.

    Raises:
        ValueError: it cannot be used; the message says why.
    """
    if isinstance(message, CompressedImage):
        return decompress(message.data, message.format, max_pixels=_MAX_PIXELS)
    if message.encoding not in _RGB_CHANNELS:
        raise ValueError(
            f'image encoding is {message.encoding[:40]!r}, wanted one of {sorted(_RGB_CHANNELS)}'
        )
    picture, channels = image_to_array(message), _RGB_CHANNELS[message.encoding]
    if channels is None:
        return np.repeat(picture[..., None], 3, axis=2)
    return np.ascontiguousarray(picture[..., channels])


def array_to_image(picture: np.ndarray, encoding: str, header: Header) -> Image:
    """Image message of an array (H, W) or (H, W, C).

    Raises:
        ValueError: the array does not fit the encoding.
    """
    kind, channels = _encoding_dtype(encoding)
    shaped = picture[..., None] if picture.ndim == 2 else picture
    if shaped.ndim != 3 or shaped.shape[2] != channels or shaped.dtype != np.dtype(kind):
        raise ValueError(
            f'array {picture.shape} {picture.dtype} does not fit the encoding {encoding!r}'
        )
    shaped = np.ascontiguousarray(shaped)
    data = array.array('B')
    if shaped.size:
        data.frombytes(shaped.data.cast('B'))
    return Image(
        header=header,
        height=shaped.shape[0],
        width=shaped.shape[1],
        encoding=encoding,
        is_bigendian=int(sys.byteorder == 'big'),
        step=shaped.shape[1] * channels * shaped.dtype.itemsize,
        data=data,
    )


def camera_from_info(info: CameraInfo, *, rectified: bool, with_distortion: bool = True) -> Camera:
    """Camera of a CameraInfo; binning and a region of interest of the sensor are accounted for.

    Args:
        info: the message.
        rectified: the image is rectified: the left 3x3 of P holds and there is no distortion;
            otherwise K and D hold.
        with_distortion: False leaves D out; the caller takes care of it.

    Raises:
        ValueError: not calibrated, not finite, or a distortion model other than plumb_bob.
    """
    if rectified:
        K, distortion = np.reshape(info.p, (3, 4))[:, :3], None
    else:
        K, distortion = np.reshape(info.k, (3, 3)), info.d if with_distortion else None
        if with_distortion and np.any(info.d) and info.distortion_model not in ('plumb_bob', ''):
            raise ValueError(
                f'distortion model is {info.distortion_model[:40]!r}, wanted plumb_bob, '
                'rational_polynomial or equidistant: rectify the image first'
            )
    if not (K[0, 0] > 0 and K[1, 1] > 0):
        raise ValueError(
            f'CameraInfo.{"p" if rectified else "k"} has focal lengths {K[0, 0]:g}, {K[1, 1]:g} '
            'px, wanted both above 0 (is the camera calibrated?)'
        )
    width, height, K = _sensor_window(info, K)
    if max(width, height) > 2**24:
        raise ValueError(f'CameraInfo size is {width}x{height} px')
    return geometry.camera_from_opencv(width, height, K, distortion)


def _sensor_window(info: CameraInfo, K: np.ndarray) -> tuple[int, int, np.ndarray]:
    """Size and matrix of the image that is sent, of those of the whole sensor (REP 104)."""
    roi, binning = info.roi, np.maximum(1, [info.binning_x, info.binning_y])
    size = (roi.width or info.width, roi.height or info.height)
    if np.all(binning == 1) and roi.x_offset == roi.y_offset == 0:
        return *size, K
    # the first pixel's centre is (0, 0) here, binning keeps the outer edges
    matrix = np.array(K, np.float64)
    matrix[:2, 2] = (matrix[:2, 2] - [roi.x_offset, roi.y_offset] + 0.5) / binning - 0.5
    matrix[[0, 1], [0, 1]] /= binning
    return int(size[0] // binning[0]), int(size[1] // binning[1]), matrix


def camera_to_info(camera: Camera, header: Header) -> CameraInfo:
    """CameraInfo of a camera; K and P are equal (no rectifying rotation)."""
    K = geometry.opencv_matrix(camera)
    P = np.zeros((3, 4))
    P[:, :3] = K
    return CameraInfo(
        header=header,
        height=camera.height,
        width=camera.width,
        distortion_model='plumb_bob',
        d=[float(value) for value in camera.distortion],
        k=K.ravel(),
        r=np.eye(3).ravel(),
        p=P.ravel(),
    )


def pose_to_message(b_from_a: Rigid3) -> Pose:
    """Pose message (quaternion xyzw) that takes points of frame a to frame b."""
    w, x, y, z = (float(value) for value in geometry.quat_from_rotation(b_from_a.rotation))
    tx, ty, tz = (float(value) for value in b_from_a.translation)
    return Pose(position=Point(x=tx, y=ty, z=tz), orientation=Quaternion(x=x, y=y, z=z, w=w))


def pose_from_message(message: Pose) -> Rigid3:
    """Inverse of pose_to_message."""
    q, p = message.orientation, message.position
    rotation = geometry.rotation_from_quat(np.array([q.w, q.x, q.y, q.z]))
    return Rigid3(rotation, np.array([p.x, p.y, p.z]))


def _object_pose(inspection: Inspection) -> ObjectPose:
    """Pose part of a result."""
    estimate = inspection.pose
    message = ObjectPose(
        status=POSE_STATUS[estimate.status],
        num_correspondences=len(estimate.points2d),
        num_inliers=estimate.num_inliers,
        reprojection_error_px=float(estimate.reprojection_error_px),
        confidence=float(estimate.confidence),
    )
    if estimate.cam_from_object is not None:
        message.pose = PoseWithCovariance(pose=pose_to_message(estimate.cam_from_object))
        if estimate.covariance is not None:
            message.pose.covariance = np.asarray(estimate.covariance, np.float64).ravel()
    return message


def _roi(bbox: tuple[int, int, int, int]) -> RegionOfInterest:
    """RegionOfInterest of x0, y0, x1, y1 (half-open)."""
    x0, y0, x1, y1 = (int(value) for value in bbox)
    return RegionOfInterest(x_offset=x0, y_offset=y0, width=x1 - x0, height=y1 - y0)


def _region(region) -> AnomalyRegion:
    """Message of a datatypes.AnomalyRegion."""
    peak = region.peak_in_object or (math.nan,) * 3
    return AnomalyRegion(
        roi=_roi(region.bbox),
        area_px=int(region.area_px),
        max_score=float(region.max_score),
        mean_score=float(region.mean_score),
        peak_position=Point(x=float(peak[0]), y=float(peak[1]), z=float(peak[2])),
    )


def result_to_message(
    inspection: Inspection,
    header: Header,
    *,
    inspection_id: str,
    model=None,
    object_threshold: float = math.nan,
    seconds: float = 0.0,
    object_type: str = '',
) -> InspectionResult:
    """InspectionResult of an Inspection.

    Args:
        inspection: what the pipeline found.
        header: of the source image.
        inspection_id: unique for this result.
        model: pipeline.ModelInfo in use, or None.
        object_threshold: limit for the views of the object together; NaN unknown.
        seconds: from arrival of the image to now.
        object_type: product that it was inspected as.
    """
    message = InspectionResult(
        header=header,
        inspection_id=inspection_id,
        camera_name=inspection.camera_name,
        object_id=inspection.object_id,
        verdict=int(inspection.verdict),
        reason=int(inspection.reason),
        message=inspection.message,
        anomaly_score=float(inspection.score),
        threshold=float(inspection.threshold),
        object_threshold=float(object_threshold),
        inspected_fraction=float(inspection.inspected_fraction),
        pose=_object_pose(inspection),
        regions=[_region(region) for region in inspection.regions[:MAX_REGIONS]],
        processing_time=duration_of_seconds(seconds),
        step_names=list(inspection.timings_ms),
        step_times_ms=[float(value) for value in inspection.timings_ms.values()],
        object_type=object_type,
        piece_score=float(inspection.piece_score),
        piece_views=int(inspection.piece_views),
    )
    if inspection.surface is not None:
        message.surface = array.array('f', inspection.surface.astype(np.float32).tobytes())
        message.visible_places = int(inspection.visible_places)
    if model is not None:
        message.model_id, message.model_version = model.model_id, model.model_version
    if inspection.rendered_alpha is not None:
        from pad_inspection.images import mask_bbox

        bbox = mask_bbox(inspection.rendered_alpha > 0.5)
        if bbox is not None:
            message.roi = _roi(bbox)
    return message


def view_result_of_message(message: InspectionResult) -> ViewResult:
    """What the decision needs of a result; values that nobody defined become UNDETERMINED."""
    try:
        verdict, reason = Verdict(message.verdict), Reason(message.reason)
    except ValueError:
        verdict, reason = Verdict.UNDETERMINED, Reason.INTERNAL_ERROR
    if verdict != Verdict.UNDETERMINED and not math.isfinite(message.anomaly_score):
        verdict, reason = Verdict.UNDETERMINED, Reason.INTERNAL_ERROR
    return ViewResult(
        verdict,
        reason,
        float(message.anomaly_score),
        float(message.threshold),
        message.inspection_id,
        message.camera_name,
        np.array(message.surface, np.float32) if len(message.surface) else None,
        int(message.visible_places),
        float(message.piece_score),
        int(message.piece_views),
    )


def model_info_to_message(info, header: Header, object_type: str = '') -> ModelInfo:
    """ModelInfo message of a pipeline.ModelInfo."""
    return ModelInfo(
        header=header,
        model_id=info.model_id,
        model_version=info.model_version,
        format_version=info.format_version,
        sha256=info.sha256,
        num_reference_images=int(info.num_reference_images),
        num_points3d=int(info.num_points3d),
        num_gaussians=int(info.num_gaussians),
        anomaly_threshold=float(info.anomaly_threshold),
        object_threshold=float(info.object_threshold),
        score_min=float(info.score_min),
        score_max=float(info.score_max),
        render_backend=info.render_backend,
        object_type=object_type,
    )
