"""The networks that `pad build` trains for one product, as files of its bundle."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pad_inspection.networks import pyramid_decoder
from pad_inspection.networks.pyramid_decoder import PyramidDecoder

SEGMENTATION_FILE = 'segmentation.pt'
COMPARISON_FILE = 'comparison.pt'


@dataclass(frozen=True)
class ProductNetworks:
    """Decoders on frozen backbones; None = not trained.

    Attributes:
        segmentation: for product_segmenter.ProductSegmenter.
        comparison: for change_decoder.ChangeDecoder.
    """

    segmentation: PyramidDecoder | None = None
    comparison: PyramidDecoder | None = None

    def save(self, folder: Path) -> None:
        """Write the networks that there are into a folder."""
        for name, network in (
            (SEGMENTATION_FILE, self.segmentation),
            (COMPARISON_FILE, self.comparison),
        ):
            if network is not None:
                pyramid_decoder.save(network, Path(folder) / name)

    @classmethod
    def load(cls, folder: Path) -> ProductNetworks:
        """Read the networks that a folder holds.

        Raises:
            ValueError: a file holds something else.
        """
        found = {
            field: pyramid_decoder.load(Path(folder) / name)
            for field, name in (
                ('segmentation', SEGMENTATION_FILE),
                ('comparison', COMPARISON_FILE),
            )
            if (Path(folder) / name).is_file()
        }
        return cls(**found)
