"""Figures of walks, and the text that is printed."""

from __future__ import annotations

import math
import statistics
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from scipy.stats import chi2

from bench.regression.histories import KINDS, NIGHTS, Kind
from bench.regression.rules import OURS
from bench.regression.walking import Walk
from paretoboard.stats import wilson

FALSE_ALARMS_AT_MOST: Final = 1.0  # in 1,000 series-nights
FOUND_AT_LEAST: Final = 0.95  # of steps of 5 % within three nights
SOON, LATER = 3, 7  # nights with the new level
QUIET: Final = tuple(kind for kind in KINDS if kind.is_quiet)
STEPS: Final = tuple(kind for kind in KINDS if kind.has_step)
UP: Final = tuple(kind for kind in STEPS if kind.step > 0)
DRIFTS: Final = tuple(kind for kind in KINDS if kind.drift or kind.name == "none")

NOTES: Final = """\
Histories are the same for all rules, the first n of each kind; the rules that take milliseconds a night get fewer.
none, outliers, noisy, environment: without a change within the same software. outliers: 5 % of nights are 8 to 30 %
  slower, a quarter of the troubles lasts two nights; noisy: 10 % noise; environment: 5 % slower from some night on,
  together with other software. Only ours is told of the software; asv keeps a series for each set of libraries that
  it is configured with, pytest-benchmark warns of another machine. before: nights before a planted step, up or down.
An alarm counts on the first night it is raised for a date, and again for every other date; within 3 nights of it, it
  is the same one. pytest-benchmark gives no dates: each night on which it fails is one. all: these five together.
found within 3 (7): an alarm in the right direction, dated within 3 nights of the step, at the latest when 3 (7)
  nights with the new level are known. nights: how many that took, median of the steps of 5 %. wrong way: a step is
  called an improvement, or the other way round. any alarm, by drift: share of the series that get slower by so much
  each night and have an alarm in 120 nights; without drift it is what luck alone brings.
pytest-benchmark and asv hold 5 % against their threshold of 5 %: the rows with 2 %, our least step, are there to be
  fair. pytest-benchmark compares tonight's mean with last night's. Its nights are usually timed one after the other;
  here it gets the low noise of paired comparisons, as all do.
with notices: what one night says too, and drifts, none of which is an alarm (exit code 0).
Intervals are of 95 % (Poisson, Wilson) and take alarms of the same series for independent. A third of the series each
  has normal noise, noise of Student's t with 3.5 degrees of freedom (both of 0.5 to 0.8 %), and noise that is drawn
  from recorded comparisons of identical programs. Noise of one night says nothing of the next one's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """Alarms in so many series-nights."""

    alarms: int
    nights: int

    @property
    def per_thousand(self) -> float:
        return 1000 * self.alarms / self.nights if self.nights else math.nan

    @property
    def interval(self) -> tuple[float, float]:
        """Of 95 %, exact for Poisson counts."""
        low = chi2.ppf(0.025, 2 * self.alarms) / 2 if self.alarms else 0.0
        high = chi2.ppf(0.975, 2 * self.alarms + 2) / 2
        return 1000 * low / self.nights, 1000 * high / self.nights

    def __add__(self, other: Rate) -> Rate:
        return Rate(alarms=self.alarms + other.alarms, nights=self.nights + other.nights)


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """Of one row."""

    row: str
    series: int  # of each kind
    false_alarms: dict[str, Rate]  # by kind without a change
    before: Rate  # a planted step
    soon: dict[str, float]  # share of the steps of a kind that is found within SOON nights
    later: dict[str, float]
    delay: dict[str, float]  # median number of nights, infinite where most are never found
    wrong_way: tuple[int, int]  # of so many steps
    drifts: dict[str, float]  # share of series with any alarm, by kind

    @property
    def all(self) -> Rate:
        return sum(self.false_alarms.values(), start=self.before)

    @property
    def quiet(self) -> Rate:
        """Over the kinds without a change alone."""
        return sum(self.false_alarms.values(), start=Rate(alarms=0, nights=0))


def figures(walks: Iterable[Walk]) -> list[Figures]:
    """Of each row, in the order of their first walks."""
    by_row: dict[str, dict[str, list[Walk]]] = defaultdict(lambda: defaultdict(list))
    for walk in walks:
        by_row[walk.row][walk.kind].append(walk)
    return [_figures(row, by_kind) for row, by_kind in by_row.items()]


def _figures(row: str, walks: dict[str, list[Walk]]) -> Figures:
    steps = [walk for kind in STEPS for walk in walks[kind.name]]
    return Figures(
        row=row,
        series=max(map(len, walks.values())),
        false_alarms={kind.name: _rate(walks[kind.name], whole=True) for kind in QUIET},
        before=_rate(steps, whole=False),
        soon={kind.name: _found(walks[kind.name], SOON) for kind in STEPS},
        later={kind.name: _found(walks[kind.name], LATER) for kind in STEPS},
        delay={kind.name: _delay(walks[kind.name]) for kind in STEPS},
        wrong_way=(sum(walk.wrong_way for walk in steps), len(steps)),
        drifts={kind.name: _share(bool(walk.alarms) for walk in walks[kind.name]) for kind in DRIFTS},
    )


def _rate(walks: Sequence[Walk], *, whole: bool) -> Rate:
    ends = [NIGHTS if whole else walk.at for walk in walks]
    counts = [sum(alarm.night < end for alarm in walk.alarms) for walk, end in zip(walks, ends, strict=True)]
    return Rate(alarms=sum(counts), nights=sum(ends))


def _found(walks: Sequence[Walk], nights: int) -> float:
    return _share(walk.found is not None and walk.found < walk.at + nights for walk in walks)


def _share(hits: Iterable[bool]) -> float:
    kept = list(hits)
    return sum(kept) / len(kept) if kept else math.nan


def _delay(walks: Sequence[Walk]) -> float:
    nights = [math.inf if walk.found is None else walk.found - walk.at + 1 for walk in walks]
    return statistics.median(nights) if nights else math.nan


def render(found: Sequence[Figures], versions: dict[str, str], missing: Sequence[str]) -> str:
    """The whole page."""
    others = ", ".join(f"{name} {version}" for name, version in versions.items())
    title = f"Rules for nights on planted histories of {NIGHTS} nights; {others}"
    parts = [[title, *missing], _alarms(found), _steps(found), _bars(found), NOTES.splitlines()]
    return "\n\n".join("\n".join(line.rstrip() for line in part) for part in parts) + "\n"


def _alarms(found: Sequence[Figures]) -> list[str]:
    names = [kind.name for kind in QUIET]
    lines = [
        "False alarms per 1,000 series-nights, of n series of each kind",
        f"{'rule':<26}{'n':>5}{'all':>8}  {'95 %':16}" + "".join(f"{name:>12}" for name in [*names, "before"]),
    ]
    for each in found:
        low, high = each.all.interval
        rates = [*(each.false_alarms[name] for name in names), each.before]
        lines.append(
            f"{each.row:<26}{each.series:>5}{each.all.per_thousand:>8.2f}  {f'{low:.2f} to {high:.2f}':16}"
            + "".join(f"{rate.per_thousand:>12.2f}" for rate in rates)
        )
    return lines


def _steps(found: Sequence[Figures]) -> list[str]:
    lines = [
        f"{'Steps found within 3/7 nights':<{26 + 12 * len(UP) + 18}}{'any alarm, by drift':>24}",
        f"{'rule':<26}"
        + "".join(f"{kind.name:>12}" for kind in UP)
        + f"{'nights':>8}{'wrong way':>10}"
        + "".join(f"{kind.drift:>8.2%}" for kind in DRIFTS),
    ]
    for each in found:
        cells = [f"{_percent(each.soon[kind.name])}/{_percent(each.later[kind.name])}" for kind in UP]
        delay = each.delay[_asked().name]
        wrong, of = each.wrong_way
        lines.append(
            f"{each.row:<26}"
            + "".join(f"{cell:>12}" for cell in cells)
            + f"{'never' if math.isinf(delay) else f'{delay:g}':>8}{f'{wrong}/{of}':>10}"
            + "".join(f"{_percent(each.drifts[kind.name]):>8}" for kind in DRIFTS)
        )
    return lines


def _bars(found: Sequence[Figures]) -> list[str]:
    ours = next(each for each in found if each.row == OURS)
    kind = _asked()
    hits = round(ours.soon[kind.name] * ours.series)
    share = wilson(hits, ours.series)
    low, high = ours.quiet.interval
    return [
        "Bars for ours:",
        f"  at most {FALSE_ALARMS_AT_MOST:g} false alarm in 1,000 series-nights without a change: "
        f"{ours.quiet.per_thousand:.2f} ({low:.2f} to {high:.2f}; {ours.quiet.alarms} in {ours.quiet.nights:,}): "
        + _word(ours.quiet.per_thousand <= FALSE_ALARMS_AT_MOST),
        f"  at least {FOUND_AT_LEAST:.0%} of steps of {kind.step:.0%} within {SOON} nights: {hits} of {ours.series} "
        f"({share.low:.1%} to {share.high:.1%}): " + _word(hits >= FOUND_AT_LEAST * ours.series),
    ]


def _asked() -> Kind:
    return next(kind for kind in UP if kind.step == 0.05)


def _word(reached: bool) -> str:
    return "reached" if reached else "MISSED"


def _percent(share: float) -> str:
    """Without decimals, unless that would say none or all of what is neither."""
    rounded = f"{share:.0%}"
    return "-" if math.isnan(share) else f"{share:.1%}" if rounded in ("0%", "100%") and 0 < share < 1 else rounded
