"""What `pad evaluate-all` compares: published methods, ours with one part removed, and ours with
the truth put in for one step.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pad_inspection.config import PRESETS, InspectionConfig, from_dict, preset_config, to_dict
from pad_inspection.offline import truth


@dataclass(frozen=True)
class Method:
    """One row of the tables.

    Attributes:
        name: for folders and the command line.
        title: for people.
        preset: options to start from.
        changes: nested options that differ from the preset.
        truths: what is put in instead of found (offline.truth), for analysis.
    """

    name: str
    title: str
    preset: str
    changes: dict[str, Any]
    truths: frozenset[str] = frozenset()


_TITLES = {
    'ours': 'ours',
    'paper': 'paper: union of masks, binary paste, highest pixel',
    'paper_silhouette_only': 'paper, rendered silhouette only (its table 6)',
    'paper_background_free': 'paper, background removed (its table 7)',
    'splatpose_plus': 'SplatPose+ on background-removed pictures',
}
# Each removes one part of ours.
_ABLATIONS: dict[str, tuple[str, dict[str, Any]]] = {
    'without_soft_alpha': ('binary paste', {'background': {'composition': 'binary'}}),
    'without_surroundings': (
        'union of masks instead of the surroundings',
        {'comparison': {'region': 'union'}},
    ),
    'without_color': ('no colour level', {'comparison': {'color_weight': 0.0}}),
    'without_hue': ('no colours at the same luminance', {'comparison': {'hue_weight': 0.0}}),
    'without_tolerance': ('no misalignment tolerated', {'comparison': {'tolerance_px': 0.0}}),
    'without_light': (
        'light of the render not matched',
        {'comparison': {'match_light': 'none'}},
    ),
    'without_light_transfer': (
        'one brightness instead of light from all sides',
        {'comparison': {'match_light': 'gain'}},
    ),
    'without_learned': ('no learnt comparison', {'comparison': {'learned_weight': 0.0}}),
    'without_statistics': (
        'levels not weighed by normal views',
        {'comparison': {'use_statistics': False}},
    ),
    'without_uncertainty': (
        'expected residual of the surface not subtracted',
        {'comparison': {'uncertainty_weight': 0.0}},
    ),
    'without_contrast': (
        'what surroundings differ by not subtracted',
        {'comparison': {'contrast_sigma': 0.0}},
    ),
    'without_surface': (
        'views not joined on the surface',
        {'comparison': {'surface_spacing': 0.0}},
    ),
    'without_joined_maps': (
        'each picture alone, maps not joined',
        {'comparison': {'joined_share': 0.0}},
    ),
    'without_photographs': (
        'render alone, no photographs',
        {'comparison': {'num_photographs': 0}},
    ),
    'without_edge_weight': (
        'silhouette band counts fully',
        {'comparison': {'edge_weight': 1.0}},
    ),
    'without_crop': ('whole image instead of a crop', {'comparison': {'crop': False}}),
    'without_region_score': (
        'highest pixel instead of the best region',
        {'comparison': {'image_score': 'max'}},
    ),
    'without_refinement': ('pose of PnP, not refined', {'refinement': {'max_steps': 0}}),
}
ABLATIONS = tuple(_ABLATIONS)
# The published comparison with views joined as ours are: what of the difference is the joining.
_JOINED_PAPER = 'paper_joined_maps'
# Each puts in the truth for a step of ours.
_TRUTHS: dict[str, tuple[str, frozenset[str]]] = {
    'with_true_pose': ('true pose put in', frozenset({truth.POSE})),
    'with_true_mask': ('true segmentation put in', frozenset({truth.MASK})),
    'with_true_pose_and_mask': (
        'true pose and segmentation put in',
        frozenset({truth.POSE, truth.MASK}),
    ),
}
TRUTHS = tuple(_TRUTHS)
METHODS: dict[str, Method] = {
    **{name: Method(name, _TITLES[name], name, {}) for name in PRESETS},
    _JOINED_PAPER: Method(
        _JOINED_PAPER,
        'paper, maps of a piece joined as in ours',
        'paper',
        {'comparison': {'joined_share': InspectionConfig().comparison.joined_share}},
    ),
    **{
        name: Method(name, title, 'ours', changes) for name, (title, changes) in _ABLATIONS.items()
    },
    **{name: Method(name, title, 'ours', {}, truths) for name, (title, truths) in _TRUTHS.items()},
}


def method_config(method: Method, own: InspectionConfig) -> InspectionConfig:
    """Options of a method for a bundle.

    Args:
        method: which.
        own: options that the bundle was calibrated with. Segmentation and localisation are the
            bundle's in every method: what is compared is how anomalies are found.
    """
    base = own if method.preset == 'ours' else preset_config(method.preset)
    kept = {
        'segmentation': to_dict(own.segmentation),
        'localization': to_dict(own.localization),
        'rendering': to_dict(own.rendering),
        'decision': to_dict(own.decision),
    }
    return from_dict(InspectionConfig, method.changes, from_dict(InspectionConfig, kept, base))
