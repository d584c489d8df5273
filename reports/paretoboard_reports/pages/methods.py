"""How ranks, intervals, verdicts and fingerprints come about, and what is known of their mistakes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from paretoboard.claims.verdicts import MARGIN_POINTS, MARGIN_TIMES
from paretoboard.plan import PROTOCOL
from paretoboard.regressions import shifts
from paretoboard.stats import wilson
from paretoboard.stats.ab1 import RELEVANT
from paretoboard_reports import links
from paretoboard_reports.output import SiteFile
from paretoboard_reports.render import html

if TYPE_CHECKING:
    from collections.abc import Iterator

    from paretoboard.records import Calibration  # noqa: TC004 - nothing resolves these annotations
    from paretoboard.stats import Interval  # noqa: TC004
    from paretoboard_reports.site import Site

NIGHTS: Final = (
    f"A night is compared with the median of up to {shifts.LOOK_BACK} nights before it, of the same software. It "
    f"begins a new level if it is off by more than {100 * shifts.LEAST_STEP:g} %, {shifts.BANDS:g} times their "
    "scatter (1.4826 times the median absolute deviation) and, of speed, the noise floor of the machine where it was "
    f"calibrated, whichever is largest, and that is confirmed where {shifts.CONFIRMS} of the next "
    f"{shifts.LOOK_AHEAD} nights say the same. A level needs {shifts.LEAST_NIGHTS} nights, so no single one can be a "
    f"regression. Series that scatter by more than {100 * shifts.TOO_NOISY:g} % are listed as too noisy and left alone."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rates:
    """What a calibration measured, with the 95 % intervals of its shares."""

    calibration: Calibration
    false_alarms: Interval
    found: Interval


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
        recorded=site.recorded,
        calibrations=[_rates(found) for found in site.calibrations],
    )
    yield SiteFile(path=links.METHODS, content=content)


def _rates(calibration: Calibration) -> Rates:
    return Rates(
        calibration=calibration,
        false_alarms=wilson(calibration.false_alarms, calibration.identical),
        found=wilson(calibration.found, calibration.planted),
    )
