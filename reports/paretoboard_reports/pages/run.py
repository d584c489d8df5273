"""One page for all single runs, and their data in at most 256 files."""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from paretoboard import comparable
from paretoboard_reports import links, packing
from paretoboard_reports.output import SiteFile
from paretoboard_reports.render import fragment, html
from paretoboard_reports.view.history import key
from paretoboard_reports.view.pairs import pairs
from paretoboard_reports.view.run import plain_record, run_view
from paretoboard_reports.view.shards import shards

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from paretoboard_reports.site import Site
    from paretoboard_reports.view import Board
    from paretoboard_reports.view.select import Cell, Group


def files(site: Site) -> Iterator[SiteFile]:
    """The page of runs, the page that compares them, and what both read."""
    full: defaultdict[str, dict[str, Any]] = defaultdict(dict)
    for board, group in zip(site.page.boards, site.groups, strict=True):
        for name, found in _full(site, board, group):
            full[name[1:3]][name] = found
    names = []
    for prefix, light in shards(site.runs):
        names.append(prefix)
        text = json.dumps({**light, "full": full[prefix]}, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        content = packing.script(f"runs-{prefix}", packing.compressed(text.encode()))
        yield SiteFile(path=links.shard(prefix), content=content)
    rule = json.dumps(comparable.rule())
    for path, template in ((links.RUN, "run.html.j2"), (links.COMPARE, "compare.html.j2")):
        yield SiteFile(path=path, content=html(template, path=path, shards=" ".join(names), rule=rule))


def _full(site: Site, board: Board, group: Group) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """(key, all that is said of it) for the newest run of each row of a board."""
    differences = pairs(group, board.quality_metric)
    cells = {_place(cell): cell for cell in group.cells}
    for row in board.rows:
        cell = cells[row.recipe, dict(row.details.identity)["Environment"]]
        name = key(cell.latest)
        values = {
            "view": run_view(cell, row, board.quality_metric),
            "row": row,
            "board": board,
            "timings": site.timings.get(name, ()),
        }
        found = {
            "html": fragment("run_details.html.j2", path=links.RUN, **values),
            "record": plain_record(cell.latest),
            "pairs": {other: asdict(pair) for other, pair in differences.get(name, {}).items()},
        }
        yield name, found


def _place(cell: Cell) -> tuple[str, str]:
    return cell.latest.recipe, cell.latest.provenance.environment_id
