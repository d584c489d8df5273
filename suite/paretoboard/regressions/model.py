"""Series of nights, and the changes that are found in them."""

from __future__ import annotations

import datetime
import math
from dataclasses import dataclass
from typing import Final, Literal

from paretoboard.store.nightlies import LongRun

State = Literal["new", "confirmed", "acknowledged", "fixed", "improved"]
STATES: Final[tuple[State, ...]] = ("confirmed", "new", "acknowledged", "fixed", "improved")
What = Literal["speed", "quality"]
Kind = Literal["step", "drift"]
# Which threshold a change had to exceed: the least that counts, the machine's noise floor, or the scatter of nights.
Limit = Literal["least", "floor", "scatter"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """What a series is of: nothing is ever compared across two of them."""

    task: str
    board_id: str
    profile: str
    hardware_id: str
    recipe: str
    what: What

    @property
    def name(self) -> str:
        """As it is named in acks.toml and on the command line: `task:recipe:profile:hardware:what`."""
        return ":".join((self.task, self.recipe, self.profile, self.hardware_id[:8], self.what))


@dataclass(frozen=True, slots=True, kw_only=True)
class Night:
    """All runs of one series on one day, UTC, with one software."""

    day: datetime.date
    value: float  # median over the runs
    low: float  # of the interval of the newest run; NaN without one
    high: float
    runs: int
    environment_id: str
    environment: str  # as JSON
    commit: str
    run_id: str  # of the newest run


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """One number, night after night."""

    key: Key
    unit: str  # "× baseline’s time", "s" or "1"
    metric: str
    title: str  # of the task
    hardware_name: str
    nights: tuple[Night, ...]  # oldest first

    @property
    def higher_is_better(self) -> bool:
        """Of quality; of times lower is better."""
        return self.key.what == "quality"

    @property
    def segments(self) -> tuple[tuple[Night, ...], ...]:
        """The nights between two changes of software: levels are compared within one only."""
        found: list[list[Night]] = []
        for night in self.nights:
            if found and found[-1][-1].environment_id == night.environment_id:
                found[-1].append(night)
            else:
                found.append([night])
        return tuple(tuple(segment) for segment in found)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ack:
    """Somebody knows of a change and says why it is accepted."""

    series: str  # Key.name
    night: datetime.date  # the change's first night
    reason: str
    by: str
    expires: datetime.date | None = None  # after which it is asked about again


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A level of a series that became another one."""

    series: Series
    kind: Kind
    before: float  # level
    after: float
    share: float  # of the level before: 0.05 is 5 % more
    low: float  # 95 % interval of `share`
    high: float
    band: float  # share that a change has to exceed here
    limit: Limit  # what the band comes from
    last_good: Night
    first: Night  # the first night of the new level
    confirmed: int  # of the nights after the first that were looked at, how many say the same
    asked: int
    state: State
    ack: Ack | None = None
    long_run: LongRun | None = None  # that decided about a drift

    @property
    def worse(self) -> bool:
        """Slower, or of lower quality."""
        return (self.after < self.before) is self.series.higher_is_better

    def shown_by(self, night: Night) -> bool:
        """Whether a night alone is beyond the band, on the side of this change."""
        share = night.value / self.before - 1 if self.before else 0.0
        return math.copysign(1.0, self.share) * share > self.band


@dataclass(frozen=True, slots=True, kw_only=True)
class Cut:
    """Where the software changed, so that nothing is compared across."""

    series: Series
    before: Night
    after: Night
    differs: tuple[tuple[str, str, str], ...]  # (field, before, after)
    share: float  # how far apart the levels are; which of the two is to blame nobody can tell


@dataclass(frozen=True, slots=True, kw_only=True)
class Noisy:
    """A series whose nights scatter too far to tell anything."""

    series: Series
    scatter: float  # standard deviation, robust, as a share of the level


@dataclass(frozen=True, slots=True, kw_only=True)
class Regressions:
    """Everything that series of nights say."""

    series: tuple[Series, ...]
    changes: tuple[Change, ...]  # the newest first
    cuts: tuple[Cut, ...]
    noisy: tuple[Noisy, ...]
    damaged: tuple[str, ...] = ()  # files that could not be read, in words

    def of(self, *states: State) -> tuple[Change, ...]:
        """The changes in one of these states."""
        return tuple(change for change in self.changes if change.state in states)

    def open_by_board(self) -> dict[str, int]:
        """How many confirmed and unanswered regressions a board has, by its board id."""
        counts: dict[str, int] = {}
        for change in self.of("confirmed"):
            counts[change.series.key.board_id] = counts.get(change.series.key.board_id, 0) + 1
        return counts

    @property
    def suspicious(self) -> bool:
        """Many regressions and not one improvement: the detector, or the machine, is to be suspected first."""
        return len(self.of("new", "confirmed")) >= SUSPICIOUS and not self.of("improved")


# From so many on, with no improvement at all, changes of the machine are likelier than so much bad luck.
SUSPICIOUS: Final = 5
