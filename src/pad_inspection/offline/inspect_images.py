r"""Inspect pictures with a model bundle.

Writes into --out: results.jsonl (when all are done; one JSON object per picture: image, verdict,
reason, score, threshold, pose, regions, timings in ms), and for each picture <stem>_overlay.png
(what was found), <stem>_map.npy (anomaly map, float32, NaN = not compared) and
<stem>_reference.png (what a good piece would look like there).

With --piece the pictures are views of one piece: what they show at the same place is joined in
overlays and maps, and piece.json tells the verdict on the piece, as the line would give it.

Examples:
  pad inspect out/coupe photo.png --camera camera.json --out out/result
  pad inspect out/coupe demo/data/coupe/test/added/*.png --camera demo/data/coupe/test.json \
      --out out/result
  pad inspect out/coupe demo/data/coupe/test/added/02_*.png --camera demo/data/coupe/test.json \
      --out out/result --piece

CAMERA.json holds {"width", "height", "K": 3x3, "distortion": [k1 k2 p1 p2 k3]}; a data set's
test.json serves as well. The centre of the first pixel is (0.5, 0.5).

Exit code 0 when every picture got a result (also an UNDETERMINED one), 2 on bad input, or when
results cannot be written.
"""

from __future__ import annotations

import argparse
import io
import json
import math
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pad_inspection.datatypes import Camera, Inspection
from pad_inspection.text_safety import MAX_TEXT_LENGTH, printable
from pad_inspection.whole_files import replacing, write_text

if TYPE_CHECKING:
    from pad_inspection.config import InspectionConfig


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `pad inspect`."""
    parser.add_argument('bundle', type=Path, metavar='BUNDLE', help='model bundle (pad build)')
    parser.add_argument('images', type=Path, nargs='+', metavar='IMAGE', help='pictures')
    parser.add_argument('--camera', type=Path, required=True, help='CAMERA.json, see above')
    parser.add_argument('--out', type=Path, required=True, help='folder for the results')
    parser.add_argument('--piece', action='store_true', help='the pictures show one piece')
    parser.add_argument(
        '--allow-grey', action='store_true', help='compare grey images with a model in colour too'
    )
    parser.add_argument('--config', type=Path, help='YAML with inspection options to change')
    parser.add_argument(
        '--device',
        choices=('auto', 'cpu', 'cuda'),
        help='where splats are drawn and networks run (default: as in the options)',
    )
    parser.add_argument(
        '--require-signature',
        type=Path,
        action='append',
        default=[],
        metavar='KEY',
        help='refuse a bundle that is not signed with this public key (or one of several)',
    )


def _finite(value: float) -> float | None:
    """NaN has no place in JSON: null instead."""
    return float(value) if math.isfinite(value) else None


def inspection_to_dict(inspection: Inspection) -> dict[str, Any]:
    """The JSON object of one inspected picture (without the picture's name)."""
    from pad_inspection.geometry import to_matrix

    pose = inspection.pose
    matrix = None if pose.cam_from_object is None else to_matrix(pose.cam_from_object).tolist()
    return {
        'verdict': inspection.verdict.name,
        'reason': inspection.reason.name,
        'message': inspection.message,
        'score': _finite(inspection.score),
        'threshold': _finite(inspection.threshold),
        'joined_score': _finite(inspection.joined_score),
        'inspected_fraction': round(inspection.inspected_fraction, 4),
        'pose': {
            'status': str(pose.status),
            'cam_from_object': matrix,
            'num_correspondences': len(pose.points2d),
            'num_inliers': pose.num_inliers,
            'reprojection_error_px': _finite(pose.reprojection_error_px),
            'confidence': _finite(pose.confidence),
        },
        'regions': [
            {
                'bbox': list(region.bbox),
                'area_px': region.area_px,
                'max_score': region.max_score,
                'mean_score': region.mean_score,
                'peak_in_object': region.peak_in_object,
            }
            for region in inspection.regions
        ],
        'timings': {name: round(ms, 2) for name, ms in inspection.timings_ms.items()},
    }


def write_pictures(inspection: Inspection, stem: Path) -> None:
    """Write overlay, map and reference of an inspection beside ``stem``, as far as there are."""
    import numpy as np

    from pad_inspection import images
    from pad_inspection.drawing import overlay_picture

    images.write(stem.with_name(f'{stem.name}_overlay.png'), overlay_picture(inspection))
    shape = inspection.query.shape[:2] if inspection.query is not None else (1, 1)
    scores = inspection.best_map
    scores = np.full(shape, np.nan, np.float32) if scores is None else scores
    content = io.BytesIO()
    np.save(content, scores)
    with replacing(stem.with_name(f'{stem.name}_map.npy'), binary=True) as stream:
        # numpy itself would not tell why it could not write
        stream.write(content.getbuffer())
    if inspection.reference is not None:
        images.write(stem.with_name(f'{stem.name}_reference.png'), inspection.reference)


def load_inspector(
    bundle: Path, config: Path | None, device: str | None, trusted_keys: Sequence[Path] = ()
):
    """Inspector of a bundle with the options of a YAML file and of the command line."""
    from pad_inspection.pipeline import Inspector

    values = inspection_options(bundle, config, device)
    return Inspector.from_bundle(bundle, values, trusted_keys)


def inspection_options(bundle: Path, config: Path | None, device: str | None) -> InspectionConfig:
    """The options of a bundle, changed by a YAML file and the command line."""
    from pad_inspection.bundle_config import bundle_config
    from pad_inspection.config import InspectionConfig, from_dict
    from pad_inspection.yaml_files import read_yaml

    values = bundle_config(bundle)
    if config is not None:
        if not config.is_file():
            raise FileNotFoundError(f'configuration file {config} does not exist')
        try:
            values = from_dict(InspectionConfig, read_yaml(config) or {}, values)
        except ValueError as error:
            raise ValueError(f'{config}: {error}') from error
    if device is not None:
        values = from_dict(InspectionConfig, {'rendering': {'device': device}}, values)
    return values


def _stems(paths: list[Path]) -> list[str]:
    """A distinct output name for each picture; equal stems get their folder's name in front."""
    stems = [path.stem for path in paths]
    names = [
        f'{path.parent.name}_{stem}' if stems.count(stem) > 1 else stem
        for path, stem in zip(paths, stems)
    ]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f'pictures with the same name would overwrite each other: {twice}')
    return names


