"""Which images of a folder of one's own a new task scores on, and which it finds activation ranges with."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from paretoboard.datasets.subset_lists import RULES, balanced
from paretoboard.errors import InputError
from paretoboard.taskfile.subsets import text_of

if TYPE_CHECKING:
    from paretoboard.datasets.folder import Folder

# Of each class at most a fifth is kept back to find activation ranges with; with 512 images they hardly move any more.
_SHARE: Final = 5
_MOST: Final = 512


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """The names that a task file gives its images, and the lists that have to lie beside it."""

    subset: str
    train: str  # "" where there are none to train on
    calibration: str  # "" where classes have too few images to keep one back
    lists: Mapping[str, str] = field(default_factory=dict)  # by name, what their files <name>.txt hold


def choose(folder: Folder, name: str) -> Chosen:
    """Score on the split test, else val, and calibrate on others; without such a split, on lists drawn from one.

    A list takes equally many images of each class, by the rule of all lists here (datasets.subset_lists).

    Args:
        name: what names of lists begin with.
    Raises: InputError for images that are all to train on, and too few to score on others.
    """
    scored = next(split for split in ("test", "val", *folder.splits) if split in folder.splits)
    other = next((split for split in ("train", "val") if split in folder.splits and split != scored), None)
    train = "train" if "train" in folder.splits and scored != "train" else ""
    origin = other or scored
    kept = _kept_back(folder.labels(origin))
    if not kept:
        if scored == "train":
            raise InputError(
                f"{folder.place(scored)}: a class has fewer than {_SHARE} images, too few to keep one back from those "
                "that are scored on; more images, or a folder 'val' beside this one, would be right"
            )
        return Chosen(subset=scored, train=train, calibration="")
    calibration, test = f"{name}-calibration", f"{name}-test"
    said = {"dataset": " ".join([*folder.root.name.split(), origin]), "rule": RULES["balanced"], "seed": "0"}
    lists = {calibration: text_of(kept, said)}
    if other is not None:
        return Chosen(subset=scored, train=train, calibration=calibration, lists=lists)
    rest = tuple(sorted(folder.labels(scored).keys() - set(kept)))
    said = {"dataset": said["dataset"], "rule": f"every image that is not in {calibration}.txt"}
    # What is scored on comes out of 'train', so of that only what was kept back can be trained on.
    train = calibration if scored == "train" else ""
    return Chosen(subset=test, train=train, calibration=calibration, lists={test: text_of(rest, said), **lists})


def _kept_back(label_of: Mapping[str, int]) -> tuple[str, ...]:
    """Equally many ids of each class, as many as the smallest can spare."""
    by_label: defaultdict[int, dict[str, int]] = defaultdict(dict)
    for image, label in label_of.items():
        by_label[label][image] = label
    each = min(min(map(len, by_label.values())) // _SHARE, -(-_MOST // len(by_label)))
    return balanced(label_of, each * len(by_label)) if each else ()
