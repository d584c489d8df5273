"""`paretoboard data`: what data there is, getting it, checking it, and lists of some of its images."""

from __future__ import annotations

import dataclasses
import json
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from paretoboard import locations
from paretoboard.cli import data_subset
from paretoboard.cli.data_options import AsJson, DataRoot, FolderPath, opened
from paretoboard.errors import DataError, UnknownNameError
from paretoboard.registry import DATASETS, model_library

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from paretoboard.datasets import Dataset
    from paretoboard.datasets.fetch import Listener
    from paretoboard.datasets.integrity import Finding, Layout

app = typer.Typer(
    help="Datasets and weights: list, fetch, verify, and write lists of images.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
)

SOURCES: Final = ("auto", "torchvision", "npm")
_NO_FILES: Final = "needs no files"
app.command("subset")(data_subset.subset)


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
        if row["place"] != "below the data root":
            print(f"  {row['place']}")
        for holding in row["folders"]:
            print(f"  {_holding_text(holding)}")
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
    name: Annotated[
        str,
        typer.Argument(metavar="NAME", help="A dataset, such as cifar10, or a model, such as torchvision:resnet50."),
    ],
    data_root: DataRoot = None,
    source: Annotated[str, typer.Option(help=f"Where from: {', '.join(SOURCES)}. auto tries all in turn.")] = "auto",
    weights: Annotated[
        str, typer.Option("--weights", metavar="NAME", help="Of a model: which weights, as its library names them.")
    ] = "DEFAULT",
) -> None:
    """Bring a dataset's files, or a model's weights, and check them; interrupted, the same command goes on."""
    if model_library(name):
        _fetch_weights(name, weights, locations.data_root(data_root).absolute())
        return
    if name not in DATASETS:
        raise UnknownNameError("dataset", name, DATASETS)
    if source not in SOURCES:
        raise UnknownNameError("source", source, SOURCES)
    if _place(DATASETS.load(name)) == _NO_FILES:
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


def _fetch_weights(name: str, weights: str, root: Path) -> None:
    """Download what torchvision publishes, unless it is there."""
    from paretoboard.datasets.fetch import fetch_file
    from paretoboard.datasets.weights import FOLDER
    from paretoboard.models.published import published

    wanted = published(name, weights)
    with _listener(name) as listener:
        path = fetch_file(wanted.url, root, f"{FOLDER}/{wanted.file}", wanted.digest, wanted.most_bytes, listener)
    print(f"{name}: {weights} verified in {path}")


@app.command()
def verify(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="[NAME]...", help="Datasets.", show_default=False)
    ] = None,
    path: FolderPath = None,
    data_root: DataRoot = None,
    as_json: AsJson = False,
) -> None:
    """Check every file against its official digest.

    A dataset that is named must be all there, too, and each of its image files is decoded.
    """
    for name in names or ():
        if name not in DATASETS:
            raise UnknownNameError("dataset", name, DATASETS)
    root = locations.data_root(data_root).absolute()
    checked, wrong, decoded, others = [], [], 0, 0
    for name in names or [name for name in DATASETS if not DATASETS.load(name).takes_path]:
        findings = _findings(DATASETS.load(name).layouts, root)
        checked += [finding for finding in findings if finding.state == "verified"]
        wrong += [finding.message for finding in findings if finding.state == "wrong"]
        if names:
            wrong += _gaps(DATASETS.load(name).layouts, findings)
            dataset = opened(name, path, root)
            wrong += dataset.check(lambda text: print(text, file=sys.stderr, flush=True))
            holdings = dataset.holdings()
            decoded += sum(holding.images for holding in holdings)
            others += sum(holding.others for holding in holdings)
    if as_json:
        verified = [finding.file.path for finding in checked]
        report = {"verified": verified, "decoded": decoded, "left_out": others, "wrong": wrong}
        print(json.dumps(report, indent=2))
    else:
        images = f", {decoded:,} images read" if decoded else ""
        left_out = f", {others:,} other files left out" if others else ""
        print(f"{root}: {len(checked)} files verified{images}{left_out}, {len(wrong)} wrong")
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
        "place": _place(dataset),
        "layouts": layouts,
        "folders": [] if dataset.takes_path else [dataclasses.asdict(found) for found in dataset(root).holdings()],
    }


def _place(dataset: type[Dataset]) -> str:
    """Where its files are looked for."""
    if dataset.takes_path:
        return "a folder that the task file names by 'path' under [dataset]"
    needs_files = dataset.layouts or dataset.image_shape is None
    return "below the data root" if needs_files else _NO_FILES


def _holding_text(row: dict[str, Any]) -> str:
    expected = f" of {row['expected']:,}" if row["expected"] is not None else ""
    text = f"{row['path']}: {row['images']:,}{expected} images of {row['classes']:,} classes"
    if row["others"]:
        text += f", {row['others']:,} other files left out"
    return "\n    ".join([text, *row["problems"]])


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
