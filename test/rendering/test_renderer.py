import numpy as np
import pytest
import torch

from helpers import dense_renderer
from helpers.splats import random_gaussians, test_camera, view
from pad_inspection.datatypes import Camera
from pad_inspection.geometry import to_matrix
from pad_inspection.rendering.renderer import SplatScene


def dense(gaussians, camera, pose, degree=3):
    tensors = [
        torch.tensor(array, dtype=torch.float64)
        for array in (
            gaussians.means,
            gaussians.quats,
            gaussians.scales,
            gaussians.opacities,
            gaussians.sh,
            to_matrix(pose),
            camera.K,
        )
    ]
    return dense_renderer.render(*tensors, camera.width, camera.height, degree)


@pytest.fixture(scope='module')
def model():
    gaussians, camera, pose = random_gaussians(80), test_camera(40), view()
    image, alpha, weights = (t.numpy() for t in dense(gaussians, camera, pose))
    return gaussians, camera, pose, image, alpha, weights


def test_render_agrees_with_dense_reference(model):
    gaussians, camera, pose, image, alpha, _ = model
    rendered = SplatScene(gaussians, device='cpu', threads=1).render(camera, pose)
    wanted = np.minimum(image[..., :3], alpha[..., None])
    assert rendered.image.dtype == np.float32
    assert np.allclose(rendered.image, wanted, atol=2e-5)
    assert np.allclose(rendered.alpha, alpha, atol=1e-5)
    seen = alpha > 0.01
    assert np.allclose(rendered.depth[seen], image[seen][:, 3] / alpha[seen], rtol=1e-3)
    assert np.isnan(rendered.depth[alpha == 0]).all()
    assert rendered.uncertainty is None


def test_degree_can_be_lowered(model):
    gaussians, camera, pose, *_ = model
    rendered = SplatScene(gaussians, device='cpu').render(camera, pose, sh_degree=1)
    image, alpha, _ = (t.numpy() for t in dense(gaussians, camera, pose, 1))
    assert np.allclose(rendered.image, np.minimum(image[..., :3], alpha[..., None]), atol=2e-5)


def test_uncertainty_is_the_weighted_mean_of_the_scalars(model):
    gaussians, camera, pose, _, alpha, weights = model
    scalars = np.random.default_rng(1).uniform(size=len(gaussians)).astype(np.float32)
    scene = SplatScene(gaussians, device='cpu', uncertainty=scalars)
    rendered = scene.render(camera, pose)
    wanted = (weights @ scalars).reshape(alpha.shape) / np.maximum(alpha, 1e-9)
    assert np.allclose(rendered.uncertainty[alpha > 0.01], wanted[alpha > 0.01], atol=1e-3)
    assert (rendered.uncertainty[alpha == 0] == 0).all()


def test_paint_is_the_weighted_mean_of_known_values(model):
    gaussians, camera, pose, _, alpha, weights = model
    scene = SplatScene(gaussians, device='cpu', threads=1)
    values = np.random.default_rng(1).uniform(1, 2, len(gaussians))
    values[::4] = np.nan
    picture, known = scene.paint(camera, pose, values)
    assert picture.dtype == known.dtype == np.float32
    counted = np.where(np.isfinite(values), weights.reshape(*alpha.shape, -1), 0)
    seen, total = alpha > 0.01, counted.sum(axis=-1)
    share = total / np.maximum(alpha, 1e-9)
    assert np.allclose(known[seen], share[seen], atol=1e-3)
    sure = seen & (share > 0.1)
    wanted = (counted * np.nan_to_num(values)).sum(axis=-1) / np.maximum(total, 1e-9)
    assert np.allclose(picture[sure], wanted[sure], atol=1e-3)
    assert np.isnan(scene.paint(camera, pose, values * np.nan)[0]).all()
    with pytest.raises(ValueError, match='values have shape'):
        scene.paint(camera, pose, values[1:])


@pytest.mark.parametrize('length', [1, 3, 5])
def test_painted_vectors_are_weighted_means(model, length):
    gaussians, camera, pose, _, alpha, weights = model
    scene = SplatScene(gaussians, device='cpu', threads=1)
    vectors = np.random.default_rng(1).uniform(-1, 1, (len(gaussians), length))
    picture = scene.paint_vectors(camera, pose, vectors)
    assert picture.dtype == np.float32 and picture.shape == (*alpha.shape, length)
    seen = alpha > 0.01
    wanted = (weights @ vectors).reshape(*alpha.shape, length) / np.maximum(alpha, 1e-9)[..., None]
    assert np.allclose(picture[seen], wanted[seen], atol=1e-3)
    assert np.isnan(picture[alpha == 0]).all()
    with pytest.raises(ValueError, match='vectors have shape'):
        scene.paint_vectors(camera, pose, vectors[1:])


