"""An Inspector that is told the true pose or mask: how much of an error comes from each step.

For analysis only. Whatever is still missed with the truth put in is missed by the rendering, the
comparison or the score.
"""

from __future__ import annotations

import numpy as np

from pad_inspection import images
from pad_inspection.datatypes import Camera, PoseEstimate, PoseStatus
from pad_inspection.observation import RefinedPose
from pad_inspection.offline.cached_inspector import CachedInspector

POSE, MASK = 'pose', 'mask'


class TruthInspector(CachedInspector):
    """A CachedInspector with true values in place of what some steps find."""

    def __init__(self, *args, truths: frozenset[str], **kwargs):
        """As CachedInspector.

        Args:
            *args: see CachedInspector.
            truths: which of POSE and MASK.
            **kwargs: see CachedInspector.
        """
        super().__init__(*args, **kwargs)
        self._truths = truths
        self._test = None

    def tell(self, test) -> None:
        """Say which picture comes next (dataset.TestImage).

        Raises:
            ValueError: its true pose is not known.
        """
        if test.cam_from_object is None:
            raise ValueError(f'{test.name} has no true pose in test.json, so none can be put in')
        self._test = test

    def segment(self, query: np.ndarray) -> np.ndarray | None:
        """The silhouette of a good piece in the true pose, with what was added to this one.

        Where a part is missing the mask shows it all the same: the data set does not say what is
        behind it.
        """
        test = self._test
        if MASK not in self._truths:
            return super().segment(query)
        camera = images.undistort(query, test.camera)[1]
        _, alpha = self.scene.draw(camera, test.cam_from_object)
        if test.defect == 'added':
            alpha = np.maximum(alpha, test.load_mask())
        return alpha.astype(np.float32)

    def localize(self, query, probability, camera: Camera) -> list[PoseEstimate]:
        """See Inspector."""
        if POSE not in self._truths:
            return super().localize(query, probability, camera)
        return [PoseEstimate(PoseStatus.LOCALIZED, self._test.cam_from_object)]

    def refine(self, hypotheses, query, probability, camera: Camera) -> RefinedPose:
        """See Inspector."""
        if POSE not in self._truths:
            return super().refine(hypotheses, query, probability, camera)
        return RefinedPose(hypotheses[0])

    def _verified(self, refined: RefinedPose, camera: Camera) -> PoseEstimate:
        """The true pose needs no check."""
        return refined.pose if POSE in self._truths else super()._verified(refined, camera)
