import pytest
import torch

from pad_inspection.networks import pyramid_decoder
from pad_inspection.networks.pyramid_decoder import PyramidDecoder, unit_levels


def levels(channels, side=16):
    generator = torch.Generator().manual_seed(0)
    return [
        torch.randn(2, c, side >> i, side >> i, generator=generator)
        for i, c in enumerate(channels)
    ]


def test_logits_have_the_size_of_the_finest_level():
    network = PyramidDecoder((5, 7, 9))
    assert network(levels((5, 7, 9))).shape == (2, 1, 16, 16)


def test_coarse_levels_count():
    torch.manual_seed(0)
    network = PyramidDecoder((4, 6)).eval()
    first = levels((4, 6))
    second = [first[0], first[1] + 1]
    assert not torch.allclose(network(first), network(second))


def test_weights_survive_the_file(tmp_path):
    torch.manual_seed(1)
    network = PyramidDecoder((4, 6)).eval()
    pyramid_decoder.save(network, tmp_path / 'a.pt')
    again = pyramid_decoder.load(tmp_path / 'a.pt')
    assert again.channels == (4, 6)
    inputs = levels((4, 6))
    # half precision in the file
    torch.testing.assert_close(again(inputs), network(inputs), atol=0.02, rtol=0.02)


def test_other_files_are_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match='do not exist'):
        pyramid_decoder.load(tmp_path / 'none.pt')
    torch.save({'weight': torch.zeros(3)}, tmp_path / 'other.pt')
    (tmp_path / 'text.pt').write_text('no weights')
    for name in ('other.pt', 'text.pt'):
        with pytest.raises(ValueError, match='does not hold a decoder'):
            pyramid_decoder.load(tmp_path / name)


def test_a_file_of_a_stranger_is_bounded(tmp_path):
    path = tmp_path / 'a.pt'
    network = PyramidDecoder((4, 6))

    def refused(change, message):
        state = {name: value.half() for name, value in network.state_dict().items()}
        change(state)
        torch.save(state, path)
        with pytest.raises(ValueError, match=message):
            pyramid_decoder.load(path)

    # claims far more numbers than the file holds
    huge = torch.zeros(1).half().expand(10**5, 10**5, 1, 1)
    refused(lambda state: state.update({'lateral.0.weight': huge}), 'more than 4096 channels')
    refused(lambda state: state.update({'smooth.0.0.weight': huge}), 'more numbers')
    refused(lambda state: state['head.bias'].fill_(torch.nan), 'NaN or infinity')
    refused(lambda state: state.update({'lateral.0.weight': torch.zeros(1)}), 'not hold a decoder')
    refused(lambda state: state.update({'more': torch.zeros(20_000_000)}), 'wanted up to')


def test_unit_levels_have_one_length():
    for level in unit_levels(levels((4, 9))):
        lengths = level.norm(dim=1)
        torch.testing.assert_close(lengths, torch.full_like(lengths, level.shape[1] ** 0.5))
