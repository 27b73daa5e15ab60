"""A small top-down decoder over the levels of a frozen feature extractor.

From the coarsest level down, what is known so far is enlarged, joined with the next finer level
and convolved; the finest level gives one logit per cell. With the extractor frozen there is little
to learn, so that a few hundred synthetic pictures suffice. Source of the form: Lin et al., Feature
Pyramid Networks (CVPR 2017), and Ronneberger et al., U-Net (MICCAI 2015).
"""

from __future__ import annotations

import copy
import zipfile
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional

WIDTHS = (16, 24, 32, 48, 64)
# A file is about 0.4 MB; a larger one is not unpacked.
_MAX_BYTES = 64 << 20
_MAX_CHANNELS = 4096


class PyramidDecoder(nn.Module):
    """Levels of features -> logits of the finest level.

    Attributes:
        channels: channels of each level, from the finest.
    """

    def __init__(self, channels: Sequence[int], widths: Sequence[int] = WIDTHS):
        """Make the layers.

        Args:
            channels: channels of each level, from the finest; 1 to 5 levels.
            widths: channels that they are brought to, at least as many; multiples of 4.

        Raises:
            ValueError: another number of levels.
        """
        super().__init__()
        if not 1 <= len(channels) <= len(widths):
            raise ValueError(f'{len(channels)} levels, wanted 1 to {len(widths)}')
        self.channels = tuple(channels)
        widths = tuple(widths)[: len(self.channels)]
        self.lateral = nn.ModuleList(
            nn.Conv2d(c, w, 1) for c, w in zip(self.channels, widths, strict=True)
        )
        self.smooth = nn.ModuleList(
            _block(w + (widths[i + 1] if i + 1 < len(widths) else 0), w)
            for i, w in enumerate(widths)
        )
        self.head = nn.Conv2d(widths[0], 1, 1)

    def forward(self, levels: Sequence[torch.Tensor]) -> torch.Tensor:
        """Logits (B, 1, h, w) of levels (B, C_l, h_l, w_l), from the finest."""
        above = None
        for index in reversed(range(len(self.channels))):
            x = self.lateral[index](levels[index])
            if above is not None:
                above = functional.interpolate(
                    above, size=x.shape[-2:], mode='bilinear', align_corners=False
                )
                x = torch.cat([x, above], dim=1)
            above = self.smooth[index](x)
        return self.head(above)


def _block(channels_in: int, channels_out: int) -> nn.Sequential:
    """Two convolutions of 3x3."""
    return nn.Sequential(
        nn.Conv2d(channels_in, channels_out, 3, padding=1),
        nn.GroupNorm(4, channels_out),
        nn.ReLU(inplace=True),
        nn.Conv2d(channels_out, channels_out, 3, padding=1),
        nn.GroupNorm(4, channels_out),
        nn.ReLU(inplace=True),
    )


def unit_levels(levels: Sequence[torch.Tensor]) -> list[torch.Tensor]:
    """Feature vectors (B, C, h, w) scaled to the length sqrt(C): all levels of one size."""
    return [functional.normalize(level, dim=1) * level.shape[1] ** 0.5 for level in levels]


def copied_to(network: PyramidDecoder, device: str) -> PyramidDecoder:
    """A copy for inference on a torch device.

    The network itself stays where it is: inspectors on other devices and the bundle's files are
    made of it as well.
    """
    return copy.deepcopy(network).to(device).eval()


def save(network: PyramidDecoder, path: Path) -> None:
    """Write the weights in half precision, about 0.4 MB."""
    state = {name: value.half() for name, value in network.state_dict().items()}
    torch.save(state, path)


def load(path: Path) -> PyramidDecoder:
    """Read what ``save`` wrote.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it does not hold a decoder.
    """
    import pickle

    if not Path(path).is_file():
        raise FileNotFoundError(f'weights {path} of a decoder do not exist')
    try:
        with zipfile.ZipFile(path) as archive:
            total = sum(entry.file_size for entry in archive.infolist())
        if total > _MAX_BYTES:
            raise ValueError(f'{total} bytes, wanted up to {_MAX_BYTES}')
        state = torch.load(path, map_location='cpu', weights_only=True)
        levels = sum(name.startswith('lateral.') and name.endswith('weight') for name in state)
        shapes = [state[f'lateral.{i}.weight'].shape for i in range(levels)]
        if max(max(shape[:2]) for shape in shapes) > _MAX_CHANNELS:
            raise ValueError(f'a level of more than {_MAX_CHANNELS} channels')
        # a tensor may tell of more numbers than it has
        if sum(value.numel() for value in state.values()) > _MAX_BYTES:
            raise ValueError('more numbers than a decoder has')
        if not all(value.isfinite().all() for value in state.values()):
            raise ValueError('its weights hold NaN or infinity')
        network = PyramidDecoder([s[1] for s in shapes], [s[0] for s in shapes])
        network.load_state_dict({name: value.float() for name, value in state.items()})
    except (
        RuntimeError, TypeError, ValueError, AttributeError, LookupError, EOFError,
        pickle.UnpicklingError, zipfile.BadZipFile,
    ) as error:  # fmt: skip
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise ValueError(f'{path} does not hold a decoder: {reason}') from error
    return network.eval()
