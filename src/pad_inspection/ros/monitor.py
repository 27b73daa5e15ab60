"""Health of an inspection node in numbers: counts, latency, silent cameras, drift. No ROS here."""

from __future__ import annotations

import math
import sys
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pad_inspection.datatypes import Inspection, Reason, Verdict

# Results that rates and latencies are taken over.
_RECENT = 300
# Fewer passed views than this say nothing about drift.
_MIN_DRIFT_SCORES = 50
# A shift of the scores must be this unlikely by chance. Views of one piece are alike, so that
# there are fewer independent ones than the test believes: hence far below the usual 0.05.
_MAX_CHANCE = 1e-6
# More undetermined images than this share are a warning.
_MAX_UNDETERMINED = 0.5


@dataclass(frozen=True)
class Report:
    """One status for /diagnostics.

    Attributes:
        part: what it is about.
        text: for people.
        values: details by name.
        warn: whether somebody should look.
    """

    part: str
    text: str
    values: dict[str, str]
    warn: bool = False


@dataclass(frozen=True)
class Drift:
    """How passed scores compare with those of calibration.

    Attributes:
        shift: chance that a passed view scores higher than a normal one, minus one half: -0.5 to
            0.5, 0 = alike.
        chance: probability of such a shift without any drift.
        num_scores: passed views it is from.
    """

    shift: float
    chance: float
    num_scores: int


def drift_of(passed: Sequence[float], normal: Sequence[float], threshold: float) -> Drift | None:
    """Drift of scores by the Mann-Whitney test; None when there are too few.

    Args:
        passed: scores of views that passed lately.
        normal: scores of calibration's normal views.
        threshold: passed views are below it, so only such normal ones are compared.
    """
    below = [score for score in normal if score < threshold]
    if len(passed) < _MIN_DRIFT_SCORES or len(below) < _MIN_DRIFT_SCORES // 2:
        return None
    from scipy.stats import mannwhitneyu

    test = mannwhitneyu(passed, below, method='asymptotic')
    shift = float(test.statistic) / (len(passed) * len(below)) - 0.5
    return Drift(shift, float(test.pvalue), len(passed))


