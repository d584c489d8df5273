"""How ranks, intervals, verdicts and fingerprints come about."""

from __future__ import annotations

from typing import TYPE_CHECKING

from paretoboard_reports import links
from paretoboard_reports.output import SiteFile
from paretoboard_reports.render import html

if TYPE_CHECKING:
    from collections.abc import Iterator

    from paretoboard_reports.site import Site


def files(site: Site) -> Iterator[SiteFile]:
    """The one page."""
    del site
    yield SiteFile(path=links.METHODS, content=html("methods.html.j2", path=links.METHODS))
