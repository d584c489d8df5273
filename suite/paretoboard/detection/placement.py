"""Where a stored image lies in the input of a network: squashed into it, or whole in a grey frame."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from paretoboard.geometry import letterboxed

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from paretoboard.spec import Preprocess


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """One image's rectangle in the input, all in pixels."""

    stored: tuple[int, int]  # height and width of the image as it is stored
    size: tuple[int, int]  # height and width that it is resized to
    offset: tuple[int, int]  # rows above and columns to the left of it
    side: tuple[int, int]  # height and width of the input

    def to_stored(self, shares: NDArray[np.float32]) -> NDArray[np.float32]:
        """Corners (n, 4) in shares of the input's sides as corners in pixels of the stored image, not cut off."""
        scale, shift = self._affine()
        found: NDArray[np.float32] = ((shares.astype(np.float64) - shift) / scale).astype(np.float32)
        return found

    def to_input(self, boxes: NDArray[np.float64]) -> NDArray[np.float64]:
        """Corners (n, 4) in pixels of the stored image as corners in shares of the input's sides."""
        scale, shift = self._affine()
        return np.asarray(boxes * scale + shift)

    def _affine(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """What to multiply stored pixels by and what to add: (4,) each, for left, top, right and bottom."""
        scale = [self.size[axis] / self.stored[axis] / self.side[axis] for axis in (1, 0)]
        shift = [self.offset[axis] / self.side[axis] for axis in (1, 0)]
        return np.array(scale * 2), np.array(shift * 2)


def place(height: int, width: int, preprocess: Preprocess) -> Placement:
    """Where an image of these sides lies in the input that `preprocess` makes of it.

    Raises: ValueError for a crop, which would cut objects off, and for a resize that leaves sides of their own.
    """
    stored, side = (height, width), preprocess.resize
    if preprocess.crop is not None or (side is not None and preprocess.squash == preprocess.letterbox):
        raise ValueError("a detector's images are either squashed or letterboxed to 'resize', and not cropped")
    if side is None:
        return Placement(stored=stored, size=stored, offset=(0, 0), side=stored)
    if preprocess.squash:
        return Placement(stored=stored, size=(side, side), offset=(0, 0), side=(side, side))
    size, offset = letterboxed(stored, side)
    return Placement(stored=stored, size=size, offset=offset, side=(side, side))


def placements(sizes: NDArray[np.int32], preprocess: Preprocess) -> tuple[Placement, ...]:
    """Of images whose heights and widths are `sizes`, (images, 2)."""
    return tuple(place(int(height), int(width), preprocess) for height, width in sizes)
