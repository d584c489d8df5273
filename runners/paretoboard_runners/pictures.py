"""Small pictures for the page: an image beside itself under the maps of two models."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from PIL import Image

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Sides of a panel that are tried until the file is small enough; the last always is: less than a byte a pixel.
_SIDES: Final = (96, 64, 48)
MOST_BYTES: Final = 12_000
_GAP: Final = 4  # white pixels between panels
_COLORS: Final = 64
_OPACITY: Final = 0.6  # of a map where it is strongest
# From weak to strong: dark violet, red, yellow, told apart by brightness alone, too.
_RAMP: Final = np.array([(48, 10, 90), (187, 55, 84), (249, 142, 9), (252, 255, 164)], dtype=np.float64)


def compared_maps(image: NDArray[np.uint8], maps: tuple[NDArray[Any], ...]) -> bytes:
    """A PNG of at most MOST_BYTES: the image, then the image under each map.

    Args:
        image: (channels, height, width), 1 or 3 channels.
        maps: each (height, width) of any size, zero or above; the strongest place of each has full colour.
    """
    content = b""
    for side in _SIDES:
        picture = Image.fromarray(_panels(image, maps, side)).quantize(_COLORS)
        stream = io.BytesIO()
        picture.save(stream, "PNG", optimize=True)
        content = stream.getvalue()
        if len(content) <= MOST_BYTES:
            break
    return content


def _panels(image: NDArray[np.uint8], maps: tuple[NDArray[Any], ...], side: int) -> NDArray[np.uint8]:
    """(side, width, 3)."""
    colored = np.repeat(image, 3, axis=0) if len(image) == 1 else image
    # Of small images every pixel is shown as it is, and not smoothed into what the model never saw.
    how = Image.Resampling.NEAREST if max(image.shape[1:]) < side else Image.Resampling.BILINEAR
    plain = np.asarray(Image.fromarray(np.ascontiguousarray(colored.transpose(1, 2, 0))).resize((side, side), how))
    panels = [plain, *(_under(plain, found, side) for found in maps)]
    gap = np.full((side, _GAP, 3), 255, np.uint8)
    row = [part for panel in panels for part in (panel, gap)][:-1]
    return np.concatenate(row, axis=1)


def _under(plain: NDArray[np.uint8], values: NDArray[Any], side: int) -> NDArray[np.uint8]:
    strongest = float(values.max())
    shares = np.asarray(values, dtype=np.float32) / strongest if strongest > 0 else np.zeros(values.shape, np.float32)
    grown = np.asarray(Image.fromarray(shares).resize((side, side), Image.Resampling.BILINEAR))
    place = np.clip(grown, 0, 1) * (len(_RAMP) - 1)
    colors = np.stack([np.interp(place, range(len(_RAMP)), _RAMP[:, channel]) for channel in range(3)], axis=-1)
    opacity = _OPACITY * np.clip(grown, 0, 1)[..., None]
    return np.asarray(np.rint(plain * (1 - opacity) + colors * opacity), dtype=np.uint8)
