"""How ranks, intervals, verdicts and fingerprints come about, and what is known of their mistakes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from paretoboard.claims.verdicts import MARGIN_POINTS, MARGIN_TIMES
from paretoboard.plan import PROTOCOL
from paretoboard.regressions import shifts
from paretoboard.stats.ab1 import RELEVANT
from paretoboard_reports import links
from paretoboard_reports.output import SiteFile
from paretoboard_reports.render import html

if TYPE_CHECKING:
    from collections.abc import Iterator

    from paretoboard_reports.site import Site

NIGHTS: Final = (
    f"A night is compared with the median of up to {shifts.LOOK_BACK} nights before it, of the same software. It "
    f"begins a new level if it is off by more than {100 * shifts.LEAST_STEP:g} %, {shifts.BANDS:g} times their "
    "scatter (1.4826 times the median absolute deviation) and, of speed, the noise floor of the machine where it was "
    f"calibrated, whichever is largest, and that is confirmed where {shifts.CONFIRMS} of the next "
    f"{shifts.LOOK_AHEAD} nights say the same. A level needs {shifts.LEAST_NIGHTS} nights, so no single one can be a "
    f"regression. Series that scatter by more than {100 * shifts.TOO_NOISY:g} % are listed as too noisy and left alone."
)


def files(site: Site) -> Iterator[SiteFile]:
    """The one page."""
    content = html(
        "methods.html.j2",
        path=links.METHODS,
        protocol=PROTOCOL,
        tolerance=f"{100 * RELEVANT:g}",
        margin_times=f"{100 * MARGIN_TIMES:g}",
        margin_points=f"{MARGIN_POINTS:g}",
        nights=NIGHTS,
        rigor=site.rigor,
        calibrations=site.calibrations,
    )
    yield SiteFile(path=links.METHODS, content=content)
