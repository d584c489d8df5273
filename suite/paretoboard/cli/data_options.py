"""Options of `paretoboard data`, and the dataset that they name."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from paretoboard.errors import InputError, UnknownNameError
from paretoboard.registry import DATASETS

if TYPE_CHECKING:
    from paretoboard.datasets import Dataset

_ROOT_HELP = "Where data lies. [default: the variable PARETOBOARD_DATA, else the per-user cache folder]"
DataRoot = Annotated[Path | None, typer.Option("--data-root", help=_ROOT_HELP, show_default=False)]
FolderPath = Annotated[
    Path | None, typer.Option("--path", metavar="FOLDER", help="Of dataset 'folder': where it lies.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def opened(name: str, path: Path | None, data_root: Path) -> Dataset:
    """The dataset that a name and, for a folder of one's own, its path mean.

    Raises: UnknownNameError for another name, InputError for a path that is missing or not needed.
    """
    if name not in DATASETS:
        raise UnknownNameError("dataset", name, DATASETS)
    kind: type[Dataset] = DATASETS.load(name)
    if kind.takes_path != (path is not None):
        wrong = (
            "needs --path, the folder that it lies in" if kind.takes_path else "lies below the data root, not --path"
        )
        raise InputError(f"dataset '{name}' {wrong}")
    return kind(data_root if path is None else path.absolute())
