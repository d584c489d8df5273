"""Datasets: images with labels and ids, from files in the field's standard layouts."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from paretoboard import geometry
from paretoboard.errors import DataError, UnknownNameError
from paretoboard.geometry import AS_STORED
from paretoboard.registry import DATASETS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    import numpy as np  # noqa: TC004 - too slow for `--help`; nothing resolves these annotations
    from numpy.typing import NDArray  # noqa: TC004

    from paretoboard.datasets.integrity import Layout
    from paretoboard.metrics import Task
    from paretoboard.records import Objects  # noqa: TC004
    from paretoboard.spec import DatasetUse, Preprocess, Subset


@dataclass(frozen=True, slots=True, kw_only=True)
class Images:
    """A set of labelled images in memory, or mapped into it."""

    ids: tuple[str, ...]  # stable names such as "test/00042", unique within the dataset
    pixels: NDArray[np.uint8]  # (images, channels, height, width); not to be written to
    labels: NDArray[np.int64]  # (images,); all 0 where there are objects
    classes: tuple[str, ...]  # names, indexed by label
    objects: Objects | None = None  # what there is to find in them, of a dataset whose task is detection

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
        return Images(
            ids=ids,
            pixels=self.pixels[chosen],
            labels=self.labels[chosen],
            classes=self.classes,
            objects=None if self.objects is None else select_objects(self.objects, chosen),
        )


def select_objects(objects: Objects, chosen: Sequence[int]) -> Objects:
    """The objects of the images at the places `chosen`, which become images 0, 1, and so on."""
    import numpy as np

    from paretoboard.records import Objects

    of_image = [np.flatnonzero(objects.image == place) for place in chosen]
    every = np.concatenate([np.zeros(0, np.int64), *of_image])
    return Objects(
        sizes=objects.sizes[list(chosen)],
        image=np.repeat(np.arange(len(of_image), dtype=np.int32), [len(places) for places in of_image]),
        boxes=objects.boxes[every],
        classes=objects.classes[every],
        areas=objects.areas[every],
        crowd=objects.crowd[every],
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Holding:
    """What lies in a folder of image files."""

    path: str
    images: int
    expected: int | None  # images that the published dataset has there; None where nobody published it
    classes: int  # that have an image there
    others: int  # files that are no images, by their names
    problems: tuple[str, ...] = ()  # links that lead out of the dataset, and the like


class Dataset:
    """Where images come from. What stands in the class is known of its name alone, without any file."""

    splits: tuple[str, ...]  # subsets that need no list, such as ("train", "test"); of a folder all that it may have
    classes: int  # a folder's are those of the instance
    class_names: tuple[str, ...]  # indexed by label
    channels: int = 3
    image_shape: tuple[int, int, int] | None = None  # (channels, height, width) as stored; None where sizes differ
    sizes: Mapping[str, int]  # images of each split, as published
    layouts: tuple[Layout, ...] = ()  # forms that files with known digests may lie in below the data root
    takes_path: bool = False  # whether a task file says where it lies; all others lie below the data root
    task: Task = "classification"  # what there is to say about an image: a class, or boxes around objects

    def __init__(self, place: Path) -> None:
        """Args:
        place: the data root, or where it `takes_path` its own folder.
        """
        raise NotImplementedError

    def read(self, split: str, preprocess: Preprocess = AS_STORED) -> Images:
        """All images of one split, resized and cropped; as published, or not at all.

        Raises: DataError that says which files go where and which command brings them.
        """
        raise NotImplementedError

    def read_ids(self, ids: tuple[str, ...], preprocess: Preprocess = AS_STORED) -> Images:
        """The images of `ids`, in that order, reading no more files than they lie in.

        Raises: DataError as `read` does, and for an id that the dataset does not have.
        """
        raise NotImplementedError

    def holds(self, split: str, name: str) -> bool:
        """Whether an image with this id belongs to a split, by what ids begin with; no file is looked at."""
        return name.startswith(f"{split}/")

    def labels(self, split: str) -> dict[str, int]:
        """Id -> label of the images of a split that are at hand: lists can be drawn from a part of it, too."""
        images = self.read(split)
        return dict(zip(images.ids, images.labels.tolist(), strict=True))

    def count(self, split: str) -> int:
        """How many images a split has."""
        return self.sizes[split]

    def digest(self, split: str) -> str:  # noqa: ARG002
        """What tells a split from another of the same name; "" for those that are published."""
        return ""

    def digest_of(self, ids: tuple[str, ...]) -> str:  # noqa: ARG002
        """What tells the images with these ids from others with the same ids; "" for those that are published."""
        return ""

    def holdings(self) -> tuple[Holding, ...]:
        """What lies in its folders of image files; () where it has none."""
        return ()

    def check(self, progress: Callable[[str], None]) -> Iterator[str]:  # noqa: ARG002
        """Everything wrong with what lies there, beyond digests; reads every image, and says where it is."""
        yield from ()

    def unreadable(self, names: Iterable[str], progress: Callable[[str], None]) -> dict[str, str]:  # noqa: ARG002
        """Of the images with these ids those that can't be decoded, and why; none of those that lie in arrays."""
        return {}


