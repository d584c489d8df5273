"""Scenes of handwritten digits with COCO annotations, composed from scikit-learn's real images: nothing to download.

A scene is a canvas of dark noise with one to five digits in four sizes. Everything about it follows from its id by
SHAKE-256, so that it is the same on every machine and in every version of every library. Scenes to train on are made of
other digits than scenes to test on.
"""

from __future__ import annotations

import hashlib
import re
from functools import cache
from typing import TYPE_CHECKING, Final

from paretoboard.datasets import DetectionDataset, Images
from paretoboard.datasets.digits import stored_levels, upscale
from paretoboard.datasets.shaping import shaped
from paretoboard.errors import DataError, UnknownNameError
from paretoboard.geometry import AS_STORED
from paretoboard.records import Objects

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from paretoboard.spec import Preprocess

CANVAS: Final = 96
# Scenes of each split; those to train and to calibrate on share digits and no scene.
SPLITS: Final = {"train": 1500, "calibration": 100, "test": 400}
TRAIN_DIGITS: Final = 1200  # as tasks/quick has them; the other 597 are in test scenes only
MOST_DIGITS: Final = 5
FACTORS: Final = (2, 3, 4, 5)  # what a digit of 8x8 is enlarged by
INK: Final = 64  # from this on a pixel of an enlarged digit belongs to it
_NOISE: Final = 48  # the background is darker than this
_DIMMEST: Final = 160  # of 255: what the brightest pixel of a digit is at least
_ATTEMPTS: Final = 8  # to find a place that no other digit covers
_NUMBER_BYTES: Final = 4


class DigitScenes(DetectionDataset):
    """96x96 canvases of 3 equal channels; ids are "train/0000" to "train/1499", and so on for each of SPLITS."""

    splits = tuple(SPLITS)
    classes = 10
    class_names = tuple("0123456789")
    image_shape = (3, CANVAS, CANVAS)
    sizes = SPLITS

    def __init__(self, data_root: Path) -> None:
        self.data_root = data_root  # not used, the digits come with scikit-learn

    def read(self, split: str, preprocess: Preprocess = AS_STORED) -> Images:
        """All scenes of a split, about a second for each thousand.

        Raises: DataError if the installed scikit-learn's digits are not the ones known here.
        """
        if split not in SPLITS:
            raise UnknownNameError("split of digit-scenes", split, SPLITS)
        return self.read_ids(tuple(f"{split}/{index:04d}" for index in range(SPLITS[split])), preprocess)

    def read_ids(self, ids: tuple[str, ...], preprocess: Preprocess = AS_STORED) -> Images:
        """The scenes of `ids`, in that order.

        Raises: DataError for an id that there is not.
        """
        import numpy as np

        for name in ids:
            _check(name)
        scenes = [_compose(name) for name in ids]
        boxes = np.concatenate([np.zeros((0, 4)), *(found for _, found, _ in scenes)])
        images = Images(
            ids=ids,
            pixels=np.stack([np.repeat(canvas[None], 3, axis=0) for canvas, _, _ in scenes]),
            labels=np.zeros(len(ids), np.int64),
            classes=self.class_names,
            objects=Objects(
                sizes=np.full((len(ids), 2), CANVAS, np.int32),
                image=np.repeat(np.arange(len(ids), dtype=np.int32), [len(found) for _, found, _ in scenes]),
                boxes=boxes,
                classes=np.concatenate([labels for _, _, labels in scenes]),
                areas=boxes[:, 2] * boxes[:, 3],
                crowd=np.zeros(len(boxes), dtype=bool),
            ),
        )
        return shaped(images, preprocess)

    def stored(self, name: str) -> NDArray[np.uint8]:
        """One scene as it is composed, (3, side, side)."""
        import numpy as np

        _check(name)
        return np.repeat(_compose(name)[0][None], 3, axis=0)


