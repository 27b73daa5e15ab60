import numpy as np
import pytest

from pad_inspection.localization.crops import CropFrame, cut, frame_of, square_around, whiten


def test_a_square_holds_the_circle_around_the_object_with_a_margin():
    mask = np.zeros((100, 100), bool)
    mask[40:60, 20:60] = True  # 40 x 20 px, centre (40, 50)
    x, y, side = square_around(mask)
    assert (x, y) == pytest.approx((40, 50), abs=0.6)
    assert side == pytest.approx(np.hypot(40, 20) * 1.2, rel=0.03)


def test_small_pieces_of_a_mask_do_not_move_the_square():
    mask = np.zeros((100, 100), bool)
    mask[40:60, 20:60] = True
    alone = square_around(mask)
    mask[2:5, 90:93] = True  # 9 of 800 px
    assert square_around(mask) == alone


def test_an_empty_mask_has_no_square():
    assert square_around(np.zeros((10, 10), bool)) is None


def test_frame_takes_the_middle_and_the_turned_axis_to_the_image():
    frame = frame_of((50.0, 60.0, 20.0), 10, turn_deg=90)
    np.testing.assert_allclose(frame.to_image([[5, 5]]), [[50, 60]], atol=1e-12)
    # one crop px along x is 2 image px along y
    np.testing.assert_allclose(frame.to_image([[6, 5]]), [[50, 62]], atol=1e-12)
    assert frame.scale == pytest.approx(2)


def test_frame_inverts():
    rng = np.random.default_rng(0)
    frame = frame_of((50.0, 60.0, 33.0), 64, turn_deg=31)
    points = rng.uniform(0, 64, (20, 2))
    np.testing.assert_allclose(frame.to_crop(frame.to_image(points)), points, atol=1e-9)


@pytest.mark.parametrize('turn', [0, 90, 180, 270])
def test_a_cut_pixel_is_where_the_frame_says(turn):
    image = np.zeros((80, 80, 3), np.uint8)
    image[30, 50] = 255  # centre of this pixel: (50.5, 30.5)
    frame = frame_of((40.0, 40.0, 64.0), 64, turn)
    crop = cut(image, None, frame)
    y, x = np.unravel_index(crop.picture[..., 0].argmax(), (64, 64))
    np.testing.assert_allclose(frame.to_image([[x + 0.5, y + 0.5]]), [[50.5, 30.5]], atol=1e-6)


def test_a_cut_is_white_outside_of_the_image_and_masks_follow():
    image = np.full((20, 20, 3), 10, np.uint8)
    mask = np.ones((20, 20), bool)
    crop = cut(image, mask, CropFrame(np.array([[1.0, 0, -10], [0, 1, -10]]), 32))
    assert (crop.picture[:9] == 255).all()
    assert (crop.picture[12:28, 12:28] == 10).all()
    assert not crop.mask[:9].any()
    assert crop.mask[12:28, 12:28].all()


def test_whiten_changes_the_background_only():
    image = np.full((4, 4, 3), 7, np.uint8)
    mask = np.zeros((4, 4), bool)
    mask[1, 2] = True
    assert whiten(image, mask)[1, 2].tolist() == [7, 7, 7]
    assert whiten(image, mask).sum() == 15 * 3 * 255 + 21
    assert whiten(image, None) is image
