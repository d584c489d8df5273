"""`paretoboard recommend`: the best recipes of a task under limits, and the file to take."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from paretoboard import recommend, taskfile
from paretoboard.cli import options
from paretoboard.cli.amounts import BYTES, JOULES, SECONDS, amount
from paretoboard.cli.report_verb import read_page
from paretoboard.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path

    from paretoboard.cli.artifacts import Built
    from paretoboard_reports.view import Board
    from paretoboard_reports.view.advice import Advice

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command("recommend")
def recommend_recipes(
    tasks: options.Tasks,
    max_drop: Annotated[
        float | None,
        typer.Option("--max-drop", metavar="SHARE", help="Lose at most this share of quality: 0.01 is one point."),
    ] = None,
    minimize: Annotated[
        Literal["latency", "size", "memory", "energy", "training", "loss"],
        typer.Option("--minimize", help="What is to be least; 'loss' asks for the highest quality."),
    ] = "latency",
    max_latency: Annotated[
        str | None, typer.Option("--max-latency", metavar="TIME", help="At the smallest batch: '5ms'.")
    ] = None,
    max_size: Annotated[str | None, typer.Option("--max-size", metavar="SIZE", help="Of the file: '500kB'.")] = None,
    max_memory: Annotated[
        str | None, typer.Option("--max-memory", metavar="SIZE", help="That the model adds at its peak: '20MB'.")
    ] = None,
    max_energy: Annotated[
        str | None, typer.Option("--max-energy", metavar="ENERGY", help="Of one image: '5mJ'.")
    ] = None,
    results: options.Results = None,
    as_json: options.AsJson = False,
) -> None:
    """The best recipes of a task under limits, how sure that is, and the file to take.

    A recipe is eligible if its estimates keep every limit; the one with the least cost is recommended, and what can't
    be told from it is named. The same rule makes the answers at the top of a board's page.
    """
    limits = _limits(max_drop, max_latency, max_size, max_memory, max_energy)
    names = [taskfile.task_name(file) for file in taskfile.find(tasks)]
    folder = options.results_folder(results)
    page = read_page(folder, names)
    for line in page.damaged:
        print(f"left out: {line}", file=sys.stderr)
    if not page.boards:
        raise InputError(f"{folder}: no results of {', '.join(names)}. `paretoboard run {' '.join(tasks)}` makes them.")
    from paretoboard_reports.view.advice import advice
    from paretoboard_reports.view.answers import candidates

    found = [recommend.recommend(candidates(board.rows), minimize, limits) for board in page.boards]
    said = [advice(board, one) for board, one in zip(page.boards, found, strict=True)]
    built = [_built(folder, board, one.recipe) for board, one in zip(page.boards, said, strict=True)]
    if as_json:
        rows = zip(page.boards, found, said, built, strict=True)
        print(json.dumps([_plain(*row) for row in rows], indent=1))
        return
    for place, (board, words, file) in enumerate(zip(page.boards, said, built, strict=True)):
        if place:
            print()
        _print(board, words, file)


def _limits(
    drop: float | None, latency: str | None, size: str | None, memory: str | None, energy: str | None
) -> recommend.Limits:
    if drop is not None and not 0 <= drop <= 1:
        raise InputError(f"--max-drop: found {drop:g}; a share from 0 to 1, as in 0.01 for one point, would be right")
    costs: dict[recommend.Cost, float] = {}
    if latency is not None:
        costs["latency"] = amount("--max-latency", latency, SECONDS, "5ms")
    if size is not None:
        costs["size"] = amount("--max-size", size, BYTES, "500kB")
    if memory is not None:
        costs["memory"] = amount("--max-memory", memory, BYTES, "20MB")
    if energy is not None:
        costs["energy"] = amount("--max-energy", energy, JOULES, "5mJ")
    return recommend.Limits(loss=drop, costs=costs)


def _built(folder: Path, board: Board, recipe: str) -> Built | None:
    """The file of a recommended recipe, None where nothing is recommended."""
    from paretoboard.cli.artifacts import find
    from paretoboard_reports.view.answers import row_of

    return find(folder, board.task, recipe, board.profile, row_of(board.rows, recipe).measured_at) if recipe else None


def _print(board: Board, said: Advice, built: Built | None) -> None:
    print(f"{board.title}: {board.task} × {board.hardware} × {board.profile}")
    print(f"Asked for: {said.asked}")
    if not said.recipe:
        print("Nothing keeps these limits.")
    else:
        print(f"Take {said.take}")
        for line in said.sure:
            print(f"  {line}")
    _list("Can't be told from it", said.ties)
    _list("Keep the limits, and come after it", said.others)
    _list("Left out", [f"{name}: {why}" for name, why in said.excluded])
    if built is None:
        return
    if built.folder is None:
        print(f"The file is not in this results folder. This builds it: {built.command}")
        return
    print(f"File: {built.file}")
    print()
    print(built.snippet)


def _list(title: str, lines: Any) -> None:
    if lines:
        print(f"{title}:")
        for line in lines:
            print(f"  {line}")


def _plain(board: Board, found: recommend.Recommendation, said: Advice, built: Built | None) -> dict[str, Any]:
    def pick(one: recommend.Pick) -> dict[str, Any]:
        return {"recipe": one.candidate.name, "probability": one.probability, **asdict(one.candidate)}

    return {
        "task": board.task,
        "profile": board.profile,
        "hardware": board.hardware,
        "minimize": found.goal,
        "limits": {"loss": found.limits.loss, **found.limits.costs},
        "best": None if found.best is None else pick(found.best),
        "ties": [pick(one) for one in found.ties],
        "others": [pick(one) for one in found.others],
        "excluded": dict(said.excluded),
        "in_words": [said.take, *said.sure] if said.take else [],
        "artifact": None if built is None or built.file is None else str(built.file),
        "command": None if built is None else built.command,
        "snippet": None if built is None else built.snippet or None,
    }
