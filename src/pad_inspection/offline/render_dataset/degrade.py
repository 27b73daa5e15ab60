"""What a camera does to a rendered picture: defocus, sensor noise, JPEG."""

from __future__ import annotations

import numpy as np

from pad_inspection.offline.render_dataset.profiles import Options


def degrade(image: np.ndarray, options: Options, rng: np.random.Generator) -> np.ndarray:
    """Apply blur, noise and JPEG, in this order, as far as the options ask for them.

    Args:
        image: uint8 (H, W, 3).
        options: blur (px), noise (of 255, at white; falls with the square root of the signal, as
            photon noise does, to a third at black), JPEG quality.
        rng: the only source of randomness.
    """
    import cv2

    if options.blur > 0:
        image = cv2.GaussianBlur(image, (0, 0), options.blur)
    if options.noise > 0:
        signal = image.astype(np.float32)
        sigma = options.noise * np.sqrt(1 / 9 + 8 / 9 * signal / 255)
        noisy = signal + sigma * rng.standard_normal(image.shape, np.float32)
        image = np.rint(np.clip(noisy, 0, 255)).astype(np.uint8)
    if options.jpeg:
        coded = cv2.imencode('.jpg', image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, options.jpeg])[1]
        image = np.ascontiguousarray(cv2.imdecode(coded, cv2.IMREAD_COLOR)[..., ::-1])
    return image
