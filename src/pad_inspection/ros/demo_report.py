"""What the demo says at its end: report.json, overlays, contact sheet and the table."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path

from pad_inspection.datatypes import Verdict
from pad_inspection.ros.observer import Observed, ObservedSignal, ObservedView
from pad_inspection.text_safety import file_stem, printable
from pad_inspection.whole_files import write_text


@dataclass(frozen=True)
class DemoObject:
    """Outcome of one piece.

    Attributes:
        object_id: which piece.
        truth: 'good', or the kind of its defect.
        verdict: PASS, REJECT, UNDETERMINED, or NONE when no signal came.
        score: of its views, see decision.object_score; None without any judged view.
        reason: name of the reason.
        reject: what the gate was told; None when no signal came.
        message: for people.
        ms: mean time of its pictures in the pipeline.
        views: each view's camera, verdict, reason, score, threshold, message, steps (ms).
    """

    object_id: str
    truth: str
    verdict: str
    score: float | None
    reason: str
    reject: bool | None
    message: str
    ms: float | None
    views: list[dict] = field(default_factory=list)

    @property
    def right(self) -> bool:
        """An intact piece passed or a defective one was rejected as such."""
        return self.verdict == ('PASS' if self.truth == 'good' else 'REJECT')


@dataclass(frozen=True)
class DemoReport:
    """What report.json holds.

    Attributes:
        objects: one for each piece.
        frames_sent: images that replay_node sent.
        results_received: results that arrived over DDS.
        reject_signals: signals that arrived over DDS.
        right: pieces with the right verdict.
        seconds: from the start of the nodes to the last signal.
        seconds_to_ready: of that, until the model was loaded.
        model: its id.
    """

    objects: list[DemoObject]
    frames_sent: int
    results_received: int
    reject_signals: int
    right: int
    seconds: float
    seconds_to_ready: float
    model: str

    @property
    def complete(self) -> bool:
        """Each image has exactly one result and each piece exactly one signal."""
        return (
            self.frames_sent == self.results_received > 0
            and self.reject_signals == len(self.objects)
            and all(piece.reject is not None for piece in self.objects)
        )


def _finite(value: float, digits: int = 4) -> float | None:
    """NaN has no place in JSON: null instead."""
    return round(value, digits) if math.isfinite(value) else None


def _view_dict(view: ObservedView) -> dict:
    """Part of report.json for one view."""
    return {
        'camera': view.camera,
        'verdict': view.verdict.name,
        'reason': view.reason.name,
        'score': _finite(view.score),
        'threshold': _finite(view.threshold),
        'message': view.message,
        'seconds': round(view.seconds, 3),
        'step_ms': {name: round(ms, 1) for name, ms in view.step_ms.items()},
    }


def outcome_of(object_id: str, truth: str, seen: Observed) -> DemoObject:
    """Compare the first signal of a piece with its label."""
    signals = [signal for signal in seen.signals if signal.object_id == object_id]
    views = [view for view in seen.views if view.object_id == object_id]
    timed = [sum(view.step_ms.values()) for view in views if view.step_ms]
    signal: ObservedSignal | None = signals[0] if signals else None
    return DemoObject(
        object_id=object_id,
        truth=truth,
        verdict='NONE' if signal is None else signal.verdict.name,
        score=None if signal is None else _finite(signal.score),
        reason='no signal' if signal is None else signal.reason.name,
        reject=None if signal is None else signal.reject,
        message='' if signal is None else signal.message,
        ms=round(sum(timed) / len(timed), 1) if timed else None,
        views=[_view_dict(view) for view in sorted(views, key=lambda v: v.camera)],
    )


def write_report(report: DemoReport, seen: Observed, out_dir: Path) -> None:
    """Write report.json, the overlays and the contact sheet."""
    from pad_inspection import drawing, images

    write_text(out_dir / 'report.json', json.dumps(asdict(report), indent=1) + '\n')
    folder = out_dir / 'overlays'
    folder.mkdir(exist_ok=True)
    for old in folder.glob('*.png'):
        old.unlink()
    rows = []
    for piece in report.objects:
        pictures, stem = [], file_stem(piece.object_id)
        mine = (view for view in seen.views if view.object_id == piece.object_id)
        for view in sorted(mine, key=lambda v: (v.stamp_ns, v.camera)):
            overlay = seen.pictures.get((view.camera, view.stamp_ns, 'overlay'))
            pictures += [
                seen.pictures.get((view.camera, view.stamp_ns, 'reference')),
                overlay,
            ]
            if overlay is not None:
                images.write(folder / f'{stem}_{file_stem(view.camera)}.png', overlay)
        verdict = Verdict.__members__.get(piece.verdict, Verdict.UNDETERMINED)
        score = '-' if piece.score is None else f'{piece.score:.2f}'
        text = f'{piece.object_id}  truth {piece.truth}  {piece.verdict}  score {score}'
        rows.append((printable(text), verdict, pictures))
    if rows:
        images.write(out_dir / 'contact_sheet.png', drawing.contact_sheet(rows))


def tell_report(report: DemoReport, out_dir: Path, show: Callable[[str], None]) -> None:
    """Print the table and the sums."""
    show(f'\n{"object":<10}{"truth":<12}{"verdict":<14}{"score":>7}  {"ms":>7}  reason')
    for piece in report.objects:
        score = '-' if piece.score is None else f'{piece.score:.2f}'
        ms = '-' if piece.ms is None else f'{piece.ms:.0f}'
        mark = '' if piece.right else '   <- wrong'
        show(
            f'{printable(piece.object_id):<10}{printable(piece.truth):<12}{piece.verdict:<14}'
            f'{score:>7}  {ms:>7}  {piece.reason}{mark}'
        )
    show(
        f'\n{report.right} of {len(report.objects)} verdicts right; {report.frames_sent} images '
        f'sent, {report.results_received} results, {report.reject_signals} reject signals; '
        f'{report.seconds:.1f} s\n{out_dir / "report.json"}, {out_dir / "contact_sheet.png"}'
    )
