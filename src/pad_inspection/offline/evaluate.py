"""Measure a bundle on a labelled data set, without letting it flatter itself.

Writes into --out: report.json (metrics), scores.csv (one line per picture), objects.csv (one line
per piece), report.html (curves, histograms, the worst false alarms and misses). Thresholds come
from the bundle; a metric that chooses its own threshold on the test pictures says so
(f1_max_pixel).

A view that could not be localised counts as the line would treat it, as rejected: its score is
above all others; its map is zero everywhere, so a defect in it counts as missed.

Examples:
  pad evaluate out/coupe demo/data/coupe --out out/evaluation
  pad evaluate out/coupe demo/data/coupe --out out/paper --preset paper --limit 30

Presets: ours (as calibrated), paper (binary paste, cosine features, highest pixel),
paper_silhouette_only, paper_background_free, splatpose_plus (no background handling: compares on
pictures whose background was removed by the segmentation). Only ours has verdicts here;
`pad evaluate-all` calibrates every method and does all classes.
"""

from __future__ import annotations

import argparse
import csv
import json
import math
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from pad_inspection.config import PRESETS, DecisionConfig
from pad_inspection.datatypes import Inspection, Verdict
from pad_inspection.offline import metrics
from pad_inspection.text_safety import csv_cell
from pad_inspection.whole_files import replacing, write_text

SILENT_FAILURE_PX = 5.0


@dataclass(frozen=True)
class ViewRecord:
    """One evaluated picture.

    Attributes:
        name: picture's path inside the data set.
        object_id: the piece.
        defect: 'good' or the kind of defect.
        anomalous: whether the defect is visible in this picture.
        inspection: the result, joined with the other views of the piece where the options say so.
        gt_mask: bool (H, W).
        anomaly_map: float32 (H, W), joined likewise, 0 where nothing was compared.
        pose_error_px: mean reprojection error against the true pose, NaN when unknown.
        seconds: for the whole inspection.
    """

    name: str
    object_id: str
    defect: str
    anomalous: bool
    inspection: Inspection
    gt_mask: np.ndarray
    anomaly_map: np.ndarray
    pose_error_px: float
    seconds: float

    @property
    def localized(self) -> bool:
        """Whether the picture was compared."""
        return self.inspection.anomaly_map is not None

    @property
    def score(self) -> float:
        """Image score, joined likewise; infinite for a view that the line would reject unseen."""
        if not self.localized:
            return float('inf')
        joined = self.inspection.joined_score
        return joined if math.isfinite(joined) else self.inspection.score


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `pad evaluate`."""
    parser.add_argument('bundle', type=Path, metavar='BUNDLE', help='model bundle')
    parser.add_argument('class_dir', type=Path, metavar='CLASS_DIR', help='data set of one class')
    parser.add_argument('--out', type=Path, required=True, help='folder for the report')
    parser.add_argument('--preset', choices=PRESETS, default='ours', help='method (default: ours)')
    parser.add_argument('--limit', type=int, metavar='N', help='only the first N pictures')
    parser.add_argument('--config', type=Path, help='YAML with inspection options to change')
    parser.add_argument(
        '--device',
        choices=('auto', 'cpu', 'cuda'),
        help='where splats are drawn and networks run (default: as in the bundle)',
    )


def evaluate_views(
    inspector, test_images, points: np.ndarray, progress=None, tell=None
) -> list[ViewRecord]:
    """Inspect every test picture.

    Args:
        inspector: pipeline.Inspector.
        test_images: list of dataset.TestImage.
        points: float (N, 3), m, points of the object for the pose error.
        progress: wraps the list for a progress bar, or None.
        tell: called with each picture before it is inspected, or None.
    """
    from pad_inspection.datatypes import Frame
    from pad_inspection.geometry import pose_error_px

    records = []
    for test in progress(test_images) if progress else test_images:
        picture, gt_mask = test.load_image(), test.load_mask()
        if tell is not None:
            tell(test)
        begin = time.perf_counter()
        inspection = inspector.inspect(Frame(picture, test.camera, object_id=test.object_id))
        # steps that were looked up count with the time that they took
        seconds = max(time.perf_counter() - begin, sum(inspection.timings_ms.values()) / 1e3)
        pose, error = inspection.pose.cam_from_object, float('nan')
        if pose is not None and test.cam_from_object is not None:
            error = pose_error_px(test.camera, pose, test.cam_from_object, points)
        records.append(
            ViewRecord(
                test.name,
                test.object_id,
                test.defect,
                bool(gt_mask.any()) if test.defect != 'good' else False,
                inspection,
                gt_mask,
                _map_of(inspection, gt_mask.shape),
                error,
                seconds,
            )
        )
    return _joined(inspector, records)


def _map_of(inspection: Inspection, shape: tuple[int, int]) -> np.ndarray:
    """The map that counts, joined where there is such a one; zeros where nothing was compared."""
    scores = inspection.best_map
    if scores is None:
        return np.zeros(shape, np.float32)
    return np.nan_to_num(scores, nan=0.0).astype(np.float32)


def _joined(inspector, records: list[ViewRecord]) -> list[ViewRecord]:
    """Records with the maps of each object's views joined, as the options say."""
    from pad_inspection.object_inspection import join_inspections

    result = list(records)
    for object_id in dict.fromkeys(r.object_id for r in records):
        views = [i for i, r in enumerate(records) if r.object_id == object_id]
        joined = join_inspections(inspector, [records[i].inspection for i in views])
        for index, inspection in zip(views, joined):
            record = records[index]
            result[index] = replace(
                record,
                inspection=inspection,
                anomaly_map=_map_of(inspection, record.gt_mask.shape),
                seconds=record.seconds + inspection.timings_ms.get('join', 0.0) / 1e3,
            )
    return result


