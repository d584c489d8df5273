"""Corrupted images: what the corruptions of `paretoboard.corruptions` do to stored pixels.

The same image under the same corruption always gives the same pixels, whatever subset or order it comes in: noise is
drawn from the image's id.
"""

from __future__ import annotations

import hashlib
import io
from typing import TYPE_CHECKING, Any

from paretoboard.corruptions import constant, parse

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray


def corrupt(pixels: NDArray[np.uint8], ids: Sequence[str], corruption: str) -> NDArray[np.uint8]:
    """The images under a corruption, e.g. "noise:3".

    Args:
        pixels: (images, channels, height, width); 1 or 3 channels. Not changed.
        ids: of the images.
    Returns: pixels of the same shape; values beyond black and white are cut off, fractions rounded.
    Raises: InputError for what is no corruption.
    Source: Hendrycks & Dietterich 2019, arXiv:1903.12261; their code cuts fractions off where this rounds them.
    """
    name, severity = parse(corruption)
    strength = constant(name, severity, min(pixels.shape[-2:]))
    if name == "jpeg":
        return _jpeg(pixels, round(strength))
    if name == "noise":
        return _noise(pixels, [f"{corruption}\0{image}" for image in ids], strength)
    return _blur(pixels, strength) if name == "blur" else _contrast(pixels, strength)


def _noise(pixels: NDArray[np.uint8], seeds: Sequence[str], deviation: float) -> NDArray[np.uint8]:
    import numpy as np

    noise = np.empty(pixels.shape, np.float32)
    for place, seed in enumerate(seeds):
        drawn_from = np.random.default_rng(int.from_bytes(hashlib.sha256(seed.encode()).digest()[:16], "big"))
        drawn_from.standard_normal(out=noise[place], dtype=np.float32)
    return _as_pixels(pixels + np.float32(255 * deviation) * noise)


def _blur(pixels: NDArray[np.uint8], sigma: float) -> NDArray[np.uint8]:
    import numpy as np
    from scipy.ndimage import gaussian_filter

    # Edges repeat and the kernel ends at 4 sigma: what skimage's gaussian does, which the source uses.
    return _as_pixels(gaussian_filter(pixels.astype(np.float32), (0, 0, sigma, sigma), mode="nearest", truncate=4.0))


def _contrast(pixels: NDArray[np.uint8], share: float) -> NDArray[np.uint8]:
    import numpy as np

    mean = pixels.mean(axis=(2, 3), keepdims=True, dtype=np.float64)
    return _as_pixels((pixels - mean) * share + mean)


def _jpeg(pixels: NDArray[np.uint8], quality: int) -> NDArray[np.uint8]:
    import numpy as np
    from PIL import Image

    found = np.empty_like(pixels)
    for place, image in enumerate(pixels):
        stored = io.BytesIO()
        grey = len(image) == 1
        Image.fromarray(image[0] if grey else image.transpose(1, 2, 0)).save(stored, "JPEG", quality=quality)
        with Image.open(stored) as opened:
            decoded = np.asarray(opened)
        found[place] = decoded[None] if grey else decoded.transpose(2, 0, 1)
    return found


def _as_pixels(values: NDArray[np.floating[Any]]) -> NDArray[np.uint8]:
    import numpy as np

    return np.asarray(np.clip(np.rint(values), 0, 255).astype(np.uint8))
