"""A page for each board."""

from __future__ import annotations

from typing import TYPE_CHECKING

from paretoboard_reports import downloads, links
from paretoboard_reports.output import SiteFile
from paretoboard_reports.render import html

if TYPE_CHECKING:
    from collections.abc import Iterator

    from paretoboard_reports.site import Site


def files(site: Site) -> Iterator[SiteFile]:
    """One page for each board, by name, each with its numbers as CSV and JSON."""
    for board in site.page.boards:
        path = links.board(board.anchor)
        cited = downloads.bibtex(board)
        yield SiteFile(path=path, content=html("board_page.html.j2", path=path, board=board, bibtex=cited))
        yield SiteFile(path=links.board_data(board.anchor, "csv"), content=downloads.csv_of(board))
        yield SiteFile(path=links.board_data(board.anchor, "json"), content=downloads.json_of(board))
