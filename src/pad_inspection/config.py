"""All tunable values, once: frozen dataclasses with unit, range and documentation.

They feed the YAML files, the ROS parameters, the command line and the parameter table in the docs.
Unknown keys and values out of range raise ValueError with what was got and what was wanted.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_type_hints

from pad_inspection.checked_options import CheckedOptions, option
from pad_inspection.decision_config import DecisionConfig
from pad_inspection.presets import FIT_PROFILE_VALUES, PRESET_VALUES, PRESETS


@dataclass(frozen=True)
class SegmentationConfig(CheckedOptions):
    """Which pixels of the query are object."""

    network: str = option(
        'isnet',
        'product (trained by pad build on the product itself, in the bundle), isnet (installed '
        'with the package), birefnet (from weights), silhouette (none: only the rendered '
        'silhouette is compared; localisation then matches without a mask)',
        choices=('product', 'isnet', 'birefnet', 'silhouette'),
    )
    weights: str = option('', 'file of the network; empty = the installed one')
    threshold: float = option(0.5, 'probability above which a pixel is object', low=0.0, high=1.0)
    input_px: int = option(
        1024,
        'side of the square that ISNet sees',
        unit='px',
        choices=(512, 640, 768, 896, 1024),
    )
    second_input_px: int = option(
        512,
        'ISNet runs a second time at this size and both results are averaged: its mistakes are '
        'others there; 0 = one run only',
        unit='px',
        choices=(0, 512, 640, 768, 896, 1024),
    )
    single_object: bool = option(
        True, 'keep the largest piece only and cut off thin lines that lead away from it'
    )
    min_area_fraction: float = option(
        0.005, 'less object than this share of the image means: no object', low=0.0, high=1.0
    )


@dataclass(frozen=True)
class LocalizationConfig(CheckedOptions):
    """From an image and its mask to a pose."""

    features: str = option(
        'xfeat',
        'local features: xfeat (fast), aliked (accurate), sift (classical), superpoint (from '
        'features_weights)',
        choices=('xfeat', 'aliked', 'sift', 'superpoint'),
    )
    features_weights: str = option('', 'weights file of superpoint')
    matcher: str = option(
        'mutual_nn',
        'mutual_nn, or lightglue (LightGlue for aliked and superpoint, LighterGlue for xfeat)',
        choices=('mutual_nn', 'lightglue'),
    )
    matcher_weights: str = option(
        '',
        'weights file of lightglue; empty = the installed one (aliked, xfeat); superpoint needs '
        'superpoint_lightglue.pth',
        as_before=True,
    )
    retrieval: str = option(
        'votes',
        'which reference views look like the query: votes (of the local features), or netvlad '
        '(from retrieval_weights; slow on a CPU; the bundle must be built with it)',
        choices=('votes', 'netvlad'),
        as_before=True,
    )
    retrieval_weights: str = option(
        '', 'MATLAB file of netvlad (VGG16-NetVLAD-Pitts30K.mat)', as_before=True
    )
    max_keypoints: int = option(1024, 'keypoints of an image', low=64, high=8192)
    crop_px: int = option(
        512, 'the object is cropped and scaled to this size', unit='px', low=128, high=4096
    )
    num_rotations: int = option(
        4, 'in-plane turns of the query that are tried (1, 2, 4 or 8)', choices=(1, 2, 4, 8)
    )
    num_retrieved: int = option(10, 'reference views that are matched', low=1, high=200)
    min_cosine: float = option(
        0.0,
        'least similarity of mutual neighbours; 0 = what suits the features',
        low=0.0,
        high=1.0,
    )
    ransac_threshold_px: float = option(4.0, 'PnP inlier distance', unit='px', low=0.1, high=100.0)
    min_inliers: int = option(30, 'fewer PnP inliers mean: not localised', low=4, high=8192)
    min_spread: int = option(
        24,
        'PnP inliers in fewer cells (1/16 of the object wide) mean: not localised; matches on '
        'another object or on clutter agree in few places only',
        low=1,
        high=200,
    )
    max_hypotheses: int = option(3, 'poses that are verified by rendering', low=1, high=20)
    seed: int = option(0, 'seed of RANSAC', low=0, high=2**31 - 1)


@dataclass(frozen=True)
class RefinementConfig(CheckedOptions):
    """Photometric refinement of the pose against the splats, and verification."""

    max_steps: int = option(40, 'steps at most; 0 = no refinement', low=0, high=1000)
    coarse_factor: int = option(
        2, 'render at 1/factor of the image for the first half', low=1, high=16
    )
    min_silhouette_iou: float = option(
        0.7,
        'least overlap of the rendered and the segmented silhouette; calibration may raise it',
        low=0.0,
        high=1.0,
    )
    min_agreement: float = option(
        0.5,
        'least correlation of render and image inside the silhouette; calibration may raise it',
        low=-1.0,
        high=1.0,
    )


@dataclass(frozen=True)
class RenderingConfig(CheckedOptions):
    """How the splats are rendered, and where."""

    device: str = option(
        'auto',
        'where splats are drawn and networks run; auto: cuda if there is any',
        choices=('auto', 'cpu', 'cuda'),
    )
    threads: int = option(0, 'CPU threads, 0 = all', low=0, high=256)
    silhouette_alpha: float = option(
        0.5, 'rendered alpha above which a pixel is object', low=0.01, high=0.99
    )


@dataclass(frozen=True)
class BackgroundConfig(CheckedOptions):
    """What is behind the object: inpainting, and how the reference picture is put together."""

    inpainter: str = option(
        'telea',
        'telea (smooth, fast), patchmatch (keeps texture), lama (TorchScript file in '
        'lama_weights), none',
        choices=('patchmatch', 'telea', 'lama', 'none'),
    )
    lama_weights: str = option('', "path of LaMa's TorchScript file")
    dilation_px: int = option(
        5, 'the mask is grown by this before inpainting', unit='px', low=0, high=500
    )
    max_inpaint_px: int = option(
        200, 'inpainting works at most at this size of the crop', unit='px', low=32, high=8192
    )
    composition: str = option(
        'alpha', 'alpha: C + (1-A) B; binary: paste by mask', choices=('alpha', 'binary')
    )


@dataclass(frozen=True)
class ComparisonConfig(CheckedOptions):
    """Query against reference picture -> anomaly map -> score."""

    backbone: str = option(
        'efficientnet_lite0',
        'efficientnet_lite0, or from backbone_weights efficientnet_b4 or dino (DINO, DINOv2)',
        choices=('efficientnet_lite0', 'efficientnet_b4', 'dino'),
    )
    backbone_weights: str = option('', 'weights file; empty = the installed one')
    num_levels: int = option(4, 'feature levels, from the finest', low=1, high=4)
    crop: bool = option(True, 'compare a crop around the object, else the whole image')
    input_px: int = option(
        384, 'the longer side of what is compared is scaled to this', unit='px', low=64, high=2048
    )
    region: str = option(
        'surroundings',
        'what is compared: the silhouette and its surroundings, the union of silhouette and '
        'segmentation, the silhouette only, or the whole image',
        choices=('surroundings', 'union', 'silhouette', 'image'),
    )
    surroundings: float = option(
        0.2,
        'width of the surroundings as a share of the longer side of the object',
        low=0.0,
        high=1.0,
    )
    unsegmented_weight: float = option(
        0.25,
        'weight of surroundings where the segmentation sees no object; 1 = it is not asked',
        low=0.0,
        high=1.0,
    )
    distance: str = option(
        'cosine', 'cosine of normalised features, or squared_l2', choices=('cosine', 'squared_l2')
    )
    learned_weight: float = option(
        0.0,
        'weight of the learnt comparison, which pad build trains on synthetic defects of the '
        'product; 0 = none',
        low=0.0,
        high=100.0,
    )
    color_weight: float = option(1.0, 'weight of the colour level; 0 = none', low=0.0, high=100.0)
    hue_weight: float = option(
        1.0,
        'weight of the level of colours at the same luminance, which shading and shadows leave '
        'alone; 0 = none',
        low=0.0,
        high=100.0,
    )
    edge_weight: float = option(
        0.7, 'weight of a narrow band along the silhouette', low=0.0, high=1.0
    )
    tolerance_px: float = option(
        2.0,
        'misalignment of both pictures (at the compared size) that is tolerated',
        unit='px',
        low=0.0,
        high=8.0,
    )
    match_light: str = option(
        'transfer',
        'give the render the light of the query first. transfer: light from other sides, with the '
        'shadows of the object on itself, for pieces that lie otherwise under the lamps than in '
        'the pictures of the model; gain: one factor; none',
        choices=('transfer', 'gain', 'none'),
    )
    num_photographs: int = option(
        3,
        'photographs of good pieces from the nearest directions that colours are compared with '
        'beside the render, moved to its pose; what is most alike counts; 0 = the render alone',
        low=0,
        high=16,
    )
    blur_sigma_px: float = option(2.0, 'Gaussian blur of the map', unit='px', low=0.0, high=32.0)
    use_statistics: bool = option(True, 'weigh each level by its mean and spread in normal views')
    uncertainty_weight: float = option(
        0.5,
        "share that is subtracted of what normal views differ by at that place of the object's "
        'surface; 0 = nothing',
        low=0.0,
        high=1.0,
    )
    contrast_sigma: float = option(
        0.022,
        'what the surroundings of a place differ by as well (light, shade) is subtracted; sigma '
        'of these surroundings as a share of the longer side of what is compared; 0 = nothing is',
        low=0.0,
        high=1.0,
    )
    surface_spacing: float = option(
        0.05,
        "places of the surface where a piece's views are joined for its verdict, this share of "
        'its radius apart; 0 = each view counts on its own',
        low=0.0,
        high=1.0,
    )
    joined_share: float = option(
        0.9,
        "share of what all views of a piece show at a place in each view's joined map; "
        '0 = maps are not joined',
        low=0.0,
        high=1.0,
        as_before=True,
    )
    joined_spacing: float = option(
        0.03,
        "places of the surface and points around it where a piece's maps are joined, this share "
        'of its radius apart',
        low=0.01,
        high=1.0,
        as_before=True,
    )
    image_score: str = option(
        'region',
        'region: best connected region; top_fraction; max',
        choices=('region', 'top_fraction', 'max'),
    )
    top_fraction: float = option(0.005, 'share of the compared pixels', low=0.0, high=1.0)
    min_region_px: int = option(30, 'smaller regions are ignored', unit='px', low=1, high=10000)


@dataclass(frozen=True)
class InspectionConfig(CheckedOptions):
    """The online flow, in the order of its steps."""

    preset: str = option('ours', 'which method the values stand for', choices=PRESETS)
    segmentation: SegmentationConfig = field(default_factory=SegmentationConfig)
    localization: LocalizationConfig = field(default_factory=LocalizationConfig)
    rendering: RenderingConfig = field(default_factory=RenderingConfig)
    refinement: RefinementConfig = field(default_factory=RefinementConfig)
    background: BackgroundConfig = field(default_factory=BackgroundConfig)
    comparison: ComparisonConfig = field(default_factory=ComparisonConfig)
    decision: DecisionConfig = field(default_factory=DecisionConfig)


@dataclass(frozen=True)
class MappingConfig(CheckedOptions):
    """Structure from Motion from views with known poses."""

    mapper: str = option(
        'pycolmap',
        'what triangulates: pycolmap, or hloc where it is installed (same features, same output)',
        choices=('pycolmap', 'hloc'),
    )
    num_neighbors: int = option(10, 'views that each view is matched with', low=1, high=100)
    max_view_angle_deg: float = option(45.0, 'between matched views', unit='deg', low=1.0)
    max_epipolar_px: float = option(2.0, 'matches farther from the epipolar line go', unit='px')
    min_triangulation_deg: float = option(1.5, 'least angle of a 3D point', unit='deg', low=0.0)
    min_points: int = option(300, 'a model with fewer 3D points is refused', low=1)
    min_mean_track: float = option(2.2, 'a model with shorter mean tracks is refused', low=1.0)
    max_reprojection_px: float = option(
        3.0, 'a model with a larger mean error is refused', low=0.1
    )


@dataclass(frozen=True)
class FitConfig(CheckedOptions):
    """Fitting the Gaussians."""

    profile: str = option(
        'fast',
        'sets the other defaults: fast (minutes on a CPU), paper (15000 steps, as SplatPose has; '
        'for a GPU or a long wait)',
        choices=('fast', 'paper'),
    )
    iterations: int = option(3000, 'optimisation steps', low=1, high=200000)
    sh_degree: int = option(3, 'degree of the spherical harmonics', low=0, high=3)
    max_gaussians: int = option(30000, 'densification stops there', low=100)
    densify_interval: int = option(100, 'steps between densifications', low=1)
    densify_until: float = option(0.6, 'share of the steps with densification', low=0.0, high=1.0)
    grow_gradient: float = option(
        0.05,
        'summed change of the loss per pixel of motion above which a Gaussian is split',
        low=0.0,
    )
    ssim_weight: float = option(0.2, 'weight of D-SSIM in the loss', low=0.0, high=1.0)
    alpha_weight: float = option(0.1, 'weight of the alpha term in the loss', low=0.0)
    holdout_every: int = option(8, 'one in n views is held out for quality and calibration', low=2)


@dataclass(frozen=True)
class TrainingConfig(CheckedOptions):
    """Training of the product's own networks on synthetic scenes."""

    scenes: int = option(300, 'pictures that are made up', low=4, high=100000)
    epochs: int = option(8, 'times that each picture is used', low=1, high=1000)
    learning_rate: float = option(2e-3, 'highest of the schedule', low=1e-6, high=1.0)


