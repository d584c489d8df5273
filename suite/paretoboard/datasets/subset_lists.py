"""The rule that the committed lists of image ids follow, and the command that writes them again:

    python -m paretoboard.datasets.subset_lists tasks

A list takes equally many images of each class, those whose ids have the smallest SHA-256 after "seed 0/".
Unlike a shuffle, that gives the same images in every version of every library, and a short list is part of
a long one.
"""

from __future__ import annotations

import hashlib
import sys
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING

from paretoboard import durable, locations
from paretoboard.datasets.cifar10 import Cifar10
from paretoboard.datasets.digits import Digits

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence


def digits_lists(root: Path) -> dict[str, tuple[str, ...]]:
    """The lists of tasks/quick, by path below tasks/.

    1,200 images to train on, 100 of them to calibrate with, and the other 597, 54 to 63 of a class, to
    test on.
    """
    images = Digits(root).read("all")
    label_of = dict(zip(images.ids, images.labels.tolist(), strict=True))
    train = balanced(label_of, 1200)
    calibration = balanced({name: label_of[name] for name in train}, 100)
    test = tuple(name for name in images.ids if name not in set(train))
    return {"quick/train.txt": train, "quick/calibration.txt": calibration, "quick/test.txt": test}


def cifar10_lists(root: Path) -> dict[str, tuple[str, ...]]:
    """The lists of tasks/cifar10, by path below tasks/.

    Of the first batch of training images 512 to calibrate with and 2,000 to train on; 2,000 of the test images.
    """
    found: dict[str, tuple[str, ...]] = {}
    for split, prefix, counts in (("train-batch-1", "train", (512, 2000)), ("test", "test", (2000,))):
        images = Cifar10(root).read(split)
        label_of = dict(zip(images.ids, images.labels.tolist(), strict=True))
        found |= {f"cifar10/{prefix}-{count}.txt": balanced(label_of, count) for count in counts}
    return found


def balanced(label_of: Mapping[str, int], count: int, seed: int = 0) -> tuple[str, ...]:
    """`count` ids, sorted, equally many of each class; of what is left over the first classes get one each.

    Raises: ValueError if a class has too few images.
    """
    by_label: defaultdict[int, list[str]] = defaultdict(list)
    for name, label in label_of.items():
        by_label[label].append(name)
    chosen: list[str] = []
    for rank, label in enumerate(sorted(by_label)):
        share = count // len(by_label) + (rank < count % len(by_label))
        if share > len(by_label[label]):
            raise ValueError(f"class {label} has {len(by_label[label])} images, {share} wanted")
        chosen += sorted(by_label[label], key=lambda name: _rank(name, seed))[:share]
    return tuple(sorted(chosen))


def write(folder: Path, lists: Mapping[str, Iterable[str]]) -> None:
    """Write each list below `folder`, one id a line."""
    for path, ids in lists.items():
        durable.write(folder / path, "".join(f"{name}\n" for name in ids).encode())


def _rank(name: str, seed: int) -> bytes:
    return hashlib.sha256(f"seed {seed}/{name}".encode()).digest()


def main(arguments: Sequence[str]) -> None:
    """Write all lists below the folder that is named."""
    root = locations.data_root()
    write(Path(arguments[0]), digits_lists(root) | cifar10_lists(root))


if __name__ == "__main__":
    main(sys.argv[1:])
