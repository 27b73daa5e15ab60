"""Compare methods on all classes of a benchmark: one table instead of one number.

For each class and seed a bundle is built (or taken from --bundles), every method is calibrated on
the same normal pictures and inspects the same test pictures. Steps that methods share are computed
once and kept in --out, so that a run that was stopped goes on where it was.

Writes into --out: summary.html (look at this), summary.md, summary.json, and for every class and
method what `pad evaluate` writes.

Examples:
  pad evaluate-all data/small --out out/benchmark
  pad evaluate-all data/small --out out/benchmark --classes coupe,truck --methods ours,paper
  pad evaluate-all data/small --out out/benchmark --methods ours,ablations
  pad evaluate-all data/small --out out/benchmark --seeds 0,1,2

Methods: the presets (see `pad evaluate --help`), the ablations without_<part of ours>,
paper_joined_maps (the paper's comparison with the views of a piece joined as in ours), and
with_true_pose, with_true_mask, with_true_pose_and_mask, which put in the truth for a step of ours;
'presets', 'ablations', 'truths' and 'all' stand for several.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

from pad_inspection.config import PRESETS, InspectionConfig, to_dict
from pad_inspection.offline.methods import ABLATIONS, METHODS, TRUTHS, Method, method_config
from pad_inspection.whole_files import write_text

# Folder of what methods share, in the folder of a class.
CACHE = 'cache'


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `pad evaluate-all`."""
    parser.add_argument('data_dir', type=Path, metavar='DATA_DIR', help='folder of class folders')
    parser.add_argument('--out', type=Path, required=True, help='folder for results and caches')
    parser.add_argument('--classes', metavar='A,B', help='only these (default: all)')
    parser.add_argument(
        '--methods', default='presets', metavar='A,B', help='default: presets; see above'
    )
    parser.add_argument('--seeds', default='0', metavar='N,M', help='of the bundles (default: 0)')
    parser.add_argument(
        '--bundles', type=Path, metavar='DIR', help='bundles by class name, built when missing'
    )
    parser.add_argument('--limit', type=int, metavar='N', help='only N pictures of each class')


def chosen_methods(text: str) -> list[Method]:
    """Methods of a comma-separated list.

    Raises:
        ValueError: no such method.
    """
    groups = {
        'presets': PRESETS, 'ablations': ABLATIONS, 'truths': TRUTHS, 'all': tuple(METHODS),
    }  # fmt: skip
    names: list[str] = []
    for word in filter(None, map(str.strip, text.split(','))):
        if word not in METHODS and word not in groups:
            raise ValueError(
                f'unknown method {word!r}, wanted some of {[*groups, *METHODS]} with commas'
            )
        names += [name for name in groups.get(word, (word,)) if name not in names]
    if not names:
        raise ValueError('--methods names none')
    return [METHODS[name] for name in names]


def chosen_classes(data_dir: Path, text: str | None) -> list[Path]:
    """Class folders to evaluate.

    Raises:
        FileNotFoundError: there is no such folder, or none with test pictures.
    """
    if text:
        folders = [data_dir / name.strip() for name in text.split(',')]
    else:
        folders = sorted(p.parent for p in data_dir.glob('*/test.json'))
    for folder in folders:
        if not folder.is_dir():
            raise FileNotFoundError(f'class folder {folder} does not exist')
    if not folders:
        raise FileNotFoundError(f'{data_dir} holds no class folders with test.json')
    return folders


