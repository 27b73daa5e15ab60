"""Messages that show people what one inspection gave: pictures and markers.

``MAKERS`` holds, for each topic, the function that makes its message, or None when the inspection
has nothing to show there. The live node and `pad bag inspect` use the same ones.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from geometry_msgs.msg import Point, Vector3
from sensor_msgs.msg import Image
from std_msgs.msg import ColorRGBA, Header
from visualization_msgs.msg import Marker, MarkerArray

from pad_inspection import drawing, geometry
from pad_inspection.datatypes import Inspection, Rigid3, Verdict
from pad_inspection.ros import conversions, interfaces
from pad_inspection.ros.model_loading import Model

# Sizes of markers as shares of the distance, so that they look alike near and far.
_REGION_SIZE, _POINT_SIZE, _TEXT_SIZE = 0.02, 0.004, 0.03
_COLORS = {
    verdict: ColorRGBA(r=r / 255, g=g / 255, b=b / 255, a=0.9)
    for verdict, (r, g, b) in drawing.VERDICT_COLORS.items()
}
_PLAIN = ColorRGBA(r=0.75, g=0.78, b=0.8, a=0.9)


def anomaly_map(inspection: Inspection, header: Header, model: Model | None) -> Image | None:
    """Scores as 32FC1."""
    del model
    if inspection.anomaly_map is None:
        return None
    scores = np.ascontiguousarray(inspection.anomaly_map, np.float32)
    return conversions.array_to_image(scores, '32FC1', header)


def heatmap(inspection: Inspection, header: Header, model: Model | None) -> Image | None:
    """The anomaly map in colours; what was not compared is black."""
    if inspection.anomaly_map is None:
        return None
    low, high = _color_limits(model)
    scores = inspection.anomaly_map
    if high is None:
        finite = scores[np.isfinite(scores)]
        high = float(finite.max()) if finite.size else 1.0
    colors = drawing.heat_colors((scores - low) / max(high - low, 1e-9))
    colors[~np.isfinite(scores)] = 0
    return conversions.array_to_image(colors, 'rgb8', header)


def reference(inspection: Inspection, header: Header, model: Model | None) -> Image | None:
    """What a good piece would look like."""
    del model
    if inspection.reference is None:
        return None
    return conversions.array_to_image(inspection.reference, 'rgb8', header)


def overlay(inspection: Inspection, header: Header, model: Model | None) -> Image | None:
    """The image with anomaly colours, silhouette, regions, and a frame of the verdict's colour."""
    low, high = _color_limits(model)
    picture = drawing.overlay_picture(inspection, score_low=low, score_high=high)
    return None if picture is None else conversions.array_to_image(picture, 'rgb8', header)


def mask(inspection: Inspection, header: Header, model: Model | None) -> Image | None:
    """Probability of object as grey."""
    del model
    if inspection.object_mask is None:
        return None
    grey = np.rint(np.clip(inspection.object_mask, 0, 1) * 255).astype(np.uint8)
    return conversions.array_to_image(grey, 'mono8', header)


def _color_limits(model: Model | None) -> tuple[float, float | None]:
    """Scores of no colour and of the strongest: what normal pictures have, and twice."""
    info = None if model is None else model.info
    if info is None or not info.score_max > info.score_min:
        return 0.0, None
    return 0.5 * (info.score_min + info.score_max), 2 * info.score_max


def markers(inspection: Inspection, header: Header, model: Model | None) -> MarkerArray:
    """The piece as points, its verdict as text, its anomaly regions as spheres; optical frame."""
    made = [Marker(header=header, ns='anomaly', action=Marker.DELETEALL)]
    pose = inspection.pose.cam_from_object
    if pose is None:
        return MarkerArray(markers=made)
    regions = [r for r in inspection.regions if r.peak_in_object is not None]
    peaks = np.array([r.peak_in_object for r in regions]).reshape(-1, 3)
    if model is not None and model.points is not None:
        made.append(_points(model.points, peaks, pose, header))
        made.append(_text(inspection, header))
    for index, point in enumerate(geometry.transform(pose, peaks) if len(peaks) else ()):
        marker = Marker(header=header, ns='anomaly', id=index, type=Marker.SPHERE)
        marker.pose.position = _point(point)
        size = _REGION_SIZE * float(point[2])
        marker.scale = Vector3(x=size, y=size, z=size)
        marker.color = _COLORS[Verdict.REJECT]
        made.append(marker)
    return MarkerArray(markers=made)


def _points(points: np.ndarray, peaks: np.ndarray, pose: Rigid3, header: Header) -> Marker:
    """Points of the model's surface; those at anomaly regions are red."""
    placed = geometry.transform(pose, points)
    distance = float(pose.translation[2])
    size = _POINT_SIZE * distance
    marker = Marker(header=header, ns='object', type=Marker.POINTS, scale=Vector3(x=size, y=size))
    near = np.zeros(len(points), bool)
    for peak in peaks:
        near |= np.linalg.norm(points - peak, axis=1) < 1.5 * _REGION_SIZE * distance
    marker.points = [_point(point) for point in placed]
    marker.colors = [_COLORS[Verdict.REJECT] if is_near else _PLAIN for is_near in near]
    return marker


def _text(inspection: Inspection, header: Header) -> Marker:
    """Name and verdict above the piece."""
    x, y, z = (float(value) for value in inspection.pose.cam_from_object.translation)
    marker = Marker(header=header, ns='verdict', type=Marker.TEXT_VIEW_FACING)
    # y points down in an optical frame
    marker.pose.position = Point(x=x, y=y - 4 * _TEXT_SIZE * z, z=z)
    marker.scale.z = _TEXT_SIZE * z
    marker.color = _COLORS[inspection.verdict]
    marker.text = f'{inspection.object_id}: {inspection.verdict.name} {inspection.score:.2f}'
    return marker


def _point(values: np.ndarray) -> Point:
    return Point(x=float(values[0]), y=float(values[1]), z=float(values[2]))


MAKERS: dict[interfaces.Topic, Callable[[Inspection, Header, Model | None], Any]] = {
    interfaces.ANOMALY_MAP: anomaly_map,
    interfaces.HEATMAP: heatmap,
    interfaces.REFERENCE: reference,
    interfaces.MASK: mask,
    interfaces.OVERLAY: overlay,
    interfaces.MARKERS: markers,
}
