"""Images in the files that a call begins with."""

from __future__ import annotations

import io
import shutil
import tempfile
import weakref
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from paretoboard.datasets.preprocess import channel_values, in_order, pixel_scale
from paretoboard.errors import InputError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from paretoboard.artifact import InputPipeline
    from paretoboard.spec import Preprocess

# Float32's rounding moves a pixel of 255 by less than a thousandth.
_ROUNDING: Final = 0.01
_SUFFIXES: Final = {"png": "png", "jpeg": "jpg", "records": "bin"}
LABEL_BYTES: Final = 1  # before the pixels of a record, as in CIFAR-10's binary version


@dataclass(frozen=True, slots=True, kw_only=True, weakref_slot=True)
class StoredBatch:
    """The files of some images; they are gone when this is."""

    files: tuple[str, ...]  # one of each image, or one of all their records

    @property
    def size_bytes(self) -> int:
        """Of all files."""
        return sum(Path(file).stat().st_size for file in self.files)


def pixels_of(images: NDArray[np.float32], preprocess: Preprocess) -> NDArray[np.uint8]:
    """The stored pixels that preprocessing made `images` of, (images, channels, height, width) as they are.

    Raises: InputError for images that no pixels from 0 to 255 give.
    """
    channels = images.shape[1]
    mean = channel_values(preprocess.mean, channels, "mean").astype(np.float64)
    std = channel_values(preprocess.std, channels, "std").astype(np.float64)
    values = (images * std + mean) / pixel_scale(preprocess)
    whole = np.rint(values)
    if not bool(((np.abs(values - whole) <= _ROUNDING) & (whole >= 0) & (whole <= 255)).all()):
        raise InputError("an input pipeline begins with stored pixels, 0 to 255, and these images were made of none")
    return in_order(whole.astype(np.uint8), preprocess)


def store(pixels: NDArray[np.uint8], pipeline: InputPipeline) -> StoredBatch:
    """Write (images, channels, height, width) to new files, below the folder for temporary ones."""
    folder = Path(tempfile.mkdtemp(prefix="paretoboard-images-"))
    if pipeline.stored == "records":
        labels = np.zeros((len(pixels), LABEL_BYTES), np.uint8)  # nobody asks for them
        contents = [np.concatenate([labels, pixels.reshape(len(pixels), -1)], axis=1).tobytes()]
    else:
        contents = [encode(image, pipeline) for image in pixels]
    files = []
    for number, content in enumerate(contents):
        path = folder / f"{number:05d}.{_SUFFIXES[pipeline.stored]}"
        path.write_bytes(content)
        files.append(str(path))
    batch = StoredBatch(files=tuple(files))
    weakref.finalize(batch, shutil.rmtree, folder, ignore_errors=True)
    return batch


def encode(image: NDArray[np.uint8], pipeline: InputPipeline) -> bytes:
    """(channels, height, width) pixels as a PNG or JPEG file, enlarged by bicubic interpolation where it is stored so.

    PNG loses nothing; JPEG has Pillow's defaults but for its quality, so that colours have half the resolution.
    """
    from PIL import Image

    picture = Image.fromarray(image[0] if len(image) == 1 else np.ascontiguousarray(image.transpose(1, 2, 0)))
    if pipeline.side is not None:
        picture = picture.resize((pipeline.side, pipeline.side), Image.Resampling.BICUBIC)
    stream = io.BytesIO()
    if pipeline.stored == "png":
        picture.save(stream, "PNG")
    else:
        picture.save(stream, "JPEG", quality=pipeline.quality)
    return stream.getvalue()
