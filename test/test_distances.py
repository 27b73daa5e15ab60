import numpy as np
import pytest

from pad_inspection import distances


def _unit(seed, shape):
    return distances.unit_vectors(np.random.default_rng(seed).normal(size=shape))


def _slow(distance, first, second, radius):
    """Both directions and all shifts, by loops."""
    height, width = first.shape[:2]
    result = np.zeros((height, width))
    for y in range(height):
        for x in range(width):
            near = [
                (j, i)
                for j in range(max(0, y - radius), min(height, y + radius + 1))
                for i in range(max(0, x - radius), min(width, x + radius + 1))
            ]
            forward = min(distance(first[y, x], second[j, i]) for j, i in near)
            backward = min(distance(first[j, i], second[y, x]) for j, i in near)
            result[y, x] = max(forward, backward)
    return result


@pytest.mark.parametrize('radius', [0, 1, 2])
def test_tolerant_distances_against_loops(radius):
    first, second = _unit(0, (7, 9, 4)), _unit(1, (7, 9, 4))
    np.testing.assert_allclose(
        distances.cosine_distance(first, second, radius),
        _slow(lambda a, b: 1 - a @ b, first, second, radius),
        atol=1e-6,
    )
    np.testing.assert_allclose(
        distances.euclidean_distance(first, second, radius),
        _slow(lambda a, b: np.linalg.norm(a - b), first, second, radius),
        atol=1e-6,
    )


def test_a_shift_within_the_tolerance_costs_nothing():
    first = _unit(2, (12, 12, 8))
    second = np.roll(first, (1, -1), axis=(0, 1))
    inner = np.s_[2:-2, 2:-2]
    assert distances.cosine_distance(first, second, 1)[inner].max() < 1e-6
    assert distances.cosine_distance(first, second, 0)[inner].mean() > 0.5


def test_what_is_missing_is_found_in_both_directions():
    with_thing = np.zeros((9, 9, 1))
    with_thing[4, 4] = 1.0
    without = np.zeros((9, 9, 1))
    assert distances.euclidean_distance(with_thing, without, 1)[4, 4] == 1
    assert distances.euclidean_distance(without, with_thing, 1)[4, 4] == 1


def test_nearest_distance_against_loops():
    rng = np.random.default_rng(3)
    vectors, bank = rng.normal(size=(20, 5)), rng.normal(size=(30, 5))
    expected = [min(np.linalg.norm(v - b) for b in bank) for v in vectors]
    np.testing.assert_allclose(distances.nearest_distance(vectors, bank), expected, atol=1e-9)
    assert distances.nearest_distance(bank, bank).max() < 1e-6


def test_lab_counts_hue_more_than_lightness():
    grey, lighter = np.full((1, 1, 3), 100, np.uint8), np.full((1, 1, 3), 130, np.uint8)
    reddish = np.array([[[130, 90, 90]]], np.uint8)
    lab = [distances.weighted_lab(p)[0, 0] for p in (grey, lighter, reddish)]
    assert np.linalg.norm(lab[2] - lab[0]) > 2 * np.linalg.norm(lab[1] - lab[0])
    # L of sRGB 100 is 42.37; a and b of grey are 0
    np.testing.assert_allclose(lab[0], [0.4237 * distances.LIGHTNESS_WEIGHT, 0, 0], atol=1e-3)


def test_shadow_does_not_change_colour_at_the_same_luminance():
    rng = np.random.default_rng(5)
    surface = rng.uniform(120, 250, (20, 20, 3)).astype(np.float32)
    shadow = surface * 0.6  # of all channels alike, also in linear light
    lit, dark = distances.same_luminance(surface, shadow)
    assert np.abs(lit - dark).max() < 0.15 * np.abs(surface - shadow).max()
    other = surface[..., ::-1]
    np.testing.assert_allclose(*distances.same_luminance(surface, surface), atol=1e-3)
    first, second = distances.same_luminance(surface, other)
    assert np.abs(first - second).mean() > 20
    black = np.zeros_like(surface)
    assert all(np.isfinite(p).all() for p in distances.same_luminance(surface, black))


def test_brightness_is_matched_in_spite_of_a_defect():
    rng = np.random.default_rng(4)
    rendered = rng.uniform(20, 150, (40, 40, 3)).astype(np.float32)
    query = np.clip(rendered * 1.4, 0, 255)
    query[:12, :12] = (0, 255, 0)
    alpha = np.ones((40, 40), np.float32)
    matched = distances.match_brightness(query, rendered, alpha)
    np.testing.assert_allclose(matched / rendered, 1.4, rtol=0.03)
    few = np.zeros((40, 40), np.float32)
    np.testing.assert_array_equal(distances.match_brightness(query, rendered, few), rendered)
