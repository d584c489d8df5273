"""Where the level of a series changed: a step that nights after it confirm, or a drift.

A night is compared with the level before it: the median of up to 30 nights since the last change. It begins a new
level if it is further away than the largest of 2 %, the noise floor of the machine where it was calibrated, and three
times the scatter of these nights (1.4826 times the median absolute deviation, which is the standard deviation of
normal noise), and the change is confirmed if at least two of the next three nights say the same: they are as far away,
on the same side, and near each other. A single night can therefore never be a regression, and nights that happen to
stand out in a row, each for its own reason, seldom are. A drift is found where the mean of the last three nights is
further from the median of the 30 before than the largest of 1 %, the noise floor and 3.5 standard errors; it is never
more than new, because nights can't confirm it: a longer measurement decides. `make bench-regression` shows what the
constants are worth.
"""

from __future__ import annotations

import itertools
import json
import math
import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from paretoboard.regressions.model import Change, Cut, Kind, Limit, Night, Noisy, State

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from paretoboard.regressions.model import Series

LEAST_STEP: Final = 0.02
LEAST_DRIFT: Final = 0.01
BANDS: Final = 3.0  # standard deviations
DRIFT_BANDS: Final = 3.5  # standard errors
LOOK_BACK: Final = 30  # nights
LOOK_AHEAD: Final = 3  # nights that may confirm a step
CONFIRMS: Final = 2  # of these
AGREE: Final = 1.5  # bands: so near to their median are the nights of a new level
LEAST_NIGHTS: Final = 5  # before a level is known well enough
TOO_NOISY: Final = 0.05  # scatter, as a share: steps of less than 15 % can't be seen then
_NORMAL: Final = 1.4826
_Z95: Final = 1.959964
# The standard error of a median is larger than that of a mean by this, of normal noise.
_OF_MEDIAN: Final = math.sqrt(math.pi / 2)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Level:
    middle: float
    scatter: float  # standard deviation as a share of the middle
    nights: int

    def share(self, value: float) -> float:
        """How far away a value is; a level of zero has no shares, and nothing is far from it."""
        return value / self.middle - 1 if self.middle else 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Stretch:
    """Nights of the same software between two changes, and their level."""

    nights: tuple[Night, ...]
    level: float | None  # median; None of too few nights
    scatter: float  # standard deviation as a share of the level


def changes(series: Series, *, floor: float = 0.0) -> Iterator[Change]:
    """The changes of level within each stretch of the same software, oldest first.

    Args:
        floor: noise floor of the machine, a share that a change has to exceed.
    """
    for segment in series.segments:
        yield from _changes(series, segment, floor)


def stretches(series: Series, found: Iterable[Change]) -> Iterator[Stretch]:
    """The levels of a series, oldest first: each begins anew where the software changed and with each step in `found`.

    A level is that of the newest `LOOK_BACK` nights of a stretch, and needs `LEAST_NIGHTS`.
    """
    starts = {change.first for change in found if change.kind == "step"}
    for segment in series.segments:
        parts: list[list[Night]] = [[]]
        for night in segment:
            if night in starts and parts[-1]:
                parts.append([])
            parts[-1].append(night)
        for part in parts:
            middle, scatter = usual(part)
            yield Stretch(nights=tuple(part), level=middle, scatter=scatter)


def usual(nights: Sequence[Night]) -> tuple[float | None, float]:
    """The level of the newest `LOOK_BACK` nights, None of fewer than `LEAST_NIGHTS`; and their scatter, a share."""
    if len(nights) < LEAST_NIGHTS:
        return None, 0.0
    level = _level(nights[-LOOK_BACK:])
    return level.middle, level.scatter


def cuts(series: Series) -> Iterator[Cut]:
    """Where the software changed."""
    for before, after in itertools.pairwise(series.segments):
        first, second = _level(before[-LOOK_BACK:]), _level(after[:LOOK_BACK])
        yield Cut(
            series=series,
            before=before[-1],
            after=after[0],
            differs=differences(before[-1].environment, after[0].environment),
            share=first.share(second.middle) if first.middle else math.nan,
        )


def noisy(series: Series) -> Noisy | None:
    """The series if its newest nights scatter too far, None otherwise."""
    newest = series.segments[-1][-LOOK_BACK:]
    if len(newest) < LEAST_NIGHTS:
        return None
    # Night to night, so that a step is not taken for noise.
    steps = [second.value - first.value for first, second in itertools.pairwise(newest)]
    middle = _level(newest).middle
    scatter = _NORMAL * statistics.median(map(abs, steps)) / math.sqrt(2) / abs(middle) if middle else 0.0
    return Noisy(series=series, scatter=scatter) if scatter > TOO_NOISY else None


