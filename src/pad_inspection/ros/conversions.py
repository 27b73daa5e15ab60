"""Our data types <-> ROS messages. Errors are ValueErrors that say what was got and wanted.

Images are read without a copy where layout allows; data of outgoing images goes in as
``array.array``, the only type that rclpy takes without walking through every byte.
"""

from __future__ import annotations

import array
import math
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
from pad_inspection.ros import image_encodings
from pad_inspection.ros.compressed_images import decompress
from pad_inspection.ros.image_encodings import DecodedImage

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


def image_to_array(message: Image) -> np.ndarray:
    """View of an Image as (H, W) or (H, W, C); a copy only where the byte order is foreign.

    Planes (nv12, nv21, nv24) lie one under the other.

    Raises:
        ValueError: an unknown encoding, an empty image, or less data than its size needs.
    """
    kind, channels, rows_of_two = image_encodings.layout_of(message.encoding)
    dtype = np.dtype(kind)
    height, width = message.height, message.width
    if height < 1 or width < 1 or height * width > _MAX_PIXELS:
        raise ValueError(f'image size is {width}x{height} px, wanted 1x1 to {_MAX_PIXELS} pixels')
    image_encodings.check_size(message.encoding, width, height)
    row = width * channels * dtype.itemsize
    step, size, rows = message.step or row, len(message.data), height * rows_of_two // 2
    if step < row or size < step * (rows - 1) + row:
        raise ValueError(
            f'image of {width}x{height} px {message.encoding} has step {message.step} and {size} '
            f'bytes, wanted step >= {row} and {step * (rows - 1) + row} bytes'
        )
    if message.encoding == 'nv24' and step != row:
        raise ValueError(f'nv24 image of {width} px has step {step}, wanted {row}')
    wire = dtype.newbyteorder('>' if message.is_bigendian else '<')
    strides = (step, channels * dtype.itemsize, dtype.itemsize)
    picture = np.ndarray(
        (rows, width, channels), wire, np.frombuffer(message.data, np.uint8), 0, strides
    )
    picture = picture[..., 0] if channels == 1 else picture
    return picture if wire.isnative else picture.astype(dtype)


def read_image(message: Image | CompressedImage, *, image_bits: int = 16) -> DecodedImage:
    """RGB of a raw or compressed image; may share the message's data.

    Args:
        message: the image.
        image_bits: see image_encodings.to_rgb.

    Raises:
        ValueError: it cannot be used; the message says why.
    """
    if isinstance(message, CompressedImage):
        return decompress(
            message.data, message.format, max_pixels=_MAX_PIXELS, image_bits=image_bits
        )
    if not image_encodings.family_of(message.encoding)[0]:
        raise ValueError(image_encodings.unsupported(message.encoding))
    return image_encodings.to_rgb(image_to_array(message), message.encoding, image_bits=image_bits)


def image_to_rgb(message: Image | CompressedImage) -> np.ndarray:
    """Picture uint8 (H, W, 3) RGB of an image, for people. Raises as read_image."""
    return read_image(message).rgb


def array_to_image(picture: np.ndarray, encoding: str, header: Header) -> Image:
    """Image message of an array (H, W) or (H, W, C).

    Raises:
        ValueError: the array does not fit the encoding.
    """
    kind, channels, rows_of_two = image_encodings.layout_of(encoding)
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
        height=2 * shaped.shape[0] // rows_of_two,
        width=shaped.shape[1],
        encoding=encoding,
        is_bigendian=int(sys.byteorder == 'big'),
        step=shaped.shape[1] * channels * shaped.dtype.itemsize,
        data=data,
    )


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
    expected_views: int = 0,
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
        expected_views: images of the piece that this camera takes; 0 = as its triggers say.
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
        expected_views=expected_views,
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
    surface = np.array(message.surface, np.float32)
    broken = not math.isfinite(message.anomaly_score) or bool(np.isinf(surface).any())
    if verdict != Verdict.UNDETERMINED and broken:
        verdict, reason = Verdict.UNDETERMINED, Reason.INTERNAL_ERROR
    return ViewResult(
        verdict,
        reason,
        float(message.anomaly_score),
        float(message.threshold),
        message.inspection_id,
        message.camera_name,
        surface if len(surface) else None,
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
