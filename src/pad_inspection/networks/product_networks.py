"""The networks that `pad build` trains for one product, as files of its bundle."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pad_inspection.bundle import Bundle
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
        """Read the networks that a folder of one's own holds.

        Raises:
            ValueError: a file holds something else.
        """
        paths = [Path(folder) / name for name in (SEGMENTATION_FILE, COMPARISON_FILE)]
        return cls(*(pyramid_decoder.load(p) if p.is_file() else None for p in paths))

    @classmethod
    def of_bundle(cls, bundle: Bundle | None) -> ProductNetworks:
        """Read the networks that a bundle lists, none without a bundle. Raises as load."""
        if bundle is None:
            return cls()
        paths = [bundle.find(name) for name in (SEGMENTATION_FILE, COMPARISON_FILE)]
        return cls(*(None if p is None else pyramid_decoder.load(p) for p in paths))
