"""A page for each change between nights, with its evidence."""

from __future__ import annotations

from dataclasses import replace
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
    paged = with_pages(found)
    changed = {id(change.series): change.series for change in paged}
    drawn = {each.series.key: each for each in shown(replace(found, series=tuple(changed.values())))}
    runs = set(site.runs["run_id"].astype(str))
    for change in paged:
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
