"""From stored pixels to a model's input, in numpy, so that a process without torch can do it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from paretoboard.errors import DataError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from paretoboard.spec import Preprocess


def pixel_scale(preprocess: Preprocess) -> float:
    """What a stored pixel, 0 to 255, is multiplied by."""
    return 1.0 / 255.0 if preprocess.range == "unit" else 1.0


def channel_values(values: tuple[float, ...], channels: int, what: str) -> NDArray[np.float32]:
    """One value per channel as (1, channels, 1, 1); a single value stands for all channels.

    Raises: DataError where there are neither one nor `channels` values.
    """
    import numpy as np

    if len(values) not in (1, channels):
        raise DataError(f"preprocess.{what} has {len(values)} values and the images have {channels} channels")
    return np.broadcast_to(np.asarray(values, np.float32), (channels,)).reshape(1, channels, 1, 1).copy()


def in_order(pixels: NDArray[np.uint8], preprocess: Preprocess) -> NDArray[np.uint8]:
    """Pixels whose channels are red, green and blue in the order that the model takes, and the other way round."""
    return pixels[:, ::-1] if preprocess.order == "bgr" else pixels


def preprocess_images(pixels: NDArray[np.uint8], preprocess: Preprocess) -> NDArray[np.float32]:
    """(images, channels, height, width) stored pixels as float32 input of the same shape.

    Raises: DataError where mean or std do not fit the number of channels.
    """
    import numpy as np

    channels = pixels.shape[1]
    mean = channel_values(preprocess.mean, channels, "mean")
    std = channel_values(preprocess.std, channels, "std")
    images = in_order(pixels, preprocess).astype(np.float32)
    images *= np.float32(pixel_scale(preprocess))
    images -= mean
    images /= std
    return images