def _object_scores(
    records: list[ViewRecord], decision: DecisionConfig, object_threshold: float
) -> list[tuple[str, bool, float]]:
    """(object, defective, score), the score from the object's views that were compared."""
    from pad_inspection.decision import joined_ratio, object_score

    rows = []
    for object_id in sorted({r.object_id for r in records}):
        views = [r for r in records if r.object_id == object_id]
        compared = [r.inspection for r in views if r.localized]
        defective = any(r.defect != 'good' for r in views)
        # without a threshold (other options than the bundle's) views are not joined
        ratios = [i.score / i.threshold if i.threshold > 0 else i.score for i in compared]
        surfaces = [i.surface for i in compared if i.surface is not None]
        score = object_score(ratios, decision, surfaces) if compared else float('inf')
        joined = joined_ratio(compared) * object_threshold
        score = joined if joined > score else score
        rows.append((object_id, defective, score))
    return rows


def _finite_ranks(scores: np.ndarray) -> np.ndarray:
    """Scores with infinity replaced by something above all others, for ranking."""
    finite = scores[np.isfinite(scores)]
    above = (finite.max() if len(finite) else 0.0) + 1.0
    return np.where(np.isfinite(scores), scores, above)


def _defined(value: float, name: str, why: str, undefined: dict[str, str]) -> float | None:
    """A metric, or None with the reason noted."""
    if math.isfinite(value):
        return float(value)
    undefined[name] = why
    return None


def pixel_curve_of(records: list[ViewRecord]) -> metrics.PixelCurve:
    """Counts over the pixels of all pictures; a defect that is not visible has no pixels."""
    masks = [r.gt_mask & r.anomalous for r in records]
    return metrics.pixel_curve(masks, [r.anomaly_map for r in records])


def summarize(
    records: list[ViewRecord],
    class_name: str,
    preset: str,
    decision: DecisionConfig | None = None,
    object_threshold: float = 1.0,
    pixel_threshold: float = float('nan'),
    curve: metrics.PixelCurve | None = None,
) -> dict[str, Any]:
    """The numbers of report.json.

    Args:
        records: evaluated pictures, at least one.
        class_name: for the report.
        preset: for the report.
        decision: rules of the objects' verdicts; None = the defaults.
        object_threshold: limit on an object's score (calibration).
        pixel_threshold: of the maps (calibration), NaN when there is none.
        curve: of ``pixel_curve_of(records)``, or None = it is made here.

    Raises:
        ValueError: no pictures.
    """
    if not records:
        raise ValueError('there are no test pictures to evaluate')
    labels = np.array([r.anomalous for r in records])
    scores = _finite_ranks(np.array([r.score for r in records]))
    curve = pixel_curve_of(records) if curve is None else curve
    decision = decision or DecisionConfig()
    objects = _object_scores(records, decision, object_threshold)
    object_labels = np.array([defective for _, defective, _ in objects])
    object_scores = _finite_ranks(np.array([score for *_, score in objects]))
    both = 'needs intact and defective ones'
    undefined: dict[str, str] = {}
    report: dict[str, Any] = {
        'class': class_name,
        'preset': preset,
        'images': len(records),
        'anomalous_images': int(labels.sum()),
        'objects': len(objects),
        'defective_objects': int(object_labels.sum()),
        'resolution': list(records[0].anomaly_map.shape),
    }
    values = {
        'image_auroc': (metrics.auroc(labels, scores), f'{both}: pictures'),
        'pixel_auroc': (curve.auroc(), 'no defect pixel, or nothing else'),
        'aupro': (curve.aupro(), 'no defect region'),
        'aupro_visible': (curve.aupro(visible=True), 'no defect region of that size'),
        'f1_max_pixel': (curve.f1_max(), 'no defect pixel'),
        'f1_pixel': (
            curve.f1_at(pixel_threshold) if math.isfinite(pixel_threshold) else float('nan'),
            'no defect pixel, or no threshold',
        ),
        'object_auroc': (metrics.auroc(object_labels, object_scores), f'{both}: objects'),
    }
    for name, (value, why) in values.items():
        report[name] = _defined(value, name, why, undefined)
    report['localized_fraction'] = float(np.mean([r.localized for r in records]))
    report['median_seconds_per_image'] = float(np.median([r.seconds for r in records]))
    report |= _verdict_counts(records, objects, decision, object_threshold)
    report |= _pose_numbers(records, undefined)
    steps = dict.fromkeys(k for r in records for k in r.inspection.timings_ms)
    report['median_ms_per_step'] = {
        step: float(np.median([r.inspection.timings_ms.get(step, 0.0) for r in records]))
        for step in steps
    }
    report['undefined'] = undefined
    return report


