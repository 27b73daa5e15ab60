"""BiRefNet segmentation from a file that the user has: an ONNX export or a TorchScript file.

TorchScript is code, which runs with the user's rights: it is loaded only because the user named
it. No bundle can name such a file.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from pad_inspection import images
from pad_inspection.networks.onnx_session import create_session

_MEAN = np.array([0.485, 0.456, 0.406], np.float32)
_STD = np.array([0.229, 0.224, 0.225], np.float32)
_DEFAULT_PX = 1024


class BiRefNet:
    """The network; call ``predict``."""

    def __init__(self, path: Path, device: str = 'cpu', threads: int = 0):
        """Load the network.

        Args:
            path: ``*.onnx``, or a TorchScript file (``*.pt``, ``*.ts``, ``*.pth``).
            device: torch device; see onnx_session for when ONNX stays on the CPU all the same.
            threads: CPU threads of ONNX, 0 = all.

        Raises:
            FileNotFoundError: there is no such file.
            ValueError: it is neither.
        """
        path = Path(path)
        if not path.is_file():
            raise FileNotFoundError(f'BiRefNet weights {path}: there is no such file')
        self._input_px = _DEFAULT_PX
        if path.suffix == '.onnx':
            self._run, self._input_px = _onnx_runner(path, threads, device)
        elif path.suffix in ('.pt', '.ts', '.pth'):
            self._run = _torch_runner(_load_torchscript(path, device), device)
        else:
            raise ValueError(f'BiRefNet weights {path}: wanted .onnx, .pt or .ts')

    def predict(self, image: np.ndarray) -> np.ndarray:
        """Probability of object, float32 (H, W) 0..1, of a picture uint8 (H, W, 3)."""
        height, width = image.shape[:2]
        square = images.to_float(images.resize(image, self._input_px, self._input_px))
        batch = np.ascontiguousarray(((square - _MEAN) / _STD).transpose(2, 0, 1)[None])
        logits = self._run(batch)[0, 0].astype(np.float32)
        probability = 0.5 * (1 + np.tanh(0.5 * logits))
        return images.resize(probability, width, height)


def _onnx_runner(
    path: Path, threads: int, device: str
) -> tuple[Callable[[np.ndarray], np.ndarray], int]:
    """Function from batch to logits, and the input size in px."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.add_session_config_entry('session.intra_op.allow_spinning', '0')
    try:
        session = create_session(path, options, device)
    except Exception as error:  # onnxruntime's exceptions have no public common class
        raise ValueError(f'{path} is not a usable ONNX file: {error}') from error
    source, last = session.get_inputs()[0], session.get_outputs()[-1].name
    side = source.shape[-1] if isinstance(source.shape[-1], int) else _DEFAULT_PX
    return (lambda batch: session.run([last], {source.name: batch})[0]), side


def _torch_runner(network, device: str) -> Callable[[np.ndarray], np.ndarray]:
    """Function from batch to logits; of several outputs the last one is the finest."""
    import torch

    network = network.to(device).eval()

    def run(batch: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            output = network(torch.from_numpy(batch).to(device))
        if isinstance(output, list | tuple):
            output = output[-1]
        return output.float().cpu().numpy()

    return run


def _load_torchscript(path: Path, device: str):
    """A TorchScript network; its constants only follow to a device that is named on loading."""
    import torch

    try:
        return torch.jit.load(path, map_location=device)
    except RuntimeError as error:
        raise ValueError(f'{path} is not a TorchScript file') from error
