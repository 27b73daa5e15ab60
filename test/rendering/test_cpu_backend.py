import numpy as np
import pytest
import torch

from helpers import dense_renderer
from helpers.splats import random_gaussians, test_camera, view
from pad_inspection.geometry import to_matrix
from pad_inspection.rendering import cpu_backend

NAMES = ('means', 'quats', 'scales', 'opacities', 'sh', 'viewmat')


@pytest.fixture(params=cpu_backend.available_variants())
def variant(request, monkeypatch):
    monkeypatch.setenv('PAD_RASTERIZER', request.param)
    return request.param


def inputs(gaussians, pose, dtype):
    arrays = [getattr(gaussians, name) for name in NAMES[:5]] + [to_matrix(pose)]
    return [torch.tensor(array, dtype=dtype, requires_grad=True) for array in arrays]


def pinhole_of(camera):
    K = camera.K
    return cpu_backend.Pinhole(camera.width, camera.height, K[0, 0], K[1, 1], K[0, 2], K[1, 2])


def draw(tensors, camera, degree, background=None, antialiased=False, threads=1):
    pinhole = pinhole_of(camera)
    projection = cpu_backend.project(
        *tensors, pinhole, sh_degree=degree, antialiased=antialiased, threads=threads
    )
    return cpu_backend.rasterize(
        projection, pinhole, background=background, depth=True, threads=threads
    )


@pytest.mark.parametrize('degree', [0, 1, 2, 3])
@pytest.mark.parametrize('antialiased', [False, True])
def test_image_and_gradients_agree_with_dense_reference(variant, degree, antialiased):
    gaussians, camera, pose = random_gaussians(seed=degree), test_camera(37), view(40 * degree)
    fast, slow = inputs(gaussians, pose, torch.float32), inputs(gaussians, pose, torch.float64)
    background = torch.tensor([0.2, 0.5, 0.9])
    image, alpha = draw(fast, camera, degree, background, antialiased)
    wanted, wanted_alpha, _ = dense_renderer.render(
        *slow, torch.tensor(camera.K), camera.width, camera.height, degree,
        background.double(), antialiased,
    )  # fmt: skip
    assert torch.allclose(image.double(), wanted, atol=2e-5)
    assert torch.allclose(alpha.double(), wanted_alpha, atol=1e-5)

    generator = torch.Generator().manual_seed(3)
    pull = torch.randn(wanted.shape, generator=generator, dtype=torch.float64)
    pull_alpha = torch.randn(wanted_alpha.shape, generator=generator, dtype=torch.float64)
    got = torch.autograd.grad((image * pull.float()).sum() + (alpha * pull_alpha).sum(), fast)
    want = torch.autograd.grad((wanted * pull).sum() + (wanted_alpha * pull_alpha).sum(), slow)
    for name, g, w in zip(NAMES, got, want):
        g, w = g.double(), w
        if name == 'viewmat':
            g, w = g[:3], w[:3]
        error = float((g - w).norm() / w.norm())
        assert error < 2e-4, f'gradient of {name} is off by {error:.1e}'


def test_two_threads_give_the_same_bits(variant):
    gaussians, camera = random_gaussians(400), test_camera(80)
    results = []
    for threads in (1, 2):
        tensors = inputs(gaussians, view(), torch.float32)
        image, alpha = draw(tensors, camera, 3, threads=threads)
        gradients = torch.autograd.grad(image.square().sum() + alpha.sum(), tensors[:5])
        results.append([image, alpha, *gradients])
    for first, second in zip(*results):
        assert torch.equal(first, second)


def test_absolute_gradient_bounds_the_gradient():
    pinhole = pinhole_of(test_camera(64))
    tensors = inputs(random_gaussians(100), view(), torch.float32)
    projection = cpu_backend.project(*tensors, pinhole, sh_degree=3)
    projection.means2d.retain_grad()
    sink = {}
    image, _ = cpu_backend.rasterize(projection, pinhole, gradient_sink=sink)
    (image * torch.randn(image.shape, generator=torch.Generator().manual_seed(1))).sum().backward()
    absolute = sink['absolute_means2d_grad']
    assert absolute.shape == (100, 2)
    assert (absolute >= projection.means2d.grad.abs() - 1e-4 * absolute.max()).all()


def test_gaussians_behind_or_beside_the_camera_draw_nothing():
    camera, pose = test_camera(32), view()
    gaussians = random_gaussians(20)
    tensors = inputs(gaussians, pose, torch.float32)
    for shift in ([0, 0, -1.0], [5.0, 0, 0]):
        viewmat = tensors[5].detach().clone()
        viewmat[:3, 3] += torch.tensor(shift)
        image, alpha = draw([*tensors[:5], viewmat], camera, 3)
        assert image.abs().max() == 0 and alpha.abs().max() == 0


def slow_ssim(x, y):
    """SSIM by plain convolutions in float64."""
    offsets = torch.arange(-5, 6, dtype=torch.float64)
    window = torch.exp(-(offsets**2) / (2 * 1.5**2))
    window = torch.outer(window, window) / window.sum() ** 2
    x, y = x.permute(2, 0, 1)[:, None], y.permute(2, 0, 1)[:, None]

    def mean(values):
        return torch.nn.functional.conv2d(values, window[None, None], padding=5)

    mx, my = mean(x), mean(y)
    vx, vy, vxy = mean(x * x) - mx**2, mean(y * y) - my**2, mean(x * y) - mx * my
    c1, c2 = 0.01**2, 0.03**2
    value = (2 * mx * my + c1) * (2 * vxy + c2) / ((mx**2 + my**2 + c1) * (vx + vy + c2))
    return value.mean()


@pytest.mark.parametrize('shape', [(33, 47, 3), (16, 5, 1)])
def test_ssim_agrees_with_convolutions(variant, shape):
    rng = np.random.default_rng(0)
    x = torch.tensor(rng.uniform(size=shape), dtype=torch.float64, requires_grad=True)
    y = torch.tensor(np.clip(x.detach().numpy() + rng.normal(size=shape) * 0.1, 0, 1))
    x32 = x.detach().float().requires_grad_()
    fast, slow = cpu_backend.ssim(x32, y.float()), slow_ssim(x, y)
    assert fast.item() == pytest.approx(slow.item(), abs=1e-5)
    fast.backward()
    slow.backward()
    assert torch.allclose(x32.grad.double(), x.grad, atol=1e-5 * float(x.grad.abs().max()) + 1e-9)


def test_ssim_of_equal_images_is_one():
    x = torch.rand(20, 20, 3, generator=torch.Generator().manual_seed(0))
    assert float(cpu_backend.ssim(x, x.clone())) == pytest.approx(1, abs=1e-6)
    with pytest.raises(ValueError, match='shapes'):
        cpu_backend.ssim(x, x[:10])
