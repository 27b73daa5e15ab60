"""Which of several products an image shows: the one whose model explains it best.

A product is recognised by localising it: every model tries, and the render of the right one agrees
with the image. Two models that explain it alike give no product.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Protocol

from pad_inspection.datatypes import Frame, Inspection, Reason, Verdict


class Inspects(Protocol):
    """What pipeline.Inspector has of use here."""

    def inspect(self, frame: Frame) -> Inspection:
        """Inspect one frame."""


def recognize(
    inspectors: Mapping[str, Inspects], frame: Frame, margin: float
) -> tuple[str, Inspection]:
    """Inspect a frame with the model that localises it best.

    Args:
        inspectors: by product; at least one.
        frame: the image.
        margin: the best agreement of render and image must exceed the second one by this.

    Returns:
        The product and its inspection; '' and an UNDETERMINED inspection when none localises it,
        or two do alike.
    """
    found = {name: inspector.inspect(frame) for name, inspector in inspectors.items()}
    agreements = {
        name: _agreement(inspection)
        for name, inspection in found.items()
        if inspection.pose.cam_from_object is not None
    }
    ranked = sorted(agreements, key=lambda name: agreements[name], reverse=True)
    if not ranked:
        reasons = '; '.join(f'{name}: {i.message}' for name, i in found.items())
        first = next(iter(found.values()))
        return '', _not_recognized(first, f'none of the products was recognised ({reasons})')
    best = ranked[0]
    if len(ranked) > 1 and agreements[best] - agreements[ranked[1]] < margin:
        text = ', '.join(f'{name} by {agreements[name]:.3f}' for name in ranked[:2])
        message = f'not recognised: models agree with the image alike ({text})'
        return '', _not_recognized(found[best], message)
    return best, found[best]


def _agreement(inspection: Inspection) -> float:
    """How well a render explains the image; a pose that was not verified comes last."""
    confidence = inspection.pose.confidence
    return confidence if math.isfinite(confidence) else -1.0


def _not_recognized(inspection: Inspection, message: str) -> Inspection:
    """Without verdict; pose, map and reference of a model that may be wrong are left out."""
    reason = Reason.NOT_LOCALIZED
    if inspection.reason in (Reason.IMAGE_INVALID, Reason.INTERNAL_ERROR):
        reason = inspection.reason
    return Inspection(
        Verdict.UNDETERMINED,
        reason,
        message,
        query=inspection.query,
        object_mask=inspection.object_mask,
        timings_ms=inspection.timings_ms,
        camera_name=inspection.camera_name,
        object_id=inspection.object_id,
        stamp_ns=inspection.stamp_ns,
    )


def with_product_conflict(inspection: Inspection, now: str, before: str) -> Inspection:
    """The same image without a verdict: its piece was another product in an earlier view."""
    message = f'recognised as {now}, an earlier view of the piece as {before}'
    return dataclasses.replace(
        inspection, verdict=Verdict.UNDETERMINED, reason=Reason.NOT_LOCALIZED, message=message
    )
