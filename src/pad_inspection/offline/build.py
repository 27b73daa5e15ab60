"""Make a model bundle from pictures of good pieces.

Three steps, each with a progress bar: structure from motion with the known cameras, fitting of
the Gaussians, calibration of thresholds on held-out normal views. Nothing is read from the test
pictures of the data set.

CLASS_DIR holds transforms.json and train/good/*.png (see docs/own_product.md); pictures of intact
pieces on the line in validation/good with validation.json are used for calibration when there.

Examples:
  pad build demo/data/coupe --out out/coupe
  pad build demo/data/coupe --out out/coupe --iterations 1000 --seed 3     (quick, rougher)
  pad build my_product --out models/my_product --config build.yaml --profile paper --device cuda
  pad build photos --out models/my_product --unknown-cameras --object-length 0.112
  pad build photos --out models/my_product --unknown-cameras --board 7x5:0.03:0.022 --segment
"""

from __future__ import annotations

import argparse
import hashlib
import json
import tempfile
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from pad_inspection.config import BuildConfig, LocalizationConfig, from_dict, load_yaml
from pad_inspection.offline.photographs.arguments import add_source_arguments

if TYPE_CHECKING:
    from pad_inspection.pipeline import Inspector


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `pad build`."""
    parser.add_argument('class_dir', type=Path, metavar='CLASS_DIR', help='data set of one class')
    parser.add_argument('--out', type=Path, required=True, metavar='BUNDLE', help='bundle folder')
    parser.add_argument('--config', type=Path, help='YAML with build options to change')
    parser.add_argument(
        '--profile', choices=('fast', 'paper'), help='effort of the Gaussian fit (default fast)'
    )
    parser.add_argument('--iterations', type=int, help='steps of the Gaussian fit')
    parser.add_argument('--mapper', choices=('pycolmap', 'hloc'), help='what triangulates')
    parser.add_argument(
        '--device',
        choices=('auto', 'cpu', 'cuda'),
        default='auto',
        help='where splats are fitted and networks run (default: auto, cuda if there is any)',
    )
    parser.add_argument('--seed', type=int, help='seed of everything random (default 0)')
    parser.add_argument(
        '--resume', type=Path, metavar='DIR', help='keep checkpoints there and continue from them'
    )
    parser.add_argument(
        '--unknown-cameras',
        action='store_true',
        help='CLASS_DIR is a folder of plain photographs: find their cameras first, as '
        '`pad dataset cameras` does with the options below',
    )
    add_source_arguments(parser)


@contextmanager
def _progress_bar(title: str):
    """A tqdm bar that a step drives with progress(fraction, text)."""
    from tqdm import tqdm

    with tqdm(
        total=100, desc=title, bar_format='{desc:<10}{percentage:3.0f}%|{bar}|{elapsed} {postfix}'
    ) as bar:

        def update(fraction: float, text: str = '') -> None:
            bar.n = round(100 * min(max(fraction, 0.0), 1.0))
            if text:
                bar.set_postfix_str(text, refresh=False)
            bar.refresh()

        yield update
        update(1.0)


def dataset_digest(views) -> str:
    """SHA-256 over the training pictures' bytes and poses, hexadecimal."""
    from pad_inspection.geometry import to_matrix

    state = hashlib.sha256()
    for view in sorted(views, key=lambda v: v.name):
        state.update(view.name.encode())
        state.update(view.path.read_bytes())
        state.update(to_matrix(view.cam_from_object).round(9).tobytes())
        state.update(view.camera.K.tobytes())
    return state.hexdigest()


