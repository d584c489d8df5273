"""What the comparisons say, as text; nothing here measures."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from paretoboard import stats
from paretoboard.records import Comparison

POINTS: Final = 0.003  # of top-1 that ours may lie below the library's
SLOWER: Final = 0.05  # share by which ours may take longer


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """How long a call of ours takes beside the library's."""

    comparison: Comparison  # ratio is ours / theirs, in the clock that decides
    theirs_ms: float  # median wall time of a call
    ours_ms: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """One comparison."""

    name: str
    recipe: str
    procedure: str
    across: str  # what differs beside the two procedures
    versions: Mapping[str, str]
    images: int
    right_theirs: int
    right_ours: int
    only_theirs: int  # images that only the library's model gets right
    only_ours: int
    timings: tuple[Timing, ...]
    notes_theirs: tuple[str, ...]
    notes_ours: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Skipped:
    """A comparison that could not be made."""

    name: str
    procedure: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """Where the numbers come from."""

    cpu: str
    kernel: str
    python: str
    commit: str
    date: str
    load1: float  # one-minute load when the last comparison ended


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """Everything that one call measured."""

    machine: Machine
    results: tuple[Result | Skipped, ...]


def render(report: Report) -> str:
    """The whole page."""
    machine = report.machine
    lines = [
        f"Ours beside the libraries' own procedures on {machine.cpu}, one core, Linux {machine.kernel}",
        f"commit {machine.commit}, {machine.date}; Python {machine.python}; load over the last minute "
        f"{machine.load1:.1f}",
        f"bars: top-1 at most {100 * POINTS:g} points below the library's, time at most {SLOWER:.0%} above; estimates "
        "decide,",
        "  and a row says where the interval reaches beyond the bar",
    ]
    for result in report.results:
        lines += ["", *(_skipped(result) if isinstance(result, Skipped) else _rows(result))]
    return "\n".join(lines) + "\n"


def _skipped(skipped: Skipped) -> list[str]:
    return [f"{skipped.name}: {skipped.procedure}", f"  skipped {skipped.reason}"]


def _rows(result: Result) -> list[str]:
    versions = ", ".join(f"{name} {version}" for name, version in result.versions.items())
    lines = [f"{result.name}: {result.recipe}", f"  beside {result.procedure} ({versions})"]
    if result.across:
        lines.append(f"  not alike: {result.across}")
    lines.append(_quality_row(result))
    lines += [_timing_row(timing) for timing in result.timings]
    lines += [f"  ours: {note}" for note in result.notes_ours]
    lines += [f"  library's: {note}" for note in result.notes_theirs]
    return lines


def _quality_row(result: Result) -> str:
    images = result.images
    difference = (result.right_ours - result.right_theirs) / images
    spread = stats.paired_difference_interval(result.only_ours, result.only_theirs, images)
    p_value = stats.mcnemar_exact(result.only_ours, result.only_theirs)
    surely = spread.low >= -POINTS or spread.high < -POINTS
    both = f"ours {result.right_ours / images:7.2%}    library {result.right_theirs / images:7.2%}   "
    gap = f"{100 * difference:+.2f} points ({100 * spread.low:+.2f} to {100 * spread.high:+.2f})"
    rest = f"{images:,} images, McNemar p {p_value:.2g}{_reach(surely)}"
    return f"  {_mark(difference >= -POINTS)} {'top-1':9} {both} {gap}, {rest}"


def _timing_row(timing: Timing) -> str:
    found = timing.comparison
    bar = 1 + SLOWER
    surely = found.high <= bar or found.low > bar
    reason = f": {found.reason}" if found.reason else ""
    both = f"ours {timing.ours_ms:7.3f} ms library {timing.theirs_ms:7.3f} ms"
    gap = f"{100 * (found.ratio - 1):+.1f} % ({100 * (found.low - 1):+.1f} to {100 * (found.high - 1):+.1f})"
    rest = f"{found.clock} time, {found.launches} launches, {found.verdict}{reason}{_reach(surely)}"
    return f"  {_mark(found.ratio <= bar)} {f'batch {found.batch}':9} {both} {gap} {rest}"


def _mark(met: bool) -> str:
    return "met   " if met else "MISSED"


def _reach(surely: bool) -> str:
    return "" if surely else "; the interval reaches beyond the bar"