class Monitor:
    """Counts what one node does. Thread-safe."""

    def __init__(
        self,
        cameras: Sequence[str],
        *,
        camera_timeout: float = 0.0,
        drift_window: int = 200,
        drift_shift: float = 0.25,
        clock: Callable[[], float] = time.monotonic,
    ):
        """Start at zero.

        Args:
            cameras: names.
            camera_timeout: a camera that sends nothing for so many s is a warning; 0 = never.
            drift_window: passed views that drift is judged from; 0 = off.
            drift_shift: a shift beyond +- this is a warning.
            clock: monotonic time, s.
        """
        self._lock = threading.Lock()
        self._clock = clock
        self._camera_timeout = camera_timeout
        self._drift_window = drift_window
        self._drift_shift = drift_shift
        self._heard = dict.fromkeys(cameras, clock())
        self._received: Counter[str] = Counter()
        self._counts: Counter[str] = Counter()
        self._seconds: deque[float] = deque(maxlen=_RECENT)
        self._recent: deque[Reason | Verdict] = deque(maxlen=_RECENT)
        self._passed: dict[str, deque[float]] = {}
        self._thresholds: dict[str, float] = {}

    def restart_cameras(self) -> None:
        """Cameras are listened to from now on: silence before does not count."""
        with self._lock:
            self._heard = dict.fromkeys(self._heard, self._clock())

    def count(self, what: str) -> None:
        """Count something that is not a result."""
        with self._lock:
            self._counts[what] += 1

    def on_image(self, camera: str) -> None:
        """An image arrived and will be answered."""
        with self._lock:
            self._heard[camera] = self._clock()
            self._received[camera] += 1
            self._counts['received'] += 1

    def on_result(self, inspection: Inspection, seconds: float, product: str) -> None:
        """A result was published, this many seconds after its image arrived."""
        outcome = inspection.reason if inspection.reason != Reason.NONE else inspection.verdict
        with self._lock:
            self._counts['answered'] += 1
            self._counts[outcome.name.lower()] += 1
            if inspection.reason == Reason.NO_PIECE:
                return
            self._seconds.append(seconds)
            self._recent.append(outcome)
            if inspection.verdict == Verdict.PASS and self._drift_window:
                window = deque(maxlen=self._drift_window)
                self._passed.setdefault(product, window).append(inspection.score)
                self._thresholds[product] = inspection.threshold

    def forget_scores(self, product: str) -> None:
        """The model of a product changed: its old scores say nothing any more."""
        with self._lock:
            self._passed.pop(product, None)

    def inspection_report(self, *, active: bool, queued: int, extra: dict[str, str]) -> Report:
        """Counters, latency, memory."""
        with self._lock:
            counts, seconds = Counter(self._counts), sorted(self._seconds)
            recent = list(self._recent)
        judged = sum(outcome in (Verdict.PASS, Reason.ANOMALY) for outcome in recent)
        undetermined = len(recent) - judged
        warn = active and bool(recent) and undetermined > _MAX_UNDETERMINED * len(recent)
        text = 'active' if active else 'not active'
        if warn:
            text = f'{undetermined} of the last {len(recent)} images could not be judged'
        share = undetermined / len(recent) if recent else 0.0
        values = {
            **{name: str(count) for name, count in sorted(counts.items())},
            'queued': str(queued),
            'unanswered': str(counts['received'] - counts['answered']),
            'undetermined rate': f'{share:.3f}',
            'latency median, s': _quantile(seconds, 0.5),
            'latency 95%, s': _quantile(seconds, 0.95),
            'latency maximum, s': _quantile(seconds, 1.0),
            'memory, MB': f'{resident_mb():.1f}',
            **device_memory(),
            **extra,
        }
        return Report('inspection', text, values, warn)

    def camera_report(self, *, active: bool) -> Report:
        """Which cameras send."""
        now = self._clock()
        with self._lock:
            silent = {camera: now - heard for camera, heard in self._heard.items()}
            received = Counter(self._received)
        limit = self._camera_timeout
        late = [c for c, seconds in silent.items() if active and 0 < limit < seconds]
        text = f'no image within {limit:g} s from {", ".join(late)}' if late else 'ok'
        values = {}
        for camera, seconds in silent.items():
            values[f'{camera}: images'] = str(received[camera])
            values[f'{camera}: silent, s'] = f'{seconds:.1f}'
        return Report('cameras', text, values, bool(late))

    def drift_report(self, product: str, normal: Sequence[float]) -> Report:
        """Whether the scores of passed views are still those of calibration."""
        with self._lock:
            passed = list(self._passed.get(product, ()))
            threshold = self._thresholds.get(product, math.inf)
        part = f'drift {product}'.strip()
        drift = drift_of(passed, normal, threshold)
        if drift is None:
            values = {'passed views': str(len(passed)), 'normal views': str(len(normal))}
            return Report(part, 'too few views', values)
        drifted = abs(drift.shift) > self._drift_shift and drift.chance < _MAX_CHANCE
        text = 'as calibrated'
        if drifted:
            way = 'higher' if drift.shift > 0 else 'lower'
            text = f'passed views score {way} than in calibration: light, camera, product changed?'
        values = {
            'passed views': str(drift.num_scores),
            'shift': f'{drift.shift:.3f}',
            'chance': f'{drift.chance:.2g}',
        }
        return Report(part, text, values, drifted)


def _quantile(ordered: Sequence[float], share: float) -> str:
    """Value at a share of sorted values, as text; '' without any."""
    return f'{ordered[round(share * (len(ordered) - 1))]:.3f}' if ordered else ''


def resident_mb(pid: int | str = 'self') -> float:
    """Memory of a process, MB; NaN where the system does not tell."""
    import os

    try:
        pages = int(Path(f'/proc/{pid}/statm').read_text().split()[1])
    except (OSError, IndexError, ValueError):
        return math.nan
    return pages * os.sysconf('SC_PAGE_SIZE') / 1e6


def device_memory() -> dict[str, str]:
    """Memory of the CUDA device in use; nothing where torch is not loaded or has none."""
    torch = sys.modules.get('torch')
    if torch is None or not torch.cuda.is_available() or not torch.cuda.is_initialized():
        return {}
    free, total = torch.cuda.mem_get_info()
    return {
        'device memory of the process, MB': f'{torch.cuda.memory_reserved() / 1e6:.0f}',
        'device memory free, MB': f'{free / 1e6:.0f} of {total / 1e6:.0f}',
    }
