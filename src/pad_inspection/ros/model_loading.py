"""Loads the model that a URI names."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlparse

import numpy as np
from pad_msgs.srv import ReloadModel
from std_msgs.msg import Header

from pad_inspection.bundle import BundleError, BundleVersionError
from pad_inspection.config import InspectionConfig, from_dict
from pad_inspection.observation import ModelInfo
from pad_inspection.ros import interfaces


def bundle_path(uri: str) -> Path:
    """Folder of a model URI: a path, file:///abs/path or package://name/path.

    Raises:
        FileNotFoundError: the package is not installed.
        ValueError: empty, or another scheme.
    """
    if not uri:
        raise ValueError('the model URI is empty, wanted the folder of a model bundle')
    parsed = urlparse(uri)
    if parsed.scheme == 'package':
        return interfaces.package_share(parsed.netloc) / unquote(parsed.path).lstrip('/')
    if parsed.scheme == 'file':
        return Path(unquote(parsed.path))
    if '://' in uri:
        raise ValueError(f'model URI {uri} has scheme {parsed.scheme}, wanted file or package')
    return Path(uri)


# Loads and warms up an inspector: path of the bundle, overrides, check, trusted keys.
Loader = Callable[[Path, dict, Callable[[], None], Sequence[str]], Any]


def load_inspector(
    path: Path,
    overrides: dict,
    check: Callable[[], None] = lambda: None,
    trusted_keys: Sequence[str] = (),
    *,
    inspector_class: type | None = None,
) -> Any:
    """Load a model and run it once.

    Args:
        path: the bundle.
        overrides: options that differ from the bundle's, nested.
        check: called between the steps, which take seconds; what it raises ends the loading.
        trusted_keys: files of public keys, one of which must have signed the bundle; none = any
            bundle is taken.
        inspector_class: another one than pipeline.Inspector, with its from_bundle(path, config).

    Raises:
        ValueError: bad options.
        FileNotFoundError, BundleError: see pipeline.Inspector.from_bundle.
    """
    if inspector_class is None:
        from pad_inspection.pipeline import Inspector

        inspector_class = Inspector
    config = None
    if overrides:
        from pad_inspection.bundle_config import bundle_config

        # a preset stands for all options; single options change what the bundle knows
        base = None if 'preset' in overrides else bundle_config(path)
        config = from_dict(InspectionConfig, overrides, base)
    check()
    # an inspector for tests knows no signatures
    signed = {'trusted_keys': [Path(key) for key in trusted_keys]} if trusted_keys else {}
    inspector = inspector_class.from_bundle(path, config, **signed)
    check()
    inspector.warm_up()
    return inspector


@dataclass(frozen=True)
class Model:
    """A loaded model.

    Attributes:
        inspector: pipeline.Inspector, or what stands for it.
        path: of its bundle.
        loaded_at: when.
        info: pipeline.ModelInfo.
        points: (N, 3) m on the surface of the object, for markers, or None.
    """

    inspector: Any
    path: Path
    loaded_at: Header
    info: ModelInfo
    points: np.ndarray | None = None


def loaded_model(inspector: Any, path: Path, loaded_at: Header) -> Model:
    """Model of an inspector; one for tests may have no points."""
    points = getattr(inspector, 'object_points', lambda: None)()
    return Model(inspector, path, loaded_at, inspector.info, points)


def reload_result(error: Exception) -> int:
    """ReloadModel result code of what loading raised."""
    codes = ReloadModel.Response
    if isinstance(error, FileNotFoundError):
        return codes.RESULT_NOT_FOUND
    if isinstance(error, BundleVersionError):
        return codes.RESULT_UNSUPPORTED_VERSION
    if isinstance(error, (BundleError, ValueError)):
        return codes.RESULT_INVALID
    return codes.RESULT_UNDEFINED_FAILURE
