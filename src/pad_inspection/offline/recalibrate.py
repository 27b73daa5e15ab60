r"""Calibrate a model bundle with pictures of good pieces taken on the line.

`pad build` calibrates on synthetic backgrounds (and on validation/good, where a data set has it).
Real pictures of good pieces in front of the real background make the thresholds those of the line:
they join the normal views of the bundle, or replace them with --only-line. Statistics of the
levels and limits on poses stay as they are. The bundle is replaced as a whole, or not at all.

Examples:
  pad calibrate out/coupe line/good/*.png --camera camera.json
  pad calibrate out/coupe line/good/*.png --camera camera.json --only-line --out out/coupe_line_2

CAMERA.json is that of `pad inspect`, and so is --config: there a bundle that was calibrated with a
network of yours is told where that is. Take pictures of several pieces in all poses that occur; a
picture that cannot be localised counts for nothing and is named.
"""

from __future__ import annotations

import argparse
import dataclasses
import logging
import math
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from pad_inspection.calibration import Calibration
from pad_inspection.config import BuildConfig
from pad_inspection.datatypes import Frame

logger = logging.getLogger(__name__)

_LEAST_PICTURES = 3


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `pad calibrate`."""
    parser.add_argument('bundle', type=Path, metavar='BUNDLE', help='model bundle (pad build)')
    parser.add_argument('images', type=Path, nargs='+', metavar='IMAGE', help='good pieces')
    parser.add_argument('--camera', type=Path, required=True, help='CAMERA.json, see above')
    parser.add_argument('--config', type=Path, help='YAML with inspection options to change')
    parser.add_argument('--out', type=Path, help='new bundle (default: BUNDLE is replaced)')
    parser.add_argument(
        '--only-line', action='store_true', help='forget the normal views of the bundle'
    )


def line_calibration(
    inspector,
    frames: Sequence[tuple[str, Frame]],
    build: BuildConfig,
    *,
    only_line: bool = False,
    progress: Callable[[Sequence], Sequence] = lambda frames: frames,
) -> Calibration:
    """The calibration of an inspector with thresholds that count pictures of the line.

    Args:
        inspector: pipeline.Inspector of the bundle.
        frames: (name, picture) of good pieces.
        build: options of the bundle, for the views that an object has.
        only_line: thresholds from these pictures alone.
        progress: wraps the list for a progress bar.

    Raises:
        ValueError: too few pictures could be localised, or the options are not the bundle's.
    """
    from pad_inspection.offline.calibrate import pixel_threshold
    from pad_inspection.offline.metrics import normal_threshold
    from pad_inspection.offline.object_limits import object_threshold

    known, decision = inspector.calibration, inspector.config.decision
    if not math.isfinite(known.image_threshold):
        raise ValueError(
            'the options are not those that the bundle was calibrated with, so that its '
            'statistics do not hold: build it again with them'
        )
    scores, maps, highest, failures = [], [], [], []
    for name, frame in progress(frames):
        seen = inspector.observe(frame)
        if seen.anomaly_map is None:
            failures.append(f'{name} ({seen.pose.message or seen.pose.status})')
            continue
        scores.append(inspector.image_score(seen))
        maps.append(seen.anomaly_map)
        if known.surface_threshold > 0:
            highest.append(float(np.nan_to_num(inspector.evidence(seen)).max()))
    if failures:
        logger.warning('%d pictures not localised: %s', len(failures), '; '.join(failures))
    if len(scores) < _LEAST_PICTURES:
        raise ValueError(
            f'only {len(scores)} of {len(frames)} pictures could be localised, wanted at least '
            f'{_LEAST_PICTURES}; the first that could not: {(failures or ["none"])[0]}'
        )
    pixels, peak = pixel_threshold(maps), max(float(np.nanmax(m)) for m in maps)
    sources = {'line': len(scores), 'line_not_usable': len(failures)}
    if not only_line:
        scores += known.normal_scores
        highest.append(known.surface_threshold)
        pixels, peak = max(pixels, known.pixel_threshold), max(peak, known.score_max)
        sources = {**known.sources, **sources}
    chosen = normal_threshold(scores, decision.max_false_reject_rate)
    return dataclasses.replace(
        known,
        image_threshold=float(chosen.threshold),
        pixel_threshold=pixels,
        object_threshold=object_threshold(
            np.array(scores) / chosen.threshold,
            decision,
            build.calibration.views_per_object,
        ),
        surface_threshold=max(highest, default=0.0),
        score_max=peak,
        # which pictures show the same piece is not known: as much as those of single views
        joined_pixel_threshold=known.joined_pixel_threshold * pixels / known.pixel_threshold,
        joined_image_threshold=(
            known.joined_image_threshold * float(chosen.threshold) / known.image_threshold
        ),
        num_normals=len(scores),
        false_reject_bound=float(chosen.bound),
        wanted_false_reject_rate=decision.max_false_reject_rate,
        normal_scores=tuple(float(s) for s in np.sort(scores)),
        sources=sources,
    )


def run(arguments: argparse.Namespace) -> int:
    """Run `pad calibrate`."""
    from tqdm import tqdm

    from pad_inspection import images
    from pad_inspection.bundle import open_bundle
    from pad_inspection.bundle_config import build_config, noted_files, stored_options
    from pad_inspection.bundle_writing import check_target, writing_bundle
    from pad_inspection.dataset import read_camera
    from pad_inspection.offline.inspect_images import load_inspector

    out = arguments.out or arguments.bundle
    check_target(out)
    bundle = open_bundle(arguments.bundle)
    camera = read_camera(arguments.camera)
    frames = [
        (path.name, Frame(images.read_rgb(path, camera), camera)) for path in arguments.images
    ]
    inspector = load_inspector(bundle.path, arguments.config, None)
    build = build_config(bundle)
    old = inspector.calibration
    new = line_calibration(
        inspector,
        frames,
        build,
        only_line=arguments.only_line,
        progress=lambda items: tqdm(items, desc='calibrate', unit='image'),
    )
    manifest = {k: v for k, v in bundle.manifest.items() if k not in ('files', 'format_version')}
    version = manifest.get('model_version', '').split('+')[0]
    manifest['model_version'] = f'{version}+line{len(frames)}'
    manifest['calibration'] = {
        'num_normals': new.num_normals,
        'sources': new.sources,
        'false_reject_bound': new.false_reject_bound,
        'image_threshold': new.image_threshold,
    }
    manifest['config'] = {**manifest['config'], 'inspection': stored_options(inspector.config)}
    manifest['weights'] = {**manifest.get('weights', {}), **noted_files(inspector.config)}
    with writing_bundle(out, manifest) as folder:
        for name in bundle.manifest['files']:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(bundle.file(name), folder / name)
        new.save(folder)
    print(f'bundle {out}: {new.num_normals} normal views ({new.sources})')
    print(f'  threshold of a view: {old.image_threshold:.3f} -> {new.image_threshold:.3f}')
    print(
        f'  with 95% confidence at most {new.false_reject_bound:.1%} of good views are rejected '
        f'(wanted {new.wanted_false_reject_rate:.1%})'
    )
    return 0
