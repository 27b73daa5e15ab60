"""Networks on CUDA against the same on the CPU: thresholds of one device hold on the other."""

import cv2
import numpy as np
import pytest
import torch

from helpers.stand_in_weights import (
    lightglue_state,
    netvlad_layers,
    write_netvlad,
    write_superpoint,
)
from pad_inspection import images
from pad_inspection.bundle_config import bundle_config
from pad_inspection.comparison import Comparator
from pad_inspection.config import ComparisonConfig, TrainingConfig, from_dict
from pad_inspection.dataset import read_test_images
from pad_inspection.datatypes import Frame
from pad_inspection.localization.reference import ReferenceModel
from pad_inspection.localization.retrieval import VoteRetrieval
from pad_inspection.networks import efficientnet_lite, product_segmenter
from pad_inspection.networks.aliked import Aliked
from pad_inspection.networks.birefnet import BiRefNet
from pad_inspection.networks.change_decoder import level_channels
from pad_inspection.networks.lama import Lama
from pad_inspection.networks.lightglue import LightGlue
from pad_inspection.networks.netvlad import NetVlad
from pad_inspection.networks.product_segmenter import ProductSegmenter
from pad_inspection.networks.pyramid_decoder import PyramidDecoder
from pad_inspection.networks.superpoint import SuperPoint
from pad_inspection.networks.xfeat import XFeat
from pad_inspection.offline.train_networks import _Example, fit_decoder
from pad_inspection.pipeline import Inspector
from pad_inspection.rendering.backends import CpuBackend, torch_device

HAS_CUDA = torch.cuda.is_available()
# Sums in another order: so much of the largest value. TF32 would be off by about ten times that.
ROUNDING = 3e-4
# A keypoint at the limit of detection may be there on one device only.
MOST_DIFFERENT = 0.02


def on_cuda(test):
    """Marks of a test that needs a CUDA device."""
    return pytest.mark.gpu(pytest.mark.skipif(not HAS_CUDA, reason='needs a CUDA device')(test))


def both(make):
    """What ``make`` gives for the CPU and for CUDA, as an inspection resolves them."""
    return [make(torch_device(name)) for name in ('cpu', 'cuda')]


def assert_close(first, second, tolerance=ROUNDING):
    """Arrays that differ by no more than a share of the largest value."""
    assert isinstance(second, np.ndarray) and second.dtype == first.dtype
    np.testing.assert_allclose(second, first, rtol=0, atol=tolerance * np.abs(first).max())


def assert_same_features(first, second):
    """Keypoints at the same places, to 0.1 px, with the same descriptors."""
    assert abs(len(first[0]) - len(second[0])) <= MOST_DIFFERENT * len(first[0])
    distances = np.linalg.norm(first[0][:, None] - second[0][None], axis=2)  # (N0, N1)
    nearest = distances.argmin(axis=1)
    cosines = (first[1] * second[1][nearest]).sum(axis=1)
    same = (distances.min(axis=1) < 0.1) & (cosines > 0.999)
    assert same.mean() >= 1 - MOST_DIFFERENT


@pytest.fixture(scope='module')
def pictures(demo_dir):
    """A picture of the demo and the same turned by 8 degrees, uint8 (2, 320, 320, 3)."""
    picture = images.resize(read_test_images(demo_dir)[0].load_image(), 320, 320)
    turn = cv2.getRotationMatrix2D((160, 160), 8, 1.0)
    turned = cv2.warpAffine(picture, turn, (320, 320), borderMode=cv2.BORDER_REFLECT)
    return np.stack([picture, turned])


