"""A page for each change between nights, with its evidence."""

from __future__ import annotations

from typing import TYPE_CHECKING

from paretoboard.regressions.shifts import BANDS
from paretoboard_reports.output import SiteFile
from paretoboard_reports.render import html
from paretoboard_reports.view.evidence import evidence, page_of, with_pages
from paretoboard_reports.view.nights import shown

if TYPE_CHECKING:
    from collections.abc import Iterator

    from paretoboard_reports.site import Site


def files(site: Site) -> Iterator[SiteFile]:
    """One page for each change that has one, the newest first."""
    found = site.regressions
    drawn = {each.series.key: each for each in shown(found) if each.changes}
    runs = set(site.runs["run_id"].astype(str))
    for change in with_pages(found):
        path = page_of(change)
        content = html(
            "change.html.j2",
            path=path,
            each=evidence(change, found),
            shown=drawn[change.series.key],
            known_runs=runs,
            bands=f"{BANDS:g}",
        )
        yield SiteFile(path=path, content=content)
