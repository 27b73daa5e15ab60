"""Contact sheet of a data set: training views, and test images with their masks outlined.

Examples:
    pad dataset preview out/benchmark/coupe --out coupe.png
    pad dataset preview out/benchmark --out benchmark.html
    pad dataset preview demo/data --out demo.png --tile 240

A green line is the border of a mask; "hidden" means that the defect cannot be seen in this view.
"""

from __future__ import annotations

import argparse
import base64
import html
from pathlib import Path

import numpy as np

from pad_inspection import dataset, images

_GREEN = (0, 230, 0)
_TRAINING_SHOWN = 9
_BAR_PX = 18


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of ``pad dataset preview``."""
    parser.add_argument('folder', type=Path, help='data set, or one class of it')
    parser.add_argument('--out', required=True, type=Path, help='page.png or page.html')
    parser.add_argument('--tile', type=int, default=160, help='size of a picture, px (160)')
    parser.add_argument(
        '--objects', type=int, default=1000, metavar='N', help='at most N objects of a class'
    )


def run(args: argparse.Namespace) -> int:
    """Write the sheet.

    Raises:
        FileNotFoundError: there is no class folder, or a picture is missing.
        ValueError: a file does not hold what it should, or --out is no page.
    """
    if args.out.suffix not in ('.png', '.html'):
        raise ValueError(f'--out is {args.out}, wanted a name in .png or .html')
    rows = [
        row
        for folder in dataset.class_dirs(args.folder)
        for row in class_rows(folder, args.tile, args.objects)
    ]
    args.out.parent.mkdir(parents=True, exist_ok=True)
    if args.out.suffix == '.png':
        images.write(args.out, sheet(rows, args.tile), small=True)
    else:
        args.out.write_text(page(rows, args.tile), encoding='utf-8')
    print(args.out)
    return 0


def class_rows(class_dir: Path, tile: int, max_objects: int) -> list[tuple[str, list[np.ndarray]]]:
    """Rows of a class: a title and pictures uint8 (tile, tile, 3) each.

    Raises:
        FileNotFoundError, ValueError: as the readers of dataset.py.
    """
    name = dataset.class_name(class_dir)
    views = dataset.read_training_views(class_dir)
    chosen = np.unique(np.linspace(0, len(views) - 1, _TRAINING_SHOWN).astype(int))
    shown = [_tile(views[k].load()[0], tile) for k in chosen]
    rows = [(f'{name}: training, {len(views)} views', shown)]
    found = dataset.read_test_images(class_dir) + dataset.read_validation_images(class_dir)
    objects: dict[tuple[str, str], list[dataset.TestImage]] = {}
    for image in found:
        split = image.name.split('/')[0]
        # without a list of objects every image is one: show the images of a defect together
        by_defect = image.cam_from_object is None and image.object_id == image.name
        key = (split, image.defect if by_defect else image.object_id)
        objects.setdefault(key, []).append(image)
    for (split, key), group in list(objects.items())[:max_objects]:
        hidden = [str(i.view) for i in group if i.defect != dataset.GOOD and not i.visible]
        note = f', hidden in view {" ".join(hidden)}' if hidden else ''
        title = f'{name}: {split} {key}, {group[0].defect}{note}'
        rows.append((title, [_outlined(image, tile) for image in group]))
    return rows


def sheet(rows: list[tuple[str, list[np.ndarray]]], tile: int) -> np.ndarray:
    """One picture of all rows, uint8 (H, W, 3)."""
    import cv2

    columns = max(_TRAINING_SHOWN, max(len(pictures) for _, pictures in rows))
    strips: list[np.ndarray] = []
    used = columns
    for title, pictures in rows:
        if used + len(pictures) > columns:
            strips.append(np.full((_BAR_PX + tile, columns * tile, 3), 255, np.uint8))
            used = 0
        # short rows share a strip
        strip = strips[-1][:, used * tile : (used + len(pictures)) * tile]
        where, font = (4, _BAR_PX - 5), cv2.FONT_HERSHEY_SIMPLEX
        bar = np.full((_BAR_PX, strip.shape[1], 3), 255, np.uint8)
        strip[:_BAR_PX] = cv2.putText(bar, title, where, font, 0.42, (0, 0, 0), 1, cv2.LINE_AA)
        strip[_BAR_PX:] = np.concatenate(pictures, axis=1)
        used += len(pictures)
    return np.concatenate(strips)


def page(rows: list[tuple[str, list[np.ndarray]]], tile: int) -> str:
    """A self-contained HTML page of all rows."""
    import cv2

    parts = [
        '<!doctype html><meta charset="utf-8"><title>Data set</title>'
        '<style>body{font:14px sans-serif;margin:1em}img{margin:1px}p{margin:.6em 0 .2em}</style>'
    ]
    for title, pictures in rows:
        parts.append(f'<p>{html.escape(title)}</p>')
        for picture in pictures:
            _, data = cv2.imencode('.jpg', picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 85])
            code = base64.b64encode(data.tobytes()).decode('ascii')
            parts.append(
                f'<img width="{tile}" height="{tile}" src="data:image/jpeg;base64,{code}">'
            )
    return '\n'.join(parts) + '\n'


def _outlined(image: dataset.TestImage, tile: int) -> np.ndarray:
    """Tile of a test image with its mask's border."""
    small = _tile(image.load_image(), tile)
    mask = image.load_mask()
    if not mask.any():
        return small
    shrunk = _tile(255 * np.repeat(mask[..., None], 3, axis=2).astype(np.uint8), tile)
    return images.outline(small, images.dilate(shrunk[..., 0] > 0, 1), _GREEN)


def _tile(picture: np.ndarray, tile: int) -> np.ndarray:
    """Picture scaled into a square on white."""
    height, width = picture.shape[:2]
    ratio = tile / max(height, width)
    size = (max(1, round(width * ratio)), max(1, round(height * ratio)))
    small = images.resize(picture, *size)
    square = np.full((tile, tile, 3), 255, np.uint8)
    square[: size[1], : size[0]] = small
    return square
