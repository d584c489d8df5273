"""How numbers went over the nights, what changed in them, and a feed of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from xml.etree import ElementTree as ET

from paretoboard.regressions import STATES, shifts
from paretoboard_reports import links
from paretoboard_reports.output import SiteFile
from paretoboard_reports.render import html
from paretoboard_reports.view.evidence import addresses, others
from paretoboard_reports.view.nights import cut_anchor, shown, told

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from paretoboard.regressions import Regressions
    from paretoboard_reports.site import Site
    from paretoboard_reports.view.nights import Told

# Drawings and lines of a page that a phone can still hold; all rows are on the page Explore and in the data.
MOST_DRAWN: Final = 24
MOST_LISTED: Final = 400
MOST_IN_FEED: Final = 50
_ATOM: Final = "http://www.w3.org/2005/Atom"


def files(site: Site) -> Iterator[SiteFile]:
    """Trends, Regressions, and the feed."""
    found = site.regressions
    # One night is no trend.
    every = [each for each in shown(found) if len(each.nights) > 1]
    longest = max((len(segment) for series in found.series for segment in series.segments), default=0)
    yield SiteFile(
        path=links.TRENDS,
        content=html(
            "trends.html.j2",
            path=links.TRENDS,
            every=every[:MOST_LISTED],
            count=len(every),
            single=len(found.series) - len(every),
            drawn=every[:MOST_DRAWN],
            others={each.anchor: others(each.series, found.series) for each in every[:MOST_DRAWN]},
            longest=longest,
            least=shifts.LEAST_NIGHTS,
        ),
    )
    evidence = addresses(found)
    changes = [told(change) for change in found.changes]
    by_state = {state: [each for each in changes if each.change.state == state] for state in STATES}
    yield SiteFile(
        path=links.REGRESSIONS,
        content=html(
            "regressions.html.j2",
            path=links.REGRESSIONS,
            found=found,
            by_state=by_state,
            cuts=_cuts(found),
            most=MOST_LISTED,
            longest=longest,
            least=shifts.LEAST_NIGHTS,
            rule=shifts,
            evidence=evidence,
            distrusted=[nightly for nightly in reversed(site.nightlies) if nightly.distrust],
            shown={each.series.key: each for each in every if each.changes},
        ),
    )
    yield SiteFile(path=links.FEED, content=_feed(changes, found, evidence))


def _cuts(found: Regressions) -> list[tuple[str, str, str, tuple[tuple[str, str, str], ...], int, str]]:
    """Changes of software, one line for each day and machine: all its series are cut there."""
    lines: dict[tuple[str, str, tuple[tuple[str, str, str], ...]], list[str]] = {}
    for cut in found.cuts:
        key = (cut.after.day.isoformat(), cut.series.key.hardware_id, cut.differs)
        lines.setdefault(key, []).append(cut_anchor(cut))
    names = {series.key.hardware_id: series.hardware_name for series in found.series}
    ordered = sorted(lines.items(), reverse=True)
    return [
        (day, hardware_id, names[hardware_id], differs, len(anchors), min(anchors))
        for (day, hardware_id, differs), anchors in ordered
    ]


def _feed(changes: Sequence[Told], found: Regressions, evidence: Mapping[str, str]) -> bytes:
    """Atom (RFC 4287); dates are those of the nights, so that the same results give the same feed."""
    ET.register_namespace("", _ATOM)
    feed = ET.Element(f"{{{_ATOM}}}feed")

    def add(parent: ET.Element, name: str, text: str = "", **attributes: str) -> ET.Element:
        element = ET.SubElement(parent, f"{{{_ATOM}}}{name}", attributes)
        element.text = text or None
        return element

    newest = max((series.nights[-1].day for series in found.series), default=None)
    add(feed, "id", "urn:paretoboard:changes")
    add(feed, "title", "paretoboard: changes between nights")
    add(feed, "updated", f"{newest or '1970-01-01'}T00:00:00Z")
    add(feed, "link", href=links.FEED, rel="self")
    add(add(feed, "author"), "name", "paretoboard")
    for each in changes[:MOST_IN_FEED]:
        change = each.change
        key = change.series.key
        entry = add(feed, "entry")
        add(entry, "id", f"urn:paretoboard:change:{each.anchor}")
        add(entry, "title", f"{key.recipe} {each.direction} by {each.by}: {change.state}, {change.series.title}")
        add(entry, "updated", f"{change.first.day}T00:00:00Z")
        add(entry, "link", href=evidence.get(each.anchor, f"{links.REGRESSIONS}#{each.anchor}"))
        add(
            entry,
            "summary",
            f"{key.what} of {key.recipe} on {change.series.hardware_name}, profile {key.profile}: from {each.before} "
            f"to {each.after} {each.unit}; {each.says_so}. {each.command}",
        )
    ET.indent(feed)
    content: bytes = ET.tostring(feed, encoding="utf-8", xml_declaration=True)
    return content + b"\n"
