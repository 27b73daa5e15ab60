"""Loads the models of an inspection node, announces them, and swaps them on request."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from pad_msgs.srv import ReloadModel
from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.lifecycle import LifecycleNode
from std_msgs.msg import Header

from pad_inspection.ros import conversions, interfaces, parameters
from pad_inspection.ros.model_loading import (
    Loader,
    Model,
    bundle_path,
    loaded_model,
    reload_result,
)
from pad_inspection.ros.models import ModelSet
from pad_inspection.ros.node_configs import InspectionNodeConfig
from pad_inspection.text_safety import MAX_TEXT_LENGTH, printable


class LoadingStoppedError(RuntimeError):
    """A model is not loaded any more, because the node was told to end."""


class ModelService:
    """The service reload_model, the topic model_info, and the models behind both."""

    def __init__(
        self,
        node: LifecycleNode,
        on_swap: Callable[[str], None],
        is_stopping: Callable[[], bool],
        load: Loader,
    ):
        """Offer the service; no model yet.

        Args:
            node: whose parameters say what to load.
            on_swap: called with the product after another model was put in use.
            is_stopping: whether the node was told to end.
            load: makes an inspector of a bundle.
        """
        self._node = node
        self._on_swap = on_swap
        self._is_stopping = is_stopping
        self._load_inspector = load
        self._config: InspectionNodeConfig | None = None
        self._loading = threading.Lock()
        self._publisher = None
        self.models: ModelSet | None = None
        # images must arrive while a service loads a model
        self._group = MutuallyExclusiveCallbackGroup()
        node.create_service(
            ReloadModel,
            interfaces.RELOAD_MODEL_SERVICE,
            self._on_reload,
            callback_group=self._group,
        )

    def configure(self, config: InspectionNodeConfig) -> None:
        """Load all models and run each once.

        Raises:
            ValueError, FileNotFoundError: see the loader and model_loading.bundle_path.
            LoadingStoppedError: the node was told to end meanwhile.
        """
        self._config = config
        loaded = {name: self._load(uri) for name, uri in config.uris().items()}
        self.models = ModelSet(
            loaded, margin=config.recognition_margin, only_product=config.object_type
        )
        # a late subscriber must get the info of every model
        self._publisher = self._node.create_publisher(
            interfaces.message_class(interfaces.MODEL_INFO.message),
            interfaces.MODEL_INFO.name,
            interfaces.qos(interfaces.MODEL_INFO, depth=len(loaded)),
        )

    def release(self) -> None:
        """Let go of the models."""
        self.models = None
        if self._publisher is not None:
            self._node.destroy_publisher(self._publisher)
            self._publisher = None

    def announce(self) -> None:
        """Publish what is loaded."""
        models = self.models
        for name in () if models is None else models.names:
            model = models.get(name)
            message = conversions.model_info_to_message(model.info, model.loaded_at, name)
            self._publisher.publish(message)

    def _load(self, uri: str) -> Model:
        """Load a model. Raises as bundle_path, the loader, and LoadingStoppedError."""
        path = bundle_path(uri)
        self._node.get_logger().info(f'loading {path}')
        begin = time.monotonic()
        overrides = parameters.read_inspection(self._node)
        trusted = self._config.require_signature
        inspector = self._load_inspector(path, overrides, self._check, trusted)
        self._check()
        self._node.get_logger().info(f'loaded {path} in {time.monotonic() - begin:.1f} s')
        stamp = self._node.get_clock().now().to_msg()
        return loaded_model(inspector, path, Header(stamp=stamp))

    def _check(self) -> None:
        """Raise LoadingStoppedError when the node was told to end."""
        if self._is_stopping():
            raise LoadingStoppedError('told to end while a model was loaded')

    def _on_reload(self, request, response):
        """Load another model beside the running one and swap it in between two images."""
        response.result, message = self._reload(request, response)
        response.message = printable(message, MAX_TEXT_LENGTH)
        models = self.models
        model = None if models is None else models.get(request.object_type)
        if model is not None:
            response.model = conversions.model_info_to_message(
                model.info, model.loaded_at, request.object_type
            )
        text = f'reload_model {printable(request.model_uri)!r}: {response.message}'
        # two lines on purpose: rclpy raises when one line logs with different severities
        if response.result == response.RESULT_SUCCESS:
            self._node.get_logger().info(text)
        else:
            self._node.get_logger().error(text)
        return response

    def _reload(self, request, codes) -> tuple[int, str]:
        """Result code and message of a reload; the old model stays on failure."""
        models, product = self.models, request.object_type
        if models is None:
            return codes.RESULT_NOT_CONFIGURED, 'the node is not configured'
        current = models.get(product)
        if current is None:
            text = f'object_type is {product!r}, wanted one of {models.names}'
            return codes.RESULT_INVALID, text
        if not self._loading.acquire(blocking=False):
            return codes.RESULT_BUSY, 'another reload is under way'
        try:
            model = self._load(request.model_uri or str(current.path))
        except Exception as error:  # a service must answer
            return reload_result(error), str(error) or type(error).__name__
        finally:
            self._loading.release()
        models.swap(product or models.names[0], model)
        self._on_swap(product or models.names[0])
        self.announce()
        return codes.RESULT_SUCCESS, f'model {model.info.model_id!r} is in use'
