"""How often a search by pairs is right, on histories and launches that are drawn and not measured."""

from __future__ import annotations

import math
import random
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from paretoboard_runners.bisecting import NotApartError, Outcome, Search
from paretoboard_runners.revisions import Commit

if TYPE_CHECKING:
    from collections.abc import Iterator

SEARCHES = 100


class Line:
    """A repository whose commits stand in one line and have no files."""

    def __init__(self, count: int) -> None:
        self.commits = [Commit(id=f"{number:040x}", author="", date="", subject="") for number in range(count)]

    @contextmanager
    def checked_out(self, commit: Commit) -> Iterator[Path]:
        yield Path(commit.id)

    @contextmanager
    def searched(self, good: Commit, bad: Commit, *, first_parent: bool) -> Iterator[Halving]:
        assert not first_parent
        yield Halving(self.commits[self.commits.index(good) + 1 : self.commits.index(bad) + 1])


class Halving:
    """`git bisect` on a line: `left` are the commits that could be the first bad one, the last of them is bad."""

    def __init__(self, left: list[Commit]) -> None:
        self.left = left
        self.skipped: set[Commit] = set()

    def next(self) -> Commit | None:
        unknown = [commit for commit in self.left[:-1] if commit not in self.skipped]
        return unknown[(len(unknown) - 1) // 2] if unknown else None

    def mark(self, mark: str) -> None:
        commit = self.next()
        assert commit is not None
        place = self.left.index(commit)
        if mark == "skip":
            self.skipped.add(commit)
        else:
            self.left = self.left[: place + 1] if mark == "bad" else self.left[place + 1 :]

    def first_bad(self) -> tuple[Commit, ...]:
        return tuple(self.left)


def found(seed: int, *, step: float, noise: float, count: int = 9) -> tuple[Outcome, Commit]:
    """What is found of a step at some commit, and where it is.

    Args:
        noise: standard deviation of the logarithm of a launch.
    """
    drawn, line = random.Random(seed), Line(count)
    at = drawn.randrange(1, count)

    def measure(folder: Path, commit: Commit, side: str) -> float:
        return (1 + step * (line.commits.index(commit) >= at)) * math.exp(drawn.gauss(0, noise))

    search = Search(
        repository=line,
        prepare=lambda folder, commit: None,
        measure=measure,
        least=0.02,
        floor=0.0,
        pairs=8,
        seed=seed,
    )
    outcome = search.find(line.commits[0], line.commits[-1], first_parent=False, watch=lambda seen: None)
    return outcome, line.commits[at]


def searched(*, step: float, noise: float) -> tuple[int, int]:
    """How many searches name the very commit, and how many leave it out of what they name."""
    right = wrong = 0
    for seed in range(SEARCHES):
        try:
            outcome, truth = found(seed, step=step, noise=noise)
        except NotApartError:
            continue
        right += outcome.first_bad == (truth,)
        wrong += truth not in outcome.first_bad
    return right, wrong


@pytest.mark.parametrize(("step", "noise"), [(0.3, 0.15), (0.1, 0.05), (-0.1, 0.05), (0.03, 0.003)])
def test_where_noise_is_half_the_step_nine_of_ten_searches_name_the_commit(step: float, noise: float) -> None:
    right, wrong = searched(step=step, noise=noise)
    assert right >= 0.9 * SEARCHES
    assert wrong <= 0.02 * SEARCHES


def test_where_noise_is_as_large_as_the_step_searches_name_several_rather_than_a_wrong_one() -> None:
    right, wrong = searched(step=0.03, noise=0.03)
    assert right < 0.9 * SEARCHES
    assert wrong <= 0.02 * SEARCHES


def test_where_nothing_changed_searches_end_before_they_begin() -> None:
    ended = 0
    for seed in range(SEARCHES):
        try:
            found(seed, step=0.0, noise=0.1)
        except NotApartError:
            ended += 1
    assert ended >= 0.95 * SEARCHES