def small_decoder(channels):
    """A decoder with random weights, the same at each call."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return PyramidDecoder(channels)


@pytest.mark.skipif(HAS_CUDA, reason='there is a CUDA device')
def test_without_a_gpu_cuda_is_refused_and_auto_is_the_cpu(demo_bundle):
    assert torch_device('auto') == torch_device('cpu') == 'cpu'
    own = bundle_config(demo_bundle)
    config = from_dict(type(own), {'rendering': {'device': 'cuda'}}, own)
    with pytest.raises(RuntimeError, match="'cuda' was asked for, but torch finds no CUDA device"):
        Inspector.from_bundle(demo_bundle, config)


def test_names_of_devices_are_checked():
    with pytest.raises(ValueError, match="'gpu', wanted 'auto', 'cpu' or 'cuda'"):
        torch_device('gpu')


def test_a_decoder_is_copied_not_moved():
    decoder = small_decoder(product_segmenter.CHANNELS)
    segmenter = ProductSegmenter(decoder)
    assert segmenter._decoder is not decoder


@on_cuda
def test_float32_is_not_rounded_on_cuda():
    assert torch_device('auto') == 'cuda'
    assert not torch.backends.cuda.matmul.allow_tf32
    assert not torch.backends.cudnn.allow_tf32


@on_cuda
def test_backbone_features(pictures):
    cpu, cuda = both(lambda device: efficientnet_lite.load(device=device).features(pictures))
    assert len(cpu) == len(cuda) == len(efficientnet_lite.TAPS)
    for first, second in zip(cpu, cuda, strict=True):
        assert_close(first, second)


@on_cuda
@pytest.mark.parametrize('network', [Aliked, XFeat])
def test_local_features(pictures, network):
    mask = np.zeros((320, 320), bool)
    mask[20:, :300] = True
    for allowed in (None, mask):
        cpu, cuda = both(lambda device, m=allowed: network(device).extract(pictures[0], m, 800))
        assert len(cpu[0]) > 50
        assert_same_features(cpu, cuda)


@on_cuda
def test_superpoint(pictures, tmp_path):
    path = write_superpoint(tmp_path / 'superpoint.pth', pictures[0])
    mask = np.ones((320, 320), bool)
    cpu, cuda = both(lambda device: SuperPoint(path, device).extract(pictures[0], mask, 500))
    assert_same_features(cpu, cuda)


def same_matches(cpu, cuda):
    """Whether nearly all pairs of indices are the same."""
    first, second = (set(map(tuple, found.tolist())) for found in (cpu, cuda))
    return len(first ^ second) <= max(2, MOST_DIFFERENT * len(first))


@on_cuda
@pytest.mark.parametrize('name, network', [('aliked', Aliked), ('xfeat', XFeat)])
def test_lightglue(pictures, name, network):
    extractor = network()
    # of so few and of so many keypoints: kornia prunes by other rules on CUDA
    for count in (200, 1800):
        one, two = (extractor.extract(picture, None, count) for picture in pictures)

        def match(device, sides=(*one[:2], *two[:2])):
            return LightGlue(name, device).match(*sides, 320)

        (cpu, cpu_scores), (cuda, cuda_scores) = both(match)
        assert len(cpu) > 20
        assert same_matches(cpu, cuda)
        scores = dict(zip(map(tuple, cpu.tolist()), cpu_scores, strict=True))
        shared = [
            (scores[pair], score)
            for pair, score in zip(map(tuple, cuda.tolist()), cuda_scores, strict=True)
            if pair in scores
        ]
        # of attention in float16 it would be hundredths
        assert np.median(np.abs(np.subtract(*zip(*shared)))) < 1e-3


@on_cuda
def test_lightglue_of_the_user(pictures, tmp_path):
    path = tmp_path / 'superpoint_lightglue.pth'
    torch.save(lightglue_state(), path)
    own = write_superpoint(tmp_path / 'superpoint.pth', pictures[0])
    one, two = (SuperPoint(own).extract(picture, None, 200) for picture in pictures)
    cpu, cuda = both(
        lambda device: LightGlue('superpoint', device, path).match(*one[:2], *two[:2], 320)[0]
    )
    assert same_matches(cpu, cuda)


@on_cuda
def test_retrieval(pictures, demo_bundle, tmp_path):
    path = write_netvlad(tmp_path / 'netvlad.mat', netvlad_layers())
    cpu, cuda = both(lambda device: NetVlad(path, device).describe(pictures[0]))
    assert_close(cpu, cuda)
    reference = ReferenceModel.load(demo_bundle / 'features.npz')
    query = reference.local_features(3)
    cpu, cuda = both(lambda device: VoteRetrieval(reference, 300, 0.8, device).votes(query))
    assert cuda.argmax() == cpu.argmax() == 3
    assert np.abs(cpu - cuda).max() <= max(2, MOST_DIFFERENT * cpu.max())


@on_cuda
def test_product_segmentation(pictures):
    decoder = small_decoder(product_segmenter.CHANNELS)
    cpu, cuda = both(lambda device: ProductSegmenter(decoder, device).predict(pictures[0]))
    assert cpu.std() > 1e-3
    assert_close(cpu, cuda, 1e-3)
    # bundles are written of it
    assert next(decoder.parameters()).device.type == 'cpu'


@on_cuda
def test_comparison_with_a_learnt_level(pictures):
    channels = level_channels(efficientnet_lite.CHANNELS[:4])
    decoder = small_decoder(channels)
    config = from_dict(ComparisonConfig, {'input_px': 256, 'num_levels': 4, 'learned_weight': 1.0})
    alpha = np.zeros((320, 320), np.float32)
    alpha[80:240, 80:240] = 1

    def compare(device):
        comparator = Comparator(config, learned=decoder, device=device)
        levels = comparator.compare_levels(
            pictures[0], pictures[1], alpha, alpha, pictures[0], [pictures[1]]
        )
        return levels, comparator.combine(levels)

    (cpu, cpu_map), (cuda, cuda_map) = both(compare)
    assert cpu.names == cuda.names and 'learned' in cpu.names
    for first, second in [*zip(cpu.maps, cuda.maps), (cpu_map, cuda_map)]:
        known = np.isfinite(first)
        np.testing.assert_array_equal(known, np.isfinite(second))
        assert_close(first[known], second[known], 1e-3)
    assert next(decoder.parameters()).device.type == 'cpu'


# A traced network keeps such a tensor as a constant, which must follow it to its device.
RAMP = torch.linspace(-1, 1, 1024)


class Logits(torch.nn.Module):
    """Stands for BiRefNet."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return 8 * x[:, :1] + RAMP


