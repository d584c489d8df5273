"""Every run that was ever stored, to be searched, sorted and chosen from."""

from __future__ import annotations

from typing import TYPE_CHECKING

from paretoboard_reports import links, packing
from paretoboard_reports.output import SiteFile
from paretoboard_reports.render import html
from paretoboard_reports.view import explore

if TYPE_CHECKING:
    from collections.abc import Iterator

    from paretoboard_reports.site import Site


def files(site: Site) -> Iterator[SiteFile]:
    """The page and the runs as data for it."""
    parts = []
    content = packing.pack(explore.columns(site.runs))
    for number, script in enumerate(packing.scripts("explore", content), start=1):
        path = f"{links.DATA_FOLDER}/explore-{number}.js"
        parts.append(path)
        yield SiteFile(path=path, content=script)
    values = {"parts": parts, "count": len(site.runs)}
    yield SiteFile(path=links.EXPLORE, content=html("explore.html.j2", path=links.EXPLORE, **values))
