import numpy as np
import pytest
import torch

from helpers.fit_views import ball, views_around
from pad_inspection.config import InspectionConfig, TrainingConfig, from_dict
from pad_inspection.networks import product_segmenter
from pad_inspection.networks.product_networks import ProductNetworks
from pad_inspection.offline.synthetic_scenes import SceneMaker
from pad_inspection.offline.train_networks import (
    _Example,
    fit_decoder,
    noisy_pose,
    train_networks,
)

BOTH = from_dict(
    InspectionConfig,
    {'segmentation': {'network': 'product'}, 'comparison': {'learned_weight': 1.0}},
)
NONE = from_dict(
    InspectionConfig,
    {'segmentation': {'network': 'isnet'}, 'comparison': {'learned_weight': 0.0}},
)


@pytest.fixture(scope='module')
def views(tmp_path_factory):
    return views_around(tmp_path_factory.mktemp('views'), count=6, size=96)


def examples(count=8):
    """The target is where the first channel is above 0; the last row does not count."""
    generator = torch.Generator().manual_seed(0)
    made = []
    for _ in range(count):
        level = torch.randn(1, 3, 16, 16, generator=generator)
        target = (level[:, :1] > 0).half()
        target[:, :, -1] = 1
        counts = torch.ones(1, 1, 16, 16, dtype=torch.bool)
        counts[:, :, -1] = False
        made.append(_Example([level.half()], target, counts))
    return made


def test_a_decoder_learns_its_target():
    config = TrainingConfig(epochs=40, learning_rate=0.01)
    network = fit_decoder((3,), examples(), config)
    fresh = torch.randn(1, 3, 16, 16, generator=torch.Generator().manual_seed(9))
    with torch.inference_mode():
        found = network([fresh]) > 0
    assert (found == (fresh[:, :1] > 0)).float().mean() > 0.9


def test_the_same_seed_gives_the_same_decoder():
    config = TrainingConfig(epochs=2)
    first, second = (fit_decoder((3,), examples(), config, seed=5) for _ in range(2))
    for a, b in zip(first.parameters(), second.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=0)


def test_a_loss_that_is_not_finite_is_named():
    bad = examples(4)
    bad[0].levels[0][:] = float('nan')
    with pytest.raises(ValueError, match='loss of a decoder is nan at step 0'):
        fit_decoder((3,), bad, TrainingConfig(epochs=1))


def test_both_networks_are_trained_and_stored(views, tmp_path):
    told = []
    networks = train_networks(
        views,
        ball(),
        TrainingConfig(scenes=4, epochs=1),
        BOTH,
        progress=lambda fraction, text: told.append(fraction),
    )
    assert networks.segmentation.channels == product_segmenter.CHANNELS
    assert told == sorted(told) and told[-1] == pytest.approx(1.0)
    networks.save(tmp_path)
    again = ProductNetworks.load(tmp_path)
    assert again.comparison.channels == networks.comparison.channels
    picture = np.random.default_rng(0).integers(0, 256, (50, 70, 3), np.uint8)
    probability = product_segmenter.ProductSegmenter(again.segmentation).predict(picture)
    assert probability.shape == (50, 70)
    assert 0 <= probability.min() <= probability.max() <= 1


def test_nothing_is_trained_that_is_not_used(views, tmp_path):
    networks = train_networks(views, ball(), TrainingConfig(scenes=4, epochs=1), NONE)
    assert networks == ProductNetworks()
    networks.save(tmp_path)
    assert ProductNetworks.load(tmp_path) == ProductNetworks()


def test_noise_of_a_pose_is_small_and_about_the_object(views):
    scene = SceneMaker(views[:1], ball(), threads=1).scene
    view = views[0]
    from pad_inspection.geometry import pose_error_px

    errors = [
        pose_error_px(
            view.camera,
            noisy_pose(view.cam_from_object, scene, view.camera, np.random.default_rng(seed)),
            view.cam_from_object,
            scene.center[None],
        )
        for seed in range(50)
    ]
    assert 0.05 < np.median(errors) < 0.6
