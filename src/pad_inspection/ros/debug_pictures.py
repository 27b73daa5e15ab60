"""Reads pictures that are made for people; whatever is wrong with one ends no node."""

from __future__ import annotations

import numpy as np
from rclpy.node import Node
from sensor_msgs.msg import CompressedImage, Image

from pad_inspection import images
from pad_inspection.ros import conversions
from pad_inspection.text_safety import MAX_TEXT_LENGTH, printable


def read(
    node: Node, what: str, message: Image | CompressedImage, *, max_side_px: int | None = None
) -> np.ndarray | None:
    """Picture uint8 (H, W, 3) RGB of a message, or None with a warning.

    Args:
        node: that warns, now and then.
        what: the picture is, for the warning.
        message: from anybody.
        max_side_px: a larger picture is shrunk until its longer side is this, px.
    """
    try:
        picture = conversions.image_to_rgb(message)
        height, width = picture.shape[:2]
        factor = 1.0 if max_side_px is None else max_side_px / max(height, width)
        if factor >= 1:
            return picture
        size = max(1, round(width * factor)), max(1, round(height * factor))
        return images.resize(picture, *size)
    except Exception as error:  # of any kind: no picture is worth a node
        text = printable(f'{type(error).__name__}: {error}', MAX_TEXT_LENGTH)
        node.get_logger().warning(f'{what} cannot be read: {text}', throttle_duration_sec=10.0)
        return None
