"""Pictures for people: anomaly overlays and contact sheets.

Pictures are uint8 (H, W, 3) RGB.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pad_inspection import images
from pad_inspection.datatypes import Inspection, Verdict

VERDICT_COLORS = {
    Verdict.PASS: (40, 170, 70),
    Verdict.REJECT: (215, 40, 40),
    Verdict.UNDETERMINED: (225, 150, 20),
}
_SILHOUETTE_COLOR = (0, 200, 255)
_MAX_BOXES = 5


def heat_colors(values: np.ndarray) -> np.ndarray:
    """Colours of values (H, W) in 0..1: dark blue, violet, red, yellow, white; uint8 (H, W, 3)."""
    stops = np.array([0.0, 0.25, 0.5, 0.75, 1.0])
    colors = np.array(
        [[20, 20, 90], [130, 20, 130], [225, 40, 40], [255, 190, 30], [255, 255, 235]]
    )
    clipped = np.clip(np.nan_to_num(values), 0, 1)
    channels = [np.interp(clipped, stops, colors[:, channel]) for channel in range(3)]
    return np.rint(np.stack(channels, axis=-1)).astype(np.uint8)


def overlay_picture(
    inspection: Inspection, *, score_low: float = 0.0, score_high: float | None = None
) -> np.ndarray | None:
    """The query with anomaly colours, outline of the rendered object, regions and verdict.

    Args:
        inspection: result of the pipeline; its joined map is drawn where there is one.
        score_low: anomaly score of a pixel that stays as it is.
        score_high: score of the strongest colour; None = the highest in the map.

    Returns:
        Picture of the query's size, or None when the inspection holds no picture.
    """
    import cv2

    if inspection.query is None:
        return None
    picture = inspection.query.copy()
    scores = inspection.best_map
    if scores is not None and np.isfinite(scores).any():
        high = float(np.nanmax(scores)) if score_high is None else score_high
        strength = np.clip((scores - score_low) / max(high - score_low, 1e-9), 0, 1)
        weight = np.nan_to_num(strength)[..., None] ** 0.7 * 0.85
        mixed = picture * (1 - weight) + heat_colors(0.25 + 0.75 * strength) * weight
        picture = np.rint(mixed).astype(np.uint8)
    if inspection.rendered_alpha is not None:
        picture = images.outline(picture, inspection.rendered_alpha > 0.5, _SILHOUETTE_COLOR)
    for region in inspection.regions[:_MAX_BOXES]:
        x0, y0, x1, y1 = region.bbox
        cv2.rectangle(picture, (x0, y0), (x1 - 1, y1 - 1), VERDICT_COLORS[Verdict.REJECT], 1)
    color = VERDICT_COLORS[inspection.verdict]
    cv2.rectangle(picture, (0, 0), (picture.shape[1] - 1, picture.shape[0] - 1), color, 3)
    return picture


def caption(width: int, text: str, color: tuple[int, int, int], height: int = 22) -> np.ndarray:
    """A strip of this size with text on a dark ground after a bar of a colour."""
    import cv2

    strip = np.full((height, width, 3), 32, np.uint8)
    strip[:, :6] = color
    cv2.putText(
        strip,
        text,
        (12, height - 7),
        cv2.FONT_HERSHEY_SIMPLEX,
        0.42,
        (235, 235, 235),
        1,
        cv2.LINE_AA,
    )
    return strip


def contact_sheet(
    rows: Sequence[tuple[str, Verdict, Sequence[np.ndarray | None]]],
    *,
    tile_px: int = 200,
    gap_px: int = 4,
) -> np.ndarray:
    """One picture of many: a row for each object with its caption.

    Args:
        rows: text, verdict (colour of the caption) and pictures; None leaves a gap.
        tile_px: each picture is fitted into a square of this size.
        gap_px: between tiles.

    Raises:
        ValueError: no rows.
    """
    if not rows:
        raise ValueError('a contact sheet needs at least one row')
    columns = max(1, *(len(pictures) for _, _, pictures in rows))
    width = columns * (tile_px + gap_px)
    parts = []
    for text, verdict, pictures in rows:
        strip = np.full((tile_px, width, 3), 48, np.uint8)
        for index, picture in enumerate(pictures):
            if picture is None:
                continue
            scale = tile_px / max(picture.shape[:2])
            size = [max(1, round(side * scale)) for side in picture.shape[1::-1]]
            small = images.resize(picture, *size)
            left = index * (tile_px + gap_px)
            strip[: small.shape[0], left : left + small.shape[1]] = small
        parts += [caption(width, text, VERDICT_COLORS[verdict]), strip]
    return np.concatenate(parts)