def test_backproject_sums_blending_weights(model):
    gaussians, camera, pose, _, alpha, weights = model
    image = np.random.default_rng(2).uniform(size=alpha.shape).astype(np.float32)
    image[3:9, 4:12] = np.nan
    known = np.isfinite(image).ravel()
    total, weighted = SplatScene(gaussians, device='cpu').backproject(camera, pose, image)
    assert np.allclose(total, weights[known].sum(axis=0), rtol=1e-3, atol=1e-3)
    assert np.allclose(weighted, image.ravel()[known] @ weights[known], rtol=1e-3, atol=1e-3)


def test_rasterize_is_differentiable_in_the_pose(model):
    gaussians, camera, pose, *_ = model
    scene = SplatScene(gaussians, device='cpu')
    viewmat = torch.tensor(to_matrix(pose), dtype=torch.float32, requires_grad=True)
    image, alpha = scene.rasterize(viewmat, camera)
    image.sum().backward()
    step = 1e-3
    moved = viewmat.detach().clone()
    sums = []
    for sign in (1, -1):
        moved[2, 3] = viewmat[2, 3].detach() + sign * step
        sums.append(float(scene.rasterize(moved, camera)[0].double().sum()))
    # differences also see Gaussians cross the least alpha, which has no derivative
    assert float(viewmat.grad[2, 3]) == pytest.approx((sums[0] - sums[1]) / (2 * step), rel=0.1)
    assert alpha.shape == (camera.height, camera.width)


def test_draw_is_render_without_clipping(model):
    gaussians, camera, pose, image, alpha, _ = model
    drawn, drawn_alpha = SplatScene(gaussians, device='cpu').draw(camera, pose)
    assert np.allclose(drawn, image[..., :3], atol=2e-5)
    assert np.allclose(drawn_alpha, alpha, atol=1e-5)


def test_extent():
    scene = SplatScene(random_gaussians(2000, radius=0.05), device='cpu')
    assert len(scene) == 2000
    assert np.abs(scene.center).max() < 0.01
    assert 0.04 < scene.radius < 0.06
    assert scene.device_name == 'cpu'


def test_bad_arguments_are_told():
    gaussians, camera = random_gaussians(5), test_camera(16)
    with pytest.raises(ValueError, match='device'):
        SplatScene(gaussians, device='tpu')
    with pytest.raises(ValueError, match='uncertainty'):
        SplatScene(gaussians, device='cpu', uncertainty=np.zeros(4, np.float32))
    with pytest.raises(ValueError, match='no Gaussians'):
        SplatScene(random_gaussians(0), device='cpu')
    scene = SplatScene(gaussians, device='cpu')
    with pytest.raises(ValueError, match='distortion'):
        scene.render(Camera(16, 16, camera.K, np.array([0.1, 0, 0, 0, 0])), view())
    with pytest.raises(ValueError, match='image has shape'):
        scene.backproject(camera, view(), np.zeros((4, 4), np.float32))
    if not torch.cuda.is_available():
        with pytest.raises(RuntimeError, match='CUDA'):
            SplatScene(gaussians, device='cuda')


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason='needs a CUDA device')
def test_gsplat_draws_the_same():
    gaussians, camera, pose = random_gaussians(300), test_camera(64), view()
    scalars = np.random.default_rng(1).uniform(size=300).astype(np.float32)
    values = np.random.default_rng(2).uniform(size=(64, 64)).astype(np.float32)
    scenes = [SplatScene(gaussians, device=d, uncertainty=scalars) for d in ('cpu', 'cuda')]
    cpu, gpu = (scene.render(camera, pose) for scene in scenes)
    assert scenes[1].device_name == 'gsplat'
    # the two stop blending at slightly different alphas
    for name in ('image', 'alpha', 'uncertainty'):
        difference = np.abs(getattr(cpu, name) - getattr(gpu, name))
        assert np.quantile(difference, 0.99) < 5e-3
    vectors = np.random.default_rng(3).uniform(-1, 1, (300, 5))
    first, second = (scene.paint_vectors(camera, pose, vectors) for scene in scenes)
    solid = cpu.alpha > 0.5
    assert np.quantile(np.abs(first - second)[solid], 0.99) < 0.01
    for first, second in zip(*(scene.backproject(camera, pose, values) for scene in scenes)):
        assert np.abs(first - second).max() < 0.05 * first.max()