def _verdict_counts(
    records: list[ViewRecord], objects, decision: DecisionConfig, object_threshold: float
) -> dict[str, Any]:
    """False rejects and missed defects at the calibrated threshold, with 95% intervals."""
    from pad_inspection.decision import decide_object, view_result

    if not any(r.inspection.verdict != Verdict.UNDETERMINED for r in records):
        return {'verdicts': None}
    rejected = {
        object_id: decide_object(
            [view_result(r.inspection) for r in records if r.object_id == object_id],
            decision,
            object_threshold,
        ).reject
        for object_id, _, _ in objects
    }
    good = [o for o, defective, _ in objects if not defective]
    bad = [o for o, defective, _ in objects if defective]
    false_rejects, missed = sum(rejected[o] for o in good), sum(not rejected[o] for o in bad)
    return {
        'verdicts': {
            'false_rejects': false_rejects,
            'intact_objects': len(good),
            'false_reject_interval_95': metrics.binomial_interval(false_rejects, len(good)),
            'missed_defects': missed,
            'defective_objects': len(bad),
            'missed_interval_95': metrics.binomial_interval(missed, len(bad)),
        }
    }


def _pose_numbers(records: list[ViewRecord], undefined: dict[str, str]) -> dict[str, Any]:
    """Pose accuracy, where the data set gives true poses."""
    errors = np.array([r.pose_error_px for r in records if math.isfinite(r.pose_error_px)])
    names = ('pose_median_px', 'pose_fraction_below_1px', 'pose_silent_failures')
    if not len(errors):
        undefined.update(dict.fromkeys(names, 'no localised picture with a true pose'))
        return dict.fromkeys(names)
    return {
        'pose_median_px': float(np.median(errors)),
        # of all pictures: one that was not localised is not below 1 px
        'pose_fraction_below_1px': float((errors < 1.0).sum() / len(records)),
        'pose_silent_failures': int((errors > SILENT_FAILURE_PX).sum()),
    }


def write_scores(records: list[ViewRecord], path: Path) -> None:
    """Write scores.csv."""
    with replacing(path, newline='') as stream:
        writer = csv.writer(stream)
        writer.writerow(
            ['image', 'object_id', 'defect', 'anomalous', 'verdict', 'reason', 'score',
             'threshold', 'joined_score', 'pose_error_px', 'seconds']
        )  # fmt: skip
        for r in records:
            seen = r.inspection
            writer.writerow(
                [*map(csv_cell, (r.name, r.object_id, r.defect)), int(r.anomalous),
                 seen.verdict.name, seen.reason.name, f'{seen.score:.6g}', f'{seen.threshold:.6g}',
                 f'{seen.joined_score:.6g}', f'{r.pose_error_px:.4g}', f'{r.seconds:.4g}']
            )  # fmt: skip


