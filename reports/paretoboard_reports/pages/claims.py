"""Published numbers beside what was measured: one page for all, and one for the case study."""

from __future__ import annotations

from typing import TYPE_CHECKING

from paretoboard_reports import links
from paretoboard_reports.output import SiteFile
from paretoboard_reports.render import html

if TYPE_CHECKING:
    from collections.abc import Iterator

    from paretoboard_reports.site import Site


def files(site: Site) -> Iterator[SiteFile]:
    """The page of the set that has the links' name for it, and a page below it for every other set."""
    for table in site.claims:
        path = links.claims(table.name)
        others = [(links.claims(other.name), other.title) for other in site.claims if other.name != table.name]
        yield SiteFile(path=path, content=html("claims.html.j2", path=path, table=table, others=others))
