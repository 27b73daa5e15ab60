"""A tiny dataset folder that helpers.small_inspector can judge: blue pieces, red defects."""

import json
from pathlib import Path

import cv2
import numpy as np

SIZE = 64
BLUE, GREEN = (20, 30, 220), (20, 220, 30)


def picture(defect=False, shift=0, size=SIZE, color=BLUE):
    """A coloured disc on grey, with a red spot when defective; uint8 (size, size, 3) RGB."""
    image = np.full((size, size, 3), 120, np.uint8)
    center = (size // 2 + shift, size // 2)
    cv2.circle(image, center, size // 4, color, -1)
    if defect:
        cv2.circle(image, center, size // 10, (230, 20, 20), -1)
    return image


def write_dataset(root: Path, objects=('good', 'added', 'good'), views=2):
    """Write test images and test.json; returns the class folder."""
    from pad_inspection import images

    class_dir = root / 'disc'
    entries = []
    for index, defect in enumerate(objects):
        for view in range(views):
            name = f'test/{defect}/{index:02d}_{view}.png'
            path = class_dir / name
            path.parent.mkdir(parents=True, exist_ok=True)
            images.write(path, picture(defect != 'good', shift=view))
            entries.append(
                {
                    'file_path': name,
                    'object_id': f'{index:02d}',
                    'view': view,
                    'defect': defect,
                    'visible': defect != 'good',
                    'mask_path': None,
                    'cam_from_object': None,
                }
            )
    content = {
        'width': SIZE,
        'height': SIZE,
        'K': [[90.0, 0.0, SIZE / 2], [0.0, 90.0, SIZE / 2], [0.0, 0.0, 1.0]],
        'distortion': [0.0] * 5,
        'images': entries,
    }
    (class_dir / 'test.json').write_text(json.dumps(content))
    return class_dir