def differences(before: str, after: str) -> tuple[tuple[str, str, str], ...]:
    """The fields in which two environments (JSON texts) differ, with both values."""
    first, second = _flat(json.loads(before)), _flat(json.loads(after))
    names = sorted(name for name in {*first, *second} if first.get(name) != second.get(name))
    return tuple((name, first.get(name, "–"), second.get(name, "–")) for name in names)


def _changes(series: Series, nights: Sequence[Night], floor: float) -> Iterator[Change]:
    start, place = 0, LEAST_NIGHTS
    while place < len(nights):
        before = nights[max(start, place - LOOK_BACK) : place]
        level = _level(before)
        band, limit = _band(LEAST_STEP, floor, BANDS * level.scatter)
        share = level.share(nights[place].value)
        if abs(share) <= band:
            place += 1
            continue
        ahead = nights[place + 1 : place + 1 + LOOK_AHEAD]
        same = _agreeing(level, nights[place], ahead, band)
        if len(same) >= CONFIRMS:
            after = [nights[place], *same]
            yield _change(series, "step", before, after, len(ahead), band=band, limit=limit, confirmed=len(same))
            start, place = place, place + LEAST_NIGHTS
        elif len(ahead) < LOOK_AHEAD and len(same) == len(ahead):
            # Too early to tell, and nothing speaks against it.
            after = [nights[place], *same]
            yield _change(series, "step", before, after, len(ahead), band=band, limit=limit, confirmed=len(same))
            return
        else:
            place += 1
    if (drift := _drift(series, nights[start:], floor)) is not None:
        yield drift


def _agreeing(level: _Level, first: Night, ahead: Sequence[Night], band: float) -> list[Night]:
    """Those of the nights ahead that make one new level with `first`; none if it is the one that stands out."""
    side = math.copysign(1, level.share(first.value))
    beyond = [night for night in ahead if side * level.share(night.value) > band]
    new = _level([first, *beyond])
    return [night for night in beyond if max(abs(new.share(night.value)), abs(new.share(first.value))) <= AGREE * band]


def _drift(series: Series, nights: Sequence[Night], floor: float) -> Change | None:
    before, last = nights[:-LOOK_AHEAD][-LOOK_BACK:], nights[-LOOK_AHEAD:]
    if len(before) < LOOK_BACK:
        return None
    level = _level(before)
    band, limit = _band(LEAST_DRIFT, floor, DRIFT_BANDS * level.scatter / math.sqrt(len(last)))
    share = level.share(statistics.fmean(night.value for night in last))
    if abs(share) <= band:
        return None
    # Slow changes look much alike, luck among them: it stays open until somebody measures again, at length.
    return _change(series, "drift", before, last, 0, band=band, limit=limit, confirmed=0)


def _band(least: float, floor: float, scatter: float) -> tuple[float, Limit]:
    """The share that a change has to exceed, and which of the three decided it."""
    limits: tuple[tuple[float, Limit], ...] = ((least, "least"), (floor, "floor"), (scatter, "scatter"))
    return max(limits, key=lambda each: each[0])


def _change(
    series: Series,
    kind: Kind,
    before: Sequence[Night],
    after: Sequence[Night],
    asked: int,
    *,
    band: float,
    limit: Limit,
    confirmed: int,
) -> Change:
    level, new = _level(before), _level(after)
    # Nights of the new level are few: their scatter is taken to be that of the old one.
    spread = _Z95 * _OF_MEDIAN * level.scatter * math.sqrt(1 / len(before) + 1 / len(after))
    share = level.share(new.middle)
    worse = (new.middle < level.middle) is series.higher_is_better
    state: State = "improved" if not worse else "confirmed" if confirmed >= CONFIRMS else "new"
    return Change(
        series=series,
        kind=kind,
        before=level.middle,
        after=new.middle,
        share=share,
        low=share - spread,
        high=share + spread,
        band=band,
        limit=limit,
        last_good=before[-1],
        first=after[0],
        confirmed=confirmed,
        asked=asked,
        state=state,
    )


def _level(nights: Sequence[Night]) -> _Level:
    values = [night.value for night in nights]
    middle = statistics.median(values)
    scatter = _NORMAL * statistics.median([abs(value - middle) for value in values])
    return _Level(middle=middle, scatter=scatter / abs(middle) if middle else 0.0, nights=len(values))


def _flat(value: object, name: str = "") -> dict[str, str]:
    if isinstance(value, dict):
        parts = (_flat(inner, f"{name}.{key}" if name else str(key)) for key, inner in value.items())
        return {key: text for part in parts for key, text in part.items()}
    return {name: value if isinstance(value, str) else json.dumps(value)}
