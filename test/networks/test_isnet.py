import numpy as np
import pytest

from pad_inspection.networks import weights
from pad_inspection.networks.isnet import ISNet

onnx = pytest.importorskip('onnx')


@pytest.fixture
def no_onnx_on_cuda(monkeypatch):
    """As if the installed onnxruntime were that of the CPU, which has not said so yet."""
    from pad_inspection.networks import onnx_session

    monkeypatch.setattr(onnx_session, 'has_cuda', lambda: False)
    onnx_session._tell_of_the_cpu.cache_clear()
    yield
    onnx_session._tell_of_the_cpu.cache_clear()


@pytest.fixture
def stand_in(tmp_path):
    """A network with ISNet's interface: half precision, fixed sizes, an output that is not used.

    It gives the red channel, averaged over 4 x 4 px, as probability.
    """
    helper, tensor = onnx.helper, onnx.TensorProto
    pick_red = np.zeros((1, 3, 1, 1), np.float16)
    pick_red[0, 0] = 1.0

    def constant(name, values):
        value = onnx.numpy_helper.from_array(values, name)
        return helper.make_node('Constant', [], [name], value=value)

    nodes = [
        helper.make_node('Cast', ['input'], ['half'], to=tensor.FLOAT16),
        helper.make_node('Conv', ['half', 'weight'], ['red'], kernel_shape=[1, 1]),
        helper.make_node('AveragePool', ['red'], ['small'], kernel_shape=[4, 4], strides=[4, 4]),
        helper.make_node('Shape', ['small'], ['shape']),
        constant('zero', np.array([0], np.int64)),
        constant('two', np.array([2], np.int64)),
        helper.make_node('Slice', ['shape', 'zero', 'two'], ['front']),
        constant('sides', np.array([1024, 1024], np.int64)),
        helper.make_node('Concat', ['front', 'sides'], ['sizes'], axis=0),
        helper.make_node('Resize', ['small', '', '', 'sizes'], ['large'], mode='linear'),
        constant('shift', np.array(0.5, np.float16)),
        helper.make_node('Add', ['large', 'shift'], ['sum']),
        helper.make_node('Cast', ['sum'], ['output'], to=tensor.FLOAT),
        helper.make_node('Cast', ['small'], ['other'], to=tensor.FLOAT),
    ]
    graph = helper.make_graph(
        nodes,
        'stand_in',
        [helper.make_tensor_value_info('input', tensor.FLOAT, [1, 3, 1024, 1024])],
        [
            helper.make_tensor_value_info('output', tensor.FLOAT, [1, 1, 1024, 1024]),
            helper.make_tensor_value_info('other', tensor.FLOAT, [1, 1, 256, 256]),
        ],
        [onnx.numpy_helper.from_array(pick_red, 'weight')],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid('', 13)], ir_version=8)
    path = tmp_path / 'stand_in.onnx'
    onnx.save(model, path)
    return path


@pytest.mark.parametrize('input_px', [64, 128])
def test_runs_at_another_size_in_single_precision(stand_in, input_px):
    image = np.zeros((90, 120, 3), np.uint8)
    image[:, :60, 0] = 255
    probability = ISNet(stand_in, input_px, threads=1).predict(image)
    assert probability.shape == (90, 120) and probability.dtype == np.float32
    # (255 - 128) / 256 + .5 and (0 - 128) / 256 + .5
    np.testing.assert_allclose(probability[:, :40], 0.99609375, atol=1e-6)
    np.testing.assert_allclose(probability[:, 80:], 0.0, atol=1e-6)


def test_says_once_that_it_stays_on_the_cpu(stand_in, no_onnx_on_cuda, caplog):
    image = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    on_cpu, *others = (ISNet(stand_in, 64, device=d) for d in ('cpu', 'cuda', 'cuda'))
    told = [record.message for record in caplog.records if 'onnxruntime-gpu' in record.message]
    assert len(told) == 1 and 'run on the CPU' in told[0]
    for other in others:
        np.testing.assert_array_equal(other.predict(image), on_cpu.predict(image))


def test_refuses_other_files_and_sizes(tmp_path, stand_in):
    with pytest.raises(FileNotFoundError):
        ISNet(tmp_path / 'nothing.onnx')
    with pytest.raises(ValueError, match='multiple of 64'):
        ISNet(stand_in, 100)
    broken = tmp_path / 'broken.onnx'
    broken.write_bytes(b'this is no model')
    with pytest.raises(ValueError):
        ISNet(broken, 64)


@pytest.mark.slow
def test_finds_an_object():
    try:
        path = weights.find_weights('isnet')
    except FileNotFoundError:
        pytest.skip('the weights are not installed')
    import cv2

    rng = np.random.default_rng(0)
    image = np.clip(rng.normal(150, 6, (300, 300, 3)), 0, 255).astype(np.uint8)
    truth = np.zeros((300, 300), np.uint8)
    cv2.ellipse(truth, (150, 160), (80, 50), 20, 0, 360, 1, -1)
    image[truth > 0] = (170, 30, 30)
    found = ISNet(path, 512).predict(image) > 0.5
    iou = (found & (truth > 0)).sum() / (found | (truth > 0)).sum()
    assert iou > 0.9
