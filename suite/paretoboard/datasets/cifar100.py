"""CIFAR-100's official binary version (Krizhevsky 2009), whole or in part.

A record is the coarse label, the fine label, and the red, green and blue planes of 32 x 32. Digests of train.bin and
test.bin are not published, those of the archive are; so what can be checked is checked each time a file is read: its
size, the range of both labels, as many images of each class as published, and that each fine class lies in one coarse
class. Part of a split may lie there instead, as `test_<anything>.bin` with the numbers of its images, one a line, in
test_indices.txt: its images can be named in lists, but it is never taken for the split.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Final

from paretoboard.datasets import Dataset, Holding, Images
from paretoboard.datasets.integrity import DataFile, Layout
from paretoboard.datasets.shaping import shaped
from paretoboard.errors import DataError, UnknownNameError
from paretoboard.geometry import AS_STORED

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path  # noqa: TC004 - nothing resolves these annotations

    import numpy as np  # noqa: TC004
    from numpy.typing import NDArray  # noqa: TC004

    from paretoboard.spec import Preprocess

FOLDER: Final = "cifar-100-binary"
FINE_NAMES: Final = "fine_label_names.txt"
CLASSES: Final = 100
COARSE_CLASSES: Final = 20
RECORD_BYTES: Final = 2 + 3 * 32 * 32
SIZES: Final = {"train": 50_000, "test": 10_000}
LAYOUT: Final = Layout(
    title="binary version",
    files={
        split: DataFile(path=f"{FOLDER}/{split}.bin", md5="", most_bytes=count * RECORD_BYTES)
        for split, count in SIZES.items()
    },
)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Records:
    """Records of one split, and which of its images they are."""

    path: Path
    numbers: tuple[int, ...]
    content: NDArray[np.uint8]  # (images, RECORD_BYTES)


class Cifar100(Dataset):
    """CIFAR-100 by its 100 fine classes; ids are "train/00000" to "train/49999" and "test/00000" to "test/09999"."""

    splits = tuple(SIZES)
    classes = CLASSES
    image_shape = (3, 32, 32)
    sizes = SIZES
    layouts = (LAYOUT,)

    def __init__(self, data_root: Path) -> None:
        self.folder = data_root / FOLDER

    @cached_property
    def class_names(self) -> tuple[str, ...]:  # type: ignore[override]
        """The fine classes, from the file that comes with the images.

        Raises: DataError where it is not there, or has no 100 names.
        """
        path = self.folder / FINE_NAMES
        try:
            names = tuple(path.read_text(encoding="utf-8").split())
        except (OSError, UnicodeDecodeError) as error:
            raise DataError(f"{path}: can't be read: {error}. It comes with CIFAR-100's binary version.") from error
        if len(set(names)) != CLASSES or len(names) != CLASSES:
            raise DataError(f"{path}: {len(set(names))} names found, {CLASSES} would be right")
        return names

    def read(self, split: str, preprocess: Preprocess = AS_STORED) -> Images:
        """All images of a split, from its whole file."""
        self._require_split(split)
        records = self._whole(split)
        if records is None:
            raise DataError(self._absent(split))
        return shaped(self._images(split, records), preprocess)

    def read_ids(self, ids: tuple[str, ...], preprocess: Preprocess = AS_STORED) -> Images:
        """The images of `ids`, in that order, from whole files or from parts."""
        import numpy as np

        wanted = sorted({_split_of(name) for name in ids})
        found = [self._images(split, self._at_hand(split)) for split in wanted]
        together = Images(
            ids=tuple(name for images in found for name in images.ids),
            pixels=np.concatenate([images.pixels for images in found]),
            labels=np.concatenate([images.labels for images in found]),
            classes=self.class_names,
        )
        return shaped(together.select(ids), preprocess)

    def labels(self, split: str) -> dict[str, int]:
        """Id -> label of the images of a split that are at hand."""
        self._require_split(split)
        images = self._images(split, self._at_hand(split))
        return dict(zip(images.ids, images.labels.tolist(), strict=True))

    def holdings(self) -> tuple[Holding, ...]:
        """Parts of splits; whole ones are among the layouts."""
        return tuple(self._holding(split, path) for split in self.splits for path in self._parts(split))

    def check(self, progress: Callable[[str], None]) -> Iterator[str]:
        """What is wrong with the files that are there."""
        for split in self.splits:
            progress(f"{self.folder}: {split}")
            try:
                records = self._whole(split) or self._part(split)
                if records is not None:
                    self._images(split, records)
            except DataError as error:
                yield str(error)

    def _holding(self, split: str, path: Path) -> Holding:
        try:
            part = self._part(split)
        except DataError as error:
            return Holding(path=str(path), images=0, expected=SIZES[split], classes=0, others=0, problems=(str(error),))
        assert part is not None
        return Holding(
            path=str(path),
            images=len(part.numbers),
            expected=SIZES[split],
            classes=len(set(part.content[:, 1].tolist())),
            others=0,
        )

    def _parts(self, split: str) -> list[Path]:
        return sorted(self.folder.glob(f"{split}_*.bin"))

    def _images(self, split: str, records: _Records) -> Images:
        import numpy as np

        return Images(
            ids=tuple(f"{split}/{number:05d}" for number in records.numbers),
            pixels=np.ascontiguousarray(records.content[:, 2:]).reshape(-1, 3, 32, 32),
            labels=records.content[:, 1].astype(np.int64),
            classes=self.class_names,
        )

    def _at_hand(self, split: str) -> _Records:
        records = self._whole(split) or self._part(split)
        if records is None:
            raise DataError(self._absent(split))
        return records

    def _whole(self, split: str) -> _Records | None:
        path = self.folder / f"{split}.bin"
        if not path.exists():
            return None
        records = _read(path, tuple(range(SIZES[split])))
        _require_balance(records)
        return records

    def _part(self, split: str) -> _Records | None:
        parts = self._parts(split)
        if not parts:
            return None
        numbers = _read_numbers(self.folder / f"{split}_indices.txt", SIZES[split])
        if len(parts) > 1:
            raise DataError(f"{self.folder}: {parts[0].name} and {parts[1].name} found; one part of a split is read")
        return _read(parts[0], numbers)

    def _absent(self, split: str) -> str:
        part = self._part(split)
        if part is None:
            return (
                f"CIFAR-100 is not all there. Missing:\n    {self.folder / split}.bin\n"
                "It is a file of the official binary version, cifar-100-binary.tar.gz."
            )
        return (
            f"{self.folder / split}.bin: there is no such file, only {part.path.name} with {len(part.numbers):,} of "
            f"its {SIZES[split]:,} images. To use them, write a list and name that in the task file:\n"
            f"    paretoboard data subset cifar100 {split} --rule all --out {split}-{len(part.numbers)}.txt"
        )

    def _require_split(self, split: str) -> None:
        if split not in self.splits:
            raise UnknownNameError("split of cifar100", split, self.splits)


def _read(path: Path, numbers: tuple[int, ...]) -> _Records:
    """The records in a file, which are to be of the images with these numbers.

    Raises: DataError for another size, labels out of range, and a fine class in two coarse ones.
    """
    import numpy as np

    expected = len(numbers) * RECORD_BYTES
    try:
        with path.open("rb") as stream:
            content = stream.read(expected + 1)
    except OSError as error:
        raise DataError(f"{path}: can't be read: {error.strerror}") from error
    if len(content) != expected:
        found = f"{len(content):,}" if len(content) < expected else f"more than {expected:,}"
        raise DataError(f"{path}: {found} bytes found, {expected:,} expected for {len(numbers):,} images")
    records = np.frombuffer(content, np.uint8).reshape(-1, RECORD_BYTES)
    coarse, fine = records[:, 0].astype(int), records[:, 1].astype(int)
    if int(coarse.max()) >= COARSE_CLASSES or int(fine.max()) >= CLASSES:
        raise DataError(f"{path}: labels {coarse.max()} and {fine.max()} found; at most 19 and 99 would be right")
    pairs = np.unique(coarse * CLASSES + fine) % CLASSES
    if len(pairs) != len(np.unique(pairs)):
        raise DataError(f"{path}: a fine class lies in two coarse ones: the file is damaged")
    return _Records(path=path, numbers=numbers, content=records)


def _require_balance(records: _Records) -> None:
    import numpy as np

    counts = np.bincount(records.content[:, 1], minlength=CLASSES)
    expected = len(records.numbers) // CLASSES
    if not bool((counts == expected).all()):
        odd = int(np.argmax(counts != expected))
        raise DataError(
            f"{records.path}: {counts[odd]} images of class {odd}, {expected} of each expected: the file is damaged"
        )


def _read_numbers(path: Path, count: int) -> tuple[int, ...]:
    """The numbers of the images in a part of a split.

    Raises: DataError for what is no list of different numbers below `count`.
    """
    try:
        words = path.read_text(encoding="ascii").split()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: can't be read: {error}. It says which images the part beside it has.") from error
    numbers = tuple(int(word) if re.fullmatch("[0-9]{1,5}", word) else count for word in words)
    if not numbers or max(numbers) >= count or len(set(numbers)) != len(numbers):
        raise DataError(f"{path}: different numbers from 0 to {count - 1:,}, one a line, would be right")
    return numbers


def _split_of(name: str) -> str:
    match = re.fullmatch(r"(train)/[0-4][0-9]{4}|(test)/0[0-9]{4}", name)
    if not match:
        raise DataError(
            f"cifar100 has no image '{name}': ids are train/00000 to train/49999 and test/00000 to test/09999"
        )
    return match[1] or match[2]
