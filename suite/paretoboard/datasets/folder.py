"""A folder of one's own images, in a folder for each class, as torchvision's ImageFolder reads it.

    photos/cat/1.jpg                     a split "all"
    photos/train/cat/1.jpg               splits "train", "val" and "test", those that are there
    photos/classes.txt                   if there: the classes in the order of the model's outputs, one a line

Without classes.txt, classes are numbered in the order of their names; then every split must have the same ones, and
each of them an image, since a class that is missing in one place would number the others anew.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Final

from paretoboard.datasets import listing
from paretoboard.datasets.files import ImageFiles
from paretoboard.datasets.listing import shown
from paretoboard.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

ALL: Final = "all"
SPLITS: Final = ("train", "val", "test")
CLASSES_FILE: Final = "classes.txt"


class Folder(ImageFiles):
    """Images in a folder of one's own; ids are their paths below it."""

    splits: tuple[str, ...] = (ALL, *SPLITS)
    takes_path = True

    def __init__(self, root: Path) -> None:
        """Raises: DataError for a folder that is not there, or not laid out in one of the ways above."""
        super().__init__(root)
        if not root.is_dir():
            raise DataError(f"{shown(root)}: there is no such folder; it would hold a folder of images for each class")
        self.splits = _splits(root)
        ordered = _ordered(root)
        self._ordered = ordered is not None
        self.class_names = ordered if ordered is not None else self._sorted_names()
        self.classes = len(self.class_names)
        self._labels = {name: label for label, name in enumerate(self.class_names)}

    def place(self, split: str) -> Path:
        """The folder of a split, or the dataset's own."""
        return self.root if split == ALL else self.root / split

    def label_of(self, name: str) -> int:
        """The label of the class whose folder the image lies in."""
        parts = listing.path_of(name).split("/")
        place = 0 if self.splits == (ALL,) else 1
        if len(parts) < place + 2 or (place and parts[0] not in self.splits):
            example = "cat/1.jpg" if not place else f"{self.splits[0]}/cat/1.jpg"
            raise DataError(f"{shown(self.root)} has no image '{name}': ids are such as {example}")
        if parts[place] not in self._labels:
            told = f", as {CLASSES_FILE} says" if self._ordered else ""
            raise DataError(f"{shown(self.root)}: '{shown(parts[place])}', of image '{name}', is no class{told}")
        return self._labels[parts[place]]

    def holds(self, split: str, name: str) -> bool:
        """Whether the id begins with the split's name; "all" holds every image."""
        return split == ALL or super().holds(split, name)

    def labels(self, split: str) -> dict[str, int]:
        """Id -> label of every image, by class and then by id.

        Raises: DataError for classes without an image, and as that of image files does.
        """
        found = super().labels(split)
        empty = [shown(self.place(split) / name) for name, listed in self.by_class(split).items() if not listed.sizes]
        if empty and not self._ordered:
            raise DataError(
                listing.told(empty, f"{len(empty):,} classes without an image")
                + f"\nPut images there, remove the folders, or name all classes in {shown(self.root / CLASSES_FILE)}."
            )
        if not found:
            raise DataError(f"{shown(self.place(split))}: holds no images")
        return found

    def count(self, split: str) -> int:
        """How many images lie there."""
        return len(self.labels(split))

    def digest(self, split: str) -> str:
        """SHA-256 over the classes and every image's id and size: another one after an image came, went or grew."""
        every = self.by_class(split).values()
        return self._digest({name: size for listed in every for name, size in listed.sizes.items()})

    def digest_of(self, ids: tuple[str, ...]) -> str:
        """The same over these images alone: the ids of a list are those of other images in another folder, too.

        Raises: DataError with every image that is not there.
        """
        listing.locate(self.root, ids)
        return self._digest({name: (self.root / listing.path_of(name)).stat().st_size for name in ids})

    def _digest(self, sizes: Mapping[str, int]) -> str:
        lines = [repr(self.class_names), *(f"{name} {size}" for name, size in sizes.items())]
        return hashlib.sha256("\n".join(lines).encode("utf-8", "surrogateescape")).hexdigest()

    def _sorted_names(self) -> tuple[str, ...]:
        by_split = {split: listing.folders_in(self.place(split)) for split in self.splits}
        every = sorted({name for names in by_split.values() for name in names})
        missing = [
            shown(self.place(split) / name) for split, names in by_split.items() for name in every if name not in names
        ]
        if missing:
            raise DataError(
                listing.told(missing, f"{shown(self.root)}: {len(missing):,} classes are missing in a split")
                + f"\nIf that is meant, name all classes in {shown(self.root / CLASSES_FILE)}, in the model's order."
            )
        if not every:
            raise DataError(f"{shown(self.root)}: holds no folders; a folder of images for each class would be right")
        return tuple(every)


def _splits(root: Path) -> tuple[str, ...]:
    """The splits that are there. A folder called train is one if it holds folders, and else may be of railways."""
    folders = listing.folders_in(root)
    found = tuple(name for name in SPLITS if name in folders and listing.folders_in(root / name))
    beside = [name for name in folders if name not in found]
    if found and beside:
        raise DataError(
            f"{shown(root)}: '{shown(beside[0])}' lies beside '{found[0]}': folders of splits and of classes are not "
            "mixed, or it is an empty split"
        )
    return found or (ALL,)


def _ordered(root: Path) -> tuple[str, ...] | None:
    """The classes as the file beside them names them; None where there is none.

    Raises: DataError for a name that is given twice, and for a file without any.
    """
    path = root / CLASSES_FILE
    try:
        names = tuple(line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines() if line.strip())
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{shown(path)}: can't be read: {error}") from error
    twice = sorted(_repeated(names))
    if twice or not names:
        wrong = f"'{twice[0]}' is given twice" if twice else "names no class"
        raise DataError(f"{shown(path)}: {wrong}; each class once, one a line, would be right")
    return names


def _repeated(names: tuple[str, ...]) -> Iterator[str]:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            yield name
        seen.add(name)
