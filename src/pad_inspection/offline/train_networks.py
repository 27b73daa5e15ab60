"""Train a product's two decoders on synthetic scenes: segmentation, and the learnt comparison.

Both stand on a frozen backbone, so that the features of all scenes are computed once and only
small decoders are fitted. Nothing but pictures of good pieces is used; defects are synthetic.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional

from pad_inspection import geometry, images
from pad_inspection.background.composition import compose_reference
from pad_inspection.background.inpainting import create_inpainter
from pad_inspection.comparison import Comparator
from pad_inspection.config import InspectionConfig, TrainingConfig
from pad_inspection.datatypes import Camera, Gaussians, Rigid3
from pad_inspection.networks import efficientnet_lite, product_segmenter
from pad_inspection.networks.change_decoder import change_levels, level_channels
from pad_inspection.networks.product_networks import ProductNetworks
from pad_inspection.networks.pyramid_decoder import PyramidDecoder
from pad_inspection.offline.synthetic_scenes import SceneMaker, SyntheticScene
from pad_inspection.regions import hole_mask, region_weight
from pad_inspection.rendering.backends import torch_device
from pad_inspection.rendering.light_transfer import LightTransfer, create_light_transfer
from pad_inspection.rendering.renderer import SplatScene

# Poses of the refinement are off by so much (standard deviations).
_POSE_NOISE_PX = 0.25
_POSE_NOISE_DEG = 0.15
# Side of the crops that the comparison is trained on, px of the compared size.
_CROP_PX = 256
# Sizes of the piece in the segmentation's pictures, relative to the photograph.
_ZOOM = (0.7, 1.25)
_BATCH = 4
# Defects are small: their pixels count so much more than others.
_DEFECT_WEIGHT = 5.0


@dataclass(frozen=True)
class _Example:
    """Levels in half precision, and what should come out.

    Attributes:
        levels: float16 (1, C, h_l, w_l) each.
        target: float16 (1, 1, h, w), 0 to 1.
        counts: bool (1, 1, h, w), pixels that teach something.
    """

    levels: list[torch.Tensor]
    target: torch.Tensor
    counts: torch.Tensor


def train_networks(
    views,
    gaussians: Gaussians,
    config: TrainingConfig,
    inspection: InspectionConfig,
    *,
    seed: int = 0,
    progress: Callable[[float, str], None] = lambda fraction, text: None,
) -> ProductNetworks:
    """Train what the configuration wants to use.

    Args:
        views: list of dataset.TrainingView.
        gaussians: the product's splats.
        config: how long.
        inspection: which networks are used: ``segmentation.network`` 'product', and
            ``comparison.learned_weight`` above 0.
        seed: of everything random.
        progress: called with a fraction and a text.
    """
    used = _used_networks(inspection)
    if not any(used):
        return ProductNetworks()
    rendering = inspection.rendering
    maker = SceneMaker(views, gaussians, rendering.threads, rendering.device)
    start = pretrained()
    return train_on([maker], config, inspection, start, seed=seed, progress=progress)


def _used_networks(inspection: InspectionConfig) -> tuple[bool, bool]:
    """Whether a configuration uses the product's segmentation, and the learnt comparison."""
    return (
        inspection.segmentation.network == 'product',
        inspection.comparison.learned_weight > 0,
    )


def pretrained() -> ProductNetworks:
    """The networks of the package, trained on other products, to start from."""
    folder = Path(__file__).resolve().parents[1] / 'data' / 'networks'
    return ProductNetworks.load(folder)


def train_on(
    makers: Sequence[SceneMaker],
    config: TrainingConfig,
    inspection: InspectionConfig,
    start: ProductNetworks,
    *,
    seed: int = 0,
    progress: Callable[[float, str], None] = lambda fraction, text: None,
) -> ProductNetworks:
    """Train on scenes of one product or of several.

    Args:
        makers: of each product; ``config.scenes`` is for all together.
        config: see ``train_networks``.
        inspection: see ``train_networks``.
        start: networks to start from, where their layers fit; empty = from scratch.
        seed: see ``train_networks``.
        progress: see ``train_networks``.
    """
    wants_segmentation, wants_comparison = _used_networks(inspection)
    device = torch_device(inspection.rendering.device)
    scenes = []
    for number in range(config.scenes):
        maker = makers[number % len(makers)]
        scenes.append((maker, maker.make(np.random.default_rng([seed, number]))))
        progress(0.25 * (number + 1) / config.scenes, f'{number + 1} of {config.scenes} scenes')
    segmentation = comparison = None
    if wants_segmentation:
        backbone = efficientnet_lite.load(None, product_segmenter.LEVELS, device)
        examples = []
        for number, (_, scene) in enumerate(scenes):
            rng = np.random.default_rng([seed, number, 1])
            examples.append(_segmentation_example(scene, backbone, rng))
            progress(0.25 + 0.1 * (number + 1) / len(scenes), 'features for the segmentation')
        segmentation = fit_decoder(
            product_segmenter.CHANNELS,
            examples,
            config,
            start=start.segmentation,
            seed=seed,
            device=device,
            progress=lambda fraction, text: progress(
                0.35 + 0.2 * fraction, f'segmentation {text}'
            ),
        )
    if wants_comparison:
        segment = None
        if segmentation is not None:
            segment = product_segmenter.ProductSegmenter(segmentation, device).predict
        making = _ComparisonExamples(inspection, segment, device)
        examples = []
        for number, (maker, scene) in enumerate(scenes):
            rng = np.random.default_rng([seed, number, 2])
            examples.append(making.example(maker.scene, scene, rng))
            progress(0.55 + 0.2 * (number + 1) / len(scenes), 'features for the comparison')
        comparison = fit_decoder(
            making.channels,
            examples,
            config,
            start=start.comparison,
            positive_weight=_DEFECT_WEIGHT,
            seed=seed,
            device=device,
            progress=lambda share, text: progress(0.75 + 0.25 * share, f'comparison {text}'),
        )
    return ProductNetworks(segmentation, comparison)


