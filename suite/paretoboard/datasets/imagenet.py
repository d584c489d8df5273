"""ImageNet-1k (ILSVRC2012; Russakovsky et al. 2015) as image files in a folder for each WordNet id.

    <data root>/imagenet/val/<wnid>/*.JPEG      50,000 images, or some of them
    <data root>/imagenet/train/<wnid>/*.JPEG    1,281,167, or some
    <data root>/imagenet/synset_words.txt       "n01440764 tench, Tinca tinca", a line for each class

Classes are numbered by the sorted ids of *all 1,000* classes, which is what published weights were trained with, and
not by those of the folders that are there. Where there is no synset_words.txt, the ids come from meta.bin, which
torchvision's `ImageNet` writes beside the same folders, or else from the folders of one split if it has all 1,000.
"""

from __future__ import annotations

import pickle
import re
from collections import Counter
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

from paretoboard.datasets import listing
from paretoboard.datasets.files import ImageFiles
from paretoboard.errors import DataError, UnknownNameError
from paretoboard.geometry import AS_STORED

if TYPE_CHECKING:
    from pathlib import Path

    from paretoboard.datasets import Images
    from paretoboard.spec import Preprocess

CLASSES: Final = 1000
SYNSETS: Final = "synset_words.txt"
META: Final = "meta.bin"
_WNID: Final = re.compile(r"n[0-9]{8}")


class ImageNet(ImageFiles):
    """ImageNet; ids are such as "val/n01440764/ILSVRC2012_val_00000293.JPEG"."""

    splits = ("train", "val")
    classes = CLASSES
    sizes = {"train": 1_281_167, "val": 50_000}  # noqa: RUF012 - as published

    def __init__(self, data_root: Path) -> None:
        super().__init__(data_root / "imagenet")

    @cached_property
    def names(self) -> dict[str, str]:
        """WordNet id -> name, in the order of the labels.

        Raises: DataError where nothing says which 1,000 ids there are.
        """
        for source in (self._from_synsets, self._from_meta, self._from_folders):
            found = source()
            if found is not None:
                return dict(sorted(found.items()))
        raise DataError(f"ImageNet is not there: {self._layout}")

    @property
    def class_names(self) -> tuple[str, ...]:  # type: ignore[override]
        """The first word for each class; where two classes share it, with the WordNet id."""
        first = {wnid: name.split(",")[0].strip() for wnid, name in self.names.items()}
        shared = {name for name, count in Counter(first.values()).items() if count > 1}
        return tuple(f"{name} ({wnid})" if name in shared else name for wnid, name in first.items())

    def place(self, split: str) -> Path:
        """The folder of a split."""
        return self.root / split

    def label_of(self, name: str) -> int:
        """The position of the image's WordNet id among all 1,000."""
        split, _, rest = name.partition("/")
        wnid, _, file = rest.partition("/")
        if split not in self.splits or not _WNID.fullmatch(wnid) or not file:
            raise DataError(
                f"imagenet has no image '{name}': ids are such as val/n01440764/ILSVRC2012_val_00000293.JPEG"
            )
        if wnid not in self._labels:
            raise DataError(f"{self.root / split / wnid}: no class of ImageNet-1k, as the 1,000 ids there say")
        return self._labels[wnid]

    def labels(self, split: str) -> dict[str, int]:
        """Id -> label of every image that is there, by class and then by id.

        Raises: DataError where there is no such folder, and as that of image files does.
        """
        if split in self.splits and not self.place(split).is_dir():
            raise DataError(f"{self.place(split)}: there is no such folder. {self._layout}")
        return super().labels(split)

    def read(self, split: str, preprocess: Preprocess = AS_STORED) -> Images:
        """All images of a split; where some are missing, an error that says how to name those that are there."""
        if split not in self.splits:
            raise UnknownNameError("split of imagenet", split, self.splits)
        labels = self.labels(split)
        if not labels:
            raise DataError(f"{self.place(split)}: holds no images. {self._layout}")
        if len(labels) != self.sizes[split]:
            raise DataError(
                f"{self.place(split)}: {len(labels):,} images found, '{split}' of ImageNet has "
                f"{self.sizes[split]:,}. To use what is there, write a list of it and name that in the task file:\n"
                f"    paretoboard data subset imagenet {split} --rule all --out {split}-{len(labels)}.txt"
            )
        return self._images(labels, preprocess)

    @cached_property
    def _labels(self) -> dict[str, int]:
        return {wnid: label for label, wnid in enumerate(self.names)}

    @property
    def _layout(self) -> str:
        return (
            f"{self.root} would hold the folders val and train, each with a folder of images for each WordNet id, and "
            f"{SYNSETS} (or torchvision's {META}), which names all {CLASSES:,} ids"
        )

    def _from_synsets(self) -> dict[str, str] | None:
        path = self.root / SYNSETS
        try:
            lines = path.read_text(encoding="utf-8").splitlines()
        except FileNotFoundError:
            return None
        except (OSError, UnicodeDecodeError) as error:
            raise DataError(f"{path}: can't be read: {error}") from error
        found = dict(line.strip().partition(" ")[::2] for line in lines if line.strip())
        return _checked(found, path)

    def _from_meta(self) -> dict[str, str] | None:
        """What torchvision read from ImageNet's development kit: (WordNet id -> names, ids of the images of val)."""
        path = self.root / META
        if not path.exists():
            return None
        import torch  # 2 s; only for this layout

        try:
            found: Any = torch.load(path, map_location="cpu", weights_only=True)[0]
            return _checked({wnid: ", ".join(names) for wnid, names in found.items()}, path)
        except pickle.UnpicklingError as error:
            raise DataError(f"{path}: names what it should not, and is not loaded") from error
        # What torch.load raises for bytes that are not a file of torch's depends on where it stumbles.
        except (OSError, RuntimeError, ValueError, LookupError, TypeError, AttributeError, EOFError) as error:
            raise DataError(f"{path}: not what torchvision writes: {error}") from error

    def _from_folders(self) -> dict[str, str] | None:
        for split in self.splits:
            if self.place(split).is_dir():
                found = [name for name in listing.folders_in(self.place(split)) if _WNID.fullmatch(name)]
                if len(found) == CLASSES:
                    return {wnid: wnid for wnid in found}
        return None


def _checked(names: dict[str, str], path: Path) -> dict[str, str]:
    wrong = [wnid for wnid in names if not isinstance(wnid, str) or not _WNID.fullmatch(wnid)]
    if wrong or len(names) != CLASSES:
        strange = f", '{wrong[0]}' among them" if wrong else ""
        raise DataError(f"{path}: {len(names):,} ids found{strange}; {CLASSES:,} such as n01440764 would be right")
    return names
