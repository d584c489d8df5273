"""Carry out a plan: what is known already is passed over, every record is stored before the next run begins."""

from __future__ import annotations

import fcntl
import json
import os
import random
import time
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol

from paretoboard import store
from paretoboard.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from paretoboard.plan import RunSpec
    from paretoboard.records import RunRecord
    from paretoboard_runners.machine import Fingerprints
    from paretoboard_runners.runner import Progress, Runner

_LOCK: Final = ".lock"


class Observer(Protocol):
    """Who is told how a session goes."""

    def run_started(self, run: RunSpec, number: int, total: int) -> None:
        """Run `number` of `total`, counted from 1, begins."""

    def run_progressed(self, progress: Progress) -> None:
        """The run in hand is so far."""

    def run_finished(self, record: RunRecord, path: Path) -> None:
        """Its record is stored."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """How a session went."""

    measured: int
    known: int  # passed over, since their records are there
    not_ok: int  # of all, those whose latest record is not ok
    stopped_early: bool  # the time budget ended before the plan


def pending(
    runs: Sequence[RunSpec], results: Path, prints: Fingerprints, *, fresh: bool, retry: bool
) -> tuple[list[RunSpec], list[RunSpec]]:
    """The runs that are to be measured, and those whose records are there.

    Args:
        fresh: measure everything again.
        retry: measure again what did not end well.
    """
    known = store.known(results, tasks={run.task for run in runs})
    todo: list[RunSpec] = []
    done: list[RunSpec] = []
    for run in runs:
        found = known.get(store.key_of(run.run_id, prints.hardware_id, prints.environment_id))
        again = found is None or fresh or (retry and found.status != "ok")
        (todo if again else done).append(run)
    return todo, done


def carry_out(
    runs: Sequence[RunSpec],
    *,
    runner: Runner,
    results: Path,
    prints: Fingerprints,
    observer: Observer,
    fresh: bool = False,
    retry: bool = False,
    budget_s: float | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> Summary:
    """Measure what is not known yet, one run after the other.

    Args:
        budget_s: begin no run after so many seconds.
    Raises: InputError when another session holds the results folder.
    """
    deadline = None if budget_s is None else clock() + budget_s
    with locked(results):
        todo, done = pending(runs, results, prints, fresh=fresh, retry=retry)
        measured = 0
        for number, run in enumerate(todo, 1):
            if deadline is not None and clock() >= deadline:
                break
            measure(run, runner=runner, results=results, observer=observer, number=number, total=len(todo))
            measured += 1
    return Summary(
        measured=measured,
        known=len(done),
        not_ok=count_not_ok(runs, results, prints),
        stopped_early=measured < len(todo),
    )


def measure(run: RunSpec, *, runner: Runner, results: Path, observer: Observer, number: int, total: int) -> RunRecord:
    """Measure one run, of `total` the one with this number, and store its record.

    Raises: StoreError where the disk refuses it.
    """
    observer.run_started(run, number, total)
    record = runner.measure(run, observer.run_progressed)
    observer.run_finished(record, store.append(results, record))
    return record


def count_not_ok(runs: Sequence[RunSpec], results: Path, prints: Fingerprints) -> int:
    """How many of `runs` have a latest record that is not ok."""
    known = store.known(results, tasks={run.task for run in runs})
    keys = [store.key_of(run.run_id, prints.hardware_id, prints.environment_id) for run in runs]
    return sum(1 for key in keys if key in known and known[key].status != "ok")


def sample_stored(
    runs: Sequence[RunSpec], results: Path, prints: Fingerprints, *, count: int, rng: random.Random | None = None
) -> list[tuple[RunSpec, RunRecord]]:
    """Up to `count` runs, drawn at random, whose latest record here is ok, each with that record."""
    known = store.known(results, tasks={run.task for run in runs})
    there = []
    for run in runs:
        found = known.get(store.key_of(run.run_id, prints.hardware_id, prints.environment_id))
        if found is not None and found.status == "ok":
            there.append((run, found.path))
    drawn = (rng or random.Random()).sample(there, min(count, len(there)))
    return [(run, store.read_one(path)) for run, path in drawn]


@contextmanager
def locked(results: Path) -> Iterator[None]:
    """Hold a results folder against a second session, which would disturb the measurements of this one.

    The kernel lets go of the lock when its holder ends, however it ends.

    Raises: InputError that names the holder and since when.
    """
    results.mkdir(parents=True, exist_ok=True)
    with (results / _LOCK).open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InputError(f"{results}: another session is measuring here, {_holder(lock.name)}") from None
        lock.truncate(0)
        lock.write(json.dumps({"pid": os.getpid(), "since": datetime.now(UTC).isoformat(timespec="seconds")}))
        lock.flush()
        yield


def _holder(path: str) -> str:
    try:
        holder = json.loads(Path(path).read_text())
        return f"process {holder['pid']} since {holder['since']}"
    except (ValueError, KeyError, TypeError):
        return "whose name can't be read"