def fit_decoder(
    channels: Sequence[int],
    examples: Sequence[_Example],
    config: TrainingConfig,
    *,
    start: PyramidDecoder | None = None,
    positive_weight: float = 1.0,
    seed: int = 0,
    device: str = 'cpu',
    progress: Callable[[float, str], None] = lambda fraction, text: None,
) -> PyramidDecoder:
    """Fit a decoder to examples.

    The loss is binary cross-entropy and the Dice loss, so that small targets count.

    Args:
        channels: of the levels.
        examples: at least one.
        config: epochs and learning rate.
        start: weights to start from if it is of the same levels; None = random ones.
        positive_weight: of pixels with target 1 in the cross-entropy.
        seed: of weights and order. On CUDA gradients are summed in any order, so that there the
            same seed gives nearly the same decoder.
        device: torch device to fit on.
        progress: called with a fraction and a text.

    Returns:
        The decoder, on the CPU.

    Raises:
        ValueError: the loss became NaN or infinite.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = PyramidDecoder(channels)
    if start is not None and start.channels == network.channels:
        network = copy.deepcopy(start)
    network.to(device).train()
    batch = min(_BATCH, len(examples))
    steps = config.epochs * (len(examples) // batch)
    optimizer = torch.optim.AdamW(network.parameters(), config.learning_rate, weight_decay=1e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, config.learning_rate, total_steps=steps, pct_start=0.1
    )
    rng = np.random.default_rng(seed)
    order: list[int] = []
    for step in range(steps):
        if len(order) < batch:
            order = rng.permutation(len(examples)).tolist()
        chosen = [examples[order.pop()] for _ in range(batch)]
        levels = [
            torch.cat(level).to(device).float() for level in zip(*(e.levels for e in chosen))
        ]
        target = torch.cat([e.target for e in chosen]).to(device).float()
        counts = torch.cat([e.counts for e in chosen]).to(device).float()
        if rng.random() < 0.5:
            levels = [level.flip(-1) for level in levels]
            target, counts = target.flip(-1), counts.flip(-1)
        logits = network(levels)
        loss = _loss(logits, target, counts, positive_weight)
        if not torch.isfinite(loss):
            raise ValueError(f'the loss of a decoder is {loss.item()} at step {step} of {steps}')
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        progress((step + 1) / steps, f'loss {loss.item():.3f}')
    return network.cpu().eval()


def _loss(logits, target, counts, positive_weight: float):
    """Cross-entropy with more weight on the target, and Dice."""
    weight = counts * (1 + (positive_weight - 1) * target)
    entropy = functional.binary_cross_entropy_with_logits(logits, target, weight=weight)
    probability = torch.sigmoid(logits) * counts
    overlap = 2 * (probability * target).sum() + 1
    dice = 1 - overlap / (probability.sum() + (target * counts).sum() + 1)
    return 2 * entropy + 0.5 * dice


def _segmentation_example(scene: SyntheticScene, backbone, rng: np.random.Generator) -> _Example:
    """A scene moved and zoomed a little, at the size that the segmentation sees."""
    import cv2

    height, width = scene.object_alpha.shape
    zoom = np.exp(rng.uniform(*np.log(_ZOOM)))
    shift = rng.uniform(-0.08, 0.08, 2)
    move = np.float32(
        [
            [zoom, 0, width * ((1 - zoom) / 2 + shift[0])],
            [0, zoom, height * ((1 - zoom) / 2 + shift[1])],
        ]
    )
    size = (width, height)
    query = cv2.warpAffine(scene.query, move, size, borderMode=cv2.BORDER_REFLECT)
    alpha = cv2.warpAffine(scene.object_alpha, move, size)
    side = product_segmenter.INPUT_PX
    picture = images.resize(query, side, side)
    target = images.resize(alpha, side // 2, side // 2)
    levels = product_segmenter.segmentation_levels(picture, backbone.features(picture[None]))
    return _Example(
        [level.half() for level in levels],
        torch.from_numpy(target)[None, None].half(),
        torch.ones(1, 1, side // 2, side // 2, dtype=torch.bool),
    )


class _ComparisonExamples:
    """Scenes as the comparison sees them: with a reference from a slightly wrong pose."""

    def __init__(
        self,
        inspection: InspectionConfig,
        segment: Callable[[np.ndarray], np.ndarray] | None,
        device: str,
    ):
        """Load the backbone.

        Args:
            inspection: how pictures are composed and compared.
            segment: probability of object (H, W) of a picture; None = the true one is used.
            device: torch device of the networks.
        """
        self._inspection = inspection
        self._segment = segment
        self._transfers: dict[SplatScene, LightTransfer | None] = {}
        plain = dataclasses.replace(inspection.comparison, learned_weight=0.0)
        self._comparator = Comparator(plain, device=device)
        self._inpainter = create_inpainter(inspection.background, device)
        self.channels = level_channels(self._comparator.feature_channels)

    def _transfer_of(self, splats: SplatScene) -> LightTransfer | None:
        """The light transfer of a product, kept for its next scene."""
        if splats not in self._transfers:
            match_light = self._inspection.comparison.match_light
            self._transfers[splats] = create_light_transfer(splats, match_light)
        return self._transfers[splats]

    def example(
        self, splats: SplatScene, scene: SyntheticScene, rng: np.random.Generator
    ) -> _Example:
        """One example: a crop that shows the defect if there is one."""
        config = self._inspection
        pose = noisy_pose(scene.cam_from_object, splats, scene.camera, rng)
        rendered = splats.render(scene.camera, pose)
        probability = scene.object_alpha if self._segment is None else self._segment(scene.query)
        hole = hole_mask(
            rendered.alpha, probability, config.comparison, config.background.dilation_px
        )
        background = scene.query
        if self._inpainter is not None:
            background = self._inpainter.inpaint(scene.query, hole)
        transfer = self._transfer_of(splats)
        if transfer is not None:
            light = transfer.match(rendered, scene.camera, pose, scene.query)
            rendered = light.on(rendered)
        reference = compose_reference(rendered, background, config.background)
        weight = region_weight(rendered.alpha, probability, config.comparison)
        prepared = self._comparator.prepare(
            scene.query, reference, rendered.alpha, probability, background, weight
        )
        changed, ignored = (
            prepared.cut(mask.astype(np.float32)) for mask in (scene.changed, scene.ignored)
        )
        window = _window(changed > 0.5, rng)
        pair = _tile(prepared.pair, window, axis=1)
        features = self._comparator.features(pair)
        levels = change_levels(
            pair, features, *(_tile(a, window) for a in (prepared.alpha, prepared.probability))
        )
        half = _CROP_PX // 2
        changed, ignored, weight = (
            images.resize(_tile(a, window), half, half)
            for a in (changed, ignored, prepared.weight)
        )
        target = changed > 0.5
        counts = (weight > 0.01) & (target | ((ignored < 0.3) & (changed < 0.05)))
        return _Example(
            [level.half() for level in levels],
            torch.from_numpy(target)[None, None].half(),
            torch.from_numpy(counts)[None, None],
        )


def noisy_pose(
    pose: Rigid3, scene: SplatScene, camera: Camera, rng: np.random.Generator
) -> Rigid3:
    """A pose as wrong as those of the refinement, turned about the object's centre."""
    rotation = geometry.rotation_from_axis_angle(np.radians(rng.normal(0, _POSE_NOISE_DEG, 3)))
    center = geometry.transform(pose, scene.center[None])[0]
    m_per_px = center[2] / camera.K[0, 0]
    shift = rng.normal(0, _POSE_NOISE_PX, 3) * m_per_px
    return geometry.compose(Rigid3(rotation, center - rotation @ center + shift), pose)