class ClassEvaluation:
    """Evaluates methods on one class with one bundle."""

    def __init__(self, class_dir: Path, bundle_path: Path, out: Path, limit: int | None):
        """Read the data set and the bundle.

        Args:
            class_dir: folder of the class.
            bundle_path: its bundle.
            out: folder of results; ``cache`` in it keeps what methods share.
            limit: evaluate only so many pictures.
        """
        from pad_inspection.bundle import open_bundle
        from pad_inspection.bundle_config import build_config
        from pad_inspection.calibration import Calibration
        from pad_inspection.dataset import (
            class_name,
            read_test_images,
            read_training_views,
            read_validation_images,
        )
        from pad_inspection.localization.reference import ReferenceModel
        from pad_inspection.networks.product_networks import ProductNetworks
        from pad_inspection.offline.cached_inspector import StepStore
        from pad_inspection.rendering.gaussians import read_ply

        self.name = class_name(class_dir)
        self._out = out
        self._bundle = open_bundle(bundle_path)
        self._build = build_config(self._bundle)
        self._own = self._build.inspection
        self._own_calibration = Calibration.of_bundle(self._bundle, self._own)
        self._reference = ReferenceModel.load(self._bundle.file('features.npz'))
        self._gaussians = read_ply(self._bundle.file('gaussians.ply'))
        self._views = read_training_views(class_dir)
        self._validation = read_validation_images(class_dir)
        self._tests = spread(read_test_images(class_dir), limit)
        self._store = StepStore(out / CACHE)
        self._networks = ProductNetworks.of_bundle(self._bundle)
        self._shared = None

    def evaluate(self, method: Method, bar=None) -> dict[str, Any]:
        """Report of a method; read from its folder when it is there already.

        Args:
            method: which.
            bar: wraps the list of test pictures for a progress bar, or None.
        """
        from pad_inspection.offline.evaluate import evaluate_views, write_evaluation

        config = method_config(method, self._own)
        identity = json.dumps(
            [
                self._bundle.sha256, to_dict(config), sorted(method.truths),
                [t.name for t in self._tests],
            ],
            sort_keys=True,
        )  # fmt: skip
        digest = hashlib.sha256(identity.encode()).hexdigest()
        folder = self._out / method.name
        done = folder / 'report.json'
        if done.is_file():
            report = json.loads(done.read_text())
            if report.get('digest') == digest:
                return report
        inspector = self._inspector(config, method.truths)
        tell = inspector.tell if method.truths else None
        records = evaluate_views(inspector, self._tests, inspector.object_points(), bar, tell)
        report = write_evaluation(records, inspector, self.name, method.name, folder)
        calibration = inspector.calibration
        report |= {
            'digest': digest,
            'calibration': {
                'image_threshold': calibration.image_threshold,
                'object_threshold': calibration.object_threshold,
                'num_normals': calibration.num_normals,
                'false_reject_bound': calibration.false_reject_bound,
                'sources': calibration.sources,
            },
        }
        write_text(done, json.dumps(report, indent=1) + '\n')
        return report

    def _inspector(self, config: InspectionConfig, truths: frozenset[str]):
        """Inspector of a configuration, calibrated for it on the normal pictures."""
        from pad_inspection.config import from_dict
        from pad_inspection.offline.cached_inspector import CachedInspector
        from pad_inspection.offline.calibrate import calibrate
        from pad_inspection.offline.truth import TruthInspector

        make = partial(CachedInspector, store=self._store)
        calibration = self._own_calibration
        if config != self._own:
            build = from_dict(type(self._build), {'inspection': to_dict(config)}, self._build)
            calibration = calibrate(
                self._reference,
                self._gaussians,
                self._views,
                self._held_out(),
                self._validation,
                build,
                networks=self._networks,
                make_inspector=partial(make, share=self._shared),
            )
        if truths:
            make = partial(TruthInspector, store=self._store, truths=truths)
        inspector = make(
            self._reference, self._gaussians, calibration, config, self._bundle,
            share=self._shared,
        )  # fmt: skip
        self._shared = self._shared or inspector
        return inspector

    def _held_out(self) -> list[str]:
        """Names of the views that the Gaussians were not fitted to."""
        from pad_inspection.offline.fit_gaussians import split_holdout

        return [v.name for v in split_holdout(self._views, self._build.fit.holdout_every)[1]]


def spread(images: list, limit: int | None) -> list:
    """At most ``limit`` pictures, spread evenly over the list."""
    if limit is None or limit >= len(images):
        return images
    return [images[i * len(images) // limit] for i in range(limit)]


def run(arguments: argparse.Namespace) -> int:
    """Run `pad evaluate-all`."""
    from tqdm import tqdm

    from pad_inspection.offline.evaluation_summary import write_summary

    if arguments.limit is not None and arguments.limit < 1:
        raise ValueError(f'--limit is {arguments.limit}, wanted at least 1')
    try:
        seeds = [int(word) for word in arguments.seeds.split(',')]
    except ValueError:
        raise ValueError(f'--seeds is {arguments.seeds!r}, wanted numbers with commas') from None
    methods = chosen_methods(arguments.methods)
    folders = chosen_classes(arguments.data_dir, arguments.classes)
    reports = []
    for seed in seeds:
        for folder in folders:
            out = arguments.out / f'seed_{seed}' / folder.name
            bundle = _bundle(arguments, folder, seed, out)
            item = ClassEvaluation(folder, bundle, out, arguments.limit)
            for method in methods:
                bar = partial(tqdm, unit='image', desc=f'{item.name} {method.name}', leave=False)
                reports.append({'seed': seed, **item.evaluate(method, bar)})
                # what is there so far can be looked at while the rest runs
                write_summary(reports, arguments.out)
                tqdm.write(_line(reports[-1]))
    print((arguments.out / 'summary.md').read_text())
    print(f'tables and pictures in {arguments.out / "summary.html"}')
    return 0


def _bundle(arguments: argparse.Namespace, folder: Path, seed: int, out: Path) -> Path:
    """The bundle of a class, built when it is not there; steps are kept for the methods."""
    from pad_inspection.config import BuildConfig, CalibrationConfig
    from pad_inspection.offline.build import build_bundle
    from pad_inspection.offline.cached_inspector import CachedInspector, StepStore

    root = arguments.bundles or arguments.out / 'bundles'
    path = root / folder.name if seed == 0 else root / f'{folder.name}_seed_{seed}'
    if not (path / 'manifest.json').is_file():
        work = arguments.out / 'work' / path.name
        # how many cameras look at a piece is known of every line
        calibration = CalibrationConfig(views_per_object=_views_per_object(folder))
        config = BuildConfig(seed=seed, calibration=calibration)
        make = partial(CachedInspector, store=StepStore(out / CACHE))
        build_bundle(folder, path, config, work_dir=work, make_inspector=make)
    return path


def _views_per_object(folder: Path) -> int:
    """Pictures of most objects of a data set."""
    from statistics import mode

    from pad_inspection.dataset import read_test_images

    counts = Counter(image.object_id for image in read_test_images(folder))
    return mode(counts.values())


def _line(report: dict[str, Any]) -> str:
    """The main numbers of a report in a line."""
    numbers = ' '.join(
        f'{name} {report[name]:.3f}' if report.get(name) is not None else f'{name} -'
        for name in ('image_auroc', 'object_auroc', 'pixel_auroc', 'aupro', 'f1_max_pixel')
    )
    return f'{report["class"]} {report["preset"]}: {numbers}'
