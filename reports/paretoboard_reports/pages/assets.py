"""The style sheets and scripts that all pages share: our own files, as they are."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from paretoboard_reports import links
from paretoboard_reports.output import SiteFile

if TYPE_CHECKING:
    from collections.abc import Iterator

    from paretoboard_reports.site import Site

_STATIC: Final = Path(__file__).parent.parent / "static"


def files(site: Site) -> Iterator[SiteFile]:
    """Every file of `static`."""
    del site
    for path in sorted(_STATIC.iterdir()):
        yield SiteFile(path=links.asset(path.name), content=path.read_bytes())
