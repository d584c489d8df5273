"""A page for each machine: its fingerprint, its software over time, its boards."""

from __future__ import annotations

from typing import TYPE_CHECKING

from paretoboard_reports import links
from paretoboard_reports.output import SiteFile
from paretoboard_reports.render import html
from paretoboard_reports.view.machines import machines

if TYPE_CHECKING:
    from collections.abc import Iterator

    from paretoboard_reports.site import Site


def files(site: Site) -> Iterator[SiteFile]:
    """One page for each machine, by name."""
    for machine in machines(site.records, site.page.boards, site.history):
        path = links.hardware(machine.hardware_id)
        yield SiteFile(path=path, content=html("hardware.html.j2", path=path, machine=machine))
