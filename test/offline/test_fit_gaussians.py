import dataclasses
import itertools

import numpy as np
import pytest
import torch

from helpers.fit_views import RADIUS_M, views_around
from pad_inspection.config import FitConfig
from pad_inspection.geometry import camera_center
from pad_inspection.offline import fit_gaussians as module
from pad_inspection.offline.fit_gaussians import FitDivergedError, fit_gaussians, split_holdout
from pad_inspection.offline.fit_quality import measure_quality
from pad_inspection.offline.splat_parameters import SplatParameters

NO_POINTS = np.zeros((0, 3))
SHORT = FitConfig(iterations=60, max_gaussians=300, densify_interval=20, sh_degree=1)


@pytest.fixture(scope='module')
def views(tmp_path_factory):
    return views_around(tmp_path_factory.mktemp('views'))


@pytest.fixture(autouse=True)
def few_hull_points(monkeypatch):
    monkeypatch.setattr(module, '_HULL_POINTS', 200)


def fit(views, config=SHORT, points=NO_POINTS, colors=NO_POINTS, **options):
    return fit_gaussians(views, points, colors, config, device='cpu', threads=1, **options)


def assert_same(first, second):
    for name in ('means', 'quats', 'scales', 'opacities', 'sh'):
        np.testing.assert_array_equal(getattr(first, name), getattr(second, name))


def test_a_fit_shows_views_that_it_has_not_seen(views):
    config = FitConfig(iterations=300, max_gaussians=700, densify_interval=30, sh_degree=1)
    told = []
    result = fit(views, config, progress=lambda fraction, text: told.append((fraction, text)))
    assert len(result.holdout_names) == 3
    quality = result.quality
    assert quality['psnr_object'] > 24
    assert quality['psnr'] > quality['psnr_object']
    assert quality['alpha_iou'] > 0.93
    assert 0 <= quality['hole_alpha'] < 0.1
    assert 0.8 < quality['ssim'] <= 1
    assert quality['num_gaussians'] == len(result.gaussians) <= 700
    # in metres, where the object is, and nothing outside of it
    distance = np.linalg.norm(result.gaussians.means - [0.01, -0.02, 0.005], axis=1)
    assert np.median(distance) == pytest.approx(RADIUS_M, rel=0.25)
    assert distance.max() < 1.6 * RADIUS_M
    assert told[-1][0] == 1.0 and 'dB' in told[-1][1]
    assert all(a[0] <= b[0] for a, b in itertools.pairwise(told))


def test_given_views_tell_the_quality_and_all_others_are_fitted(views):
    config = dataclasses.replace(SHORT, holdout_every=len(views))
    result = fit(views[3:], config, held_out=views[:3])
    assert result.holdout_names == tuple(view.name for view in views[:3])
    expected = measure_quality(result.gaussians, views[:3], device='cpu', threads=1)
    assert result.quality['psnr'] == pytest.approx(expected['psnr'], abs=1e-6)
    with pytest.raises(ValueError, match='to fit'):
        fit(views[:4], config)
    assert len(fit(views[:4], config, held_out=views[4:5]).gaussians)


def test_the_same_seed_gives_the_same_bits(views):
    assert_same(fit(views, seed=3).gaussians, fit(views, seed=3).gaussians)


def test_an_interrupted_fit_goes_on_to_the_same_result(views, tmp_path, monkeypatch):
    monkeypatch.setattr(module, '_CHECKPOINT_STEPS', 30)

    class InterruptionError(Exception):
        pass

    def interrupt(fraction, text):
        if fraction > 0.6:
            raise InterruptionError

    whole = fit(views).gaussians
    with pytest.raises(InterruptionError):
        fit(views, checkpoint_dir=tmp_path, progress=interrupt)
    # the time of what was done before counts as well
    path = tmp_path / module._CHECKPOINT_NAME
    state = torch.load(path, weights_only=True)
    assert 0 < state['seconds'] < 1000
    torch.save({**state, 'seconds': 1000.0}, path)
    begins = []
    resumed = fit(
        views, checkpoint_dir=tmp_path, progress=lambda fraction, text: begins.append(fraction)
    )
    assert 1000 < resumed.quality['fit_seconds'] < 2000
    assert begins[0] >= 0.5
    assert_same(whole, resumed.gaussians)