def build_bundle(
    class_dir: Path,
    out: Path,
    config: BuildConfig,
    *,
    work_dir: Path | None = None,
    make_inspector: Callable[..., Inspector] | None = None,
    progress: Callable[[str], object] = _progress_bar,
) -> Path:
    """Build a bundle; see the module's text.

    Args:
        class_dir: folder of one class.
        out: folder of the bundle; an existing bundle is replaced when all went well.
        config: build options; ``config.inspection`` is stored as the bundle's configuration, but
            for what is the user's own (see bundle_config).
        work_dir: keeps the SfM model and checkpoints; None = a temporary folder.
        make_inspector: for the calibration, called like ``Inspector``; None = that.
        progress: gives a context manager with an update(fraction, text) function for a title.

    Returns:
        ``out``.

    Raises:
        RuntimeError: ``rendering.device`` is 'cuda' and there is none.
        FileNotFoundError, ValueError: bad data set, options that are no model's, or a model too
            poor to inspect with.
        BundleError: ``out`` is something else than a bundle.
    """
    import shutil

    from pad_inspection import __version__
    from pad_inspection.bundle_config import check_storable, noted_files, stored_build
    from pad_inspection.bundle_writing import check_target, writing_bundle
    from pad_inspection.dataset import class_name, read_training_views, read_validation_images
    from pad_inspection.localization.reference import ReferenceModel
    from pad_inspection.offline.build_model import map_views
    from pad_inspection.offline.calibrate import calibrate
    from pad_inspection.offline.fit_gaussians import fit_gaussians
    from pad_inspection.offline.train_networks import train_networks
    from pad_inspection.pipeline import Inspector
    from pad_inspection.rendering.backends import torch_device
    from pad_inspection.rendering.gaussians import read_ply, write_ply
    from pad_inspection.rendering.photographs import Photographs

    # told before minutes of work are lost
    check_target(out)
    check_storable(config.inspection)
    weights, options = noted_files(config.inspection), stored_build(config)
    views = read_training_views(class_dir)
    validation = read_validation_images(class_dir)
    digest = dataset_digest(views)
    device = config.inspection.rendering.device
    with tempfile.TemporaryDirectory(prefix='pad_build_') as temporary:
        work = Path(temporary) if work_dir is None else Path(work_dir)
        work.mkdir(parents=True, exist_ok=True)
        with progress('map') as update:
            mapping = map_views(
                views,
                config.mapping,
                config.inspection.localization,
                work,
                progress=update,
                device=torch_device(device),
            )
        with progress('fit') as update:
            fit = fit_gaussians(
                views,
                mapping.points,
                mapping.colors,
                config.fit,
                seed=config.seed,
                device=device,
                checkpoint_dir=None if work_dir is None else work / 'fit',
                progress=update,
            )
        # from here on the model is as files give it back: rounded, it is not quite the same
        files = [work / name for name in ('features.npz', 'gaussians.ply')]
        mapping.reference.save(files[0])
        write_ply(files[1], fit.gaussians)
        reference, gaussians = ReferenceModel.load(files[0]), read_ply(files[1])
        with progress('train') as update:
            networks = train_networks(
                views,
                gaussians,
                config.training,
                config.inspection,
                seed=config.seed,
                progress=update,
            )
        with progress('calibrate') as update:
            calibration = calibrate(
                reference,
                gaussians,
                views,
                fit.holdout_names,
                validation,
                config,
                networks=networks,
                make_inspector=make_inspector or Inspector,
                progress=update,
            )
        identity = json.dumps([digest, options, weights, __version__], sort_keys=True)
        manifest = {
            'model_id': class_name(class_dir),
            'model_version': hashlib.sha256(identity.encode()).hexdigest()[:12],
            'software_version': __version__,
            'provenance': {
                'command': 'pad build',
                'seed': config.seed,
                'dataset': class_name(class_dir),
                'dataset_sha256': digest,
                'training_views': len(views),
                'validation_images': len(validation),
            },
            'config': options,
            'weights': weights,
            'mapping': mapping.report,
            'quality': fit.quality,
            'calibration': {
                'num_normals': calibration.num_normals,
                'sources': calibration.sources,
                'false_reject_bound': calibration.false_reject_bound,
                'image_threshold': calibration.image_threshold,
            },
        }
        with writing_bundle(out, manifest) as folder:
            for file in files:
                shutil.copy2(file, folder / file.name)
            networks.save(folder)
            if config.inspection.comparison.num_photographs > 0:
                Photographs.of_views(views).save(folder)
            calibration.save(folder)
            shutil.copytree(work / 'sfm', folder / 'sfm')
    return out


def run(arguments: argparse.Namespace) -> int:
    """Run `pad build`."""
    from pad_inspection.bundle_writing import check_target

    config = load_yaml(BuildConfig, arguments.config) if arguments.config else BuildConfig()
    changes: dict = {'inspection': {'rendering': {'device': arguments.device}}}
    fit = {'profile': arguments.profile, 'iterations': arguments.iterations}
    changes['fit'] = {name: value for name, value in fit.items() if value is not None}
    if arguments.mapper is not None:
        changes['mapping'] = {'mapper': arguments.mapper}
    if arguments.seed is not None:
        changes['seed'] = arguments.seed
    config = from_dict(BuildConfig, changes, config)
    check_target(arguments.out)
    if not arguments.unknown_cameras:
        build_bundle(arguments.class_dir, arguments.out, config, work_dir=arguments.resume)
    else:
        from pad_inspection.offline.photographs.command import make_class_dir, print_report

        with tempfile.TemporaryDirectory(prefix='pad_photographs_') as temporary:
            # the bundle's model is named after the folder
            class_dir = Path(temporary) / arguments.class_dir.resolve().name
            report = make_class_dir(
                arguments,
                arguments.class_dir,
                class_dir,
                # whatever the bundle localises with: these tell look-alike sides apart best
                LocalizationConfig(features='aliked', matcher='lightglue'),
                _progress_bar,
            )
            print_report(report, arguments.class_dir)
            build_bundle(class_dir, arguments.out, config, work_dir=arguments.resume)
    print_summary(arguments.out)
    return 0


def print_summary(bundle: Path) -> None:
    """Tell what a bundle holds and how good it is."""
    from pad_inspection.bundle import open_bundle

    manifest = open_bundle(bundle).manifest
    mapping, quality, calibration = (manifest[k] for k in ('mapping', 'quality', 'calibration'))
    print(f'bundle {bundle}: model {manifest["model_id"]} {manifest["model_version"]}')
    print(
        f'  map: {mapping["num_points"]} points, mean track {mapping["mean_track_length"]:.1f}, '
        f'reprojection error {mapping["mean_reprojection_error_px"]:.2f} px'
    )
    print(
        f'  splats: {quality["num_gaussians"]} Gaussians, held-out PSNR {quality["psnr"]:.1f} dB '
        f'(object {quality["psnr_object"]:.1f} dB), alpha IoU {quality["alpha_iou"]:.3f}, '
        f'alpha in holes {quality["hole_alpha"]:.3f}'
    )
    print(
        f'  calibration: threshold {calibration["image_threshold"]:.3f} from '
        f'{calibration["num_normals"]} normal views ({calibration["sources"]}); with 95% '
        f'confidence at most {calibration["false_reject_bound"]:.1%} of good views are rejected'
    )