def _window(changed: np.ndarray, rng: np.random.Generator) -> tuple[int, int]:
    """Corner (x, y) of a crop of _CROP_PX, mostly one that shows a changed pixel."""
    height, width = changed.shape
    rows, columns = np.nonzero(changed)
    room = [max(0, width - _CROP_PX), max(0, height - _CROP_PX)]
    if not len(rows) or rng.random() < 0.1:
        return int(rng.integers(room[0] + 1)), int(rng.integers(room[1] + 1))
    i = int(rng.integers(len(rows)))
    at = np.array([columns[i], rows[i]]) - rng.integers(32, _CROP_PX - 32, 2)
    return int(np.clip(at[0], 0, room[0])), int(np.clip(at[1], 0, room[1]))


def _tile(array: np.ndarray, window: tuple[int, int], axis: int = 0) -> np.ndarray:
    """The crop of an array (..., H, W, ...) whose rows are ``axis``; small ones are continued."""
    x, y = window
    index = (slice(None),) * axis + (slice(y, y + _CROP_PX), slice(x, x + _CROP_PX))
    tile = array[index]
    pad = [(0, 0)] * array.ndim
    pad[axis] = (0, _CROP_PX - tile.shape[axis])
    pad[axis + 1] = (0, _CROP_PX - tile.shape[axis + 1])
    return np.ascontiguousarray(np.pad(tile, pad, mode='edge'))
