"""COCO detection 2017 from its official files: photographs with boxes around objects of 80 classes (Lin et al. 2014).

    <data root>/coco/annotations/instances_val2017.json
    <data root>/coco/val2017/000000000139.jpg ...

Nothing in these files is run. A photograph's size must be the one that the annotations state.
"""

from __future__ import annotations

import json
import math
from collections import defaultdict
from dataclasses import dataclass
from functools import lru_cache
from pathlib import PurePath
from typing import TYPE_CHECKING, Any, Final

from paretoboard.datasets import DetectionDataset, Holding, Images, listing, reading
from paretoboard.datasets.decoding import FORMATS, SUFFIXES, planes
from paretoboard.datasets.reading import read_picture
from paretoboard.errors import DataError, UnknownNameError
from paretoboard.geometry import AS_STORED, MOST_PIXELS
from paretoboard.records import Objects

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from paretoboard.spec import Preprocess

SPLITS: Final = ("val2017", "train2017")
_NAMES: Final = (
    "person,bicycle,car,motorcycle,airplane,bus,train,truck,boat,traffic light,fire hydrant,stop sign,parking meter,"
    "bench,bird,cat,dog,horse,sheep,cow,elephant,bear,zebra,giraffe,backpack,umbrella,handbag,tie,suitcase,frisbee,skis,"
    "snowboard,sports ball,kite,baseball bat,baseball glove,skateboard,surfboard,tennis racket,bottle,wine glass,cup,"
    "fork,knife,spoon,bowl,banana,apple,sandwich,orange,broccoli,carrot,hot dog,pizza,donut,cake,chair,couch,"
    "potted plant,bed,dining table,toilet,tv,laptop,mouse,remote,keyboard,cell phone,microwave,oven,toaster,sink,"
    "refrigerator,book,clock,vase,scissors,teddy bear,hair drier,toothbrush"
)
CLASSES: Final = tuple(_NAMES.split(","))
_SIDES: Final = ("left", "top", "width", "height")
_HINT: Final = (
    "These are the files of COCO 2017, val2017.zip (or train2017.zip) and annotations_trainval2017.zip, unpacked below "
    "coco/ in the data root."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class AnnotatedObject:
    """One object of an annotation file."""

    box: tuple[float, ...]  # left, top, width, height in pixels
    label: int  # place in CLASSES
    area: float  # of the outline, in square pixels
    crowd: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Photograph:
    """One image of an annotation file."""

    path: str  # below the folder of the dataset
    height: int
    width: int
    objects: tuple[AnnotatedObject, ...]  # in the file's order


class CocoDetection(DetectionDataset):
    """Photographs of their own sizes, brought to one by the task's preprocessing; ids are "val2017/000000000139"."""

    splits = SPLITS
    classes = len(CLASSES)
    class_names = CLASSES
    sizes = {"val2017": 5000, "train2017": 118_287}  # noqa: RUF012 - as published

    def __init__(self, data_root: Path) -> None:
        self.root = data_root / "coco"

    def read(self, split: str, preprocess: Preprocess = AS_STORED) -> Images:
        """All photographs that a split's annotations name, by id.

        Raises: DataError for files that are missing, broken, or not as annotated, naming them.
        """
        if split not in SPLITS:
            raise UnknownNameError("split of coco", split, SPLITS)
        known, there = self._annotations(split), self.labels(split)
        missing = [f"{self.root / known[name].path}: there is no such file" for name in known.keys() - there.keys()]
        if missing:
            hint = (
                "To use those that are, write a list of them and name that in the task file:\n"
                f"    paretoboard data subset coco {split} --rule all --out {split}-{len(there)}.txt"
            )
            summary = f"{len(missing):,} of the {len(known):,} photographs of '{split}' are not there"
            raise DataError(f"{listing.told(sorted(missing), summary)}\n{hint if there else _HINT}")
        return self.read_ids(tuple(there), preprocess)

    def read_ids(self, ids: tuple[str, ...], preprocess: Preprocess = AS_STORED) -> Images:
        """The photographs of `ids`, in that order; what was decoded before is not decoded again.

        Raises: DataError as `read` does, and for an id that the annotations don't have.
        """
        import numpy as np

        from paretoboard.datasets.shaping import read_files

        found = [self._photograph(name) for name in ids]
        pixels = read_files(self.root, [each.path for each in found], preprocess)
        if others := [reason for each in found if (reason := self._other_size(each))]:
            raise DataError(listing.told(others, f"{len(others):,} of {len(ids):,} photographs are not as annotated"))
        return Images(
            ids=ids,
            pixels=pixels,
            labels=np.zeros(len(ids), np.int64),
            classes=CLASSES,
            objects=_objects(found),
        )

    def labels(self, split: str) -> dict[str, int]:
        """The id of every photograph that is annotated and there, with label 0: it has no class of its own."""
        known = self._annotations(split)
        return dict.fromkeys((name for name in sorted(known) if (self.root / known[name].path).is_file()), 0)

    def holdings(self) -> tuple[Holding, ...]:
        """The photographs of each split that lie there."""
        return tuple(self._holding(split) for split in SPLITS)

    def check(self, progress: Callable[[str], None]) -> Iterator[str]:
        """Every photograph that its annotations name and that is missing, can't be decoded or has another size."""
        there = [split for split in SPLITS if self._annotation_file(split).exists()]
        if not there:
            yield f"{self.root}: holds no annotations. {_HINT}"
        for split in there:
            yield from self.unreadable(self._annotations(split), progress).values()

    def unreadable(self, names: Iterable[str], progress: Callable[[str], None]) -> dict[str, str]:
        """Of the photographs with these ids those that can't be decoded or have another size, and why; reads all."""
        return reading.unreadable(names, self._require, self.root, progress)

    def stored(self, name: str) -> NDArray[np.uint8]:
        """One photograph as it is stored, (3, height, width)."""
        return planes(read_picture(self.root / self._photograph(name).path))

    def _require(self, name: str) -> None:
        """Raises: DataError for a photograph that can't be decoded, or has another size than it is annotated with."""
        self.stored(name)
        if reason := self._other_size(self._photograph(name)):
            raise DataError(reason)

    def _photograph(self, name: str) -> Photograph:
        split, _, _ = name.partition("/")
        if split not in SPLITS:
            raise DataError(f"coco has no image '{name}': ids begin with {' or '.join(f'{one}/' for one in SPLITS)}")
        try:
            return self._annotations(split)[name]
        except KeyError:
            raise DataError(f"{self._annotation_file(split)}: no image '{name}'") from None

    def _annotations(self, split: str) -> Mapping[str, Photograph]:
        path = self._annotation_file(split)
        try:
            stat = path.stat()
        except OSError as error:
            raise DataError(f"{path}: can't be read: {error.strerror}. {_HINT}") from error
        return read_annotations(path, split, stat.st_mtime_ns, stat.st_size)

    def _annotation_file(self, split: str) -> Path:
        return self.root / "annotations" / f"instances_{split}.json"

    def _other_size(self, photograph: Photograph) -> str:
        """What is wrong with the size of a photograph that was decoded before, "" where it is the annotated one.

        Boxes are in pixels of the photograph that was annotated.
        """
        from PIL import Image

        path = self.root / photograph.path
        with Image.open(path, formats=FORMATS) as picture:  # the size is in the file's first bytes
            width, height = picture.size
        if (width, height) == (photograph.width, photograph.height):
            return ""
        return f"{path}: {width}x{height} pixels, the annotations say {photograph.width}x{photograph.height}"

    def _holding(self, split: str) -> Holding:
        place = self.root / split
        names = sorted(path.name for path in place.iterdir()) if place.is_dir() else []
        images = [name for name in names if PurePath(name).suffix.lower() in SUFFIXES]
        return Holding(
            path=str(place),
            images=len(images),
            expected=self.sizes[split],
            classes=self.classes,
            others=len(names) - len(images),
        )


@lru_cache(maxsize=4)
def read_annotations(path: Path, split: str, _modified_ns: int, _size_bytes: int) -> Mapping[str, Photograph]:
    """The photographs that an annotation file names, by the ids that tasks list; read once while it stays the same.

    Raises: DataError for a file that is not one, naming the entry that is wrong.
    """
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{path}: can't be read as JSON: {error}") from error
    try:
        return _photographs(path, split, content)
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise DataError(f"{path}: not COCO's annotations of objects: {type(error).__name__}: {error}") from error


def _photographs(path: Path, split: str, content: Mapping[str, Any]) -> Mapping[str, Photograph]:
    # By name: the ids of categories have gaps, and a file may list some of them only.
    label_of = {category["id"]: _label(path, category["name"]) for category in content["categories"]}
    objects: defaultdict[int, list[AnnotatedObject]] = defaultdict(list)
    for entry in content["annotations"]:
        objects[entry["image_id"]].append(_object(path, entry, label_of))
    found: dict[str, Photograph] = {}
    for entry in content["images"]:
        photograph = _photograph_of(path, split, entry, objects[entry["id"]])
        name = f"{split}/{PurePath(photograph.path).stem}"
        if name in found:
            raise DataError(f"{path}: image {entry['id']}: '{name}' is listed twice")
        found[name] = photograph
    return found


def _label(path: Path, category: str) -> int:
    if category not in CLASSES:
        raise DataError(f"{path}: category {category!r} is none of COCO's {len(CLASSES)}")
    return CLASSES.index(category)


def _photograph_of(path: Path, split: str, entry: Mapping[str, Any], objects: list[AnnotatedObject]) -> Photograph:
    name, height, width = str(entry["file_name"]), int(entry["height"]), int(entry["width"])
    if PurePath(name).name != name or name in ("", ".", "..") or "\0" in name:
        raise DataError(f"{path}: image {entry['id']}: file name {name!r} leads out of the folder of the split")
    if min(height, width) < 1 or height * width > MOST_PIXELS:
        raise DataError(f"{path}: image {entry['id']}: {width}x{height} pixels; at most {MOST_PIXELS:,} are read")
    return Photograph(path=f"{split}/{name}", height=height, width=width, objects=tuple(objects))


def _object(path: Path, entry: Mapping[str, Any], label_of: Mapping[int, int]) -> AnnotatedObject:
    about = f"{path}: object {entry['id']}"
    if entry["category_id"] not in label_of:
        raise DataError(f"{about} is of category {entry['category_id']}, which is not listed")
    box, area = tuple(float(number) for number in entry["bbox"]), float(entry["area"])
    if len(box) != len(_SIDES):
        raise DataError(f"{about}: bbox of {len(box)} numbers, {len(_SIDES)} would be right")
    if not all(map(math.isfinite, (*box, area))) or min((*box[2:], area)) < 0:
        raise DataError(f"{about}: bbox {list(box)} and area {area}; finite numbers, no size below 0, would be right")
    return AnnotatedObject(
        box=box, label=label_of[entry["category_id"]], area=area, crowd=bool(entry.get("iscrowd", 0))
    )


def _objects(photographs: list[Photograph]) -> Objects:
    import numpy as np

    every = [found for photograph in photographs for found in photograph.objects]
    return Objects(
        sizes=np.array([(each.height, each.width) for each in photographs], np.int32).reshape(-1, 2),
        image=np.repeat(np.arange(len(photographs), dtype=np.int32), [len(each.objects) for each in photographs]),
        boxes=np.array([found.box for found in every], np.float64).reshape(-1, 4),
        classes=np.array([found.label for found in every], np.int16),
        areas=np.array([found.area for found in every], np.float64),
        crowd=np.array([found.crowd for found in every], dtype=bool),
    )
