import numpy as np
import pytest

from pad_inspection.networks.weights import find_weights
from pad_inspection.networks.xfeat import XFeat

torch = pytest.importorskip('torch')


def picture():
    """Random blobs: corners at many places, uint8 (128, 160, 3)."""
    coarse = np.random.default_rng(0).integers(0, 256, (16, 20, 3), np.uint8)
    return coarse.repeat(8, axis=0).repeat(8, axis=1)


def test_it_agrees_with_the_reference_implementation():
    from kornia.feature import XFeat as KorniaXFeat

    reference = KorniaXFeat(top_k=300, detection_threshold=0.01).eval()
    state = torch.load(find_weights('xfeat'), map_location='cpu', weights_only=True)
    reference.net.load_state_dict(state)
    rgb = torch.from_numpy(picture()).permute(2, 0, 1)[None].float() / 255
    wanted = reference.detectAndCompute(rgb)[0]
    keypoints, descriptors, scores = XFeat().extract(picture(), None, 300)
    count = len(keypoints)
    assert count > 40
    assert (wanted['scores'][count:] < 1e-3).all()  # noise, which ours leaves out
    wanted = {name: value[:count] for name, value in wanted.items()}
    # ours are at sub-pixel places around the same pixels, whose centres are at .5
    np.testing.assert_allclose(keypoints - 0.5, wanted['keypoints'].numpy(), atol=0.5001)
    assert ((descriptors * wanted['descriptors'].numpy()).sum(axis=1) > 0.999).all()
    np.testing.assert_allclose(scores, wanted['scores'].numpy(), rtol=1e-3, atol=1e-5)


def test_the_picture_must_fit_the_network():
    with pytest.raises(ValueError, match=r'100x128 px, wanted multiples of 32'):
        XFeat().extract(np.zeros((128, 100, 3), np.uint8), None, 10)
