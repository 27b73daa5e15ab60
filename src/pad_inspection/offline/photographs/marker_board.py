"""Cameras of photographs from a printed ChArUco board that the product stands on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from pad_inspection import images
from pad_inspection.datatypes import Camera, Rigid3
from pad_inspection.geometry import camera_from_opencv, opencv_matrix

# Fewer corners of the board do not fix a camera well.
_MIN_CORNERS = 8
_MIN_CALIBRATION_PHOTOS = 6
# A photograph whose corners are farther off is blurred or its board is bent; share of the longer
# side of the picture.
_MAX_ERROR_SHARE = 1 / 800


@dataclass(frozen=True)
class MarkerBoard:
    """A ChArUco board.

    Attributes:
        columns: squares along x.
        rows: squares along y.
        square_m: side of a square.
        marker_m: side of a marker.
        dictionary: OpenCV's name of the marker dictionary.
    """

    columns: int
    rows: int
    square_m: float
    marker_m: float
    dictionary: str = 'DICT_5X5_100'

    def __post_init__(self):
        if not hasattr(cv2.aruco, self.dictionary):
            raise ValueError(f'unknown marker dictionary {self.dictionary!r}')
        if min(self.columns, self.rows) < 3 or not 0 < self.marker_m < self.square_m:
            raise ValueError(
                f'board of {self.columns}x{self.rows} squares of {self.square_m} m with markers '
                f'of {self.marker_m} m: wanted at least 3x3 and markers smaller than squares'
            )

    @classmethod
    def parse(cls, text: str) -> MarkerBoard:
        """Read COLUMNSxROWS:SQUARE_M:MARKER_M[:DICTIONARY], as 7x5:0.03:0.022.

        Raises:
            ValueError: it is something else.
        """
        try:
            squares, square, marker, *dictionary = text.split(':')
            columns, rows = (int(v) for v in squares.split('x'))
            return cls(columns, rows, float(square), float(marker), *dictionary)
        except (ValueError, TypeError) as error:
            raise ValueError(
                f'marker board {text!r}: {error}; wanted COLUMNSxROWS:SQUARE_M:MARKER_M, as '
                '7x5:0.03:0.022'
            ) from error

    def draw(self, px_per_m: float) -> np.ndarray:
        """Picture uint8 (H, W, 3) of the board to print."""
        size = (
            round(self.columns * self.square_m * px_per_m),
            round(self.rows * self.square_m * px_per_m),
        )
        return np.repeat(self._board().generateImage(size)[..., None], 3, axis=2)

    def detect(self, image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Corners of the board in a picture uint8 (H, W, 3).

        Returns:
            Points float32 (M, 3) m in the frame of the board, and float32 (M, 2) px with OpenCV's
            pixel origin; M = 0 when the board is not seen.
        """
        board = self._board()
        gray = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
        corners, ids, _, _ = cv2.aruco.CharucoDetector(board).detectBoard(gray)
        if ids is None or len(ids) == 0:
            return np.zeros((0, 3), np.float32), np.zeros((0, 2), np.float32)
        points = np.asarray(board.getChessboardCorners(), np.float32)[ids.ravel()]
        return points, np.asarray(corners, np.float32).reshape(-1, 2)

    def _board(self):
        """OpenCV's object."""
        dictionary = cv2.aruco.getPredefinedDictionary(getattr(cv2.aruco, self.dictionary))
        size = (self.columns, self.rows)
        return cv2.aruco.CharucoBoard(size, self.square_m, self.marker_m, dictionary)


@dataclass(frozen=True)
class BoardCameras:
    """What a board tells of photographs.

    Attributes:
        camera: intrinsics with distortion, at the photographs' size.
        poses: cam_from_board by photograph's name, m.
        errors_px: mean reprojection error by photograph's name.
        failed: photograph's name -> why it has no camera.
    """

    camera: Camera
    poses: dict[str, Rigid3]
    errors_px: dict[str, float]
    failed: dict[str, str]


def cameras_from_board(
    paths: list[Path], board: MarkerBoard, camera: Camera | None
) -> BoardCameras:
    """Find the board in photographs and compute their cameras.

    Args:
        paths: photographs of one size.
        board: the printed board.
        camera: intrinsics, or None = calibrate them from the board.

    Raises:
        ValueError: the board is seen in too few photographs, or the sizes differ.
    """
    seen, failed, size = {}, {}, None
    for path in paths:
        # without the alpha channel: the board is where the object is cut out from
        image = images.read_rgba(path)[0]
        if size is None:
            size = image.shape[1::-1]
        if image.shape[1::-1] != size:
            raise ValueError(f'{path} has {image.shape[1::-1]} px, the others have {size}')
        points, pixels = board.detect(image)
        if len(points) < _MIN_CORNERS:
            failed[path.stem] = f'{len(points)} corners of the board seen, wanted {_MIN_CORNERS}'
        else:
            seen[path.stem] = points, pixels
    least = 1 if camera is not None else _MIN_CALIBRATION_PHOTOS
    if len(seen) < least:
        raise ValueError(
            f'the marker board is seen in {len(seen)} of {len(paths)} photographs, wanted '
            f'{least}; is it the board that was named (squares, sizes, dictionary)?'
        )
    if camera is None:
        objects, corners = zip(*seen.values())
        lens = cv2.CALIB_FIX_K3 | cv2.CALIB_FIX_ASPECT_RATIO
        first = np.array([[max(size), 0, size[0] / 2], [0, max(size), size[1] / 2], [0, 0, 1.0]])
        _, K, distortion, _, _ = cv2.calibrateCamera(
            objects, corners, size, first, np.zeros(5), flags=lens | cv2.CALIB_USE_INTRINSIC_GUESS
        )
        camera = camera_from_opencv(*size, K, distortion.ravel()[:5])
    poses, errors = {}, {}
    limit = _MAX_ERROR_SHARE * max(size)
    for name, (points, pixels) in seen.items():
        K, distortion = opencv_matrix(camera), camera.distortion
        found, turn, shift = cv2.solvePnP(points, pixels, K, distortion)
        projected = cv2.projectPoints(points, turn, shift, K, distortion)[0].reshape(-1, 2)
        error = float(np.linalg.norm(projected - pixels, axis=1).mean())
        if not found or not error < limit:
            failed[name] = f'the board is {error:.1f} px off, wanted {limit:.1f}'
            continue
        poses[name] = Rigid3(cv2.Rodrigues(turn)[0], shift.ravel())
        errors[name] = error
    return BoardCameras(camera, poses, errors, failed)