@dataclass(frozen=True)
class CalibrationConfig(CheckedOptions):
    """Thresholds from held-out normal views on synthetic backgrounds."""

    backgrounds_per_view: int = option(4, 'synthetic backgrounds of each held-out view', low=1)
    views_per_object: int = option(3, 'views that an object usually has', low=1)
    light_variation: float = option(
        0.5,
        'how much the light of the synthetic normal views varies: 0 = not at all, 1 = as in '
        'scenes that networks are trained on; larger values give wider limits',
        low=0.0,
        high=3.0,
    )
    turns_deg: float = option(180.0, 'in-plane turns are drawn from +- this', unit='deg', low=0.0)


@dataclass(frozen=True)
class BuildConfig(CheckedOptions):
    """Offline: from pictures of good pieces to a model bundle."""

    seed: int = option(0, 'of everything random', low=0)
    mapping: MappingConfig = field(default_factory=MappingConfig)
    fit: FitConfig = field(default_factory=FitConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)
    calibration: CalibrationConfig = field(default_factory=CalibrationConfig)
    inspection: InspectionConfig = field(default_factory=InspectionConfig)


def preset_config(preset: str) -> InspectionConfig:
    """The inspection configuration of a named preset.

    Raises:
        ValueError: no such preset.
    """
    if preset not in PRESET_VALUES:
        raise ValueError(f'unknown preset {preset!r}, wanted one of {sorted(PRESET_VALUES)}')
    return from_dict(InspectionConfig, {'preset': preset, **PRESET_VALUES[preset]})


