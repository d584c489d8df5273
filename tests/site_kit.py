"""A site from records, without a folder of results."""

from __future__ import annotations

import base64
import gzip
import json
from typing import TYPE_CHECKING

from paretoboard import regressions
from paretoboard.store import light
from paretoboard_reports import links, pages
from paretoboard_reports.render import fragment
from paretoboard_reports.site import Site
from paretoboard_reports.view import page

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    import pandas as pd

    from paretoboard.records import RunRecord
    from paretoboard.regressions import Ack


def site_of(records: Iterable[RunRecord], damaged: Sequence[str] = ()) -> Site:
    """What `site.read` gives for a folder with these records."""
    found = tuple(records)
    history = light.of(found)
    return Site(
        page=page(found, damaged),
        records=found,
        history=history,
        regressions=regressions.find(history),
        damaged=tuple(damaged),
    )


def site_of_history(history: pd.DataFrame, acks: Iterable[Ack] = ()) -> Site:
    """A site of nights whose records nobody has."""
    none = page([], [])
    return Site(page=none, records=(), history=history, regressions=regressions.find(history, acks), damaged=())


def files_of(records: Iterable[RunRecord], damaged: Sequence[str] = ()) -> dict[str, bytes]:
    """Every file of the site, by its path."""
    return {file.path: file.content for file in pages.files(site_of(records, damaged))}


def board_html(records: Iterable[RunRecord]) -> str:
    """The pages of all boards, one after the other."""
    found = site_of(records)
    return "\n".join(file.content.decode() for file in pages.board.files(found) if file.path.endswith(".html"))


def full_html(records: Iterable[RunRecord]) -> str:
    """The pages of all boards, and every row's run in full, as the page of a run has it."""
    details = [
        fragment("details.html.j2", path=links.RUN, board=board, row=row)
        for board in page(tuple(records)).boards
        for row in board.rows
    ]
    return "\n".join([board_html(records), *details])


def board_pages(folder: Path) -> str:
    """The pages of all boards of a site that was written into a folder, one after the other."""
    return "\n".join(found.read_text(encoding="utf-8") for found in sorted((folder / "boards").glob("*.html")))


def full_pages(folder: Path) -> str:
    """The same, and after them all that the page of a run says of the newest run of each row."""
    shards = []
    for path in sorted((folder / "data" / "runs").glob("*.js")):
        packed = path.read_text(encoding="utf-8").rpartition(", ")[2].rstrip().removesuffix(");")
        shards.append(json.loads(gzip.decompress(base64.b64decode(json.loads(packed)))))
    details = [found["html"] for shard in shards for found in shard["full"].values()]
    return "\n".join([board_pages(folder), *details])


def index_html(records: Iterable[RunRecord], damaged: Sequence[str] = ()) -> str:
    """The first page."""
    return files_of(records, damaged)[links.INDEX].decode()
