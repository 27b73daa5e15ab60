"""The models that an inspection node has loaded: one, or one for each product.

The worker inspects while a service swaps models; a running inspection ends with the model that it
began with.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Mapping

from pad_inspection.datatypes import Frame, Inspection, Reason, Verdict
from pad_inspection.recognition import recognize, with_product_conflict
from pad_inspection.ros.model_loading import Model
from pad_inspection.text_safety import printable

# Pieces whose product is remembered, so that all their views are of one.
_MAX_REMEMBERED = 256


class ModelSet:
    """Models by product; '' is the name of an only one. Thread-safe but for ``inspect``."""

    def __init__(
        self, models: Mapping[str, Model], *, margin: float = 0.0, only_product: str = ''
    ):
        """Take over loaded models.

        Args:
            models: by product, at least one.
            margin: see recognition.recognize.
            only_product: of an only model without a name; '' = that of its bundle, the model_id.
        """
        self._lock = threading.Lock()
        self._models = dict(models)
        self._margin = margin
        self._only_product = only_product
        self._recognized: OrderedDict[tuple[str, int], str] = OrderedDict()

    @property
    def names(self) -> list[str]:
        """Products, in the order of the parameters."""
        return list(self._models)

    def get(self, object_type: str = '') -> Model | None:
        """Model of a product; of an only one for ''. None when there is none."""
        with self._lock:
            if not object_type and len(self._models) == 1:
                return next(iter(self._models.values()))
            return self._models.get(object_type)

    def swap(self, object_type: str, model: Model) -> None:
        """Put a model in the place of that of a product."""
        with self._lock:
            self._models[object_type] = model

    def inspect(
        self, frame: Frame, object_type: str, use: int = 0
    ) -> tuple[Inspection, str, Model | None]:
        """Inspect a frame as a product.

        Args:
            frame: the image.
            object_type: product; '' = the only one, or whichever is recognised.
            use: which piece of its object_id, where they come again.

        Returns:
            The inspection, its product ('' when not recognised) and the model that was used.
        """
        with self._lock:
            models = dict(self._models)
        if not object_type and len(models) > 1:
            return self._recognize(models, frame, use)
        name = object_type or next(iter(models))
        model = models.get(name)
        if '' in models and name:
            # an only model without a name is that of one product all the same
            only = self._only_product or models[''].info.model_id
            model, models = (models[''] if name == only else None), {only: models['']}
        if model is None:
            text = f'product {printable(name)!r} has no model here, there are {sorted(models)}'
            return _refused(frame, text), '', None
        return model.inspector.inspect(frame), name, model

    def _recognize(
        self, models: dict[str, Model], frame: Frame, use: int
    ) -> tuple[Inspection, str, Model | None]:
        """Inspect with the model that localises best; a piece stays the same product."""
        inspectors = {name: model.inspector for name, model in models.items()}
        name, inspection = recognize(inspectors, frame, self._margin)
        if not name:
            return inspection, '', None
        before = name
        if frame.object_id:
            before = self._recognized.setdefault((frame.object_id, use), name)
        while len(self._recognized) > _MAX_REMEMBERED:
            self._recognized.popitem(last=False)
        if before != name:
            return with_product_conflict(inspection, name, before), '', models[name]
        return inspection, name, models[name]


def _refused(frame: Frame, text: str) -> Inspection:
    """Inspection of a frame for which there is no model."""
    return Inspection(
        Verdict.UNDETERMINED,
        Reason.MODEL_NOT_LOADED,
        text,
        query=frame.image,
        camera_name=frame.camera_name,
        object_id=frame.object_id,
        stamp_ns=frame.stamp_ns,
    )
