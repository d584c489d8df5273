"""Datasets of image files that lie in a folder for each class."""

from __future__ import annotations

from typing import TYPE_CHECKING

from paretoboard.datasets import Dataset, Holding, Images, listing, reading
from paretoboard.datasets.listing import Listed, shown
from paretoboard.datasets.reading import read_picture
from paretoboard.errors import DataError, UnknownNameError
from paretoboard.geometry import AS_STORED

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from pathlib import Path

    from paretoboard.spec import Preprocess


class ImageFiles(Dataset):
    """A folder with a folder for each class, below a folder for each split where there are several.

    Ids are the paths below it, as `listing` writes them.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._listed: dict[str, dict[str, Listed]] = {}

    def place(self, split: str) -> Path:
        """The folder that holds the folders of a split's classes."""
        raise NotImplementedError

    def label_of(self, name: str) -> int:
        """The label of the image with an id.

        Raises: DataError for what can't be the id of one.
        """
        raise NotImplementedError

    def read(self, split: str, preprocess: Preprocess = AS_STORED) -> Images:
        """All images of a split, from what was kept where they were read before."""
        return self._images(self.labels(split), preprocess)

    def read_ids(self, ids: tuple[str, ...], preprocess: Preprocess = AS_STORED) -> Images:
        """The images of `ids`, in that order."""
        labels = {name: self.label_of(name) for name in ids}
        listing.locate(self.root, ids)
        return self._images(labels, preprocess)

    def labels(self, split: str) -> dict[str, int]:
        """Id -> label of every image that is there, by class and then by id.

        Raises: DataError with every link that leads out of the folder.
        """
        found = self.by_class(split)
        problems = [problem for listed in found.values() for problem in listed.problems]
        if problems:
            raise DataError(listing.told(problems, f"{len(problems):,} links can't be followed"))
        return {name: self.label_of(name) for listed in found.values() for name in listed.sizes}

    def by_class(self, split: str) -> Mapping[str, Listed]:
        """What each class's folder holds, by its name; looked at once."""
        if split not in self.splits:
            raise UnknownNameError(f"split of {self.root}", split, self.splits)
        if split not in self._listed:
            place = self.place(split)
            self._listed[split] = {
                name: listing.images_in(self.root, place / name) for name in listing.folders_in(place)
            }
        return self._listed[split]

    def holdings(self) -> tuple[Holding, ...]:
        """What lies in the folder of each split."""
        return tuple(self._holding(split) for split in self.splits)

    def check(self, progress: Callable[[str], None]) -> Iterator[str]:
        """What is wrong with folders and links, and every image that can't be decoded."""
        there = [split for split in self.splits if self.place(split).is_dir()]
        if not there:
            yield f"{shown(self.root)}: holds no folder {' or '.join(self.splits)}"
        for split in there:
            try:
                names = list(self.labels(split))
            except DataError as error:
                yield str(error)
                names = [name for listed in self.by_class(split).values() for name in listed.sizes]
            yield from self.unreadable(names, progress).values()

    def unreadable(self, names: Iterable[str], progress: Callable[[str], None]) -> dict[str, str]:
        """Of the images with these ids those that can't be decoded, and why; reads them all."""
        return reading.unreadable(
            names, lambda name: read_picture(f"{self.root}/{listing.path_of(name)}"), self.root, progress
        )

    def _holding(self, split: str) -> Holding:
        found = self.by_class(split).values() if self.place(split).is_dir() else ()
        return Holding(
            path=shown(self.place(split)),
            images=sum(len(listed.sizes) for listed in found),
            expected=getattr(self, "sizes", {}).get(split),
            classes=sum(bool(listed.sizes) for listed in found),
            others=sum(len(listed.others) for listed in found),
            problems=tuple(problem for listed in found for problem in listed.problems),
        )

    def _images(self, labels: Mapping[str, int], preprocess: Preprocess) -> Images:
        import numpy as np

        from paretoboard.datasets.shaping import read_files

        return Images(
            ids=tuple(labels),
            pixels=read_files(self.root, tuple(labels), preprocess),
            labels=np.fromiter(labels.values(), np.int64, len(labels)),
            classes=self.class_names,
        )
