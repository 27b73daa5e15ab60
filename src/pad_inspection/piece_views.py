"""What the views of a piece say together while they come one by one.

Each view that was judged is kept until memory is needed; with it the maps of the piece are joined
anew, and the result of the view tells what they say so far. The last result of a piece so tells
what all of its views say, without anybody having to know that it is the last.
"""

from __future__ import annotations

import dataclasses
import time
import weakref
from collections import deque
from typing import TYPE_CHECKING

from pad_inspection.comparison import image_score
from pad_inspection.datatypes import Inspection, Verdict
from pad_inspection.joined_views import SeenMap
from pad_inspection.object_inspection import piece_ratio, posed_map

if TYPE_CHECKING:
    from pad_inspection.pipeline import Inspector

# What is kept, bytes: 80 views at 400 px, 8 at 5 megapixels.
_MEMORY = 256 << 20
_MAX_VIEWS = 256


@dataclasses.dataclass(frozen=True)
class _Kept:
    """A view of a piece."""

    # weak: a model that was exchanged must not stay in memory for its last views
    inspector: weakref.ref[Inspector]
    piece: tuple[str, int]
    inspection: Inspection
    seen: SeenMap

    @property
    def size(self) -> int:
        """Bytes of its arrays."""
        seen, where = self.seen, self.seen.where
        return sum(
            array.nbytes
            for array in (
                seen.view.anomaly_map, seen.silhouette, seen.surface, seen.free,
                where.rows, where.columns, where.seen, where.beside,
            )
        )  # fmt: skip


class PieceViews:
    """The last views of the last pieces. One thread owns it."""

    def __init__(self, memory: int = _MEMORY):
        """No views yet.

        Args:
            memory: bytes of maps that are kept; the oldest views go first.
        """
        self._memory = memory
        self._kept: deque[_Kept] = deque(maxlen=_MAX_VIEWS)

    def add(self, inspector: Inspector, inspection: Inspection, use: int = 0) -> Inspection:
        """Take in a view.

        Args:
            inspector: the model that inspected it.
            inspection: of the view.
            use: which piece of this object_id, where they come again.

        Returns:
            It, with ``piece_score`` and ``piece_views`` where it and other views of the piece were
            judged with the same model, and a step ``join`` in its times.
        """
        # another class that inspects need not have one
        joiner = getattr(inspector, 'joiner', None)
        if (
            joiner is None
            or not inspector.calibration.joined_image_threshold > 0
            or inspection.verdict == Verdict.UNDETERMINED
            or inspection.anomaly_map is None
            or not inspection.object_id
        ):
            return inspection
        begin = time.perf_counter()
        # what a later step needs no more is let go: the pictures
        light = dataclasses.replace(
            inspection, query=None, reference=None, object_mask=None, rendered_alpha=None
        )
        seen = joiner.see(posed_map(inspection))
        piece = (inspection.object_id, use)
        self._kept.append(_Kept(weakref.ref(inspector), piece, light, seen))
        while sum(one.size for one in self._kept) > self._memory and len(self._kept) > 1:
            self._kept.popleft()
        views = [one for one in self._kept if one.piece == piece and one.inspector() is inspector]
        if len(views) < 2:
            return inspection
        maps = joiner.join_seen([one.seen for one in views])
        scores = [image_score(m, inspector.config.comparison) for m in maps]
        ratio = piece_ratio(inspector, [one.inspection for one in views], scores)
        timings = {**inspection.timings_ms, 'join': (time.perf_counter() - begin) * 1e3}
        return dataclasses.replace(
            inspection, piece_score=ratio, piece_views=len(views), timings_ms=timings
        )
