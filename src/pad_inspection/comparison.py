"""Query against reference picture -> distances on several levels -> anomaly map -> score.

Where the render shows the object, each feature level of the backbone, the colour and the colour at
the same luminance give one map of distances between query and reference. Around the object nothing
is rendered that the query could be compared with; there two levels say how unlike the query is to
anything in the background. Normal views teach mean and spread of each level
(``level_statistics``); the anomaly map is the mean of what exceeds them.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from pad_inspection import distances, images
from pad_inspection.config import ComparisonConfig
from pad_inspection.networks.backbones import create_backbone
from pad_inspection.regions import SILHOUETTE_ALPHA, local_contrast, region_weight

if TYPE_CHECKING:
    from pad_inspection.networks.pyramid_decoder import PyramidDecoder

_MARGIN_PX = 16
_MAX_ENLARGEMENT = 2.0
# Where normal views hardly differ, small differences must not weigh beyond all measure.
_LEAST_STD = 0.02
# Share of a distance that is left where normal views differ as much.
_FAINT = 0.5


@dataclass(frozen=True)
class LevelMaps:
    """Distances of a query from its reference, before they are weighed against each other.

    Attributes:
        names: of the levels.
        maps: float32 (L, H, W), 0 and above; NaN where a level says nothing.
        weight: float32 (H, W), 0 = not compared, 1 = counts fully.
    """

    names: tuple[str, ...]
    maps: np.ndarray
    weight: np.ndarray


@dataclass(frozen=True)
class PreparedPair:
    """Query and reference as the backbone sees them: cropped, scaled, in the same light.

    Attributes:
        pair: float32 (2, h, w, 3), 0 to 255.
        alpha: float32 (h, w), rendered opacity.
        probability: float32 (h, w), of object in the query; the rendered opacity where there is no
            segmentation.
        weight: float32 (h, w), 0 = not compared.
        box: x0, y0, x1, y1 in the query; may reach out of it.
        size: (w, h).
    """

    pair: np.ndarray
    alpha: np.ndarray
    probability: np.ndarray
    weight: np.ndarray
    box: tuple[int, int, int, int]
    size: tuple[int, int]

    def cut(self, picture: np.ndarray) -> np.ndarray:
        """Another picture (H, W, ...) of the query's size, cropped and scaled alike."""
        return _cut(picture, self.box, self.size)


def level_statistics(samples: Iterable[LevelMaps]) -> dict[str, Any]:
    """Mean and standard deviation of each level over the compared pixels of normal views.

    Args:
        samples: normal views, at least one; all with the same levels.

    Returns:
        {'names': [...], 'mean': [...], 'std': [...]}, JSON-able; for Comparator.

    Raises:
        ValueError: no sample, or different levels.
    """
    names, sums = None, 0.0
    for sample in samples:
        if names is not None and sample.names != names:
            raise ValueError(f'normal views have levels {names} and {sample.names}')
        names = sample.names
        values = sample.maps.reshape(len(names), -1).astype(np.float64)
        count = np.isfinite(values).sum(axis=1)
        sums = sums + np.stack([count, np.nansum(values, axis=1), np.nansum(values**2, axis=1)])
    if names is None or not sums[0].all():
        raise ValueError('level statistics need normal views with compared pixels on each level')
    mean = sums[1] / sums[0]
    std = np.sqrt(np.maximum(sums[2] / sums[0] - mean**2, 0))
    return {'names': list(names), 'mean': mean.tolist(), 'std': std.tolist()}


