"""How ranks, intervals, verdicts and fingerprints come about, and what is known of their mistakes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from paretoboard.plan import PROTOCOL
from paretoboard.stats.ab1 import RELEVANT
from paretoboard_reports import links
from paretoboard_reports.output import SiteFile
from paretoboard_reports.render import html

if TYPE_CHECKING:
    from collections.abc import Iterator

    from paretoboard_reports.site import Site


def files(site: Site) -> Iterator[SiteFile]:
    """The one page."""
    content = html(
        "methods.html.j2",
        path=links.METHODS,
        protocol=PROTOCOL,
        tolerance=f"{100 * RELEVANT:g}",
        rigor=site.rigor,
        calibrations=site.calibrations,
    )
    yield SiteFile(path=links.METHODS, content=content)
