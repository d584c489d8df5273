"""A page for each board."""

from __future__ import annotations

from typing import TYPE_CHECKING

from paretoboard_reports import links
from paretoboard_reports.output import SiteFile
from paretoboard_reports.render import html
from paretoboard_reports.view.history import left_out

if TYPE_CHECKING:
    from collections.abc import Iterator

    from paretoboard_reports.site import Site


def files(site: Site) -> Iterator[SiteFile]:
    """One page for each board, by name."""
    for board, group in zip(site.page.boards, site.groups, strict=True):
        newest = group.latest
        missing = left_out(site.runs, newest.task, newest.profile, newest.provenance.hardware_id)
        path = links.board(board.anchor)
        yield SiteFile(path=path, content=html("board_page.html.j2", path=path, board=board, left_out=missing))
