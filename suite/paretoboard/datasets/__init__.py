"""Datasets: images with labels and ids, from files in the field's standard layouts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Protocol

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, kw_only=True)
class Images:
    """A set of labelled images in memory."""

    ids: tuple[str, ...]  # stable names such as "test/00042", unique within the dataset
    pixels: NDArray[np.uint8]  # (images, channels, height, width)
    labels: NDArray[np.int64]  # (images,)
    classes: tuple[str, ...]  # names, indexed by label

    def __len__(self) -> int:
        return len(self.ids)

    def select(self, ids: tuple[str, ...]) -> Images:
        """The images of `ids`, in that order.

        Raises: DataError for an id that is not here.
        """
        from paretoboard.errors import DataError

        position = {name: index for index, name in enumerate(self.ids)}
        missing = [name for name in ids if name not in position]
        if missing:
            raise DataError(f"{len(missing)} of {len(ids)} ids are not in the dataset, the first is '{missing[0]}'")
        chosen = [position[name] for name in ids]
        return Images(ids=ids, pixels=self.pixels[chosen], labels=self.labels[chosen], classes=self.classes)


class Dataset(Protocol):
    """Where images come from."""

    splits: ClassVar[tuple[str, ...]]  # subsets that need no list, such as ("train", "test")
    classes: ClassVar[int]
    image_shape: ClassVar[tuple[int, int, int]]  # (channels, height, width)

    def __init__(self, data_root: Path) -> None: ...

    def read(self, split: str) -> Images:
        """All images of one split.

        Raises: DataError that says which files go where and which command brings them.
        """
