"""A page for each technique: where it pays off, and what it costs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from paretoboard_reports import links
from paretoboard_reports.output import SiteFile
from paretoboard_reports.render import html
from paretoboard_reports.svg import ForestLine
from paretoboard_reports.view.claims import of_technique
from paretoboard_reports.view.techniques import Use, techniques

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from paretoboard_reports.site import Site

# More lines than this are no drawing any more; the table below has them all.
MOST_LINES: Final = 40


def files(site: Site) -> Iterator[SiteFile]:
    """One page for each technique of a board, by name."""
    for technique in techniques(site.page.boards):
        path = links.technique(technique.name)
        # Those with the clearest gain in speed first.
        ordered = sorted(technique.uses, key=_gain, reverse=True)
        content = html(
            "technique.html.j2",
            path=path,
            technique=technique,
            uses=ordered,
            lines=_lines(ordered),
            claims=of_technique(site.claims, technique.name),
        )
        yield SiteFile(path=path, content=content)


def _lines(uses: Sequence[Use]) -> list[ForestLine]:
    shown = [use for use in uses if use.speed is not None or use.row.quality_effect is not None][:MOST_LINES]
    return [
        ForestLine(
            name=f"{use.row.recipe} · {use.board.task}",
            speed=use.speed,
            quality=use.row.quality_effect,
        )
        for use in shown
    ]


def _gain(use: Use) -> tuple[float, str, str]:
    return (use.speed.quantity.value if use.speed is not None else 0.0, use.board.task, use.row.recipe)