def from_dict(config_class, values: dict[str, Any], base=None):
    """Build a configuration from nested mappings; what is not named keeps ``base`` or the default.

    Args:
        config_class: one of the dataclasses here.
        values: nested mapping; for an InspectionConfig a 'preset' key selects the defaults, for a
            FitConfig a 'profile' key.
        base: configuration to start from, or None.

    Raises:
        ValueError: an unknown key, a wrong type, a value out of range.
    """
    if not isinstance(values, dict):
        raise ValueError(f'{config_class.__name__} wants a mapping of options, got {values!r}')
    fields = {f.name: f for f in dataclasses.fields(config_class)}
    unknown = sorted(set(values) - set(fields))
    if unknown:
        raise ValueError(
            f'unknown option(s) {unknown} in {config_class.__name__}, '
            f'wanted some of {sorted(fields)}'
        )
    hints, changes = get_type_hints(config_class), {}
    if base is None:
        base = config_class()
        preset = values.get('preset')
        if config_class is InspectionConfig and preset in PRESET_VALUES:
            base = from_dict(config_class, PRESET_VALUES[preset], base)
    if config_class is FitConfig and values.get('profile') in FIT_PROFILE_VALUES:
        base = from_dict(FitConfig, FIT_PROFILE_VALUES[values['profile']])
    for name, value in values.items():
        if dataclasses.is_dataclass(hints[name]):
            nested_base = getattr(base, name)
            if hints[name] is InspectionConfig and isinstance(value, dict) and 'preset' in value:
                nested_base = None
            value = from_dict(hints[name], value, nested_base)
        changes[name] = value
    return dataclasses.replace(base, **changes)


def to_dict(config) -> dict[str, Any]:
    """Nested plain mapping of a configuration, for JSON and YAML."""
    return dataclasses.asdict(config)


def load_yaml(config_class, path: Path):
    """Read a configuration from a YAML file.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: not YAML, an unknown key or a bad value; the message names the file.
    """
    from pad_inspection.yaml_files import read_yaml

    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f'configuration file {path} does not exist')
    try:
        return from_dict(config_class, read_yaml(path) or {})
    except ValueError as error:
        raise ValueError(f'{path}: {error}') from error
