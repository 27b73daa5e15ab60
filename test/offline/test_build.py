"""What a build writes, and what it refuses before its first step; the steps have own tests."""

from contextlib import contextmanager
from types import SimpleNamespace

import pytest

from pad_inspection.bundle import BundleError, open_bundle
from pad_inspection.bundle_config import build_config, calibrated_files
from pad_inspection.calibration import Calibration
from pad_inspection.config import BuildConfig, from_dict
from pad_inspection.localization.reference import ReferenceModel
from pad_inspection.networks.product_networks import ProductNetworks
from pad_inspection.offline.build import build_bundle, print_summary
from pad_inspection.rendering.gaussians import read_ply


@contextmanager
def no_progress(title):
    yield lambda fraction, text='': None


@pytest.fixture
def quick(monkeypatch, demo_bundle):
    """Every step gives what the bundle of the demo holds; the list of the steps that were made."""
    made = []
    bundle = open_bundle(demo_bundle)
    mapping = SimpleNamespace(
        reference=ReferenceModel.load(bundle.file('features.npz')),
        points=None,
        colors=None,
        report=bundle.manifest['mapping'],
    )
    fit = SimpleNamespace(
        gaussians=read_ply(bundle.file('gaussians.ply')),
        holdout_names=[],
        quality=bundle.manifest['quality'],
    )
    calibration = Calibration.of_bundle(bundle, build_config(bundle).inspection)

    def step(name, result):
        def run(*arguments, **options):
            made.append(name)
            if name == 'map_views':
                (arguments[3] / 'sfm').mkdir()
                (arguments[3] / 'sfm' / 'cameras.bin').write_bytes(b'')
            return result

        return run

    for module, name, result in (
        ('build_model', 'map_views', mapping),
        ('fit_gaussians', 'fit_gaussians', fit),
        ('train_networks', 'train_networks', ProductNetworks()),
        ('calibrate', 'calibrate', calibration),
    ):
        monkeypatch.setattr(f'pad_inspection.offline.{module}.{name}', step(name, result))
    return made


def config(**inspection):
    inspection.setdefault('comparison', {})['num_photographs'] = 0
    return from_dict(BuildConfig, {'inspection': inspection})


def test_the_bundle_holds_no_path_but_notes_the_users_network(quick, demo_dir, tmp_path, capsys):
    network = tmp_path / 'net.onnx'
    network.write_text('a network')
    build = config(segmentation={'network': 'birefnet', 'weights': str(network)})
    out = build_bundle(demo_dir, tmp_path / 'b', build, progress=no_progress)
    bundle = open_bundle(out)
    assert 'net.onnx' in (out / 'manifest.json').read_text()
    assert str(tmp_path) not in (out / 'manifest.json').read_text()
    assert list(calibrated_files(bundle)) == ['segmentation.weights']
    stored = build_config(bundle)
    assert stored.inspection.segmentation.network == 'birefnet'
    assert stored.inspection.segmentation.weights == ''
    assert Calibration.of_bundle(bundle, stored.inspection).num_normals > 40
    print_summary(out)
    assert 'model coupe' in capsys.readouterr().out
    # the same again replaces it; nothing else is left
    build_bundle(demo_dir, tmp_path / 'b', build, progress=no_progress)
    assert sorted(p.name for p in tmp_path.iterdir()) == ['b', 'net.onnx']


def test_what_cannot_be_built_is_told_before_the_first_step(quick, demo_dir, tmp_path):
    foreign = tmp_path / 'web'
    foreign.mkdir()
    (foreign / 'manifest.json').write_text('{}')
    for out, options, error, message in (
        (foreign, config(), BundleError, 'no model bundle'),
        (tmp_path / 'b', config(decision={'margin': 2.0}), ValueError, 'no part of a model'),
        (
            tmp_path / 'b',
            config(background={'lama_weights': 'nothing.pt'}),
            FileNotFoundError,
            r'background\.lama_weights is nothing\.pt',
        ),
    ):
        with pytest.raises(error, match=message):
            build_bundle(demo_dir, out, options, progress=no_progress)
    assert quick == []