class Comparator:
    """Compares pictures; holds the backbone. Not thread-safe."""

    def __init__(
        self,
        config: ComparisonConfig,
        statistics: dict[str, Any] | None = None,
        learned: PyramidDecoder | None = None,
        device: str = 'cpu',
    ):
        """Load the backbone.

        Args:
            config: what is compared and how.
            statistics: of ``level_statistics``; None = levels are averaged as they are.
            learned: decoder of the learnt comparison, needed where ``learned_weight`` is not 0.
            device: torch device of the networks; what they give is on the CPU.

        Raises:
            FileNotFoundError: the weights are not there.
            ValueError: the statistics are of other levels, or the decoder is missing or of another
                backbone.
        """
        self._config = config
        self._backbone = create_backbone(
            config.backbone, config.backbone_weights, config.num_levels, device
        )
        self.names = self._backbone.names
        if config.color_weight > 0:
            self.names += ('color',)
        if config.hue_weight > 0:
            self.names += ('hue',)
        if config.region == 'surroundings':
            self.names += ('around_features', 'around_color')
        self._learned = None
        if config.learned_weight > 0:
            from pad_inspection.networks.change_decoder import ChangeDecoder

            if learned is None:
                raise ValueError(
                    'the model has no learnt comparison (comparison.learned_weight is '
                    f'{config.learned_weight}): build it again, or set the weight to 0'
                )
            self._learned = ChangeDecoder(learned, self._backbone.channels, device)
            self.names += ('learned',)
        if statistics is not None and tuple(statistics['names']) != self.names:
            raise ValueError(f'statistics of levels {statistics["names"]}, wanted {self.names}')
        self._statistics = statistics

    def compare(
        self,
        query: np.ndarray,
        reference: np.ndarray,
        alpha: np.ndarray,
        object_probability: np.ndarray | None,
        background: np.ndarray,
        expected: np.ndarray | None = None,
    ) -> np.ndarray:
        """Anomaly map: ``compare_levels`` and ``combine`` in one."""
        levels = self.compare_levels(query, reference, alpha, object_probability, background)
        return self.combine(levels, expected)

    def compare_levels(
        self,
        query: np.ndarray,
        reference: np.ndarray,
        alpha: np.ndarray,
        object_probability: np.ndarray | None,
        background: np.ndarray,
        alternatives: Sequence[np.ndarray] = (),
    ) -> LevelMaps:
        """Distances on every level.

        In colour the reference that is most like the query counts, for each level and place on
        its own. Features are those of the first reference: there more references hid as many
        defects as they explained normal differences.

        Args:
            query: uint8 (H, W, 3).
            reference: uint8 (H, W, 3), what a good piece would look like.
            alpha: float32 (H, W), rendered opacity.
            object_probability: float32 (H, W), segmentation of the query, or None.
            background: uint8 (H, W, 3), the query without its object.
            alternatives: further references uint8 (H, W, 3) with the same opacity.

        Raises:
            ValueError: the sizes differ.
        """
        if not query.shape[:2] == reference.shape[:2] == alpha.shape == background.shape[:2]:
            raise ValueError(
                f'query {query.shape}, reference {reference.shape}, alpha {alpha.shape} and '
                f'background {background.shape}: wanted the same height and width'
            )
        config = self._config
        weight = region_weight(alpha, object_probability, config)
        maps = np.full((len(self.names), *alpha.shape), np.nan, np.float32)
        if not (weight > 0).any():
            return LevelMaps(self.names, maps, weight)
        prepared = self.prepare(query, reference, alpha, object_probability, background, weight)
        pair, box, size = prepared.pair, prepared.box, prepared.size
        features = self._backbone.features(pair)

        inside = weight > 0
        colors = self._color_levels(pair, size)
        for other in alternatives:
            lit = _cut(self._in_light_of(query, other, alpha, background), box, size)
            also = self._color_levels(np.stack([pair[0], lit]), size)
            colors = list(map(np.minimum, colors, also))
        levels = self._feature_levels(features, size) + colors
        if config.region == 'surroundings':
            inside = alpha > SILHOUETTE_ALPHA
            levels += self._surroundings_levels(pair, features, prepared.alpha, prepared.weight)
        if self._learned is not None:
            probability = self._learned.predict(
                pair, features, prepared.alpha, prepared.probability
            )
            levels.append(images.resize(probability, *size))
        around = (weight > 0) & ~inside
        places = {'around_features': around, 'around_color': around, 'learned': weight > 0}
        for index, (name, level) in enumerate(zip(self.names, levels, strict=True)):
            place = places.get(name, inside)
            maps[index][place] = _paste(level, box, alpha.shape)[place]
        return LevelMaps(self.names, maps, weight)

    def prepare(
        self,
        query: np.ndarray,
        reference: np.ndarray,
        alpha: np.ndarray,
        object_probability: np.ndarray | None,
        background: np.ndarray,
        weight: np.ndarray,
    ) -> PreparedPair:
        """What the backbone sees; arguments of ``compare_levels``.

        Args:
            query: see ``compare_levels``.
            reference: see ``compare_levels``.
            alpha: see ``compare_levels``.
            object_probability: see ``compare_levels``.
            background: see ``compare_levels``.
            weight: float32 (H, W) of ``regions.region_weight``, not 0 everywhere.
        """
        reference = self._in_light_of(query, reference, alpha, background)
        box, size = self._crop(weight)
        pair = np.stack([_cut(query.astype(np.float32), box, size), _cut(reference, box, size)])
        seen = alpha if object_probability is None else object_probability
        return PreparedPair(pair, *(_cut(a, box, size) for a in (alpha, seen, weight)), box, size)

    def features(self, pair: np.ndarray) -> list[np.ndarray]:
        """Features of the backbone for pictures (B, h, w, 3), from the finest level."""
        return self._backbone.features(pair)

    @property
    def feature_channels(self) -> tuple[int, ...]:
        """Channels of the backbone's levels."""
        return self._backbone.channels

    def residual(self, levels: LevelMaps) -> np.ndarray:
        """Weighed mean of level distances: what views differ by, before anything is subtracted.

        Returns:
            float32 (H, W), 0 and above, NaN where nothing was compared.
        """
        scores = images.blur(self._mean(levels) * levels.weight, self._config.blur_sigma_px)
        return np.where(levels.weight > 0, scores, np.float32(np.nan)).astype(np.float32)

    def combine(self, levels: LevelMaps, expected: np.ndarray | None = None) -> np.ndarray:
        """Anomaly map of level distances: their mean, weighed by the spread in normal views.

        Args:
            levels: of ``compare_levels``.
            expected: float32 (H, W), the ``residual`` of normal views at that place, or None.

        Returns:
            float32 (H, W), 0 and above, NaN where nothing was compared.
        """
        config = self._config
        scores = self._mean(levels)
        if expected is not None:
            less = scores - config.uncertainty_weight * expected
            scores = np.maximum(less, _FAINT * scores)
        scores = images.blur(scores * levels.weight, config.blur_sigma_px)
        if config.contrast_sigma > 0:
            scores = local_contrast(scores, levels.weight > 0, config.contrast_sigma)
        return np.where(levels.weight > 0, scores, np.float32(np.nan)).astype(np.float32)

    def _mean(self, levels: LevelMaps) -> np.ndarray:
        """Mean of what exceeds the mean of normal views, in their spread; float32 (H, W)."""
        config = self._config
        weights = {
            'color': config.color_weight,
            'hue': config.hue_weight,
            'learned': config.learned_weight,
        }
        factors = [weights.get(name, 1.0) for name in levels.names]
        factors = np.array(factors, np.float32)[:, None, None]
        maps = levels.maps
        if self._statistics is not None and config.use_statistics:
            mean = np.array(self._statistics['mean'], np.float32)[:, None, None]
            std = np.maximum(np.array(self._statistics['std'], np.float32), _LEAST_STD)
            # what is within the mean counts less, but such places still have an order
            maps = np.maximum(maps - mean, _FAINT * maps) / std[:, None, None]
        said = np.isfinite(maps)
        total = np.where(said, maps * factors, 0).sum(axis=0)
        return total / np.maximum((said * factors).sum(axis=0), 1e-9)

    def _crop(self, weight: np.ndarray) -> tuple[tuple[int, int, int, int], tuple[int, int]]:
        """Box (may reach out of the picture) to compare and the size (w, h) it is brought to."""
        step = self._backbone.strides[-1]
        height, width = weight.shape
        box = (0, 0, width, height)
        if self._config.crop:
            box = images.mask_bbox(weight > 0, _MARGIN_PX)
        box_width, box_height = box[2] - box[0], box[3] - box[1]
        scale = min(self._config.input_px / max(box_width, box_height), _MAX_ENLARGEMENT)
        out_width = max(2, math.ceil(box_width * scale / step)) * step
        out_height = max(2, math.ceil(box_height * scale / step)) * step
        # the box grows to the aspect of the rounded size, so that nothing is stretched
        grow_x = round(out_width / scale) - box_width
        grow_y = round(out_height / scale) - box_height
        x0, y0 = box[0] - grow_x // 2, box[1] - grow_y // 2
        grown = (x0, y0, x0 + box_width + grow_x, y0 + box_height + grow_y)
        return grown, (out_width, out_height)

    def _in_light_of(
        self, query: np.ndarray, reference: np.ndarray, alpha: np.ndarray, background: np.ndarray
    ) -> np.ndarray:
        """A reference (H, W, 3), float32, with its object in the light of the query."""
        reference = reference.astype(np.float32)
        if self._config.match_light != 'gain':
            return reference
        behind = (1 - alpha[..., None]) * background.astype(np.float32)
        return distances.match_brightness(query, reference - behind, alpha) + behind

    def _color_levels(self, pair: np.ndarray, size: tuple[int, int]) -> list[np.ndarray]:
        """Colour levels of two pictures (2, h, w, 3), at size (w, h)."""
        levels = []
        if 'color' in self.names:
            levels.append(self._color_level(pair))
        if 'hue' in self.names:
            evened = distances.same_luminance(*_halved(pair))
            levels.append(self._lab_level(evened, size, lightness_weight=0.0))
        return levels

    def _feature_levels(
        self, features: list[np.ndarray], size: tuple[int, int]
    ) -> list[np.ndarray]:
        """Distance of both pictures on each feature level (2, h, w, D), at size (w, h)."""
        levels = []
        for index, both in enumerate(features):
            if self._config.distance == 'squared_l2':
                level = ((both[0] - both[1]) ** 2).sum(axis=-1)
            else:
                unit = distances.unit_vectors(both)
                tolerance = self._tolerance(self._backbone.strides[index])
                level = distances.cosine_distance(unit[0], unit[1], tolerance)
            levels.append(self._to_pixels(level, index, size))
        return levels

    def _to_pixels(self, level: np.ndarray, index: int, size: tuple[int, int]) -> np.ndarray:
        """A map of the cells of feature level ``index`` enlarged to size (w, h)."""
        import cv2

        stride, center = self._backbone.strides[index], self._backbone.centers_px[index]
        return cv2.warpAffine(
            level.astype(np.float32),
            np.array([[stride, 0, center], [0, stride, center]], np.float64),
            size,
            flags=cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_REPLICATE,
        )

    def _color_level(self, pair: np.ndarray) -> np.ndarray:
        """Colour distance of the two pictures (2, h, w, 3), at their size."""
        height, width = pair.shape[1:3]
        if self._config.distance == 'squared_l2':
            return ((pair[0] - pair[1]) ** 2).sum(axis=-1) / 255**2
        return self._lab_level(_halved(pair), (width, height), distances.LIGHTNESS_WEIGHT)

    def _lab_level(
        self, halved: Iterable[np.ndarray], size: tuple[int, int], lightness_weight: float
    ) -> np.ndarray:
        """Distance in Lab of two pictures of half the size (w, h), at that size."""
        lab = [distances.weighted_lab(picture, lightness_weight) for picture in halved]
        level = distances.euclidean_distance(*lab, self._tolerance(2))
        return images.resize(level, *size)

    def _surroundings_levels(
        self,
        pair: np.ndarray,
        features: list[np.ndarray],
        alpha: np.ndarray,
        weight: np.ndarray,
    ) -> list[np.ndarray]:
        """How unlike the query is, outside of the silhouette, to all that the background shows.

        What the background shows is taken from the reference picture: there the surroundings of
        the object are inpainted, so that a foreign part cannot explain itself.
        """
        height, width = alpha.shape
        index = min(1, len(features) - 1)
        vectors = distances.unit_vectors(features[index])
        cells = vectors.shape[1:3]
        lab = np.stack([distances.weighted_lab(images.resize(p, *cells[::-1])) for p in pair])
        outside = images.resize(alpha, *cells[::-1]) < SILHOUETTE_ALPHA
        around = outside & (images.resize(weight, *cells[::-1]) > 0)
        levels = []
        for both in (vectors, lab):
            level = np.zeros(cells, np.float32)
            if around.any():
                level[around] = distances.nearest_distance(both[0][around], both[1][outside])
            levels.append(level)
        # cosine distance of unit vectors, to be of the same kind as the other feature levels
        features_level = self._to_pixels(levels[0] ** 2 / 2, index, (width, height))
        return [features_level, images.resize(levels[1], width, height)]

    def _tolerance(self, stride: int) -> int:
        """Misalignment that is tolerated, in cells of a level; none where cells are large."""
        return round(self._config.tolerance_px / stride)


