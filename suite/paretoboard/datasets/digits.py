"""scikit-learn's handwritten digits: real images that need no download.

1,797 images of 8x8 in 17 grey levels: the test part of the UCI set "Optical Recognition of Handwritten
Digits" (Alpaydin and Kaynak 1998), by 13 people. Who wrote which image is not published, so that parts
drawn at random share writers, and accuracy between them is higher than it would be on strangers' digits.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, ClassVar, Final

from paretoboard.datasets import Images
from paretoboard.errors import DataError, UnknownNameError

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from paretoboard.datasets.integrity import Layout

SIDE: Final = 8
FACTOR: Final = 4  # 32x32: what networks for CIFAR take, and where a call is more than overhead
LEVELS: Final = 16  # the brightest pixel
# SHA-256 over the pixels and then the labels, one byte each; as scikit-learn 1.9.1 ships them.
SHA256: Final = "87ff0c9e40dc7e2c0e34e7257799c2e3f3aec1a016363bb11cad869ec428a826"


class Digits:
    """The digits as 3 equal channels of 32x32; subsets are committed lists of ids such as "digits/0042"."""

    splits: ClassVar[tuple[str, ...]] = ("all",)
    classes: ClassVar[int] = 10
    image_shape: ClassVar[tuple[int, int, int]] = (3, SIDE * FACTOR, SIDE * FACTOR)
    layouts: ClassVar[tuple[Layout, ...]] = ()  # the files come with scikit-learn

    def __init__(self, data_root: Path) -> None:
        self.data_root = data_root  # not used, nothing lies there

    def read(self, split: str) -> Images:
        """All 1,797 images; about a second, most of it the import of scikit-learn.

        Raises: DataError if the installed scikit-learn's digits are not the ones known here.
        """
        import numpy as np
        from sklearn.datasets import load_digits

        if split not in self.splits:
            raise UnknownNameError("split of digits", split, self.splits)
        bunch = load_digits()
        levels, labels = bunch.images.astype(np.uint8), bunch.target.astype(np.int64)
        found = hashlib.sha256(levels.tobytes() + labels.astype(np.uint8).tobytes()).hexdigest()
        if found != SHA256:
            raise DataError(f"scikit-learn's digits have changed: SHA-256 {found} found, {SHA256} expected")
        grey = upscale(levels)
        return Images(
            ids=tuple(f"digits/{index:04d}" for index in range(len(labels))),
            pixels=np.repeat(grey[:, None], 3, axis=1),
            labels=labels,
            classes=tuple("0123456789"),
        )

    def read_ids(self, ids: tuple[str, ...]) -> Images:
        """The images of `ids`, in that order."""
        return self.read("all").select(ids)


def upscale(levels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Bilinear, each side times 4, in whole numbers throughout, hence the same bits on every machine.

    Args:
        levels: (images, side, side), values 0..16.
    Returns: (images, 4 * side, 4 * side), values 0..255, half a level rounded up. Pixel centres lie at
        (i + 0.5) / 4 - 0.5, edges are repeated: torch's `interpolate(mode="bilinear", align_corners=False)`.
    """
    import numpy as np

    weights = _weights(levels.shape[1])
    eighths = np.einsum("ij,njk,lk->nil", weights, levels.astype(np.int64), weights)  # 64 x level
    whole = 64 * LEVELS
    pixels: NDArray[np.uint8] = ((eighths * 255 + whole // 2) // whole).astype(np.uint8)
    return pixels


def _weights(side: int) -> NDArray[np.int64]:
    """(4 * side, side): row i holds the eighths that each source pixel gives to target pixel i."""
    import numpy as np

    weights = np.zeros((FACTOR * side, side), dtype=np.int64)
    for target in range(FACTOR * side):
        position = 2 * target + 1 - FACTOR  # in eighths of a source pixel
        left, share = divmod(position, 2 * FACTOR)
        weights[target, max(left, 0)] += 2 * FACTOR - share
        weights[target, min(left + 1, side - 1)] += share
    return weights
