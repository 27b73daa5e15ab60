from dataclasses import replace

import numpy as np
import pytest
import torch

from helpers import dense_renderer
from helpers.splats import random_gaussians, test_camera, view
from pad_inspection.geometry import to_matrix
from pad_inspection.rendering import cpu_backend

NAMES = ('means', 'quats', 'scales', 'opacities', 'sh', 'viewmat')
# What the rasterizer promises: norm of the difference over norm of the reference, each tensor.
MOST_RELATIVE_ERROR = 1e-4
OUTPUTS = {
    'color': lambda image, alpha: image[..., :3],
    'depth': lambda image, alpha: image[..., 3],
    'alpha': lambda image, alpha: alpha,
}
# count and size of the Gaussians: most pixels see through, or most stop early
SCENES = {'thin': (60, 0.008), 'opaque': (400, 0.02)}


@pytest.fixture(params=['avx512', 'avx2', 'baseline'])
def variant(request, monkeypatch):
    if request.param not in cpu_backend.available_variants():
        pytest.skip(f'this processor or this build has no {request.param}')
    monkeypatch.setenv('PAD_RASTERIZER', request.param)
    assert cpu_backend.variant() == request.param
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


def draw_reference(tensors, camera, degree, background=None, antialiased=False):
    return dense_renderer.render(
        *tensors, torch.tensor(camera.K), camera.width, camera.height, degree, background,
        antialiased,
    )[:2]  # fmt: skip


def check_gradients(got, wanted, tensors, reference_tensors, names):
    """Pull both values at random and compare the gradients of all tensors."""
    generator = torch.Generator().manual_seed(3)
    pull = torch.randn(wanted.shape, generator=generator, dtype=torch.float64)
    gradients = torch.autograd.grad((got * pull.float()).sum(), tensors)
    references = torch.autograd.grad(
        (wanted * pull).sum(), reference_tensors, materialize_grads=True
    )
    for name, gradient, reference in zip(names, gradients, references, strict=True):
        if name == 'viewmat':
            gradient, reference = gradient[:3], reference[:3]  # the last row is constant
        difference = float((gradient.double() - reference).norm())
        most = MOST_RELATIVE_ERROR * float(reference.norm())
        assert difference <= most, f'gradient of {name}: {difference:.1e}, wanted {most:.1e}'


@pytest.mark.parametrize('output', OUTPUTS)
@pytest.mark.parametrize('scene', SCENES)
@pytest.mark.parametrize('antialiased', [False, True])
@pytest.mark.parametrize('degree', [0, 1, 2, 3])
def test_values_and_gradients_agree_with_dense_reference(
    variant, degree, antialiased, scene, output
):
    count, size = SCENES[scene]
    gaussians = random_gaussians(count, size=size, seed=degree)
    camera, pose = test_camera(37), view(40 * degree)
    fast, slow = inputs(gaussians, pose, torch.float32), inputs(gaussians, pose, torch.float64)
    background = torch.tensor([0.2, 0.5, 0.9])
    image, alpha = draw(fast, camera, degree, background, antialiased)
    wanted_image, wanted_alpha = draw_reference(
        slow, camera, degree, background.double(), antialiased
    )
    assert (float(wanted_alpha.detach().median()) > 0.999) == (scene == 'opaque')
    got = OUTPUTS[output](image, alpha)
    wanted = OUTPUTS[output](wanted_image, wanted_alpha)
    assert torch.allclose(got.double(), wanted, atol=1e-5)
    check_gradients(got, wanted, fast, slow, NAMES)


def test_gradients_of_extra_channels_agree_with_dense_reference(variant):
    """Colours of a projection may be replaced by any three channels."""
    gaussians, camera, pose = random_gaussians(120), test_camera(37), view(70)
    fast, slow = inputs(gaussians, pose, torch.float32), inputs(gaussians, pose, torch.float64)
    rng = np.random.default_rng(5)
    channels = torch.tensor(rng.uniform(0, 9, (120, 3)), requires_grad=True)
    channels32 = channels.detach().float().requires_grad_()
    # spherical harmonics of degree 0 that give these channels
    slow[4] = (channels[:, None] - 0.5) * (2 * np.sqrt(np.pi))
    pinhole = pinhole_of(camera)
    projection = cpu_backend.project(*fast, pinhole, sh_degree=0)
    image, _ = cpu_backend.rasterize(replace(projection, colors=channels32), pinhole)
    wanted = draw_reference(slow, camera, 0)[0][..., :3]
    assert torch.allclose(image.double(), wanted, atol=1e-4)
    of = [0, 1, 2, 3, 5]
    check_gradients(
        image,
        wanted,
        [channels32, *(fast[i] for i in of)],
        [channels, *(slow[i] for i in of)],
        ['channels', *(NAMES[i] for i in of)],
    )


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