def _halved(pair: np.ndarray) -> list[np.ndarray]:
    """Two pictures (2, h, w, 3) at half their size."""
    height, width = pair.shape[1:3]
    return [images.resize(picture, width // 2, height // 2) for picture in pair]


def _cut(image: np.ndarray, box: tuple[int, int, int, int], size: tuple[int, int]) -> np.ndarray:
    """Box of a picture (its borders continued) resized to (w, h)."""
    import cv2

    height, width = image.shape[:2]
    x0, y0, x1, y1 = box
    sides = [max(0, -y0), max(0, y1 - height), max(0, -x0), max(0, x1 - width)]
    inside = image[max(0, y0) : y1, max(0, x0) : x1]
    if any(sides):
        inside = cv2.copyMakeBorder(inside, *sides, cv2.BORDER_REPLICATE)
    return images.resize(inside, *size)


def _paste(
    level: np.ndarray, box: tuple[int, int, int, int], shape: tuple[int, int]
) -> np.ndarray:
    """A level of a box back at its place in a picture of zeros (H, W)."""
    x0, y0, x1, y1 = box
    native = images.resize(np.ascontiguousarray(level, np.float32), x1 - x0, y1 - y0)
    result = np.zeros(shape, np.float32)
    left, top = max(0, x0), max(0, y0)
    part = native[top - y0 : shape[0] - y0, left - x0 : shape[1] - x0]
    result[top : top + part.shape[0], left : left + part.shape[1]] = part
    return result


def image_score(anomaly_map: np.ndarray, config: ComparisonConfig) -> float:
    """Anomaly score of an image; 0 when nothing was compared.

    'region' is the highest mean over a disc of min_region_px pixels: single pixels decide
    nothing, and a small defect is not diluted by the rest of the object.

    Args:
        anomaly_map: float32 (H, W), NaN = not compared.
        config: ``image_score`` chooses the statistic.
    """
    compared = np.isfinite(anomaly_map)
    if not compared.any():
        return 0.0
    if config.image_score == 'max':
        return float(anomaly_map[compared].max())
    if config.image_score == 'top_fraction':
        count = max(config.min_region_px, round(config.top_fraction * int(compared.sum())))
        return float(np.sort(anomaly_map[compared])[-count:].mean())
    import cv2

    radius = max(0, round(math.sqrt(config.min_region_px / math.pi) - 0.5))
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))
    kernel = disc.astype(np.float32) / disc.sum()
    means = cv2.filter2D(
        np.nan_to_num(anomaly_map, nan=0.0), cv2.CV_32F, kernel, borderType=cv2.BORDER_CONSTANT
    )
    return float(means.max())