class _Numbers:
    """Whole numbers that follow from a text alone, one after the other."""

    def __init__(self, text: str) -> None:
        most = 1 + MOST_DIGITS * (3 + 2 * _ATTEMPTS)
        self._bytes = iter(hashlib.shake_256(text.encode()).digest(most * _NUMBER_BYTES))

    def below(self, bound: int) -> int:
        """From 0 to `bound` - 1; the first ones are likelier by less than one in ten million."""
        return int.from_bytes(bytes(next(self._bytes) for _ in range(_NUMBER_BYTES))) % bound


def _compose(name: str) -> tuple[NDArray[np.uint8], NDArray[np.float64], NDArray[np.int16]]:
    """The canvas (side, side) of a scene, the boxes (n, 4) of its digits and their classes (n,)."""
    import numpy as np

    numbers = _Numbers(f"scene {name}")
    noise = np.frombuffer(hashlib.shake_256(f"noise {name}".encode()).digest(CANVAS * CANVAS), np.uint8)
    canvas = (noise % _NOISE).reshape(CANVAS, CANVAS).copy()
    enlarged, labels = _digits()
    chosen = _places()[name.startswith("test/")]
    boxes: list[tuple[int, int, int, int]] = []
    classes = []
    for _ in range(1 + numbers.below(MOST_DIGITS)):
        place = chosen[numbers.below(len(chosen))]
        digit = enlarged[numbers.below(len(FACTORS))][place]
        dimmed = digit.astype(np.uint16) * (_DIMMEST + numbers.below(256 - _DIMMEST)) // 255
        free = CANVAS - len(digit) + 1
        for top, left in [(numbers.below(free), numbers.below(free)) for _ in range(_ATTEMPTS)]:
            box = _ink(digit, top, left)
            if any(_touch(box, other) for other in boxes):
                continue
            window = canvas[top : top + len(digit), left : left + len(digit)]
            np.maximum(window, dimmed.astype(np.uint8), out=window)
            boxes.append(box)
            classes.append(labels[place])
            break
    return canvas, np.array(boxes, dtype=np.float64), np.array(classes, dtype=np.int16)


def _ink(digit: NDArray[np.uint8], top: int, left: int) -> tuple[int, int, int, int]:
    """Left, top, width and height of what is drawn of a digit whose image lies at `top` and `left`."""
    import numpy as np

    rows, columns = np.flatnonzero((digit >= INK).any(axis=1)), np.flatnonzero((digit >= INK).any(axis=0))
    return (
        left + int(columns[0]),
        top + int(rows[0]),
        int(columns[-1] - columns[0]) + 1,
        int(rows[-1] - rows[0]) + 1,
    )


def _touch(first: tuple[int, int, int, int], second: tuple[int, int, int, int]) -> bool:
    return all(
        first[axis] < second[axis] + second[axis + 2] and second[axis] < first[axis] + first[axis + 2]
        for axis in (0, 1)
    )


@cache
def _digits() -> tuple[tuple[NDArray[np.uint8], ...], NDArray[np.int64]]:
    """All digits enlarged by each of FACTORS, (images, side, side) each, and their labels."""
    levels, labels = stored_levels()
    return tuple(upscale(levels, factor) for factor in FACTORS), labels


@cache
def _places() -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Places of the digits to train on, and of those to test on, by the rule of committed lists."""
    from paretoboard.datasets.subset_lists import balanced

    _, labels = _digits()
    label_of = {f"digits/{index:04d}": int(label) for index, label in enumerate(labels)}
    train = {int(name.removeprefix("digits/")) for name in balanced(label_of, TRAIN_DIGITS)}
    return tuple(sorted(train)), tuple(place for place in range(len(labels)) if place not in train)


def _check(name: str) -> None:
    match = re.fullmatch(r"([a-z]+)/([0-9]{4})", name)
    if match is None or int(match[2]) >= SPLITS.get(match[1], 0):
        known = ", ".join(f"{split}/0000 to {split}/{count - 1:04d}" for split, count in SPLITS.items())
        raise DataError(f"digit-scenes has no image '{name}': ids are {known}")
