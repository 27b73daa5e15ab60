"""Reads sensor_msgs/CameraInfo (REP 104): intrinsics of the image that is sent, and its lens.

K, D, P, width and height are of the whole sensor at full resolution; binning and the region of
interest say what of it was sent. What contradicts this is refused by the name of its field.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from sensor_msgs.msg import CameraInfo

from pad_inspection import geometry
from pad_inspection.camera_checks import check_camera, check_radial
from pad_inspection.datatypes import Camera

# Numbers of coefficients that each distortion model may come with; what is missing is 0.
_COUNTS = {
    'plumb_bob': (0, 4, 5),
    'rational_polynomial': (0, 4, 5, 8, 12, 14),
    'equidistant': (4,),
}
_MAX_SIZE_PX = 2**24
# Rectification may change focal lengths by this factor; by the smaller one where it has nothing to
# do, which leaves room for rounding and cropping but not for another resolution.
_MAX_ZOOM, _MAX_ZOOM_IF_STRAIGHT = 4.0, 1.5
# Calibrations that are remembered: each image comes with the same one.
_MAX_REMEMBERED = 64
_remembered: dict[tuple, tuple[Camera, Lens | None]] = {}


@dataclass(frozen=True)
class Lens:
    """Distortion that datatypes.Camera does not hold.

    Attributes:
        model: 'rational_polynomial' or 'equidistant'.
        coefficients: float64 (8,), (12,), (14,) or (4,), in OpenCV's order.
    """

    model: str
    coefficients: np.ndarray


def read_camera_info(info: CameraInfo, *, rectified: bool) -> tuple[Camera, Lens | None]:
    """Camera of the image that is sent, and what is to be done to it first.

    Args:
        info: the message.
        rectified: the image is rectified: the left 3x3 of P holds and there is no distortion;
            otherwise K and D hold.

    Returns:
        The camera, plumb_bob distortion included, and the lens whose distortion is to be taken out
        before; None where there is none.

    Raises:
        ValueError: not calibrated, not plausible, or an unknown distortion model; the message
            names the field.
    """
    roi = info.roi
    key = (
        rectified, info.distortion_model, info.width, info.height, info.binning_x, info.binning_y,
        roi.x_offset, roi.y_offset, roi.width, roi.height,
        bytes(info.d), info.k.tobytes(), info.r.tobytes(), info.p.tobytes(),
    )  # fmt: skip
    found = _remembered.get(key)
    if found is None:
        found = _read(info, rectified)
        if len(_remembered) >= _MAX_REMEMBERED:
            _remembered.clear()
        _remembered[key] = found
    return found


# absurd numbers overflow on their way to being refused
@np.errstate(over='ignore', divide='ignore', invalid='ignore')
def _read(info: CameraInfo, rectified: bool) -> tuple[Camera, Lens | None]:
    """See read_camera_info."""
    for name in ('d', 'k', 'r', 'p'):
        if not np.isfinite(getattr(info, name)).all():
            raise ValueError(f'CameraInfo.{name} holds NaN or infinity')
    if not (1 <= info.width <= _MAX_SIZE_PX and 1 <= info.height <= _MAX_SIZE_PX):
        raise ValueError(f'CameraInfo size is {info.width}x{info.height} px')
    name, K = ('p', np.reshape(info.p, (3, 4))[:, :3]) if rectified else ('k', _k(info))
    if not (K[0, 0] > 0 and K[1, 1] > 0):
        raise ValueError(
            f'CameraInfo.{name} has focal lengths {K[0, 0]:g}, {K[1, 1]:g} px, wanted both above '
            '0 (is the camera calibrated?)'
        )
    model, coefficients = ('', np.zeros(0)) if rectified else _distortion(info)
    plumb_bob = coefficients if model == 'plumb_bob' else None
    sensor = geometry.camera_from_opencv(info.width, info.height, K, plumb_bob)
    check_camera(sensor, K=f'CameraInfo.{name}', distortion='CameraInfo.d')
    if rectified:
        _check_zoom(info, K)
    lens = Lens(model, coefficients) if model not in ('', 'plumb_bob') else None
    if lens is not None:
        _check_lens(sensor, lens)
    return _sent(info, sensor), lens


def _k(info: CameraInfo) -> np.ndarray:
    """K as (3, 3)."""
    return np.reshape(info.k, (3, 3))


def _distortion(info: CameraInfo) -> tuple[str, np.ndarray]:
    """Model and its coefficients, filled with zeros; '' = none."""
    model, d = info.distortion_model, np.array(info.d, np.float64)
    if model == '':
        # REP 104 knows no default: numbers without a name could be of any lens
        if np.any(d):
            raise ValueError(
                f'CameraInfo.distortion_model is empty and CameraInfo.d is {d.tolist()[:14]}, '
                f'wanted one of {sorted(_COUNTS)}'
            )
        return '', np.zeros(0)
    if model not in _COUNTS:
        raise ValueError(
            f'CameraInfo.distortion_model is {model[:40]!r}, wanted one of {sorted(_COUNTS)}: '
            'rectify the image first'
        )
    most = _COUNTS[model][-1]
    given, d = d.size, d[:most] if not np.any(d[most:]) else d
    if d.size not in _COUNTS[model]:
        raise ValueError(
            f'CameraInfo.d has {given} distortion coefficients of model {model}, wanted '
            f'{" or ".join(str(count) for count in _COUNTS[model])}'
        )
    if model == 'equidistant':
        return model, d
    # without any term of its own a rational polynomial is the lens that Camera holds
    if not np.any(d[5:]):
        return 'plumb_bob', d[:5]
    return model, d


def _check_lens(sensor: Camera, lens: Lens) -> None:
    """Check what a lens does to the edges of the image."""
    d = lens.coefficients
    if lens.model == 'equidistant':
        check_radial(sensor, [1, *d], angular=True, name='CameraInfo.d')
    else:
        check_radial(sensor, [1, d[0], d[1], d[4]], [1, *d[5:8]], name='CameraInfo.d')


def _check_zoom(info: CameraInfo, P: np.ndarray) -> None:
    """Check that P can be of the same camera as K, where K is there."""
    K, R = _k(info), np.reshape(info.r, (3, 3))
    if not (K[0, 0] > 0 and K[1, 1] > 0):
        return
    turned = np.any(R) and not np.allclose(R, np.eye(3), atol=1e-3)
    straight = not (turned or np.any(info.d) or info.distortion_model == 'equidistant')
    most = _MAX_ZOOM_IF_STRAIGHT if straight else _MAX_ZOOM
    zoom = np.diag(P)[:2] / np.diag(K)[:2]
    if zoom.max() > most or zoom.min() < 1 / most:
        raise ValueError(
            f'CameraInfo.p has focal lengths {P[0, 0]:g}, {P[1, 1]:g} px, CameraInfo.k '
            f'{K[0, 0]:g}, {K[1, 1]:g} px, wanted at most a factor of {most:g} between them '
            '(is one of another resolution?)'
        )


def _sent(info: CameraInfo, sensor: Camera) -> Camera:
    """Camera of the image that is sent, of that of the whole sensor.

    Raises:
        ValueError: the region of interest does not lie on the sensor, or it or the binning was
            accounted for before.
    """
    roi, binning = info.roi, np.maximum(1, [info.binning_x, info.binning_y])
    offset, whole = np.array([roi.x_offset, roi.y_offset]), np.array([info.width, info.height])
    size = np.array([roi.width or info.width, roi.height or info.height])
    if np.any(offset + size > whole):
        raise ValueError(
            f'CameraInfo.roi is {size[0]}x{size[1]} px at {offset[0]}, {offset[1]}, off the '
            f'{whole[0]}x{whole[1]} px of CameraInfo: with K and size of the cropped image roi '
            'must be 0'
        )
    if np.any(size < binning):
        raise ValueError(
            f'CameraInfo.binning is {binning[0]}, {binning[1]}, more than the {size[0]}x{size[1]} '
            'px that are binned'
        )
    center = sensor.K[:2, 2]
    # the optical axis goes through the middle of a sensor; the K of the image that is sent, which
    # many drivers give instead, has it elsewhere
    is_part = np.any(offset) or np.any(binning > 1)
    if is_part and np.any(np.abs(center - whole / 2) > whole / 6):
        raise ValueError(
            f'CameraInfo.roi starts at {offset[0]}, {offset[1]} and CameraInfo.binning is '
            f'{binning[0]}, {binning[1]}, but the principal point {center[0]:.0f}, '
            f'{center[1]:.0f} px is far from the middle of {whole[0]}x{whole[1]} px: K must be of '
            'the whole sensor, or roi and binning 0 and the size that of the image'
        )
    K = sensor.K.copy()
    K[:2, 2] = (center - offset) / binning
    K[[0, 1], [0, 1]] /= binning
    width, height = (int(value) for value in size // binning)
    return Camera(width, height, K, sensor.distortion)
