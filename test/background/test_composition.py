import numpy as np
import pytest

from pad_inspection.background.composition import compose_reference
from pad_inspection.config import BackgroundConfig
from pad_inspection.datatypes import RenderedView


def _rendered():
    alpha = np.array([[0.0, 0.25, 0.75, 1.0]], np.float32)
    color = np.array([1.0, 0.0, 0.0], np.float32)
    return RenderedView(alpha[..., None] * color, alpha, np.full((1, 4), np.nan, np.float32))


def test_alpha_shows_the_background_through():
    background = np.full((1, 4, 3), 200, np.uint8)
    picture = compose_reference(_rendered(), background, BackgroundConfig(composition='alpha'))
    np.testing.assert_array_equal(picture[0, :, 0], [200, 214, 241, 255])
    np.testing.assert_array_equal(picture[0, :, 1], [200, 150, 50, 0])


def test_binary_pastes_the_render_on_white():
    background = np.full((1, 4, 3), 200, np.uint8)
    picture = compose_reference(_rendered(), background, BackgroundConfig(composition='binary'))
    np.testing.assert_array_equal(picture[0, :, 1], [200, 200, 64, 0])
    lower = compose_reference(
        _rendered(), background, BackgroundConfig(composition='binary'), silhouette_alpha=0.2
    )
    np.testing.assert_array_equal(lower[0, :, 1], [200, 191, 64, 0])


def test_sizes_must_agree():
    with pytest.raises(ValueError, match='wanted'):
        compose_reference(_rendered(), np.zeros((2, 4, 3), np.uint8), BackgroundConfig())
