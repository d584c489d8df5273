"""The results as files, with their schema and digests."""

from __future__ import annotations

from typing import TYPE_CHECKING

from paretoboard_reports import links
from paretoboard_reports.output import SiteFile
from paretoboard_reports.render import html

if TYPE_CHECKING:
    from collections.abc import Iterator

    from paretoboard_reports.site import Site


def files(site: Site) -> Iterator[SiteFile]:
    """The page and the downloads that it names."""
    yield SiteFile(path=links.DATA, content=html("data.html.j2", path=links.DATA, site=site))
