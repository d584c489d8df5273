"""`paretoboard data subset`: write a list of images for a task to name."""

from __future__ import annotations

import sys
from pathlib import Path  # noqa: TC003 - typer reads the annotations
from typing import TYPE_CHECKING, Annotated, Final, cast

import typer

from paretoboard import durable, locations
from paretoboard.cli.data_options import DataRoot, FolderPath, opened
from paretoboard.errors import InputError, UnknownNameError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from paretoboard.datasets import Dataset
    from paretoboard.datasets.subset_lists import Rule

_SHOWN: Final = 20


def subset(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A dataset, such as imagenet.")],
    split: Annotated[str, typer.Argument(metavar="SPLIT", help="The split to choose from, such as val.")],
    out: Annotated[Path, typer.Option("--out", metavar="FILE", help="The list, to lie beside the task file.")],
    size: Annotated[int | None, typer.Option("--size", min=1, help="How many images.")] = None,
    rule: Annotated[
        str, typer.Option("--rule", help="balanced: equally many of each class; drawn: from all; all: every one there.")
    ] = "balanced",
    seed: Annotated[int, typer.Option("--seed", min=0, help="Another one chooses other images.")] = 0,
    exclude: Annotated[
        list[Path] | None,
        typer.Option("--exclude", metavar="LIST", help="Choose none of another list's images; may be repeated."),
    ] = None,
    readable: Annotated[
        bool, typer.Option("--readable", help="Decode every image first, and leave out what can't be.")
    ] = False,
    path: FolderPath = None,
    data_root: DataRoot = None,
) -> None:
    """Write a list of images by a rule: their ids, with rule, seed, size and digest."""
    from paretoboard.datasets.subset_lists import RULES, SubsetList, chosen

    if rule not in RULES:
        raise UnknownNameError("rule", rule, RULES)
    if rule == "all" and size is not None:
        raise InputError("rule 'all' takes every image: leave --size out, or name another rule")
    if out.suffix != ".txt":
        raise InputError(f"--out {out}: a name that ends in .txt would be right; a task names the list without it")
    if out.exists():
        raise InputError(f"{out}: already there. Results are of the images in a list, so none is overwritten.")
    dataset = opened(name, path, locations.data_root(data_root).absolute())
    if split not in dataset.splits:
        raise UnknownNameError(f"split of {name}", split, dataset.splits)
    labels, said = _candidates(dataset, split, exclude or (), readable=readable)
    if not labels:
        raise InputError(f"{name} {split}: no images to choose from")
    try:
        found = chosen(labels, cast("Rule", rule), size, seed, f"{name} {split}")
    except ValueError as error:
        raise InputError(f"{name} {split}: {error}") from None
    try:
        durable.write(out, SubsetList(ids=found.ids, said={**found.said, **said}).text.encode())
    except OSError as error:
        raise InputError(f"{out}: can't be written: {error.strerror}") from error
    print(f"{out}: {len(found.ids):,} images of {name} {split}; name it in the task file as '{out.stem}'")


def _candidates(
    dataset: Dataset, split: str, exclude: Sequence[Path], *, readable: bool
) -> tuple[dict[str, int], dict[str, str]]:
    """Id -> label of the images to choose from, and what the list is to say of those that are not among them."""
    labels = dataset.labels(split)
    said: dict[str, str] = {}
    if exclude:
        labels = _without(labels, exclude)
        said["without"] = f"the images of {', '.join(file.name for file in exclude)}"
    if readable:
        labels, left_out = _readable(dataset, labels)
        if left_out:
            said["left out"] = left_out
    return labels, said


def _without(labels: dict[str, int], lists: Sequence[Path]) -> dict[str, int]:
    from paretoboard.taskfile.subsets import read_ids

    taken = {image for file in lists for image in read_ids(file)}
    return {image: label for image, label in labels.items() if image not in taken}


def _readable(dataset: Dataset, labels: dict[str, int]) -> tuple[dict[str, int], str]:
    """The images that can be decoded, and a line on those that can't, each of which is told."""
    reasons = dataset.unreadable(labels, lambda text: print(text, file=sys.stderr, flush=True))
    for reason in reasons.values():
        print(f"left out: {reason}", file=sys.stderr)
    if not reasons:
        return labels, ""
    some = ", ".join(list(reasons)[:_SHOWN]) + (", ..." if len(reasons) > _SHOWN else "")
    kept = {image: label for image, label in labels.items() if image not in reasons}
    return kept, f"{len(reasons)} that can't be decoded: {some}"
