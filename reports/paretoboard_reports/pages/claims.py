"""Published numbers beside what was measured: one page for all, and one for the case study."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from paretoboard_reports import links
from paretoboard_reports.output import SiteFile
from paretoboard_reports.render import html
from paretoboard_reports.view.claims import ClaimTable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from paretoboard_reports.site import Site

# The set whose page the header links to; links.claims gives it the place.
MAIN: Final = "claims"
_EMPTY: Final = ClaimTable(
    name=MAIN,
    title="Published numbers",
    about="There is no file of claims to compare with: tasks/claims holds none.",
    counts=(),
    unmeasured=0,
    claims=0,
    lines=(),
    diagonals=(),
)


def files(site: Site) -> Iterator[SiteFile]:
    """The page of the set that has the links' name for it, and a page below it for every other set."""
    named = {table.name for table in site.claims}
    # The header of every page links to it.
    empty = () if MAIN in named else (_EMPTY,)
    for table in (*site.claims, *empty):
        path = links.claims(table.name)
        others = [(links.claims(other.name), other.title) for other in site.claims if other.name != table.name]
        yield SiteFile(path=path, content=html("claims.html.j2", path=path, table=table, others=others))
