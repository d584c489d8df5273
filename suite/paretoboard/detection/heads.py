"""What a detector's numbers mean: one box, one class and one score for each cell of a grid over the input."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from collections.abc import Callable

    from paretoboard.spec import Head

# exp of more would be a box of e^8 cells; INT8 and diverged networks do give such numbers.
LARGEST_LOG: Final = 8.0
BOX_NUMBERS: Final = 4
_OBJECTNESS_POWER: Final = 0.6
_CLASS_POWER: Final = 0.4


@dataclass(frozen=True, slots=True, kw_only=True)
class Cells:
    """What the cells of a grid say, row after row."""

    boxes: NDArray[np.float32]  # (images, cells, 4) corners, in shares of the input's width and height
    scores: NDArray[np.float32]  # (images, cells), 0 to 1
    classes: NDArray[np.int64]  # (images, cells)


def decode(output: NDArray[np.float32], head: Head) -> Cells:
    """The boxes in a network's `output`, (images, numbers, rows, columns).

    Raises: ValueError for an output of another shape.
    """
    if output.ndim != len(("images", "numbers", "rows", "columns")) or output.shape[1] < numbers_of(head, classes=1):
        raise ValueError(f"output of shape {output.shape}; (images, numbers of a cell, rows, columns) would be right")
    return _DECODERS[head](output)


def numbers_of(head: Head, classes: int) -> int:
    """How many numbers a cell has where so many classes are told apart."""
    return BOX_NUMBERS + classes + (1 if head == "fastestdet" else 0)


def _fastestdet(output: NDArray[np.float32]) -> Cells:
    """Objectness, where the centre is (tanh, in cells from the cell's corner), sides (sigmoid), shares of classes.

    Source: github.com/dog-qiuqiu/FastestDet, utils/tool.py, handle_preds.
    """
    rows, columns = output.shape[2:]
    top, left = np.meshgrid(np.arange(rows, dtype=np.float32), np.arange(columns, dtype=np.float32), indexing="ij")
    x = (left + np.tanh(output[:, 1])) / columns
    y = (top + np.tanh(output[:, 2])) / rows
    half_width, half_height = _sigmoid(output[:, 3]) / 2, _sigmoid(output[:, 4]) / 2
    boxes = np.stack([x - half_width, y - half_height, x + half_width, y + half_height], axis=-1)
    shares = output[:, 5:]
    # INT8 can round a share to below zero.
    objectness, best = np.maximum(output[:, 0], 0.0), np.maximum(shares.max(axis=1), 0.0)
    return _cells(boxes, objectness**_OBJECTNESS_POWER * best**_CLASS_POWER, shares.argmax(axis=1))


def _anchor_free(output: NDArray[np.float32]) -> Cells:
    """Logarithms of how many cells each side is from the cell's centre, and a logit of each class.

    Source: Tian et al. 2019, FCOS, arXiv:1904.01355, section 3.1, on one level and without centre-ness.
    """
    rows, columns = output.shape[2:]
    y, x = np.meshgrid(
        np.arange(rows, dtype=np.float32) + 0.5, np.arange(columns, dtype=np.float32) + 0.5, indexing="ij"
    )
    left, top, right, bottom = np.exp(np.minimum(output[:, :BOX_NUMBERS], LARGEST_LOG)).transpose(1, 0, 2, 3)
    boxes = np.stack([(x - left) / columns, (y - top) / rows, (x + right) / columns, (y + bottom) / rows], axis=-1)
    logits = output[:, BOX_NUMBERS:]
    return _cells(boxes, _sigmoid(logits.max(axis=1)), logits.argmax(axis=1))


def _cells(boxes: NDArray[np.float32], scores: NDArray[np.float32], classes: NDArray[np.int64]) -> Cells:
    images = len(boxes)
    return Cells(
        boxes=boxes.reshape(images, -1, 4).astype(np.float32, copy=False),
        scores=scores.reshape(images, -1).astype(np.float32, copy=False),
        classes=classes.reshape(images, -1),
    )


def _sigmoid(values: NDArray[np.float32]) -> NDArray[np.float32]:
    # By tanh, which does not overflow.
    found: NDArray[np.float32] = np.float32(0.5) * (np.tanh(np.float32(0.5) * values) + np.float32(1))
    return found


_DECODERS: Final[dict[Head, Callable[[NDArray[np.float32]], Cells]]] = {
    "anchor-free": _anchor_free,
    "fastestdet": _fastestdet,
}
