"""ISNet (dichotomous image segmentation): one salient object in an image.

The weights come as an ONNX file in half precision with a fixed input of 1024 x 1024. No CPU
kernel works in half precision, and the auxiliary outputs are of no use here: when it is loaded,
the graph is rewritten to single precision, one output, and another input size. Smaller inputs are
faster and lose fewer parts of large objects, but take more of the background with them; the mean
of a large and a small one is better than either.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from pad_inspection import images
from pad_inspection.networks.onnx_session import create_session

_EXPORTED_PX = 1024
_STRIDE_PX = 64


class ISNet:
    """The network with its weights; call ``predict``."""

    def __init__(self, path: Path, input_px: int = 1024, threads: int = 0, device: str = 'cpu'):
        """Load the network.

        Args:
            path: ONNX file.
            input_px: side of the square that pictures are scaled to, a multiple of 64.
            threads: CPU threads, 0 = all.
            device: torch device; see onnx_session for when it stays on the CPU all the same.

        Raises:
            FileNotFoundError: there is no such file.
            ValueError: input_px is no multiple of 64, or the file is not this network.
        """
        import onnxruntime

        path = Path(path)
        if not path.is_file():
            raise FileNotFoundError(f'ISNet weights {path} do not exist')
        if input_px % _STRIDE_PX or input_px < _STRIDE_PX:
            raise ValueError(f'ISNet input is {input_px} px, wanted a multiple of {_STRIDE_PX}')
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3
        # waiting threads must not take the cores from the steps that follow
        options.add_session_config_entry('session.intra_op.allow_spinning', '0')
        options.enable_cpu_mem_arena = False  # keeps 0.6 GB less, costs a tenth of the time
        self._session = create_session(_resized_model(path, input_px), options, device)
        self._input_px = input_px
        self._input_name = self._session.get_inputs()[0].name

    def predict(self, image: np.ndarray) -> np.ndarray:
        """Probability of object, float32 (H, W) 0..1, of a picture uint8 (H, W, 3)."""
        height, width = image.shape[:2]
        square = images.resize(image, self._input_px, self._input_px)
        batch = ((square.astype(np.float32) - 128) / 256).transpose(2, 0, 1)[None]
        (output,) = self._session.run(None, {self._input_name: np.ascontiguousarray(batch)})
        return np.clip(images.resize(output[0, 0], width, height), 0, 1)


def _resized_model(path: Path, input_px: int) -> bytes:
    """The ONNX model in single precision, with its first output only, for another input size."""
    import onnx
    from google.protobuf.message import DecodeError
    from onnx import numpy_helper

    try:
        model = onnx.load(path)
    except DecodeError as error:
        raise ValueError(f'{path} is not an ONNX file') from error
    graph = model.graph
    exported = [d.dim_value for d in graph.input[0].type.tensor_type.shape.dim]
    if exported != [1, 3, _EXPORTED_PX, _EXPORTED_PX]:
        raise ValueError(
            f'{path} has input {exported}, wanted {[1, 3, _EXPORTED_PX, _EXPORTED_PX]}'
        )

    def to_single(tensor) -> None:
        if tensor.data_type == onnx.TensorProto.FLOAT16:
            values = numpy_helper.to_array(tensor).astype(np.float32)
            tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))

    for tensor in graph.initializer:
        to_single(tensor)
    for attribute in (a for node in graph.node for a in node.attribute):
        if attribute.name == 'to' and attribute.i == onnx.TensorProto.FLOAT16:
            attribute.i = onnx.TensorProto.FLOAT
        elif attribute.name == 'value':
            to_single(attribute.t)

    nodes = _ancestors(graph, graph.output[0].name)
    _scale_sizes(nodes, input_px)
    used = {name for node in nodes for name in node.input}
    weights = [t for t in graph.initializer if t.name in used]
    small = onnx.helper.make_graph(nodes, graph.name, graph.input, graph.output[:1], weights)
    for value in (small.input[0], small.output[0]):
        for dim in value.type.tensor_type.shape.dim[2:]:
            dim.dim_value = input_px
    return onnx.helper.make_model(
        small, opset_imports=model.opset_import, ir_version=model.ir_version
    ).SerializeToString()


def _ancestors(graph, output: str) -> list:
    """Nodes that an output depends on, in an order in which they can run."""
    producers = {name: node for node in graph.node for name in node.output}
    ordered, visited = [], set()
    stack = [(output, False)]
    while stack:
        name, inputs_done = stack.pop()
        node = producers.get(name)
        if node is None or (id(node) in visited and not inputs_done):
            continue
        if inputs_done:
            ordered.append(node)
            continue
        visited.add(id(node))
        stack.append((name, True))
        stack += [(source, False) for source in node.input]
    return ordered


def _scale_sizes(nodes: list, input_px: int) -> None:
    """Scale the picture sizes that the export wrote into the Resize nodes as constants."""
    from onnx import numpy_helper

    producers = {name: node for node in nodes for name in node.output}
    sizes = {
        source
        for node in nodes
        if node.op_type == 'Resize'
        for source in getattr(producers.get(node.input[3]), 'input', ())
    }
    for name in sizes:
        producer = producers.get(name)
        if producer is not None and producer.op_type == 'Constant':
            tensor = producer.attribute[0].t
            values = numpy_helper.to_array(tensor) * input_px // _EXPORTED_PX
            tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
