"""Arguments and options that several verbs share, and what they choose."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from paretoboard import locations, profiles, taskfile
from paretoboard.errors import InputError, UnknownNameError
from paretoboard.plan import expand
from paretoboard.spec import BASELINE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from paretoboard.plan import RunSpec

Tasks = Annotated[
    list[str],
    typer.Argument(
        metavar="TASK...", help="A task file, a folder of them, or a name below tasks/ ('cifar10/resnet20')."
    ),
]
Profiles = Annotated[
    list[str] | None,
    typer.Option(
        "--profile",
        metavar="NAME",
        help="Use this hardware profile, or the file of one's own, instead of the task's; may be repeated.",
    ),
]
Only = Annotated[
    list[str] | None,
    typer.Option("--only", metavar="RECIPE", help="Only this recipe and the baseline; may be repeated."),
]
Seeds = Annotated[
    str | None,
    typer.Option("--seeds", metavar="LIST", help="Use these seeds instead of the task's: '0,1,2' or '0-4'."),
]
Results = Annotated[
    Path | None,
    typer.Option("--results", metavar="FOLDER", help="Where results are kept. [default: results]", show_default=False),
]
DataRoot = Annotated[
    Path | None,
    typer.Option(
        "--data-root",
        metavar="FOLDER",
        help=f"Where data lies. [default: the variable {locations.DATA_VARIABLE}, else the per-user cache folder]",
        show_default=False,
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]

_UNITS_S: Final = {"": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0}
_MAX_SEEDS: Final = 10_000


def chosen_runs(
    tasks: Sequence[str],
    *,
    profile: Sequence[str] | None = None,
    only: Sequence[str] | None = None,
    seeds: str | None = None,
) -> list[RunSpec]:
    """The runs that TASK..., --profile, --only and --seeds choose.

    Raises: InputError for a task, profile, recipe or seed that there is not, naming the nearest one.
    """
    specs = taskfile.load_all(tasks)
    if profile:
        folder = locations.profiles_folder()
        chosen = tuple(profiles.find(name, folder) for name in dict.fromkeys(profile))
        specs = [dataclasses.replace(spec, profiles=chosen) for spec in specs]
    recipes = {recipe.name for spec in specs for recipe in spec.recipes}
    for name in only or ():
        if name not in recipes:
            raise UnknownNameError("recipe", name, recipes - {BASELINE})
    return list(expand(specs, recipes=only or None, seeds=parse_seeds(seeds)))


def runs_at_hand(runs: Sequence[RunSpec], data_root: Path) -> list[RunSpec]:
    """`runs`, those marked whose model's weights are nowhere; they are measured, and have no quality."""
    from paretoboard_runners.weights import with_missing_marked

    return with_missing_marked(runs, data_root)


def find_modules(runs: Sequence[RunSpec]) -> None:
    """Let this process, and those that it starts, import the networks of one's own that lie beside task files."""
    locations.find_modules(runs)


def parse_seeds(text: str | None) -> tuple[int, ...] | None:
    """(0, 1, 2, 5) for "0-2,5"; None for None.

    Raises: InputError for anything else.
    """
    if text is None:
        return None
    seeds: dict[int, None] = {}
    for part in text.split(","):
        found = re.fullmatch(r"\s*(\d{1,10})(?:-(\d{1,10}))?\s*", part, re.ASCII)
        first, last = (int(found[1]), int(found[2] or found[1])) if found else (0, -1)
        if not first <= last < 2**32 or last - first >= _MAX_SEEDS:
            raise InputError(f"--seeds: found '{text}'; numbers from 0 as in '0,1,2' or '0-4' would be right")
        seeds.update(dict.fromkeys(range(first, last + 1)))
    return tuple(seeds)


def seconds(text: str) -> float:
    """5400.0 for "90m", "1.5h" or "5400".

    Raises: InputError for anything else.
    """
    found = re.fullmatch(r"\s*(\d{1,9}(?:\.\d+)?)\s*([smh]?)\s*", text, re.ASCII)
    if found is None or float(found[1]) == 0:
        raise InputError(f"found '{text}'; a time such as '90s', '15m' or '2h' would be right")
    return float(found[1]) * _UNITS_S[found[2]]


def results_folder(given: Path | None) -> Path:
    """Where results are kept."""
    return locations.results_folder(given)


def data_root_folder(given: Path | None) -> Path:
    """Where data lies."""
    return locations.data_root(given)


def table(rows: Sequence[Sequence[str]]) -> str:
    """`rows` as aligned text, two blanks between columns; the last column is not filled up."""
    widths = [max(map(len, column)) for column in list(zip(*rows, strict=True))[:-1]]
    return "\n".join(
        "  ".join([*(cell.ljust(width) for cell, width in zip(row[:-1], widths, strict=True)), row[-1]]).rstrip()
        for row in rows
    )
