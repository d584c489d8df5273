"""The rules that lists of image ids follow, and the command that writes those of this project's tasks again:

    python -m paretoboard.datasets.subset_lists tasks

A list takes those images whose ids have the smallest SHA-256 after "seed 0/". Unlike a shuffle, that gives the same
images in every version of every library, and a short list is part of a long one. `paretoboard data subset` writes
lists of other images by the same rules.
"""

from __future__ import annotations

import hashlib
import sys
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

from paretoboard import durable, locations
from paretoboard.datasets.cifar10 import Cifar10
from paretoboard.datasets.coco import CocoDetection
from paretoboard.datasets.digits import Digits
from paretoboard.datasets.imagenet import ImageNet
from paretoboard.taskfile.subsets import text_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

Rule = Literal["balanced", "drawn", "all"]
RULES: Final[Mapping[Rule, str]] = {
    "balanced": "equally many images of each class, those with the smallest SHA-256 of 'seed SEED/' and the id",
    "drawn": "the images with the smallest SHA-256 of 'seed SEED/' and the id, whatever their class",
    "all": "every image that is there",
}
_REPRESENTATIVE: Final = (
    "chosen so that 64 published models score on them what they score on all 50,000 (mean gap 0.12 points)"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class SubsetList:
    """Ids of images, and how they were chosen."""

    ids: tuple[str, ...]
    said: Mapping[str, str] = field(default_factory=dict)  # the lines at the top of its file

    @property
    def text(self) -> str:
        """What its file holds."""
        return text_of(self.ids, self.said)


def chosen(labels: Mapping[str, int], rule: Rule, count: int | None, seed: int, origin: str) -> SubsetList:
    """The images of `labels`, id -> label, that a rule chooses, sorted but for "all", which keeps their order.

    Args:
        count: None for "all".
        origin: what they are drawn from, as in "imagenet val".
    Raises: ValueError for more images than there are, in all or of a class, and for a rule without a count.
    """
    said = {"dataset": origin, "rule": RULES[rule]}
    if rule == "all":
        return SubsetList(ids=tuple(labels), said=said)
    if count is None:
        raise ValueError(f"rule '{rule}' needs a size")
    ids = balanced(labels, count, seed) if rule == "balanced" else drawn(labels, count, seed)
    return SubsetList(ids=ids, said={**said, "seed": str(seed)})


def digits_lists(root: Path) -> dict[str, SubsetList]:
    """The lists of the tasks on digits, by path below tasks/.

    1,200 images to train on, 100 of them to calibrate with, and the other 597, 54 to 63 of a class, to
    test on.
    """
    labels = Digits(root).labels("all")
    train = chosen(labels, "balanced", 1200, 0, "digits all")
    held = {name: labels[name] for name in train.ids}
    calibration = chosen(held, "balanced", 100, 0, "digits, the images of train.txt")
    test = SubsetList(
        ids=tuple(name for name in labels if name not in held),
        said={"dataset": "digits all", "rule": "every image that is not in train.txt"},
    )
    lists = {"quick/calibration.txt": calibration}
    for folder in ("quick", "train", "scenarios"):
        lists |= {f"{folder}/train.txt": train, f"{folder}/test.txt": test}
    return lists


def cifar10_lists(root: Path) -> dict[str, SubsetList]:
    """The lists of tasks/cifar10, by path below tasks/.

    Of the first batch of training images 512 to calibrate with and 2,000 to train on; 2,000 of the test images.
    """
    found: dict[str, SubsetList] = {}
    for split, prefix, counts in (("train-batch-1", "train", (512, 2000)), ("test", "test", (2000,))):
        labels = Cifar10(root).labels(split)
        for count in counts:
            found[f"cifar10/{prefix}-{count}.txt"] = chosen(labels, "balanced", count, 0, f"cifar10 {split}")
    return found


def imagenet_lists(root: Path) -> dict[str, SubsetList]:
    """The lists of tasks/imagenet, where the images that they name are all there is: see data/MANIFEST.md.

    610 of the images for judging, and 256 of those that look like training images to calibrate with. With fewer
    images than classes none is balanced; they are drawn from all.
    """
    source = ImageNet(root)
    judged = chosen(source.labels("val"), "all", None, 0, "imagenet val")
    calibration = chosen(source.labels("train"), "drawn", 256, 0, "imagenet train, one image of each class")
    return {
        "imagenet/val-610.txt": SubsetList(ids=judged.ids, said={**judged.said, "rule": _REPRESENTATIVE}),
        "imagenet/train-256.txt": calibration,
    }


def coco_lists(root: Path) -> dict[str, SubsetList]:
    """The lists of tasks/coco, where the photographs that they name are all there is: see data/MANIFEST.md.

    100 of 120 photographs for judging, and the others to calibrate with.
    """
    origin = "coco val2017, 120 photographs of it"
    labels = CocoDetection(root).labels("val2017")
    judged = chosen(labels, "drawn", 100, 0, origin)
    rest = tuple(name for name in labels if name not in set(judged.ids))
    calibration = SubsetList(ids=rest, said={"dataset": origin, "rule": "every image that is not in val-100.txt"})
    return {"coco/val-100.txt": judged, "coco/val-calibration-20.txt": calibration}


def balanced(label_of: Mapping[str, int], count: int, seed: int = 0) -> tuple[str, ...]:
    """`count` ids, sorted, equally many of each class; of what is left over the first classes get one each.

    Raises: ValueError if a class has too few images.
    """
    by_label: defaultdict[int, list[str]] = defaultdict(list)
    for name, label in label_of.items():
        by_label[label].append(name)
    found: list[str] = []
    for rank, label in enumerate(sorted(by_label)):
        share = count // len(by_label) + (rank < count % len(by_label))
        if share > len(by_label[label]):
            raise ValueError(f"class {label} has {len(by_label[label])} images, {share} wanted")
        found += sorted(by_label[label], key=lambda name: _rank(name, seed))[:share]
    return tuple(sorted(found))


def drawn(names: Iterable[str], count: int, seed: int = 0) -> tuple[str, ...]:
    """`count` of the ids, sorted, at random but for ever the same.

    Raises: ValueError if there are fewer.
    """
    ranked = sorted(names, key=lambda name: _rank(name, seed))
    if count > len(ranked):
        raise ValueError(f"there are {len(ranked)} images, {count} wanted")
    return tuple(sorted(ranked[:count]))


def write(folder: Path, lists: Mapping[str, SubsetList]) -> None:
    """Write each list below `folder`."""
    for path, found in lists.items():
        durable.write(folder / path, found.text.encode())


def _rank(name: str, seed: int) -> bytes:
    return hashlib.sha256(f"seed {seed}/{name}".encode()).digest()


def main(arguments: Sequence[str]) -> None:
    """Write all lists below the folder that is named."""
    root = locations.data_root()
    write(Path(arguments[0]), digits_lists(root) | cifar10_lists(root) | imagenet_lists(root) | coco_lists(root))


if __name__ == "__main__":
    main(sys.argv[1:])
