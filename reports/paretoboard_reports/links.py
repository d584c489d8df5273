"""Where every page of the site lies, relative to its root: the one place that knows."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

if TYPE_CHECKING:
    from collections.abc import Iterable

INDEX: Final = "index.html"
TRENDS: Final = "trends.html"
REGRESSIONS: Final = "regressions.html"
FEED: Final = "feed.xml"
COMPARE: Final = "compare.html"
CLAIMS: Final = "claims.html"
RUN: Final = "run.html"
EXPLORE: Final = "explore.html"
METHODS: Final = "methods.html"
DATA: Final = "data.html"
ASSETS: Final = "assets"
DATA_FOLDER: Final = "data"

_RUN_DIGITS: Final = 16
_HARDWARE_DIGITS: Final = 8


def board(anchor: str) -> str:
    """The page of one board."""
    return f"boards/{anchor}.html"


def board_data(anchor: str, ending: str) -> str:
    """The numbers of one board, as "csv" or "json"."""
    return f"boards/{anchor}.{ending}"


def row(board_anchor: str, row_anchor: str) -> str:
    """One row of a board."""
    return f"{board(board_anchor)}#{row_anchor}"


def change(name: str) -> str:
    """The page of one change between nights, by a name that no other change has."""
    return f"changes/{slug(name)}.html"


def technique(name: str) -> str:
    """The page of one technique, by its registered name: `prune.structured`."""
    return f"techniques/{slug(name)}.html"


def claims(name: str) -> str:
    """The page of one set of claims, by its file's name; the largest set has the page that the header links to."""
    return CLAIMS if name == "claims" else f"claims/{slug(name)}.html"


def hardware(hardware_id: str) -> str:
    """The page of one machine, by its fingerprint."""
    return f"hardware/{slug(hardware_id[:_HARDWARE_DIGITS])}.html"


def run(run_id: str) -> str:
    """The page of one run, by its id."""
    return f"{RUN}#{run_key(run_id)}"


def run_key(run_id: str) -> str:
    """What names a run in links and selections: `r00a1f3c…`."""
    return f"r{slug(run_id[:_RUN_DIGITS])}"


def shard(run_id: str) -> str:
    """The file of data that holds a run, among at most 256."""
    return f"{DATA_FOLDER}/runs/{run_id[:2]}.js"


def state(**lists: Iterable[str]) -> str:
    """A page's state as it stands behind the `#`: each key with its values."""
    return "&".join(f"{key}={','.join(quote(value, safe='') for value in values)}" for key, values in lists.items())


def asset(name: str) -> str:
    """A file of the site's own: style sheet, script."""
    return f"{ASSETS}/{name}"


def slug(name: str) -> str:
    """A name as part of a path and an address: lower-case letters, digits and hyphens, never empty."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-") or "unnamed"
