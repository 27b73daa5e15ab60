"""Writes what goes with the pictures of a class: masks, lists, provenance."""

from __future__ import annotations

from typing import Any

import numpy as np

from pad_inspection import dataset, geometry, images
from pad_inspection.nerf_files import write_json
from pad_inspection.offline.render_dataset import plan as planning
from pad_inspection.offline.render_dataset.idcast import MaskCaster
from pad_inspection.offline.render_dataset.ldraw import format_ldr
from pad_inspection.offline.render_dataset.plan import ObjectPlan
from pad_inspection.offline.render_dataset.shots import (
    ClassPlan,
    Settings,
    image_path,
    training_path,
)

FORMAT = 'pad_inspection data set 1'
# A defect that covers less of the picture than this cannot be seen: the view is normal.
MIN_VISIBLE_SHARE = 1e-4


def write_lists(item: ClassPlan, settings: Settings) -> None:
    """Write masks and the JSON files of a class whose pictures are all there."""
    folder, product = item.folder, item.product
    views = [
        dataset.TrainingView(path.stem, path, item.camera, pose)
        for pose, path in (
            (pose, training_path(folder, k)) for k, pose in enumerate(item.training)
        )
    ]
    for split in ('test', 'validation'):
        entries = [
            entry for plan in item.objects if plan.split == split for entry in _entries(item, plan)
        ]
        if entries:
            listed, extra = zip(*entries)
            path = folder / f'{split}.json'
            dataset.write_images_json(path, item.camera, list(listed), list(extra))
    model = format_ldr(product.audit.placements, product.name)
    (folder / 'model.ldr').write_text(model, encoding='utf-8')
    write_json(folder / 'dataset.json', _provenance(item, settings))
    if views:
        # last, because a folder with this file counts as a class
        dataset.write_transforms(folder, views)


def masks_of(item: ClassPlan, plan: ObjectPlan) -> list[np.ndarray]:
    """Masks bool (H, W) of an object's pictures; empty where too little of the defect is seen."""
    if plan.defect is None:
        return [np.zeros((item.camera.height, item.camera.width), bool)] * len(plan.views)
    product = item.product
    caster = MaskCaster(
        product.audit.shapes.library,
        product.audit.placements,
        plan.placements,
        plan.defect,
        planning.world_from_model(product, plan),
    )
    masks = [caster.mask(item.camera, view.cam_from_world) for view in plan.views]
    return [m if m.mean() >= MIN_VISIBLE_SHARE else np.zeros_like(m) for m in masks]


def _entries(item: ClassPlan, plan: ObjectPlan) -> list[tuple[dataset.TestImage, dict[str, Any]]]:
    """List entries of an object's pictures; writes their masks."""
    return [_entry(item, plan, v, mask) for v, mask in enumerate(masks_of(item, plan))]


def _entry(
    item: ClassPlan, plan: ObjectPlan, v: int, mask: np.ndarray
) -> tuple[dataset.TestImage, dict[str, Any]]:
    """List entry of a picture; writes its mask."""
    view, defect = plan.views[v], plan.defect
    path = image_path(item.folder, plan, v)
    extra: dict[str, Any] = {}
    mask_path, visible = None, False
    if defect:
        mask_path = item.folder / 'ground_truth' / plan.kind / path.name
        visible = bool(mask.any())
        mask_path.parent.mkdir(parents=True, exist_ok=True)
        images.write(mask_path, 255 * mask.astype(np.uint8), small=True)
        extra = {'part': defect.part, 'part_id': defect.part_id}
        extra |= {'color_before': defect.color_before, 'color_after': defect.color_after}
        extra['mask_px'] = int(mask.sum())
        extra['visible_change'] = round(view.change, 2) if visible and view.change > 0 else 0.0
    extra['world_from_object'] = geometry.to_matrix(plan.world_from_object).tolist()
    extra['cam_from_world'] = geometry.to_matrix(view.cam_from_world).tolist()
    image = dataset.TestImage(
        name=path.relative_to(item.folder).with_suffix('').as_posix(),
        path=path,
        camera=item.camera,
        object_id=plan.id,
        view=v,
        defect=plan.kind,
        visible=visible,
        mask_path=mask_path,
        cam_from_object=planning.cam_from_object(plan, view),
        camera_name=view.camera_name,
    )
    return image, extra


def _provenance(item: ClassPlan, settings: Settings) -> dict[str, Any]:
    """Content of dataset.json."""
    return {
        'format': FORMAT,
        'class': item.product.name,
        **settings.as_json(),
        'complete': True,
        'licence': (
            'Pictures: CC BY 4.0. Brick geometry: The LDraw Parts Library (ldraw.org), CC BY 2.0.'
        ),
        'num_parts': len(item.product.audit.placements),
        'size_m': np.ptp(item.product.points, axis=0).round(6).tolist(),
        'stable_pose_probabilities': [round(p.probability, 4) for p in item.product.poses],
    }
