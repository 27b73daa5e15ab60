"""Square crops around the object, turned in the image plane, on white.

Reference views and queries are brought to the same size of the object and to the same background,
which matters more to matching than the choice of local features.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

# Crop beyond the object, relative to its size.
_MARGIN = 0.1
# Pieces of the mask that are smaller than this share of the largest do not move the crop.
_MIN_PIECE = 0.05
WHITE = 255


@dataclass(frozen=True)
class CropFrame:
    """Where a crop lies in its image.

    Attributes:
        image_from_crop: float64 (2, 3), px; takes crop coordinates to image coordinates, in both
            the first pixel centre is at (0.5, 0.5).
        size_px: side of the crop.
    """

    image_from_crop: np.ndarray
    size_px: int

    @property
    def scale(self) -> float:
        """Image px per crop px."""
        return float(np.linalg.norm(self.image_from_crop[:, 0]))

    def to_image(self, points: np.ndarray) -> np.ndarray:
        """Take crop points (N, 2) px to the image."""
        return (
            np.asarray(points, np.float64) @ self.image_from_crop[:, :2].T
            + (self.image_from_crop[:, 2])
        )

    def to_crop(self, points: np.ndarray) -> np.ndarray:
        """Take image points (N, 2) px to the crop."""
        shifted = np.asarray(points, np.float64) - self.image_from_crop[:, 2]
        return shifted @ np.linalg.inv(self.image_from_crop[:, :2]).T


@dataclass(frozen=True)
class Crop:
    """A crop.

    Attributes:
        picture: uint8 (S, S, 3) RGB, white outside of the object when there was a mask.
        mask: bool (S, S), where keypoints may be, or None = everywhere.
        frame: where it lies.
    """

    picture: np.ndarray
    mask: np.ndarray | None
    frame: CropFrame


def square_around(mask: np.ndarray) -> tuple[float, float, float] | None:
    """Centre x, y and side (px) of a square around the object, the same however it is turned.

    The square holds the smallest circle around the object's larger pieces, with a margin.

    Args:
        mask: bool (H, W).

    Returns:
        None when the mask is empty.
    """
    import cv2

    count, labels, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8))
    if count < 2:
        return None
    areas = stats[1:, cv2.CC_STAT_AREA]
    kept = np.flatnonzero(areas >= _MIN_PIECE * areas.max()) + 1
    ys, xs = np.nonzero(np.isin(labels, kept))
    hull = cv2.convexHull(np.stack([xs, ys], axis=1).astype(np.int32)).astype(np.float32)
    (x, y), radius = cv2.minEnclosingCircle(hull)
    return x + 0.5, y + 0.5, 2 * (radius + 0.5) * (1 + 2 * _MARGIN)


def frame_of(square: tuple[float, float, float], size_px: int, turn_deg: float = 0.0) -> CropFrame:
    """Frame of a crop of ``square`` (centre x, y, side in px) whose content is turned.

    Args:
        square: centre and side in the image.
        size_px: side of the crop.
        turn_deg: the crop's x axis points along this direction of the image, degrees from the
            image's x towards its y axis.
    """
    x, y, side = square
    angle = np.radians(turn_deg)
    linear = (side / size_px) * np.array(
        [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    )
    middle = np.array([size_px / 2, size_px / 2])
    offset = np.array([x, y]) - linear @ middle
    return CropFrame(np.column_stack([linear, offset]), size_px)


def whiten(image: np.ndarray, mask: np.ndarray | None) -> np.ndarray:
    """Picture uint8 (H, W, 3), white outside of a bool mask (H, W); None changes nothing."""
    if mask is None:
        return image
    return np.where(mask[..., None], image, np.uint8(WHITE))


def cut(image: np.ndarray, mask: np.ndarray | None, frame: CropFrame) -> Crop:
    """Cut a crop out of an image; what lies outside of the image is white.

    Args:
        image: uint8 (H, W, 3) RGB.
        mask: bool (H, W) of where keypoints may be, or None.
        frame: which part.
    """
    import cv2

    # OpenCV puts the first pixel centre at (0, 0)
    matrix = frame.image_from_crop.copy()
    matrix[:, 2] = frame.to_image([[0.5, 0.5]])[0] - 0.5
    size = (frame.size_px, frame.size_px)
    if frame.scale > 1.2:
        image = cv2.GaussianBlur(image, (0, 0), 0.4 * frame.scale)
    smooth = cv2.INTER_CUBIC if frame.scale < 1 else cv2.INTER_LINEAR
    picture = cv2.warpAffine(
        image,
        matrix,
        size,
        flags=smooth | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_CONSTANT,
        borderValue=(WHITE,) * 3,
    )
    if mask is not None:
        flags = cv2.INTER_NEAREST | cv2.WARP_INVERSE_MAP
        mask = cv2.warpAffine(mask.astype(np.uint8), matrix, size, flags=flags) > 0
    return Crop(picture, mask, frame)
