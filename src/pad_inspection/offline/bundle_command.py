"""Look at a model bundle; sign it; verify who signed it.

A bundle decides what passes, so take one only from who may decide that. Whoever builds bundles
makes a pair of keys once and keeps the private one; the line gets the public one, and refuses any
bundle that is not signed with it (`pad inspect --require-signature`, parameter require_signature
of inspection_node). Building or calibrating anew takes the signature away.

Examples:
  pad bundle show out/coupe
  pad bundle keygen --private private.pem --public public.pem
  pad bundle sign out/coupe --key private.pem
  pad bundle verify out/coupe --key public.pem
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

from pad_inspection.text_safety import MAX_TEXT_LENGTH, printable

_THRESHOLDS = (
    'image_threshold',
    'pixel_threshold',
    'object_threshold',
    'surface_threshold',
    'joined_pixel_threshold',
    'joined_image_threshold',
    'min_inliers',
    'min_silhouette_iou',
    'min_agreement',
    'min_sharpness',
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `pad bundle`."""
    actions = parser.add_subparsers(dest='action', required=True, metavar='ACTION')
    show = actions.add_parser('show', help='identity, options, thresholds and signature')
    show.add_argument('bundle', type=Path, metavar='BUNDLE')
    keygen = actions.add_parser('keygen', help='make a pair of keys')
    keygen.add_argument('--private', type=Path, required=True, metavar='FILE', help='keep it')
    keygen.add_argument('--public', type=Path, required=True, metavar='FILE', help='hand it out')
    sign = actions.add_parser('sign', help='sign a bundle')
    sign.add_argument('bundle', type=Path, metavar='BUNDLE')
    sign.add_argument('--key', type=Path, required=True, help='private key')
    verify = actions.add_parser('verify', help='tell whether a trusted key signed a bundle')
    verify.add_argument('bundle', type=Path, metavar='BUNDLE')
    verify.add_argument(
        '--key', type=Path, required=True, action='append', help='public key; may be repeated'
    )


def describe(path: Path) -> Iterator[str]:
    """Lines about a bundle for people.

    Raises:
        FileNotFoundError, BundleError: see bundle.open_bundle and bundle_config.build_config.
    """
    from pad_inspection.bundle import open_bundle
    from pad_inspection.bundle_config import build_config, calibrated_files
    from pad_inspection.bundle_signature import is_signed
    from pad_inspection.calibration import Calibration
    from pad_inspection.checked_options import flatten
    from pad_inspection.config import BuildConfig

    bundle = open_bundle(path)
    build = build_config(bundle)
    calibration = Calibration.of_bundle(bundle, build.inspection)
    manifest = bundle.manifest
    size = sum(bundle.file(name).stat().st_size for name in manifest['files'])
    yield f'model {manifest.get("model_id", "")} {manifest.get("model_version", "")}'
    yield (
        f'bundle {path}: format {manifest["format_version"]}, written by pad_inspection '
        f'{manifest.get("software_version", "?")}'
    )
    yield f'manifest SHA-256 {bundle.sha256}'
    yield f'{len(manifest["files"])} files, {size / 1e6:.1f} MB'
    signed = 'signed (by whom: pad bundle verify)' if is_signed(bundle) else 'not signed'
    yield f'signature: {signed}'
    defaults = {name: value for name, value, _ in flatten(BuildConfig())}
    changed = [(n, v) for n, v, _ in flatten(build) if v != defaults[n]]
    yield 'options that differ from the defaults:' + ('' if changed else ' none')
    for name, value in changed:
        yield f'  {name}: {value!r}'
    for option, note in calibrated_files(bundle).items():
        yield f'  {option}: a file like {note.name} (SHA-256 {note.sha256}), not in the bundle'
    yield (
        f'thresholds, from {calibration.num_normals} normal views (with 95% confidence at most '
        f'{calibration.false_reject_bound:.1%} of good views are rejected):'
    )
    for name in _THRESHOLDS:
        value = getattr(calibration, name)
        yield f'  {name}: {value:.4g}'


def run(arguments: argparse.Namespace) -> int:
    """Run `pad bundle`."""
    from pad_inspection import bundle_signature
    from pad_inspection.bundle import open_bundle

    if arguments.action == 'show':
        for line in describe(arguments.bundle):
            print(printable(line, MAX_TEXT_LENGTH))
    elif arguments.action == 'keygen':
        bundle_signature.make_keys(arguments.private, arguments.public)
        print(f'private key {arguments.private} (keep it secret), public key {arguments.public}')
    elif arguments.action == 'sign':
        path = bundle_signature.sign(open_bundle(arguments.bundle), arguments.key)
        print(f'signed: {path}')
    else:
        bundle = open_bundle(arguments.bundle)
        key = bundle_signature.require_signature(bundle, arguments.key)
        print(f'bundle {arguments.bundle} is signed with {key}')
    return 0
