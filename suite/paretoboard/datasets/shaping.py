"""Images of a task's size: from files, and from arrays that are stored in another size; kept once they are made."""

from __future__ import annotations

import dataclasses
import hashlib
from typing import TYPE_CHECKING, Final

from paretoboard import geometry, locations
from paretoboard.datasets import packs
from paretoboard.datasets.contents import Contents
from paretoboard.datasets.decoding import decode, fit, planes
from paretoboard.datasets.listing import path_of, shown
from paretoboard.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from paretoboard.datasets import Images
    from paretoboard.spec import Preprocess

FOLDER: Final = "decoded"  # below the per-user cache folder; may be removed at any time
_BOOKS: Final = "books"
_VERSION: Final = 1  # raise when pictures become other pixels


def shaped(images: Images, preprocess: Preprocess) -> Images:
    """`images`, which are stored as arrays, resized and cropped as the task asks."""
    from PIL import Image

    if not geometry.changes(preprocess):
        return images
    _, channels, height, width = images.pixels.shape
    shape = (channels, *geometry.output_size((height, width), preprocess))

    def resized(index: int) -> NDArray[np.uint8]:
        pixels = images.pixels[index]
        return planes(fit(Image.fromarray(pixels[0] if channels == 1 else pixels.transpose(1, 2, 0)), preprocess))

    head = f"{channels} x {height} x {width}:".encode()
    keys = [hashlib.sha256(head + image.tobytes()).digest() for image in images.pixels]
    return dataclasses.replace(images, pixels=packs.read(keys, shape, resized, _folder(preprocess)))


def read_files(root: Path, names: Sequence[str], preprocess: Preprocess) -> NDArray[np.uint8]:
    """(images, 3, height, width) pixels of the image files below `root` that `names`, their ids, lead to.

    What was read before is mapped into memory; see packs and contents.

    Raises: DataError with every file that is missing, damaged, too large or too small, and where sizes would differ.
    """
    size = geometry.fixed_size(preprocess)
    if size is None:
        raise DataError(geometry.SIZES_DIFFER)
    keys = Contents(root=root, book=_book(root)).digests(names)

    def read(index: int) -> NDArray[np.uint8]:
        path = f"{root}/{path_of(names[index])}"
        try:
            with open(path, "rb") as stream:  # noqa: PTH123 - for names that are no text
                content = stream.read()
            if hashlib.sha256(content).digest() != keys[index]:
                raise DataError("has changed while it was read")
            return planes(fit(decode(content), preprocess))
        except DataError as error:
            raise DataError(f"{shown(path)}: {error}") from error
        except OSError as error:
            raise DataError(f"{shown(path)}: {error.strerror}") from error

    return packs.read(keys, (3, *size), read, _folder(preprocess))


def _folder(preprocess: Preprocess) -> Path:
    """Where images that are decoded and shaped in this way are kept."""
    import PIL
    from PIL import features

    way = [
        _VERSION,
        preprocess.resize,
        preprocess.squash,
        preprocess.letterbox,
        preprocess.interpolation,
        preprocess.crop,
        PIL.__version__,
        features.version("libjpeg_turbo"),
    ]
    return locations.cache_folder() / FOLDER / hashlib.sha256(repr(way).encode()).hexdigest()[:16]


def _book(root: Path) -> Path:
    """Where the digests of a folder's files are kept."""
    name = hashlib.sha256(str(root.resolve()).encode("utf-8", "surrogateescape")).hexdigest()[:16]
    return locations.cache_folder() / FOLDER / _BOOKS / f"{name}.txt"