def _check_sizes(paths: Sequence[Path], camera: Camera, camera_path: Path) -> None:
    """Look into the headers of all pictures before a model is loaded.

    Raises:
        FileNotFoundError, ValueError: a picture does not exist, is none, or is not of the
            camera's size.
    """
    from pad_inspection import images

    for path in paths:
        width, height = images.size_of(path)
        if (width, height) != (camera.width, camera.height):
            raise ValueError(
                f'{path} has {width}x{height} px, '
                f'{camera_path} describes {camera.width}x{camera.height} px'
            )


def _inspected(
    inspector, paths: Sequence[Path], camera: Camera, allow_grey: bool
) -> Iterator[Inspection]:
    """Inspect pictures, one after the other."""
    from tqdm import tqdm

    from pad_inspection import images
    from pad_inspection.datatypes import Frame

    for path in tqdm(paths, unit='image', desc='inspect'):
        picture = images.read_rgb(path, camera)
        yield inspector.inspect(Frame(picture, camera, allow_grey=allow_grey))


def _judge_piece(inspector, inspections: Sequence[Inspection], path: Path) -> str:
    """Write piece.json: the verdict on the piece that all pictures show; and a line for people."""
    from pad_inspection.decision import decide_object, view_result

    threshold = inspector.calibration.object_threshold
    views = [view_result(inspection) for inspection in inspections]
    piece = decide_object(views, inspector.config.decision, threshold)
    content = {
        'verdict': piece.verdict.name,
        'reason': piece.reason.name,
        'message': piece.message,
        'score': _finite(piece.score),
        'threshold': _finite(threshold),
        'reject': piece.reject,
        'num_judged': piece.num_judged,
        'num_views': piece.num_views,
    }
    write_text(path, json.dumps(content, indent=1) + '\n')
    return f'the piece: {piece.verdict.name} ({piece.message})'


def run(arguments: argparse.Namespace) -> int:
    """Run `pad inspect`."""
    from pad_inspection.dataset import read_camera
    from pad_inspection.object_inspection import join_inspections

    names = _stems(arguments.images)
    camera = read_camera(arguments.camera)
    _check_sizes(arguments.images, camera, arguments.camera)
    inspector = load_inspector(
        arguments.bundle, arguments.config, arguments.device, arguments.require_signature
    )
    arguments.out.mkdir(parents=True, exist_ok=True)
    rows, verdict = [], ''
    # opened first: a folder that cannot be written is told before anything is inspected
    with (
        replacing(arguments.out / 'results.jsonl') as stream,
        # the progress bar ends before an error is told
        closing(
            _inspected(inspector, arguments.images, camera, arguments.allow_grey)
        ) as inspections,
    ):
        if arguments.piece:
            inspections = join_inspections(inspector, list(inspections))
            verdict = _judge_piece(inspector, inspections, arguments.out / 'piece.json')
        for path, name, inspection in zip(arguments.images, names, inspections):
            row = {'image': str(path), **inspection_to_dict(inspection)}
            stream.write(json.dumps(row) + '\n')
            write_pictures(inspection, arguments.out / name)
            rows.append(row)
    for row in rows:
        score = '-' if row['score'] is None else f'{row["score"]:.3f}'
        shown = printable(row['image'], MAX_TEXT_LENGTH)
        print(f'{row["verdict"]:<13} {row["reason"]:<17} {score:>8}  {shown}')
    if verdict:
        print(printable(verdict, MAX_TEXT_LENGTH))
    print(f'results in {arguments.out}')
    return 0
