import dataclasses

import numpy as np
import pytest

from helpers.fit_views import ball, views_around
from pad_inspection import images
from pad_inspection.offline.fit_quality import measure_quality


@pytest.fixture(scope='module')
def views(tmp_path_factory):
    return views_around(tmp_path_factory.mktemp('views'), count=3)


def test_the_model_that_drew_the_views_is_nearly_perfect(views):
    quality = measure_quality(ball(), views, device='cpu', threads=1)
    # what is left is the rounding to 8 bits
    assert quality['psnr'] > 45
    assert quality['ssim'] > 0.998
    assert quality['alpha_iou'] == pytest.approx(1, abs=0.01)


def test_a_constant_error_gives_its_decibels(views, tmp_path):
    image, alpha = views[0].load()
    model = ball()
    nothing = dataclasses.replace(model, means=model.means + 9.0)  # an empty, white picture
    blank = tmp_path / 'blank.png'
    rgba = np.dstack([np.full(image.shape, 255, np.uint8), images.to_uint8(alpha)])
    rgba[..., :3] = 204  # 0.2 below white where the object is opaque
    images.write(blank, rgba)
    view = dataclasses.replace(views[0], path=blank)
    quality = measure_quality(nothing, [view], device='cpu', threads=1)
    squared = (0.2 * alpha) ** 2
    near = images.dilate(alpha > 0.5, 5)
    assert quality['psnr'] == pytest.approx(-10 * np.log10(squared.mean()), abs=0.05)
    assert quality['psnr_object'] == pytest.approx(-10 * np.log10(squared[near].mean()), abs=0.05)
    assert quality['alpha_iou'] == 0


def test_alpha_in_a_hole_is_told(views, tmp_path):
    """Two discs of the photograph with nothing between them, where the model is opaque."""
    image, alpha = views[0].load()
    columns = np.nonzero(alpha > 0.5)[1]
    cut = np.zeros(alpha.shape, bool)
    cut[:, columns.min() + 6 : columns.max() - 5] = True
    path = tmp_path / 'cut.png'
    rgba = np.dstack([image, images.to_uint8(np.where(cut, 0, alpha))])
    images.write(path, rgba)
    view = dataclasses.replace(views[0], path=path)
    assert measure_quality(ball(), [view], device='cpu', threads=1)['hole_alpha'] > 0.8
    assert measure_quality(ball(), views, device='cpu', threads=1)['hole_alpha'] < 0.1