class Green(torch.nn.Module):
    """Stands for LaMa."""

    def __init__(self):
        super().__init__()
        self.register_buffer('color', torch.tensor([0.0, 1.0, 0.0]).view(1, 3, 1, 1))

    def forward(self, image: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        return image * (1 - mask) + self.color * mask


@on_cuda
def test_torchscript_files(pictures, tmp_path):
    example = torch.zeros(1, 3, 1024, 1024)
    birefnet, lama = tmp_path / 'birefnet.pt', tmp_path / 'lama.pt'
    torch.jit.trace(Logits(), example).save(str(birefnet))
    torch.jit.script(Green()).save(str(lama))
    cpu, cuda = both(lambda device: BiRefNet(birefnet, device).predict(pictures[0]))
    assert_close(cpu, cuda)
    hole = np.zeros((320, 320), bool)
    hole[100:140, 90:200] = True
    cpu, cuda = both(lambda device: Lama(lama, device).inpaint(pictures[0], hole))
    np.testing.assert_array_equal(cpu, cuda)


@on_cuda
def test_a_decoder_that_is_trained_on_cuda_is_as_good():
    generator = torch.Generator().manual_seed(0)
    examples = []
    for _ in range(8):
        level = torch.randn(1, 3, 16, 16, generator=generator)
        counts = torch.ones(1, 1, 16, 16, dtype=torch.bool)
        examples.append(_Example([level.half()], (level[:, :1] > 0).half(), counts))
    config = TrainingConfig(epochs=40, learning_rate=0.01)
    network = fit_decoder((3,), examples, config, device=torch_device('cuda'))
    fresh = torch.randn(1, 3, 16, 16, generator=generator)
    with torch.inference_mode():
        found = network([fresh]) > 0
    assert found.device.type == 'cpu'
    assert (found == (fresh[:, :1] > 0)).float().mean() > 0.9


@pytest.fixture(scope='module')
def on_cpu(demo_bundle, demo_dir):
    """An intact and a defective picture of the demo with their inspections on the CPU."""
    tests = read_test_images(demo_dir)
    chosen = [
        next(t for t in tests if t.defect == 'good'),
        next(t for t in tests if t.defect == 'removed'),
    ]
    frames = [Frame(test.load_image(), test.camera) for test in chosen]
    inspector = inspector_on('cpu', demo_bundle)
    return [(frame, inspector.inspect(frame)) for frame in frames]


def inspector_on(device, demo_bundle):
    """Inspector of the demo's bundle."""
    own = bundle_config(demo_bundle)
    return Inspector.from_bundle(
        demo_bundle, from_dict(type(own), {'rendering': {'device': device}}, own)
    )


def check_inspections(inspector, on_cpu, tolerance):
    """Statuses are the same; scores differ by a share of themselves and of the threshold."""
    assert inspector.device == 'cuda'
    for frame, wanted in on_cpu:
        found = inspector.inspect(frame)
        assert found.pose.status == wanted.pose.status, found.message
        assert (found.verdict, found.reason) == (wanted.verdict, wanted.reason), found.message
        assert abs(found.score - wanted.score) < tolerance * (wanted.score + wanted.threshold)
        for name in ('anomaly_map', 'reference', 'object_mask', 'rendered_alpha'):
            assert isinstance(getattr(found, name), np.ndarray)
        known = [np.isfinite(one.anomaly_map) for one in (wanted, found)]
        assert (known[0] != known[1]).mean() < 0.01


@on_cuda
@pytest.mark.slow
def test_an_inspection_with_networks_on_cuda(on_cpu, demo_bundle, monkeypatch):
    # splats as on the CPU, so that whatever differs comes from the networks: 3%
    monkeypatch.setattr(
        'pad_inspection.rendering.renderer.create_backend',
        lambda device, threads=0: CpuBackend(threads),
    )
    check_inspections(inspector_on('cuda', demo_bundle), on_cpu, 0.03)


@on_cuda
@pytest.mark.slow
def test_an_inspection_with_everything_on_cuda(on_cpu, demo_bundle):
    # gsplat stops blending at slightly different alphas, which moves the pose as well: 10%
    pytest.importorskip('gsplat')
    inspector = inspector_on('cuda', demo_bundle)
    assert inspector.scene.device_name == 'gsplat'
    check_inspections(inspector, on_cpu, 0.1)


@on_cuda
@pytest.mark.slow
def test_networks_are_not_shared_between_devices(demo_bundle):
    pytest.importorskip('gsplat')
    first, second = (inspector_on(device, demo_bundle) for device in ('cpu', 'cuda'))
    parts = second._reference, second.gaussians, second.calibration, second.config
    again = Inspector(*parts, second._bundle, share=first)
    assert again._localizer is not first._localizer
    assert again._segmenter is not first._segmenter
