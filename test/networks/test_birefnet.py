import numpy as np
import pytest
import torch

from pad_inspection.networks.birefnet import BiRefNet


class StandIn(torch.nn.Module):
    """Logits from the red channel; a list of outputs of which the last one counts."""

    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
        red = x[:, :1] * 0.229 + 0.485
        return [torch.zeros_like(red), (red - 0.5) * 20]


def _image():
    image = np.zeros((60, 80, 3), np.uint8)
    image[:, 40:, 0] = 255
    return image


def _check(probability):
    assert probability.shape == (60, 80) and probability.dtype == np.float32
    assert probability[:, :36].max() < 0.01 and probability[:, 44:].min() > 0.99


def test_torchscript(tmp_path):
    path = tmp_path / 'birefnet.pt'
    torch.jit.script(StandIn()).save(str(path))
    _check(BiRefNet(path).predict(_image()))


def test_onnx(tmp_path):
    onnx = pytest.importorskip('onnx')
    helper, tensor = onnx.helper, onnx.TensorProto
    weight = np.zeros((1, 3, 1, 1), np.float32)
    weight[0, 0] = 20 * 0.229
    graph = helper.make_graph(
        [helper.make_node('Conv', ['x', 'w', 'b'], ['logits'], kernel_shape=[1, 1])],
        'stand_in',
        [helper.make_tensor_value_info('x', tensor.FLOAT, [1, 3, 128, 128])],
        [helper.make_tensor_value_info('logits', tensor.FLOAT, [1, 1, 128, 128])],
        [
            onnx.numpy_helper.from_array(weight, 'w'),
            onnx.numpy_helper.from_array(np.array([20 * (0.485 - 0.5)], np.float32), 'b'),
        ],
    )
    path = tmp_path / 'birefnet.onnx'
    opsets = [helper.make_opsetid('', 13)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), path)
    _check(BiRefNet(path).predict(_image()))


def test_refuses_other_files(tmp_path):
    with pytest.raises(FileNotFoundError):
        BiRefNet(tmp_path / 'nothing.onnx')
    for name, message in (('a.pt', 'TorchScript'), ('a.onnx', 'ONNX'), ('a.zip', 'wanted .onnx')):
        path = tmp_path / name
        path.write_bytes(b'no network')
        with pytest.raises(ValueError, match=message):
            BiRefNet(path)


def test_a_checkpoint_folder_with_code_of_its_own_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match='no such file'):
        BiRefNet(tmp_path)
