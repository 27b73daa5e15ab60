import numpy as np
import pytest

from pad_inspection.background.inpainting import Inpainter, TeleaFiller, create_inpainter
from pad_inspection.config import BackgroundConfig


def _striped(height=160, width=200):
    rows = np.where(np.arange(height) % 16 < 8, 90, 170).astype(np.uint8)
    return np.repeat(np.repeat(rows[:, None, None], width, 1), 3, 2)


def _hole(height=160, width=200):
    hole = np.zeros((height, width), bool)
    hole[50:110, 70:130] = True
    return hole


@pytest.mark.parametrize('name', ['patchmatch', 'telea'])
@pytest.mark.parametrize('max_px', [64, 400])
def test_fills_the_hole_only_and_the_same_each_time(name, max_px):
    config = BackgroundConfig(inpainter=name, max_inpaint_px=max_px)
    image, hole = _striped(), _hole()
    image[hole] = (255, 0, 0)
    filled = create_inpainter(config).inpaint(image, hole)
    np.testing.assert_array_equal(filled[~hole], image[~hole])
    inside = filled[hole].astype(int)
    # nothing of the red object leaks in
    assert np.abs(inside[:, 0] - inside[:, 2]).max() < 40
    np.testing.assert_array_equal(create_inpainter(config).inpaint(image, hole), filled)


def test_patchmatch_keeps_texture():
    image, hole = _striped(), _hole()
    filler = create_inpainter(BackgroundConfig(inpainter='patchmatch', max_inpaint_px=400))
    filled = filler.inpaint(np.where(hole[..., None], 0, image).astype(np.uint8), hole)
    assert filled[hole].std() > 0.6 * image[hole].std()


def test_holes_that_leave_little_or_nothing():
    image = np.full((60, 60, 3), 100, np.uint8)
    inpainter = create_inpainter(BackgroundConfig())
    np.testing.assert_array_equal(inpainter.inpaint(image, np.zeros((60, 60), bool)), image)
    everything = inpainter.inpaint(image, np.ones((60, 60), bool))
    assert everything.shape == image.shape and (everything == 127).all()
    rim = np.ones((60, 60), bool)
    rim[0] = False
    assert np.abs(inpainter.inpaint(image, rim).astype(int) - 100).max() < 20


def test_sizes_must_agree():
    with pytest.raises(ValueError, match='same height and width'):
        Inpainter(TeleaFiller(), 100).inpaint(
            np.zeros((5, 6, 3), np.uint8), np.zeros((6, 5), bool)
        )


def test_create():
    assert create_inpainter(BackgroundConfig(inpainter='none')) is None
    with pytest.raises(FileNotFoundError, match='lama_weights'):
        create_inpainter(BackgroundConfig(inpainter='lama'))
