"""The first commit that made something slower, each step decided by pairs of measurements and never by one.

A candidate and the good revision lie side by side and are run in turns, ABBA or BAAB by coin, so that whatever else the
machine does meets both. The effect of a pair is the logarithm of candidate / good; an interval (Student's t over the
pairs) that lies on one side of half the difference between good and bad decides. If it does not, as many pairs again
as there are, three times at most; then the commit is skipped, as git skips what can't be tested.
"""

from __future__ import annotations

import math
import random
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from paretoboard import stats
from paretoboard.errors import InputError
from paretoboard_runners.commands import CommandFailedError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator  # noqa: TC004 - nothing resolves these annotations
    from pathlib import Path  # noqa: TC004

    from paretoboard_runners.revisions import Commit, Mark, Repository  # noqa: TC004

# A commit that is skipped can hide the first bad one, so a loud machine costs launches here and no answer.
LOOKS: Final = 4
_CONFIDENCE: Final = 1 - 0.05 / LOOKS  # 5 % over all looks, as PROTOCOL ab1, point 8, shares it between two
_ORDERS: Final = ("ABBA", "BAAB")

Side = Literal["good", "candidate"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Apart:
    """How far a revision is from the good one, as shares: 0.05 is 5 % more."""

    share: float
    low: float
    high: float
    pairs: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """What was found of one commit."""

    commit: Commit
    mark: Mark
    apart: Apart | None  # None where it could not be measured
    reason: str  # why it was skipped, "" otherwise


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a search found."""

    apart: Apart  # bad beside good
    beyond: float  # share, with its sign, from which on a commit is bad
    first_bad: tuple[Commit, ...]  # several where skipped commits hide which
    steps: tuple[Step, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How long a launch takes, told before many of them are made."""

    launch_s: float


class NotApartError(Exception):
    """Good and bad can't be told apart here."""

    def __init__(self, apart: Apart, least: float) -> None:
        self.apart = apart
        super().__init__(
            f"good and bad can't be told apart: {in_words(apart)}; "
            f"a difference beyond {100 * least:.1f} % whose interval leaves out zero would be one"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """How commits are measured and judged.

    `prepare` is called once in each new checkout, `measure` for each launch; both raise CommandFailedError where the
    revision can't be measured, and the value of a launch is above zero.
    """

    repository: Repository
    prepare: Callable[[Path, Commit], None]
    measure: Callable[[Path, Commit, Side], float]
    least: float  # share by which good and bad have to differ
    floor: float  # noise floor of this machine, a share
    pairs: int  # at the first look, an even number; each look doubles what there is
    seed: int = 0

    def find(
        self, good: Commit, bad: Commit, *, first_parent: bool, watch: Callable[[Pace | Apart | Step], None]
    ) -> Outcome:
        """The first bad commit between two.

        Args:
            watch: is told the pace, how far good and bad are apart, and every step.
        Raises: InputError where good or bad can't be measured; NotApartError.
        """
        coin = random.Random(self.seed)
        with self.repository.checked_out(good) as folder:
            self._prepare_known(folder, good, "good")
            started = time.monotonic()
            self._good(folder, good)
            watch(Pace(launch_s=time.monotonic() - started))
            apart, beyond = self._extent(folder, good, bad, coin)
            watch(apart)
            steps: list[Step] = []
            with self.repository.searched(good, bad, first_parent=first_parent) as search:
                while (commit := search.next()) is not None:
                    step = self._step(folder, good, commit, beyond, coin)
                    search.mark(step.mark)
                    steps.append(step)
                    watch(step)
                first_bad = search.first_bad()
        return Outcome(apart=apart, beyond=beyond, first_bad=first_bad, steps=tuple(steps))

    def _prepare_known(self, folder: Path, commit: Commit, name: str) -> None:
        try:
            self.prepare(folder, commit)
            self.measure(folder, commit, "good" if name == "good" else "candidate")
        except CommandFailedError as error:
            raise InputError(
                f"the {name} revision {commit.id[:10]} can't be measured: {error}\n"
                "Two revisions at which the command ends well would be right."
            ) from error

    def _extent(self, folder: Path, good: Commit, bad: Commit, coin: random.Random) -> tuple[Apart, float]:
        """How far bad is from good, and from where on a commit is bad."""
        with self.repository.checked_out(bad) as other:
            self._prepare_known(other, bad, "bad")
            for apart in self._looks(folder, good, other, bad, coin):
                if apart.low * apart.high > 0 and abs(math.log1p(apart.share)) > math.log1p(self.least):
                    effect = math.log1p(apart.share)
                    half = max(abs(effect) / 2, math.log1p(self.floor))
                    return apart, math.expm1(math.copysign(half, effect))
        raise NotApartError(apart, self.least)

    def _step(self, folder: Path, good: Commit, commit: Commit, beyond: float, coin: random.Random) -> Step:
        try:
            with self.repository.checked_out(commit) as other:
                self.prepare(other, commit)
                # The first launch compiles and fills caches.
                self.measure(other, commit, "candidate")
                for apart in self._looks(folder, good, other, commit, coin):
                    mark = judged(apart, beyond)
                    if mark != "skip":
                        return Step(commit=commit, mark=mark, apart=apart, reason="")
        except CommandFailedError as error:
            return Step(commit=commit, mark="skip", apart=None, reason=str(error))
        return Step(commit=commit, mark="skip", apart=apart, reason=f"open after {apart.pairs} pairs")

    def _looks(self, folder: Path, good: Commit, other: Path, commit: Commit, coin: random.Random) -> Iterator[Apart]:
        """After each look, what all pairs so far say."""
        effects: list[float] = []
        for look in range(LOOKS):
            while len(effects) < self.pairs * 2**look:
                effects += self._block(folder, good, other, commit, coin.choice(_ORDERS))
            found = stats.mean_interval(effects, _CONFIDENCE)
            share, low, high = (math.expm1(each) for each in (found.value, found.low, found.high))
            yield Apart(share=share, low=low, high=high, pairs=len(effects))

    def _block(self, folder: Path, good: Commit, other: Path, commit: Commit, order: str) -> list[float]:
        """The effects of two pairs."""
        values: dict[str, list[float]] = {"A": [], "B": []}
        for arm in order:
            if arm == "A":
                values[arm].append(math.log(self._good(folder, good)))
            else:
                values[arm].append(math.log(self.measure(other, commit, "candidate")))
        return [candidate - known for known, candidate in zip(values["A"], values["B"], strict=True)]

    def _good(self, folder: Path, good: Commit) -> float:
        try:
            return self.measure(folder, good, "good")
        except CommandFailedError as error:
            raise InputError(
                f"the good revision {good.id[:10]} could be measured at first, and now can't: {error}"
            ) from error


def judged(apart: Apart, beyond: float) -> Mark:
    """What an interval says of a commit: on which side of `beyond` it lies; "skip" where it holds it.

    Args:
        beyond: share with the sign of bad's difference from good.
    """
    if apart.low > beyond:
        return "bad" if beyond > 0 else "good"
    if apart.high < beyond:
        return "good" if beyond > 0 else "bad"
    return "skip"


def in_words(apart: Apart) -> str:
    """ "+5.1 % [+4.4, +5.8], 8 pairs"."""
    share, low, high = (f"{100 * each:+.1f}" for each in (apart.share, apart.low, apart.high))
    return f"{share} % [{low}, {high}], {apart.pairs} pairs"
