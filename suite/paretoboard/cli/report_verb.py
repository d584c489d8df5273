"""`paretoboard report`: render the results as a site."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from paretoboard.cli import options

if TYPE_CHECKING:
    from paretoboard_reports.view import Page

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
def report(
    results: options.Results = None,
    out: Annotated[Path, typer.Option("--out", metavar="FOLDER", help="Where the pages go.")] = Path("site"),
    open_page: Annotated[bool, typer.Option("--open", help="Open the first page in a browser.")] = False,
) -> None:
    """Render the results as HTML.

    Makes a site of static pages that ask for nothing from outside, and prints the path of the first, FOLDER/index.html.
    """
    from paretoboard_reports import output, pages, site

    found = site.read(options.results_folder(results))
    target = output.write(pages.files(found), out).resolve()
    rows = sum(len(board.rows) for board in found.page.boards)
    _say(f"Boards: {len(found.page.boards)}, rows: {rows}.")
    for line in found.damaged:
        _say(f"left out: {line}")
    print(target)
    if open_page:
        typer.launch(target.as_uri())


def read_page(results: Path, tasks: list[str] | None = None) -> Page:
    """What the results in a folder say; damaged files are named and left out.

    Args:
        tasks: only these, by name.
    """
    from paretoboard import store
    from paretoboard_reports.view import page

    reading = store.read(results, tasks=tasks, with_predictions=True)
    return page(reading.records, [str(found) for found in reading.damaged])


def _say(text: str) -> None:
    print(text, file=sys.stderr)
