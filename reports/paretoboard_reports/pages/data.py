"""The results as files, with their schema and digests."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from paretoboard.store.light import COLUMNS
from paretoboard_reports import downloads, links
from paretoboard_reports.output import SiteFile
from paretoboard_reports.render import html

if TYPE_CHECKING:
    from collections.abc import Iterator

    from paretoboard_reports.site import Site

SUMS: Final = "SHA256SUMS"


@dataclass(frozen=True, slots=True, kw_only=True)
class Download:
    """A file to take away."""

    name: str
    what: str
    bytes: int
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """A column of the results."""

    name: str
    type: str
    unit: str
    meaning: str


def files(site: Site) -> Iterator[SiteFile]:
    """The downloads, their digests, and the page that names them."""
    made = (
        ("results.parquet", "every result, one row for each", downloads.parquet(site.history)),
        ("results.csv.gz", "the same for spreadsheets, without the list of software", downloads.csv_gz(site.history)),
    )
    listed = []
    for name, what, content in made:
        digest = hashlib.sha256(content).hexdigest()
        listed.append(Download(name=name, what=what, bytes=len(content), sha256=digest))
        yield SiteFile(path=f"{links.DATA_FOLDER}/{name}", content=content)
    sums = "".join(f"{found.sha256}  {found.name}\n" for found in listed)
    yield SiteFile(path=f"{links.DATA_FOLDER}/{SUMS}", content=sums.encode())
    columns = [
        Column(name=name, type=_type(str(site.history[name].dtype)), unit=unit, meaning=meaning)
        for name, (unit, meaning) in COLUMNS.items()
    ]
    newest = None if site.history.empty else site.history["started_at"].iloc[-1].to_pydatetime()
    yield SiteFile(
        path=links.DATA,
        content=html(
            "data.html.j2",
            path=links.DATA,
            downloads=listed,
            sums=SUMS,
            columns=columns,
            rows=len(site.history),
            newest=newest,
        ),
    )


def _type(dtype: str) -> str:
    if dtype in ("category", "str", "object"):
        return "text"
    if dtype.startswith("datetime"):
        return "time"
    return "whole number" if dtype.startswith("int") else "number"
