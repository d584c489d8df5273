"""The first page: which optimization pays off, and where?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from paretoboard_reports import links
from paretoboard_reports.output import SiteFile
from paretoboard_reports.render import html
from paretoboard_reports.view.answers import across
from paretoboard_reports.view.overview import overview

if TYPE_CHECKING:
    from collections.abc import Iterator

    from paretoboard_reports.site import Site


def files(site: Site) -> Iterator[SiteFile]:
    """The one page."""
    found = overview(site.page.boards, site.history, site.regressions)
    content = html(
        "overview.html.j2",
        path=links.INDEX,
        overview=found,
        damaged=site.damaged,
        across=across(site.page.boards),
        last=site.nightlies[-1] if site.nightlies else None,
        confirmed=len(site.regressions.of("confirmed")),
        new=len(site.regressions.of("new")),
    )
    yield SiteFile(path=links.INDEX, content=content)
