import numpy as np
import pytest
import torch

from pad_inspection.networks.lama import Lama


class StandIn(torch.nn.Module):
    """Fills the hole with green; asserts what the real network needs."""

    def forward(self, image: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        assert image.shape[2] % 8 == 0 and image.shape[3] % 8 == 0
        assert image.shape[2:] == mask.shape[2:]
        green = torch.tensor([0.0, 1.0, 0.0]).view(1, 3, 1, 1)
        return image * (1 - mask) + green * mask


@pytest.fixture
def path(tmp_path):
    file = tmp_path / 'lama.pt'
    torch.jit.script(StandIn()).save(str(file))
    return file


def test_fills_the_hole_at_any_size(path):
    image = np.random.default_rng(0).integers(0, 256, (37, 50, 3)).astype(np.uint8)
    hole = np.zeros((37, 50), bool)
    hole[30:37, 10:20] = True
    filled = Lama(path).inpaint(image, hole)
    assert filled.shape == image.shape and filled.dtype == np.uint8
    np.testing.assert_array_equal(filled[~hole], image[~hole])
    np.testing.assert_array_equal(filled[hole], np.tile([0, 255, 0], (hole.sum(), 1)))


def test_refuses_other_files(tmp_path):
    with pytest.raises(FileNotFoundError):
        Lama(tmp_path / 'nothing.pt')
    other = tmp_path / 'other.pt'
    other.write_bytes(b'no network')
    with pytest.raises(ValueError, match='TorchScript'):
        Lama(other)
