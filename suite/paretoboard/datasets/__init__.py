"""Datasets: images with labels and ids, from files in the field's standard layouts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Protocol

from paretoboard.errors import DataError, UnknownNameError
from paretoboard.registry import DATASETS

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np  # noqa: TC004 - too slow for `--help`; nothing resolves these annotations
    from numpy.typing import NDArray  # noqa: TC004

    from paretoboard.datasets.integrity import Layout
    from paretoboard.spec import Subset


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
    layouts: ClassVar[tuple[Layout, ...]]  # forms it may lie in below the data root; () for one that needs no files

    def __init__(self, data_root: Path) -> None: ...

    def read(self, split: str) -> Images:
        """All images of one split.

        Raises: DataError that says which files go where and which command brings them.
        """

    def read_ids(self, ids: tuple[str, ...]) -> Images:
        """The images of `ids`, in that order, reading no more files than they lie in.

        Raises: DataError as `read` does, and for an id that the dataset does not have.
        """


def read_subset(dataset: str, subset: Subset, data_root: Path) -> Images:
    """The images that a task names: one of the dataset's own splits, or a committed list of ids.

    Raises:
        UnknownNameError: for a dataset or a split that there is not.
        InputError: for missing or altered data, and for a list that is not the one the task was read with.
    """
    from paretoboard.taskfile import subsets  # here, since reading task files loads datasets

    source: Dataset = DATASETS.load(dataset)(data_root)
    if subset.file is None:
        if subset.name not in source.splits:
            raise UnknownNameError(f"split of {dataset}", subset.name, source.splits)
        return source.read(subset.name)
    ids = subsets.read_ids(subset.file)
    found = subsets.ids_digest(ids)
    if found != subset.digest:
        raise DataError(f"{subset.file}: the list has changed: digest {found} found, {subset.digest} expected")
    return source.read_ids(ids)
