"""What the named presets and fit profiles change from the defaults of config.py."""

from __future__ import annotations

from typing import Any

# The comparison of the published methods: the whole image, no tolerance, the highest pixel counts.
_PUBLISHED_COMPARISON: dict[str, Any] = {
    'color_weight': 0.0,
    'hue_weight': 0.0,
    'crop': False,
    'edge_weight': 1.0,
    'tolerance_px': 0.0,
    'use_statistics': False,
    'match_light': 'none',
    'num_photographs': 0,
    'uncertainty_weight': 0.0,
    'contrast_sigma': 0.0,
    'surface_spacing': 0.0,
    'joined_share': 0.0,
    'blur_sigma_px': 4.0,
    'image_score': 'max',
    'min_region_px': 1,
}
_PAPER: dict[str, Any] = {
    'refinement': {'max_steps': 0},
    'background': {'inpainter': 'patchmatch', 'composition': 'binary', 'max_inpaint_px': 4096},
    'comparison': {**_PUBLISHED_COMPARISON, 'region': 'union'},
}
# What each preset changes from the defaults; 'ours' is the defaults.
PRESET_VALUES: dict[str, dict[str, Any]] = {
    'ours': {},
    'paper': _PAPER,
    # its table 6: added parts that stick out of the rendered silhouette are not looked at
    'paper_silhouette_only': {
        **_PAPER,
        'comparison': {**_PUBLISHED_COMPARISON, 'region': 'silhouette'},
    },
    # its table 7: the background is removed by the segmentation instead of being rebuilt
    'paper_background_free': {
        **_PAPER,
        'background': {'inpainter': 'none', 'composition': 'binary'},
    },
    'splatpose_plus': {
        'refinement': {'max_steps': 0},
        'background': {'inpainter': 'none', 'composition': 'binary'},
        'comparison': {
            **_PUBLISHED_COMPARISON,
            'region': 'image',
            'distance': 'squared_l2',
            'color_weight': 1.0,
        },
    },
}

PRESETS = tuple(PRESET_VALUES)

# What each fit profile changes from the defaults; 'fast' is the defaults.
FIT_PROFILE_VALUES: dict[str, dict[str, Any]] = {
    'fast': {},
    'paper': {
        'iterations': 15000,
        'densify_interval': 1000,
        'max_gaussians': 100000,
    },
}
