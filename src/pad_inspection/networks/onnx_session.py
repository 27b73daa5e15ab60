"""Sessions of onnxruntime on the device that torch's networks run on."""

from __future__ import annotations

import logging
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import onnxruntime

logger = logging.getLogger(__name__)

_CUDA, _CPU = 'CUDAExecutionProvider', 'CPUExecutionProvider'


def has_cuda() -> bool:
    """Whether the installed onnxruntime was built for CUDA."""
    import onnxruntime

    return _CUDA in onnxruntime.get_available_providers()


def create_session(
    model: Path | bytes, options: onnxruntime.SessionOptions, device: str = 'cpu'
) -> onnxruntime.InferenceSession:
    """A session on a device; on the CPU where onnxruntime cannot use CUDA, which is told once.

    Args:
        model: file, or the content of one.
        options: of the session.
        device: torch device, 'cpu' or 'cuda'.

    Raises:
        Exception: of onnxruntime, which has many kinds: the model is not usable.
    """
    import onnxruntime

    providers: list = [_CPU]
    if device != 'cpu' and has_cuda():
        # float32 as on the CPU, for which see rendering.backends.torch_device
        providers = [(_CUDA, {'use_tf32': '0'}), _CPU]
    session = onnxruntime.InferenceSession(model, options, providers=providers)
    if device != 'cpu' and _CUDA not in session.get_providers():
        _tell_of_the_cpu()
    return session


@cache
def _tell_of_the_cpu() -> None:
    """Say why a network in ONNX is slower than the others."""
    logger.warning(
        'networks in ONNX run on the CPU: the installed onnxruntime cannot use CUDA; '
        'onnxruntime-gpu in its place would run them on the GPU'
    )
