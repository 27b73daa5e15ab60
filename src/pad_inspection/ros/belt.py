"""Follows pieces along the belt, so that images taken at different moments find their piece.

Plain Python without ROS. Stamps are ns of one clock, positions are x of the frame ``conveyor`` in
m. A piece is remembered by its belt coordinate, x minus the travel of the belt at that moment: it
does not change while the piece lies still on the belt.
"""

from __future__ import annotations

import bisect
import math
from collections import Counter, OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field

from pad_inspection.ros.association import NO_PIECE, Match
from pad_inspection.ros.belt_layout import BeltLayout

_MAX_SAMPLES = 4096
# Pieces that are remembered; those that have passed stay a while, an image may be late.
_MAX_PIECES = 256
# Of two pieces in a camera's window one must be nearer by this share of the window.
_CLEARLY_NEARER = 0.25
# A clock that moves by this against the monotonic one has been set, s. Less may be an image that
# was late; only an encoder is safe against smaller steps.
_CLOCK_JUMP_S = 2.0


class BeltTravel:
    """How far the belt has gone: from samples of an encoder, or from a constant speed."""

    def __init__(self, speed: float, max_speed: float, max_extrapolation: float):
        """Nothing known yet.

        Args:
            speed: m/s; 0 = samples of an encoder tell.
            max_speed: m/s; samples that need more belong to an encoder that was reset.
            max_extrapolation: s after the last sample for which its speed is still believed.
        """
        self._speed = speed
        self._max_speed = max_speed
        self._max_extrapolation_ns = round(max_extrapolation * 1e9)
        self._origin_ns: int | None = None
        self._stamps: list[int] = []
        self._travels: list[float] = []

    def add(self, stamp_ns: int, travel: float) -> bool:
        """Add a sample; False when it does not continue the others, which are forgotten then."""
        if not math.isfinite(travel):
            raise ValueError(f'belt position is {travel}, wanted metres')
        continues = True
        if self._stamps:
            seconds = (stamp_ns - self._stamps[-1]) / 1e9
            if seconds == 0 and travel == self._travels[-1]:
                return True
            limit = self._max_speed * max(seconds, 0.0)
            continues = seconds > 0 and abs(travel - self._travels[-1]) <= limit
        if not continues:
            self._stamps, self._travels = [], []
        self._stamps.append(stamp_ns)
        self._travels.append(travel)
        if len(self._stamps) > _MAX_SAMPLES:
            del self._stamps[: _MAX_SAMPLES // 2], self._travels[: _MAX_SAMPLES // 2]
        return continues

    def at(self, stamp_ns: int) -> float | None:
        """Travel at a moment, m; None where nothing is known of it (yet)."""
        if self._speed:
            if self._origin_ns is None:
                self._origin_ns = stamp_ns
            return self._speed * (stamp_ns - self._origin_ns) / 1e9
        index = bisect.bisect_left(self._stamps, stamp_ns)
        if index < len(self._stamps):
            if self._stamps[index] == stamp_ns:
                return self._travels[index]
            return None if index == 0 else self._line(index - 1, index, stamp_ns)
        if not self._stamps or stamp_ns - self._stamps[-1] > self._max_extrapolation_ns:
            return None
        if len(self._stamps) == 1:
            return None
        return self._line(-2, -1, stamp_ns)

    def _line(self, first: int, second: int, stamp_ns: int) -> float:
        """Travel on the line through two samples."""
        t0, t1 = self._stamps[first], self._stamps[second]
        s0, s1 = self._travels[first], self._travels[second]
        return s0 + (s1 - s0) * (stamp_ns - t0) / (t1 - t0)


@dataclass
class _Track:
    """A piece on the belt; ``views`` are the stamps of its images by camera.

    ``use`` tells pieces of one name apart.
    """

    object_id: str
    object_type: str
    coordinate: float
    cameras: frozenset[str]
    use: int
    views: dict[str, set[int]] = field(default_factory=dict)


class BeltAssociation:
    """Finds the piece in front of a camera at a moment. Not thread-safe: the queue locks.

    Attributes: as TriggerAssociation.
    """

    prefers_known = True

    def __init__(self, layout: BeltLayout, timeout: float = 0.0):
        """An empty belt.

        Args:
            layout: where cameras and the light barrier are, how the belt moves.
            timeout: s that an image may wait for its trigger and for the encoder.
        """
        self.timeout = timeout
        self.ignores_unknown = not layout.sees_unannounced
        self.counts: Counter[str] = Counter()
        self._layout = layout
        self._travel = BeltTravel(layout.speed, layout.max_speed, layout.max_extrapolation)
        # a trigger that came before the encoder's first samples waits here: (stamp, x, track)
        self._unplaced: list[tuple[int, float, _Track]] = []
        self._tracks: OrderedDict[str, _Track] = OrderedDict()
        self._num_tracks = 0
        self._clock_offsets: dict[str, float] = {}

    def __len__(self) -> int:
        return len(self._tracks) + len(self._unplaced)

    def add_trigger(
        self,
        object_id: str,
        cameras: Sequence[str],
        stamp_ns: int,
        x: float = math.nan,
        object_type: str = '',
    ) -> None:
        """A piece is at ``x`` m (NaN: at the light barrier) at this moment.

        Raises:
            ValueError: nobody knows where it is.
        """
        if not math.isfinite(x):
            x = self._layout.trigger_position
        if not math.isfinite(x):
            raise ValueError(
                f'trigger of {object_id} has no position and the belt layout no trigger_position'
            )
        track = self._new_track(object_id, object_type, cameras)
        self._unplaced.append((stamp_ns, x, track))
        del self._unplaced[:-_MAX_PIECES]
        self._place_triggers()

    def _new_track(self, object_id: str, object_type: str, cameras: Sequence[str] = ()) -> _Track:
        """A piece whose place is not known yet."""
        self._num_tracks += 1
        return _Track(object_id, object_type, math.nan, frozenset(cameras), self._num_tracks)

    def add_travel(self, stamp_ns: int, travel: float) -> None:
        """A sample of the encoder, m.

        Raises:
            ValueError: not a number.
        """
        if not self._travel.add(stamp_ns, travel):
            self._forget('encoder resets', stamp_ns)
        self._place_triggers()

    def note_clock(self, camera: str, stamp_ns: int, monotonic: float) -> None:
        """Compare a camera's clock with a monotonic one; pieces do not outlive a jump.

        With a constant speed time is all that says where a piece is; with an encoder it is not.
        """
        offset = stamp_ns / 1e9 - monotonic
        before = self._clock_offsets.get(camera, offset)
        self._clock_offsets[camera] = offset
        if abs(offset - before) > _CLOCK_JUMP_S and self._layout.speed:
            self._forget('clock jumps')

    def _forget(self, why: str, since_ns: int | None = None) -> None:
        """Forget the pieces: where they are is not known any more.

        Those that came ``since_ns`` and are not placed yet may stay.
        """
        left = [one for one in self._unplaced if since_ns is not None and one[0] >= since_ns]
        self.counts[why] += 1
        self.counts['pieces lost track of'] += len(self) - len(left)
        self._tracks.clear()
        self._unplaced = left

    def _place_triggers(self) -> None:
        """Put announced pieces on the belt once the travel at their moment is known."""
        left = []
        for stamp_ns, x, track in self._unplaced:
            travel = self._travel.at(stamp_ns)
            if travel is None:
                left.append((stamp_ns, x, track))
                continue
            track.coordinate = x - travel
            known = self._tracks.get(track.object_id)
            if known is not None:
                if abs(known.coordinate - track.coordinate) <= self._layout.window:
                    # the piece that we announced ourselves, or a trigger that came twice
                    continue
                self.counts['names used again'] += 1
                del self._tracks[track.object_id]
            self._tracks[track.object_id] = track
        self._unplaced = left
        while len(self._tracks) > _MAX_PIECES:
            self._tracks.popitem(last=False)

    def find(self, camera: str, stamp_ns: int) -> Match | None:
        """Piece that an image shows, if it is the piece's turn.

        Returns:
            NO_PIECE when no piece needs this image; None when none is known (yet).
        """
        self._place_triggers()
        travel = self._travel.at(stamp_ns)
        if travel is None:
            return None
        station = self._layout.cameras[camera]
        near = sorted(
            (abs(track.coordinate + travel - station.position), track.object_id)
            for track in self._tracks.values()
            if not track.cameras or camera in track.cameras
        )
        near = [item for item in near if item[0] <= station.window]
        if not near:
            return None
        if len(near) > 1 and near[1][0] - near[0][0] < _CLEARLY_NEARER * station.window:
            self.counts['images between two pieces'] += 1
            return NO_PIECE
        return self._claim(self._tracks[near[0][1]], camera, stamp_ns)

    def _claim(self, track: _Track, camera: str, stamp_ns: int) -> Match:
        """Give an image to a piece unless it has its images of this camera."""
        stamps = track.views.setdefault(camera, set())
        if stamp_ns not in stamps:
            if len(stamps) >= self._layout.views_per_camera:
                return NO_PIECE
            stamps.add(stamp_ns)
        return Match(track.object_id, track.object_type, use=track.use)

    def sight(
        self, camera: str, stamp_ns: int, x: float = math.nan, object_type: str = ''
    ) -> tuple[Match, bool]:
        """Piece that was seen where none had been announced.

        Args:
            camera: that saw it.
            stamp_ns: when.
            x: m, from its pose; NaN = where the camera looks.
            object_type: as which it was recognised.

        Returns:
            The piece, and whether it is a new one.
        """
        travel = self._travel.at(stamp_ns)
        station = self._layout.cameras[camera]
        x = x if math.isfinite(x) else station.position
        if travel is not None:
            coordinate = x - travel
            tracks = self._tracks.values()
            nearest = min(tracks, key=lambda t: abs(t.coordinate - coordinate), default=None)
            if nearest and abs(nearest.coordinate - coordinate) <= station.window:
                return self._claim(nearest, camera, stamp_ns), False
        track = self._new_track(f'seen-{stamp_ns}-{camera}', object_type)
        self.counts['pieces seen without a trigger'] += 1
        if travel is not None:
            track.coordinate = x - travel
            self._tracks[track.object_id] = track
        return self._claim(track, camera, stamp_ns), True
