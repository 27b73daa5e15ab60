"""Options of finding the cameras of photographs."""

from __future__ import annotations

from dataclasses import dataclass

from pad_inspection.checked_options import CheckedOptions, option


@dataclass(frozen=True)
class PhotographsConfig(CheckedOptions):
    """Cameras of photographs that come without any (`pad dataset cameras`)."""

    max_side_px: int = option(1600, 'larger photographs are scaled down', unit='px', low=64)
    sequence_window: int = option(
        0,
        'photographs that were taken in order (turntable, video) are matched with so many '
        'following ones only, which cannot join different sides; 0 = no order, match all',
        low=0,
        high=1000,
    )
    num_neighbors: int = option(8, 'best partners of each photograph', low=1, high=100)
    max_epipolar_px: float = option(
        2.0, 'matches farther from the epipolar line go', unit='px', low=0.1
    )
    min_correlation: float = option(
        0.5,
        'least correlation of two photographs where their matches put them on top of each other',
        low=-1.0,
        high=1.0,
    )
    min_overlap: float = option(
        0.35, 'least overlap of their silhouettes there', low=0.0, high=1.0
    )
    min_photos: int = option(12, 'fewer registered photographs are refused', low=3)
    min_registered: float = option(
        0.7, 'least share of the photographs that get a camera', low=0.0, high=1.0
    )
    min_covered: float = option(
        0.97,
        'a camera is right when the shape that the silhouettes of most photographs leave covers '
        'so much of its own silhouette',
        low=0.0,
        high=1.0,
    )
    max_outside: float = option(
        0.1, '... and no more of that shape than this lies outside of it', low=0.0, high=1.0
    )
    max_reprojection_px: float = option(2.0, 'a larger mean error is refused', unit='px', low=0.1)
