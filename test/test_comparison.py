import json

import numpy as np
import pytest

from helpers.stand_in_weights import dino_state
from pad_inspection import comparison
from pad_inspection.comparison import Comparator, LevelMaps
from pad_inspection.config import ComparisonConfig, from_dict, preset_config
from pad_inspection.networks import backbones

SIZE = 160


def _scene(seed=0):
    """Query, reference, alpha, probability and background of a good piece."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(60, 200, (20, 20, 3)).astype(np.uint8)
    texture = np.repeat(np.repeat(coarse, 8, 0), 8, 1)
    background = np.full((SIZE, SIZE, 3), 120, np.uint8)
    background[::10] = 90
    alpha = np.zeros((SIZE, SIZE), np.float32)
    alpha[50:110, 40:120] = 1.0
    reference = np.where(alpha[..., None] > 0, texture, background)
    noise = rng.normal(0, 2, reference.shape)
    query = np.clip(reference + noise, 0, 255).astype(np.uint8)
    return query, reference, alpha, alpha.copy(), background


@pytest.fixture(scope='module')
def plain():
    """A comparator without statistics."""
    return Comparator(ComparisonConfig(input_px=128))


@pytest.fixture(scope='module')
def statistics(plain):
    return comparison.level_statistics([plain.compare_levels(*_scene(seed)) for seed in (1, 2, 3)])


@pytest.fixture(scope='module')
def comparator(statistics):
    return Comparator(ComparisonConfig(input_px=128), statistics)


def test_statistics_by_hand():
    maps = np.full((2, 2, 2), np.nan, np.float32)
    maps[0] = [[1, 2], [3, np.nan]]
    maps[1, 0, 0] = 5.0
    sample = LevelMaps(('a', 'b'), maps, np.ones((2, 2), np.float32))
    found = comparison.level_statistics([sample, sample])
    assert found == {
        'names': ['a', 'b'],
        'mean': [pytest.approx(2.0), pytest.approx(5.0)],
        'std': [pytest.approx(np.sqrt(2 / 3)), pytest.approx(0.0)],
    }
    json.dumps(found)
    with pytest.raises(ValueError, match='levels'):
        comparison.level_statistics([sample, LevelMaps(('a',), maps[:1], sample.weight)])
    with pytest.raises(ValueError, match='normal views'):
        comparison.level_statistics([])


def test_levels_say_nothing_outside_of_their_place(plain):
    query, reference, alpha, probability, background = _scene()
    levels = plain.compare_levels(query, reference, alpha, probability, background)
    assert levels.names == plain.names and levels.maps.shape == (8, SIZE, SIZE)
    for name, level in zip(levels.names, levels.maps):
        inside, around = np.isfinite(level[60:100, 50:110]), np.isfinite(level[46, 50:110])
        assert inside.any() != name.startswith('around') and around.any() != inside.any()
        assert not np.isfinite(level[0]).any()


@pytest.mark.parametrize(
    ('change', 'place'),
    [
        ('recolour', (70, 90, 60, 76)),
        ('removed', (90, 110, 100, 120)),
        ('added', (36, 50, 60, 80)),
    ],
)
def test_defects_stand_out(comparator, change, place):
    query, reference, alpha, probability, background = _scene()
    y0, y1, x0, x1 = place
    good = comparator.compare(query, reference, alpha, probability, background)
    changed = query.copy()
    if change == 'removed':
        changed[y0:y1, x0:x1] = background[y0:y1, x0:x1]
    else:
        changed[y0:y1, x0:x1] = (240, 40, 30)
    bad = comparator.compare(changed, reference, alpha, probability, background)
    assert bad.shape == (SIZE, SIZE) and bad.dtype == np.float32
    assert bad[y0:y1, x0:x1].mean() > 5 * np.nanmax(good)
    peak = np.unravel_index(np.nanargmax(bad), bad.shape)
    assert y0 - 3 <= peak[0] < y1 + 3 and x0 - 3 <= peak[1] < x1 + 3
    config = ComparisonConfig()
    assert comparison.image_score(bad, config) > 5 * comparison.image_score(good, config)


def test_a_transformer_of_the_user_compares_as_well(tmp_path):
    import torch

    path = tmp_path / 'dino.pth'
    torch.save(dino_state(), path)
    config = ComparisonConfig(input_px=224, backbone='dino', backbone_weights=str(path))
    plain = Comparator(config)
    normal = [plain.compare_levels(*_scene(seed)) for seed in (1, 2, 3)]
    assert len(set(plain.names)) == 8 and plain.names[0] == 'features_block0'
    comparator = Comparator(config, comparison.level_statistics(normal))
    query, *rest = _scene()
    query[70:90, 70:90] = (220, 30, 30)
    amap = comparator.compare(query, *rest)
    row, column = np.unravel_index(np.nanargmax(amap), amap.shape)
    assert 68 <= row < 92 and 68 <= column < 92
    with pytest.raises(FileNotFoundError, match='comparison.backbone_weights'):
        Comparator(ComparisonConfig(backbone='dino'))


def test_every_backbone_can_be_chosen():
    for name in backbones.NAMES:
        assert ComparisonConfig(backbone=name).backbone == name
    with pytest.raises(ValueError, match="'resnet', wanted one of: efficientnet_lite0"):
        backbones.create_backbone('resnet', '', 4)


def test_small_misalignment_and_brightness_do_not(comparator):
    query, reference, alpha, probability, background = _scene()
    defect = query.copy()
    defect[70:90, 60:76] = (240, 40, 30)
    moved = np.roll(query, 1, axis=1)
    darker = (query * np.where(alpha > 0, 0.85, 1.0)[..., None]).astype(np.uint8)
    config = ComparisonConfig()
    scores = [
        comparison.image_score(
            comparator.compare(picture, reference, alpha, probability, background), config
        )
        for picture in (moved, darker, defect)
    ]
    assert scores[0] < 0.5 * scores[2] and scores[1] < 0.2 * scores[2]


def test_expected_residuals_are_subtracted(comparator):
    query, reference, alpha, probability, background = _scene()
    query[70:90, 60:76] = (240, 40, 30)
    levels = comparator.compare_levels(query, reference, alpha, probability, background)
    without = comparator.combine(levels)
    everything = comparator.combine(levels, np.full((SIZE, SIZE), 1e6, np.float32))
    assert np.nanmax(without) > 1
    # a share is left, so that such places still have an order
    assert 0 < np.nanmax(everything) < 0.6 * np.nanmax(without)
    assert (np.isfinite(everything) == np.isfinite(without)).all()


def test_what_surroundings_have_as_well_is_subtracted(statistics):
    comparator = Comparator(ComparisonConfig(input_px=128, contrast_sigma=0.1), statistics)
    levels = comparator.compare_levels(*_scene())
    mean, std = (np.array(statistics[k], np.float32)[:, None, None] for k in ('mean', 'std'))
    maps = mean + 0.8 * np.maximum(std, 0.02) + np.zeros_like(levels.maps)
    maps[:, 60:68, 60:68] *= 3
    maps[~np.isfinite(levels.maps)] = np.nan
    level = LevelMaps(levels.names, maps, (levels.weight > 0).astype(np.float32))
    plain, contrast = comparator.residual(level), comparator.combine(level)
    face, spot = (80, 80), (64, 64)
    # an even face keeps a trace only, a spot and what is far beyond normal views keep nearly all
    assert contrast[face] < 0.5 * plain[face]
    assert contrast[spot] == pytest.approx(plain[spot] - 1, abs=0.2)


def test_the_reference_most_like_the_query_counts(plain):
    """A patch whose colour only one of two references has, and one that neither has."""
    query, reference, alpha, probability, background = _scene()
    query = query.copy()
    query[60:72, 50:62] = [20, 200, 20]
    other = reference.copy()
    other[60:72, 50:62] = [20, 200, 20]
    query[60:72, 80:92] = [200, 20, 200]
    args = query, reference, alpha, probability, background
    alone, both = plain.compare_levels(*args), plain.compare_levels(*args, [other])
    color = plain.names.index('color')
    assert both.maps[color, 66, 56] < 0.2 * alone.maps[color, 66, 56]
    assert both.maps[color, 66, 86] == pytest.approx(alone.maps[color, 66, 86], rel=0.2)
    for name in plain.names[:4] + ('around_features', 'around_color'):
        level = plain.names.index(name)
        np.testing.assert_array_equal(both.maps[level], alone.maps[level])


def test_nothing_rendered_gives_an_empty_map(comparator):
    query, reference, alpha, probability, background = _scene()
    empty = comparator.compare(query, reference, np.zeros_like(alpha), probability, background)
    assert not np.isfinite(empty).any()
    assert comparison.image_score(empty, ComparisonConfig()) == 0.0


def test_an_object_at_the_border(comparator):
    query, reference, alpha, probability, background = (
        np.roll(picture, (-60, 45), axis=(0, 1)) for picture in _scene()
    )
    scores = comparator.compare(query, reference, alpha, probability, background)
    assert np.isfinite(scores[alpha > 0]).all()


def test_wrong_sizes_and_statistics(comparator, statistics):
    query, reference, alpha, probability, background = _scene()
    with pytest.raises(ValueError, match='same height and width'):
        comparator.compare(query[:-1], reference, alpha, probability, background)
    with pytest.raises(ValueError, match='statistics of levels'):
        Comparator(ComparisonConfig(color_weight=0.0), statistics)


@pytest.mark.parametrize('preset', ['paper', 'splatpose_plus'])
def test_presets_run(preset):
    config = from_dict(ComparisonConfig, {'input_px': 96}, preset_config(preset).comparison)
    query, reference, alpha, probability, background = _scene()
    query[70:90, 60:76] = (240, 40, 30)
    scores = Comparator(config).compare(query, reference, alpha, probability, background)
    assert np.isfinite(scores).all() == (preset == 'splatpose_plus')
    peak = np.unravel_index(np.nanargmax(scores), scores.shape)
    assert 60 <= peak[0] < 100 and 50 <= peak[1] < 86


def test_cosine_equals_half_the_squared_distance_of_unit_features():
    """The distance of the published methods differs by a factor of two only."""
    from pad_inspection import distances

    rng = np.random.default_rng(0)
    first, second = (distances.unit_vectors(rng.normal(size=(6, 6, 8))) for _ in range(2))
    np.testing.assert_allclose(
        2 * distances.cosine_distance(first, second, 0),
        ((first - second) ** 2).sum(axis=-1),
        atol=1e-6,
    )


def test_image_scores_by_hand():
    scores = np.full((40, 40), np.nan, np.float32)
    scores[5:35, 5:35] = 1.0
    scores[10, 10] = 100.0  # one spurious pixel
    scores[20:28, 20:28] = 5.0  # a region
    assert comparison.image_score(scores, ComparisonConfig(image_score='max')) == 100.0
    top = ComparisonConfig(image_score='top_fraction', top_fraction=65 / 900, min_region_px=1)
    assert comparison.image_score(scores, top) == pytest.approx((100 + 64 * 5) / 65)
    region = ComparisonConfig(image_score='region', min_region_px=25)
    disc = 17  # pixels of the disc of radius 2
    assert comparison.image_score(scores, region) == pytest.approx(
        max(5.0, (100 + disc - 1) / disc), rel=1e-3
    )