def test_a_checkpoint_of_another_fit_is_not_used(views, tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(module, '_CHECKPOINT_STEPS', 30)
    fit(views, checkpoint_dir=tmp_path)
    other = fit(views, checkpoint_dir=tmp_path, seed=1)
    assert 'another fit' in caplog.text
    assert_same(other.gaussians, fit(views, seed=1).gaussians)


def test_points_outside_of_the_silhouettes_are_not_used(views):
    rng = np.random.default_rng(0)
    points = np.concatenate([rng.normal(size=(50, 3)) * 0.01, [[0.5, 0, 0], [0, 0.3, 0.2]]])
    result = fit(views, points=points, colors=np.full(points.shape, 0.5))
    assert np.abs(result.gaussians.means).max() < 0.1


@pytest.mark.filterwarnings('ignore')
def test_divergence_is_named(views, monkeypatch):
    from pad_inspection.offline import splat_parameters

    rates = dict.fromkeys(splat_parameters.LEARNING_RATES, float('nan'))
    monkeypatch.setattr(splat_parameters, 'LEARNING_RATES', rates)
    with pytest.raises(FitDivergedError, match='step'):
        fit(views)


def test_bad_input_is_refused(views):
    with pytest.raises(ValueError, match=r'\(3, 2\)'):
        fit(views, points=np.zeros((3, 2)), colors=np.zeros((3, 2)))
    with pytest.raises(ValueError, match='leave 2 to fit'):
        fit(views[:3])
    with pytest.raises(ValueError, match='device'):
        fit_gaussians(views, NO_POINTS, NO_POINTS, SHORT, device='abacus')


def test_held_out_views_are_spread(views):
    fitted, held = split_holdout(views, 8)
    assert len(held) == 3
    assert [v.name for v in views] == sorted(v.name for v in fitted + held)
    places = np.array([camera_center(view.cam_from_object) for view in held])
    apart = np.linalg.norm(places[:, None] - places[None], axis=2)[np.triu_indices(3, 1)]
    # three views on a sphere of 0.25 m can be 0.43 m apart
    assert apart.min() > 0.35


def test_views_from_one_place_are_held_out_once_each(views):
    fitted, held = split_holdout([views[0]] * 12, 4)
    assert (len(fitted), len(held)) == (9, 3)


def test_without_any_object_there_is_no_fit(views, tmp_path):
    from pad_inspection import images

    blank = tmp_path / 'blank.png'
    images.write(blank, np.zeros((48, 48, 4), np.uint8))
    with pytest.raises(ValueError, match='object'):
        fit([dataclasses.replace(view, path=blank) for view in views])


def parameters(count=5):
    rng = np.random.default_rng(0)
    made = SplatParameters.from_points(
        rng.normal(size=(count, 3)), rng.uniform(size=(count, 3)), 1, 'cpu'
    )
    # one step, so that Adam has moments
    loss = sum((value**2).sum() for value in made.activated())
    loss.backward()
    made.step(1.0)
    return made


def test_growing_keeps_what_was_there_and_adds_to_it():
    made = parameters()
    before = made.state()
    generator = torch.Generator().manual_seed(0)
    made.grow(torch.tensor([1, 3]), split_above=1e9, generator=generator)
    after = made.state()
    assert len(made) == 7
    for name, value in before['values'].items():
        torch.testing.assert_close(after['values'][name][:5], value)
        torch.testing.assert_close(after['values'][name][5:], value[[1, 3]])
    moments = after['adam']['state'][0]['exp_avg']
    torch.testing.assert_close(moments[:5], before['adam']['state'][0]['exp_avg'])
    assert not moments[5:].any()


def test_splitting_puts_two_smaller_ones_about_the_first():
    made = parameters()
    before = made.state()['values']
    made.grow(torch.tensor([2]), split_above=0.0, generator=torch.Generator().manual_seed(0))
    after = made.state()['values']
    assert len(made) == 6
    middle = (after['means'][2] + after['means'][5]) / 2
    torch.testing.assert_close(middle, before['means'][2])
    ratio = torch.exp(before['scales'][2] - after['scales'][[2, 5]])
    torch.testing.assert_close(ratio, torch.full((2, 3), 1.6))


def test_dropping_keeps_values_and_moments_together():
    made = parameters()
    before = made.state()
    made.keep(torch.tensor([True, False, True, False, True]))
    after = made.state()
    for index, (name, value) in enumerate(before['values'].items()):
        torch.testing.assert_close(after['values'][name], value[[0, 2, 4]])
        torch.testing.assert_close(
            after['adam']['state'][index]['exp_avg'],
            before['adam']['state'][index]['exp_avg'][[0, 2, 4]],
        )


def test_lengths_come_back_in_metres():
    made = parameters()
    gaussians = made.to_gaussians(np.array([1.0, 2.0, 3.0]), 0.05)
    means, _, scales, opacities, _ = made.activated()
    np.testing.assert_allclose(
        gaussians.means, 0.05 * means.detach().numpy() + [1, 2, 3], rtol=1e-6
    )
    np.testing.assert_allclose(gaussians.scales, 0.05 * scales.detach().numpy(), rtol=1e-6)
    np.testing.assert_allclose(gaussians.opacities, opacities.detach().numpy())
    np.testing.assert_allclose(np.linalg.norm(gaussians.quats, axis=1), 1, rtol=1e-6)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason='needs a CUDA device')
def test_a_fit_on_the_gpu_is_as_good(views):
    config = FitConfig(iterations=300, max_gaussians=700, densify_interval=30, sh_degree=1)
    result = fit_gaussians(views, NO_POINTS, NO_POINTS, config, device='cuda')
    assert result.quality['psnr_object'] > 24
    assert result.quality['alpha_iou'] > 0.93
