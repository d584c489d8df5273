"""Series of nights and their changes, as pages show them."""

from __future__ import annotations

import hashlib
import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from paretoboard.regressions import Change, Cut, Series
from paretoboard.regressions.shifts import BANDS, stretches, usual
from paretoboard_reports.view.numbers import Scale, scale_for, significant

if TYPE_CHECKING:
    import datetime
    from collections.abc import Sequence

    from paretoboard.regressions import Limit, Night, Regressions
    from paretoboard.regressions.shifts import Stretch

_AXES: Final = {"ratio": "time, × the baseline’s of the same night", "latency": "latency"}
_LIMITS: Final[dict[Limit, str]] = {
    "least": "the least that counts",
    "floor": "the noise floor of this machine",
    "scatter": "the scatter of the nights before",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawn:
    """One night of a drawing."""

    place: float  # days since the first
    day: str
    value: float  # in the unit of the axis
    kind: str  # "changed" where a new level begins, "" otherwise
    text: str  # what it says when pointed at


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """A series with everything that a page says of it."""

    series: Series
    anchor: str
    axis: str
    unit: str
    nights: tuple[Drawn, ...]
    stretches: tuple[tuple[float, float, float, float], ...]  # first and last place, level, width of the band
    cuts: tuple[float, ...]  # places, between nights
    cut_indexes: tuple[int, ...]  # before which nights
    sentence: str
    newest: str  # value
    against: str  # newest beside its level, "" where there is none yet
    off: float  # the same, as a share that is worse where it is above zero
    changes: tuple[Change, ...]

    @property
    def values(self) -> tuple[float, ...]:
        """In the unit of the axis, oldest first."""
        return tuple(night.value for night in self.nights)


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """One change in words."""

    change: Change
    anchor: str
    before: str
    after: str
    unit: str
    by: str  # "+5.1 % [+4.4, +5.8]"
    direction: str  # "slower", ...
    rule: str  # what it had to exceed: "2.0 %, the least that counts"
    commits: str  # "a1b2c3d4e5..f6a7b8c9d0", "" where they are not known
    command: str  # that measures it again
    says_so: str  # what confirms it, or is to


def shown(found: Regressions) -> tuple[Shown, ...]:
    """All series, those that are furthest on the wrong side of their level first."""
    by_series: dict[int, list[Change]] = {}
    for change in found.changes:
        by_series.setdefault(id(change.series), []).append(change)
    every = (_shown(series, by_series.get(id(series), ())) for series in found.series)
    return tuple(sorted(every, key=lambda each: (not each.changes, -each.off, each.series.key.name)))


def told(change: Change) -> Told:
    """A change in words."""
    series = change.series
    scale = scale_for(series.unit, [change.before])
    first, last = change.last_good.commit, change.first.commit
    return Told(
        change=change,
        anchor=anchor(series, str(change.first.day)),
        before=significant(scale.factor * change.before, 4),
        after=significant(scale.factor * change.after, 4),
        unit=scale.unit,
        by=f"{_percent(change.share)} % [{_percent(change.low)}, {_percent(change.high)}]",
        direction=direction(series, change.worse),
        rule=f"{100 * change.band:.1f} %, {_LIMITS[change.limit]}",
        commits="" if not first or not last else first[:10] if first == last else f"{first[:10]}..{last[:10]}",
        command=run_command(series),
        says_so=_says_so(change),
    )


def _says_so(change: Change) -> str:
    if change.kind == "step":
        return f"confirmed by {change.confirmed} of {change.asked} nights"
    run = change.long_run
    if run is None:
        return "a drift of the last nights; a longer measurement decides"
    says = "confirm it" if change.state != "new" else "do not confirm it"
    return f"a drift; {run.launches} launches on {run.started_at:%Y-%m-%d} {says}"


def run_command(series: Series) -> str:
    """What measures a series once more."""
    key = series.key
    return shlex.join(["paretoboard", "run", key.task, "--only", key.recipe, "--profile", key.profile, "--fresh"])


def direction(series: Series, worse: bool) -> str:
    """What became of it, in a word."""
    if series.key.what == "quality":
        return "worse" if worse else "better"
    return "slower" if worse else "faster"


def cut_anchor(cut: Cut) -> str:
    """The id of a change of software on a page."""
    return anchor(cut.series, f"cut {cut.after.day}")


def anchor(series: Series, of: str = "") -> str:
    """An id that is unique on a page and the same in every report."""
    digest = hashlib.sha256(f"{series.key.board_id} {series.key.name} {of}".encode()).hexdigest()
    return f"s{digest[:12]}"


def _shown(series: Series, changes: Sequence[Change]) -> Shown:
    unit = scale_for(series.unit, [night.value for night in series.nights])
    first = series.nights[0].day
    changed = {change.first.run_id for change in changes}

    def place(night: Night) -> float:
        return float((night.day - first).days)

    def drawn(night: Night) -> Drawn:
        value = unit.factor * night.value
        return Drawn(
            place=place(night),
            day=night.day.isoformat(),
            value=value,
            kind="changed" if night.run_id in changed else "",
            text=f"{night.day.isoformat()}: {significant(value, 4)} {unit.unit}".rstrip(),
        )

    segments = series.segments
    cuts = [place(after[0]) for after in segments[1:]]
    before = [place(segment[-1]) for segment in segments[:-1]]
    indexes, count = [], 0
    for segment in segments[:-1]:
        count += len(segment)
        indexes.append(count)
    parts = tuple(stretches(series, changes))
    newest = series.nights[-1]
    level, _ = usual(parts[-1].nights[:-1])
    share = newest.value / level - 1 if level else 0.0
    text = f"{significant(unit.factor * newest.value, 4)} {unit.unit}".rstrip()
    name = f"{series.key.recipe}, {series.title}, {series.key.profile}"
    return Shown(
        series=series,
        anchor=anchor(series),
        axis=_axis(series, unit),
        unit=unit.unit,
        nights=tuple(drawn(night) for night in series.nights),
        stretches=tuple(_drawn_level(part, first, unit.factor) for part in parts if part.level is not None),
        cuts=tuple((one + other) / 2 for one, other in zip(before, cuts, strict=True)),
        cut_indexes=tuple(indexes),
        sentence=f"{name}: {series.metric} of {len(series.nights)} nights, the newest {text}",
        newest=text,
        against=f"{_percent(share)} %" if level else "",
        off=-share if series.higher_is_better else share,
        changes=tuple(changes),
    )


def _drawn_level(part: Stretch, first: datetime.date, factor: float) -> tuple[float, float, float, float]:
    level = factor * (part.level or 0.0)
    ends = [float((night.day - first).days) for night in (part.nights[0], part.nights[-1])]
    return ends[0], ends[1], level, BANDS * part.scatter * abs(level)


def _axis(series: Series, unit: Scale) -> str:
    words = _AXES.get(series.metric, series.metric)
    return f"{words}, {unit.unit}" if unit.unit not in ("", "×") else words


def _percent(share: float) -> str:
    return f"{round(100 * share, 1) + 0.0:+.1f}".replace("-", "−")  # no minus before a zero
