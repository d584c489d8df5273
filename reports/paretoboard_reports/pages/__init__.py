"""The pages of the site, one module for each kind: `files(site)` makes all files of that kind."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

from paretoboard_reports.pages import (
    assets,
    board,
    change,
    claims,
    data,
    explore,
    hardware,
    methods,
    overview,
    run,
    technique,
    trends,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from paretoboard_reports.output import SiteFile
    from paretoboard_reports.site import Site


class Pages(Protocol):
    """A module that makes pages."""

    def files(self, site: Site) -> Iterator[SiteFile]:
        """The files of this kind, in a fixed order."""
        ...


PAGES: Final[tuple[Pages, ...]] = (
    assets,
    board,
    technique,
    hardware,
    trends,
    change,
    claims,
    explore,
    run,
    methods,
    data,
    overview,
)


def files(site: Site) -> Iterator[SiteFile]:
    """All files of the site; the same site gives the same bytes."""
    for kind in PAGES:
        yield from kind.files(site)