def write_objects(
    records: list[ViewRecord], path: Path, decision: DecisionConfig, object_threshold: float
) -> None:
    """Write objects.csv: of each piece its verdict, and what its score is made of.

    Args:
        records: evaluated pictures.
        path: file to write.
        decision: rules of the objects' verdicts.
        object_threshold: limit on an object's score (calibration).
    """
    from pad_inspection.decision import decide_object, joined_ratio, object_score, view_result
    from pad_inspection.surface import surface_score

    with replacing(path, newline='') as stream:
        writer = csv.writer(stream)
        writer.writerow(
            ['object_id', 'defect', 'views', 'judged', 'score_of_views', 'score_at_places',
             'score_of_joined_maps', 'score', 'limit', 'verdict', 'reason', 'message']
        )  # fmt: skip
        for object_id in sorted({r.object_id for r in records}):
            of_object = [r for r in records if r.object_id == object_id]
            views = [view_result(r.inspection) for r in of_object]
            ratios = [v.ratio for v in views if math.isfinite(v.ratio)]
            surfaces = [v.surface for v in views if v.surface is not None]
            piece = decide_object(views, decision, object_threshold)
            scores = (
                object_score(ratios, decision),
                surface_score(surfaces, decision.worst_share),
                joined_ratio(views) * object_threshold,
                piece.score,
                object_threshold,
            )
            writer.writerow(
                [csv_cell(object_id), csv_cell(of_object[0].defect), piece.num_views,
                 piece.num_judged, *(f'{score:.4g}' for score in scores),
                 piece.verdict.name, piece.reason.name, csv_cell(piece.message)]
            )  # fmt: skip


def run(arguments: argparse.Namespace) -> int:
    """Run `pad evaluate`."""
    from functools import partial

    from tqdm import tqdm

    from pad_inspection.config import from_dict, preset_config, to_dict
    from pad_inspection.dataset import class_name, read_test_images
    from pad_inspection.offline.inspect_images import inspection_options
    from pad_inspection.pipeline import Inspector

    if arguments.limit is not None and arguments.limit < 1:
        raise ValueError(f'--limit is {arguments.limit}, wanted at least 1')
    test_images = read_test_images(arguments.class_dir)[: arguments.limit]
    config = inspection_options(arguments.bundle, arguments.config, arguments.device)
    if arguments.preset != 'ours':
        # the features are those of the bundle: the method differs, not the map
        kept = {
            'localization': to_dict(config.localization),
            'rendering': {'device': config.rendering.device},
        }
        config = from_dict(type(config), kept, preset_config(arguments.preset))
    inspector = Inspector.from_bundle(arguments.bundle, config)
    inspector.warm_up()
    bar = partial(tqdm, unit='image', desc=f'evaluate ({arguments.preset})')
    records = evaluate_views(inspector, test_images, inspector.object_points(), bar)
    name = class_name(arguments.class_dir)
    report = write_evaluation(records, inspector, name, arguments.preset, arguments.out)
    print_report(report)
    print(f'report in {arguments.out / "report.html"}')
    return 0


def write_evaluation(
    records: list[ViewRecord], inspector, class_name: str, method: str, out: Path
) -> dict[str, Any]:
    """Write report.json, scores.csv and report.html of evaluated pictures.

    Args:
        records: of ``evaluate_views``.
        inspector: pipeline.Inspector that evaluated them.
        class_name: for the report.
        method: preset or ablation, for the report.
        out: folder, made when it is missing.

    Returns:
        What report.json holds.
    """
    from pad_inspection.offline.report import write_report

    curve, calibration = pixel_curve_of(records), inspector.calibration
    report = summarize(
        records,
        class_name,
        method,
        inspector.config.decision,
        calibration.object_threshold,
        _pixel_threshold(records, calibration),
        curve,
    )
    report['bundle'] = {'model_id': inspector.info.model_id, 'sha256': inspector.info.sha256}
    out.mkdir(parents=True, exist_ok=True)
    write_scores(records, out / 'scores.csv')
    limit = calibration.object_threshold
    write_objects(records, out / 'objects.csv', inspector.config.decision, limit)
    write_report(records, report, out / 'report.html', curve)
    write_text(out / 'report.json', json.dumps(report, indent=1) + '\n')
    return report


def _pixel_threshold(records: list[ViewRecord], calibration) -> float:
    """That of joined maps where maps were joined and the model has one; else of single ones."""
    joined = any(r.inspection.joined_map is not None for r in records)
    if joined and calibration.joined_pixel_threshold > 0:
        return calibration.joined_pixel_threshold
    return calibration.pixel_threshold


def print_report(report: dict[str, Any]) -> None:
    """The main numbers, for people."""

    def shown(name: str) -> str:
        value = report.get(name)
        return f'undefined ({report["undefined"].get(name)})' if value is None else f'{value:.4f}'

    for name in (
        'image_auroc', 'object_auroc', 'pixel_auroc', 'aupro', 'aupro_visible',
        'f1_max_pixel', 'localized_fraction', 'pose_median_px', 'pose_fraction_below_1px',
        'median_seconds_per_image',
    ):  # fmt: skip
        print(f'{name:<26} {shown(name)}')
    verdicts = report['verdicts']
    if verdicts:
        print(
            f'at the calibrated threshold: {verdicts["false_rejects"]} of '
            f'{verdicts["intact_objects"]} intact objects rejected, '
            f'{verdicts["missed_defects"]} of {verdicts["defective_objects"]} defects missed'
        )
