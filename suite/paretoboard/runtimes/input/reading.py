"""From a file to pixels: reading, decoding, resizing, and a cache of what was decoded."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from paretoboard.runtimes.input.stored import LABEL_BYTES

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from paretoboard.artifact import InputPipeline

_DIGEST_BYTES: Final = 16
_GREY: Final = 1  # channels


class ImageReader:
    """Paths of image files to (channels, height, width) pixels; can be sent to another process."""

    def __init__(self, pipeline: InputPipeline, shape: tuple[int, int, int]) -> None:
        """Args:
        shape: (channels, height, width) of what the model takes.
        """
        self._pipeline, self._shape = pipeline, shape
        self._decode: Callable[..., NDArray[np.uint8]] = _DECODERS[pipeline.decoder]
        # By content, so that a file that has changed is decoded again. All that was read is kept for as long as this
        # is: what a training run or a server keeps that has the memory.
        self._cache: dict[bytes, NDArray[np.uint8]] | None = {} if pipeline.cached else None

    def __call__(self, path: str) -> NDArray[np.uint8]:
        """The image in a file."""
        with open(path, "rb") as stream:  # noqa: PTH123 - a Path costs several microseconds, in a timed call
            content = stream.read()
        if self._cache is None:
            return self._decode(content, self._pipeline, self._shape)
        key = hashlib.blake2b(content, digest_size=_DIGEST_BYTES).digest()
        found = self._cache.get(key)
        if found is None:
            found = self._cache[key] = self._decode(content, self._pipeline, self._shape)
        return found


def read_records(path: str, shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """(images, *shape) pixels from a file of records: a label, then the planes of the channels."""
    content = np.frombuffer(Path(path).read_bytes(), np.uint8)
    size = LABEL_BYTES + int(np.prod(shape))
    return np.ascontiguousarray(content.reshape(-1, size)[:, LABEL_BYTES:]).reshape(-1, *shape)


def _pillow(content: bytes, pipeline: InputPipeline, shape: tuple[int, int, int]) -> NDArray[np.uint8]:
    """Decode and resize by Pillow, whose bilinear and bicubic filters are always antialiased."""
    from PIL import Image

    channels, height, width = shape
    mode = "L" if channels == _GREY else "RGB"
    with Image.open(io.BytesIO(content), formats=("PNG", "JPEG")) as picture:
        if pipeline.draft:
            picture.draft(mode, (width, height))
        image = picture.convert(mode)
    if image.size != (width, height):
        image = image.resize((width, height), Image.Resampling[pipeline.filter.upper()])
    return np.asarray(image).reshape(height, width, channels).transpose(2, 0, 1)


def _torchvision(content: bytes, pipeline: InputPipeline, shape: tuple[int, int, int]) -> NDArray[np.uint8]:
    """Decode by torchvision and resize by torch, antialiased like Pillow."""
    import torch
    from torchvision.io import ImageReadMode, decode_image

    channels, height, width = shape
    mode = ImageReadMode.GRAY if channels == _GREY else ImageReadMode.RGB
    image = decode_image(torch.frombuffer(bytearray(content), dtype=torch.uint8), mode=mode)
    if tuple(image.shape[1:]) != (height, width):
        nearest = pipeline.filter == "nearest"
        image = torch.nn.functional.interpolate(
            image[None],
            size=(height, width),
            mode="nearest-exact" if nearest else pipeline.filter,
            antialias=not nearest,
        )[0]
    pixels: NDArray[np.uint8] = image.numpy()
    return pixels


_DECODERS: Final = {"pillow": _pillow, "torchvision": _torchvision}
