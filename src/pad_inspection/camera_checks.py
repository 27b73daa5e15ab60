"""Whether intrinsics can be those of a camera; asked once, where they are read.

A focal length in millimetres or the principal point of another crop raises no error later: it only
makes scores wrong. So files, messages and bags all ask here.
"""

from __future__ import annotations

import numpy as np

from pad_inspection.datatypes import Camera

# Of the whole image, in both directions; wider or narrower ones are wrong numbers, not lenses.
FIELD_OF_VIEW_DEG = (1.0, 175.0)
# The flow draws and rectifies without skew; so much of it, at the edge of the image, is not seen.
MAX_SKEW_PX = 0.1
# How much nearer to or farther from the centre a lens may put the middle of an edge.
RADIAL_SCALE = (0.2, 5.0)


def check_camera(camera: Camera, *, K: str = 'K', distortion: str = 'distortion') -> None:
    """Check the intrinsics of a camera.

    Args:
        camera: of a whole image as it was calibrated, before crops of ours.
        K: name of the matrix for the message of an error.
        distortion: name of the coefficients, the same way.

    Raises:
        ValueError: they are not plausible; the message names the value.
    """
    matrix, width, height = camera.K, camera.width, camera.height
    if matrix[1, 0] != 0 or not np.array_equal(matrix[2], (0, 0, 1)):
        raise ValueError(
            f'{K} is {matrix.tolist()}, wanted [[fx, 0, cx], [0, fy, cy], [0, 0, 1]] row by row'
        )
    for size, focal in ((width, matrix[0, 0]), (height, matrix[1, 1])):
        angle = 2 * np.degrees(np.arctan(size / 2 / focal))
        if not FIELD_OF_VIEW_DEG[0] <= angle <= FIELD_OF_VIEW_DEG[1]:
            least, most = FIELD_OF_VIEW_DEG
            raise ValueError(
                f'{K} has a focal length of {focal:g} px for {size} px, a field of view '
                f'{angle:.3g} degrees, wanted {least:g} to {most:g} (focal length in px?)'
            )
    skew_px = abs(matrix[0, 1]) * height / 2 / matrix[1, 1]
    if skew_px > MAX_SKEW_PX:
        raise ValueError(f'{K} has skew {matrix[0, 1]:g} px, wanted 0: rectify the images first')
    cx, cy = matrix[:2, 2]
    if not (0 <= cx <= width and 0 <= cy <= height):
        raise ValueError(
            f'{K}: principal point {cx:.0f}, {cy:.0f} px is off the image of {width}x{height} px '
            '(calibrated for another size or crop?)'
        )
    k1, k2, _, _, k3 = camera.distortion
    check_radial(camera, [1, k1, k2, k3], name=distortion)


def check_radial(camera: Camera, above, below=(1,), *, angular=False, name='distortion') -> None:
    """Check what a lens model does to the middles of the edges.

    Args:
        camera: of the image.
        above: coefficients of 1, r^2, r^4... of the factor by which radii grow.
        below: those of its denominator.
        angular: the factor is one of angles (fisheye), not of radii.
        name: of the coefficients, for the message of an error.

    Raises:
        ValueError: they are moved by a factor that no lens has.
    """
    for size, focal in ((camera.width, camera.K[0, 0]), (camera.height, camera.K[1, 1])):
        radius = size / 2 / focal
        squared = (np.arctan(radius) if angular else radius) ** 2
        divisor = np.polyval(below[::-1], squared)
        scale = np.polyval(above[::-1], squared) / divisor if divisor else np.inf
        if not RADIAL_SCALE[0] <= scale <= RADIAL_SCALE[1]:
            least, most = RADIAL_SCALE
            raise ValueError(
                f'{name} moves the edge of the image to {scale:.3g} times its distance from the '
                f'centre, wanted {least:g} to {most:g} (coefficients of another lens or order?)'
            )