class DetectionDataset(Dataset):
    """A dataset whose images have boxes around objects."""

    task = "detection"

    def stored(self, name: str) -> NDArray[np.uint8]:
        """One image as it is stored, neither resized nor cropped, (channels, height, width).

        Raises: DataError as `read_ids` does.
        """
        raise NotImplementedError


def open_dataset(dataset: DatasetUse | str, data_root: Path) -> Dataset:
    """The dataset that a task, or a name, means.

    Raises: UnknownNameError for a name that there is not, DataError for a folder that is no dataset.
    """
    name, path = (dataset, None) if isinstance(dataset, str) else (dataset.name, dataset.path)
    kind: type[Dataset] = DATASETS.load(name)
    if not kind.takes_path:
        return kind(data_root)
    if path is None:
        raise DataError(f"dataset '{name}' lies in a folder of one's own: a 'path' under [dataset] would be right")
    return kind(Path(path))


def image_shape(dataset: DatasetUse | str, preprocess: Preprocess) -> tuple[int, int, int]:
    """(channels, height, width) of every image that `read_subset` gives; no file is looked at.

    Raises: DataError where images keep sizes of their own, or are smaller than the crop.
    """
    kind: type[Dataset] = DATASETS.load(dataset if isinstance(dataset, str) else dataset.name)
    if kind.image_shape is not None:
        channels, height, width = kind.image_shape
        return (channels, *geometry.output_size((height, width), preprocess))
    size = geometry.fixed_size(preprocess)
    if size is None:
        raise DataError(geometry.SIZES_DIFFER)
    return (kind.channels, *size)


def read_subset(dataset: DatasetUse | str, subset: Subset, data_root: Path, preprocess: Preprocess) -> Images:
    """The images that a task names, resized and cropped: a split of the dataset, or a committed list of ids.

    Raises:
        UnknownNameError: for a dataset or a split that there is not.
        InputError: for missing, altered or damaged data, and for images that are not those the task was read with.
    """
    from paretoboard.taskfile import subsets  # here, since reading task files loads datasets

    source = open_dataset(dataset, data_root)
    if subset.file is None:
        if subset.name not in source.splits:
            name = dataset if isinstance(dataset, str) else dataset.name
            raise UnknownNameError(f"split of {name}", subset.name, source.splits)
        if subset.digest and subset.digest != source.digest(subset.name):
            raise DataError(f"the images of '{subset.name}' have changed since the task was read: run it again")
        return source.read(subset.name, preprocess)
    ids = subsets.read_ids(subset.file)
    found = subsets.listed_digest(ids, source)
    if found != subset.digest:
        raise DataError(
            f"{subset.file}: the list has changed, or images in it: digest {found} found, {subset.digest} expected"
        )
    return source.read_ids(ids, preprocess)
