"""scikit-learn's handwritten digits: real images that need no download.

1,797 images of 8x8 in 17 grey levels: the test part of the UCI set "Optical Recognition of Handwritten
Digits" (Alpaydin and Kaynak 1998), by 13 people. Who wrote which image is not published, so that parts
drawn at random share writers, and accuracy between them is higher than it would be on strangers' digits.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Final

from paretoboard.datasets import Dataset, Images
from paretoboard.datasets.shaping import shaped
from paretoboard.errors import DataError, UnknownNameError
from paretoboard.geometry import AS_STORED

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from paretoboard.spec import Preprocess

SIDE: Final = 8
FACTOR: Final = 4  # 32x32: what networks for CIFAR take, and where a call is more than overhead
LEVELS: Final = 16  # the brightest pixel
# SHA-256 over the pixels and then the labels, one byte each; as scikit-learn 1.9.1 ships them.
SHA256: Final = "87ff0c9e40dc7e2c0e34e7257799c2e3f3aec1a016363bb11cad869ec428a826"


class Digits(Dataset):
    """The digits as 3 equal channels of 32x32; subsets are committed lists of ids such as "digits/0042"."""

    splits = ("all",)
    classes = 10
    class_names = tuple("0123456789")
    image_shape = (3, SIDE * FACTOR, SIDE * FACTOR)
    sizes = {"all": 1797}  # noqa: RUF012 - as published

    def __init__(self, data_root: Path) -> None:
        self.data_root = data_root  # not used, nothing lies there

    def read(self, split: str, preprocess: Preprocess = AS_STORED) -> Images:
        """All 1,797 images; about a second, most of it the import of scikit-learn.

        Raises: DataError if the installed scikit-learn's digits are not the ones known here.
        """
        import numpy as np

        if split not in self.splits:
            raise UnknownNameError("split of digits", split, self.splits)
        levels, labels = stored_levels()
        grey = upscale(levels)
        images = Images(
            ids=tuple(f"digits/{index:04d}" for index in range(len(labels))),
            pixels=np.repeat(grey[:, None], 3, axis=1),
            labels=labels,
            classes=self.class_names,
        )
        return shaped(images, preprocess)

    def read_ids(self, ids: tuple[str, ...], preprocess: Preprocess = AS_STORED) -> Images:
        """The images of `ids`, in that order."""
        return shaped(self.read("all").select(ids), preprocess)

    def holds(self, split: str, name: str) -> bool:  # noqa: ARG002 - there is one
        """Every image is in the one split."""
        return name.startswith("digits/")


def stored_levels() -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """The images as scikit-learn ships them, (images, 8, 8) values 0..16, and their labels, (images,).

    Raises: DataError if the installed scikit-learn's digits are not the ones known here.
    """
    import numpy as np
    from sklearn.datasets import load_digits

    bunch = load_digits()
    levels, labels = bunch.images.astype(np.uint8), bunch.target.astype(np.int64)
    found = hashlib.sha256(levels.tobytes() + labels.astype(np.uint8).tobytes()).hexdigest()
    if found != SHA256:
        raise DataError(f"scikit-learn's digits have changed: SHA-256 {found} found, {SHA256} expected")
    return levels, labels


def upscale(levels: NDArray[np.uint8], factor: int = FACTOR) -> NDArray[np.uint8]:
    """Bilinear, each side times `factor`, in whole numbers throughout, hence the same bits on every machine.

    Args:
        levels: (images, side, side), values 0..16.
    Returns: (images, factor * side, factor * side), values 0..255, half a level rounded up. Pixel centres lie at
        (i + 0.5) / factor - 0.5, edges are repeated: torch's `interpolate(mode="bilinear", align_corners=False)`.
    """
    import numpy as np

    weights = _weights(levels.shape[1], factor)
    summed = np.einsum("ij,njk,lk->nil", weights, levels.astype(np.int64), weights)  # level x (2 factor)^2
    whole = (2 * factor) ** 2 * LEVELS
    pixels: NDArray[np.uint8] = ((summed * 255 + whole // 2) // whole).astype(np.uint8)
    return pixels


def _weights(side: int, factor: int) -> NDArray[np.int64]:
    """(factor * side, side): row i holds how many of 2 * factor parts each source pixel gives to target pixel i."""
    import numpy as np

    weights = np.zeros((factor * side, side), dtype=np.int64)
    for target in range(factor * side):
        position = 2 * target + 1 - factor  # in such parts of a source pixel
        left, share = divmod(position, 2 * factor)
        weights[target, max(left, 0)] += 2 * factor - share
        weights[target, min(left + 1, side - 1)] += share
    return weights
