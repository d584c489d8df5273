"""A page for each board."""

from __future__ import annotations

from typing import TYPE_CHECKING

from paretoboard_reports import downloads, links
from paretoboard_reports.output import SiteFile
from paretoboard_reports.render import html
from paretoboard_reports.view.evidence import open_pages, page_of
from paretoboard_reports.view.history import left_out

if TYPE_CHECKING:
    from collections.abc import Iterator

    from paretoboard_reports.site import Site


def files(site: Site) -> Iterator[SiteFile]:
    """One page for each board, by name, each with its numbers as CSV and JSON."""
    for board, group in zip(site.page.boards, site.groups, strict=True):
        newest = group.latest
        missing = left_out(site.runs, newest.task, newest.profile, newest.provenance.hardware_id)
        path = links.board(board.anchor)
        cited = downloads.bibtex(board)
        made = newest.provenance
        alarms = open_pages(
            site.regressions, board_id=newest.board_id, profile=newest.profile, hardware_id=made.hardware_id
        )
        content = html(
            "board_page.html.j2",
            path=path,
            board=board,
            bibtex=cited,
            left_out=missing,
            alarms=alarms,
            page_of=page_of,
        )
        yield SiteFile(path=path, content=content)
        yield SiteFile(path=links.board_data(board.anchor, "csv"), content=downloads.csv_of(board))
        yield SiteFile(path=links.board_data(board.anchor, "json"), content=downloads.json_of(board))
