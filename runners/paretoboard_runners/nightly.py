"""One night: what is measured first, what is measured again at once, and what is written down after every run."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pandas as pd

from paretoboard import regressions, store
from paretoboard.errors import RefusedError
from paretoboard.spec import BASELINE
from paretoboard.store import Key, Known, light, nightlies
from paretoboard.store.nightlies import LongRun, Nightly, NightlyRun, SelfCheck
from paretoboard_runners import calibration, session
from paretoboard_runners.runner import Runner

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from paretoboard.plan import RunSpec
    from paretoboard.records import RunRecord
    from paretoboard.regressions import Change, Series
    from paretoboard.spec import HardwareProfile
    from paretoboard_runners.machine import Fingerprints

REPEATS: Final = 2  # times that a run is measured again at once where a change for the worse began or goes on
IDENTICAL: Final = 4  # comparisons of the self-check (PROTOCOL.md, "Nightly")
PLANTED: Final = 2
# An interrupted nightly is continued within this time; later it is another night.
CONTINUED_WITHIN: Final = timedelta(hours=20)
MISSED_AFTER: Final = timedelta(hours=36)
# Clocks of two machines that write to one folder may differ by so much without anybody having set one back.
CLOCK_SLACK: Final = timedelta(minutes=5)
_BROKEN: Final = ("failed", "timeout")

Cell = tuple[str, str, str]  # task, profile, recipe


def begin(
    runs: Sequence[RunSpec],
    *,
    tasks: Sequence[str],
    before: Sequence[Nightly],
    known: Mapping[Key, Known],
    prints: Fingerprints,
    commit: str,
    now: datetime,
) -> Nightly:
    """A nightly, or the last one where that was interrupted a short while ago and the same is asked for.

    Args:
        before: all nightlies of the folder, oldest first.
        known: of `store.known`.
        now: UTC.
    """
    own = [nightly for nightly in before if nightly.hardware_id == prints.hardware_id]
    fresh = Nightly(
        started_at=now,
        hardware_id=prints.hardware_id,
        environment_id=prints.environment_id,
        commit=commit,
        tasks=tuple(tasks),
        planned=len(runs),
    )
    latest = max([entry.started_at for entry in known.values()] + [nightly.started_at for nightly in own], default=now)
    if latest > now + CLOCK_SLACK:
        behind = (
            f"The clock says {_minute(now)}, and something here began at {_minute(latest)}: it was set back, or "
            "another machine’s is ahead. What is measured is kept with the time that the clock says."
        )
        return replace(fresh, distrust="the clock was set back", notes=(behind,))
    if not own:
        return fresh
    last = own[-1]
    return _after_interruption(last, fresh) if last.ended_at is None else replace(fresh, notes=_missed(last, now))


def _after_interruption(last: Nightly, fresh: Nightly) -> Nightly:
    """The last nightly where the same is asked for soon after it, else the new one."""
    now = fresh.started_at
    same = replace(fresh, started_at=last.started_at, commit=last.commit)
    asked = replace(last, runs=(), notes=(), self_check=None, distrust="")
    if asked == same and now - last.started_at < CONTINUED_WITHIN:
        note = f"Interrupted after {len(last.runs)} runs, and continued at {_minute(now)}."
        return replace(last, notes=(*last.notes, note))
    note = f"The nightly of {_minute(last.started_at)} was interrupted after {len(last.runs)} runs, which are kept."
    return replace(fresh, notes=(note,))


def _missed(last: Nightly, now: datetime) -> tuple[str, ...]:
    """What is said of nights that were left out."""
    since = now - last.started_at
    if since < MISSED_AFTER:
        return ()
    nights = max(1, round(since / timedelta(days=1)) - 1)
    return (
        f"The last nightly began at {_minute(last.started_at)}: {nights} missed since. "
        "What was measured longest ago comes first.",
    )


def ordered(
    runs: Sequence[RunSpec],
    known: Mapping[Key, Known],
    prints: Fingerprints,
    *,
    first: Collection[Cell],
    since: datetime | None = None,
) -> list[RunSpec]:
    """Runs in the order in which they are measured: what `first` waits for, then what was measured longest ago.

    Args:
        first: cells with a change that more nights are to confirm.
        since: leave out what has a record of this machine and software from then on.
    """
    hardware = store.key_of("", prints.hardware_id, "")[1]
    newest: dict[str, datetime] = {}
    for (run_id, where, _), entry in known.items():
        if where == hardware:
            newest[run_id] = max(entry.started_at, newest.get(run_id, entry.started_at))

    def age(run: RunSpec) -> tuple[bool, datetime]:
        run_id = store.key_of(run.run_id, "", "")[0]
        return cell_of(run) not in first, newest.get(run_id, datetime.min.replace(tzinfo=UTC))

    def left(run: RunSpec) -> bool:
        entry = known.get(store.key_of(run.run_id, prints.hardware_id, prints.environment_id))
        return since is None or entry is None or entry.started_at < since

    return sorted(filter(left, runs), key=age)  # stable: of runs never measured the plan's order stays


def cell_of(run: RunSpec) -> Cell:
    """By what a series of nights finds the runs that continue it."""
    return run.task, run.profile.name, run.recipe.name


def awaited(found: regressions.Regressions, hardware_id: str) -> set[Cell]:
    """Cells with a change for the worse that nights are still to confirm."""
    changes = [change for change in found.of("new") if change.series.key.hardware_id == hardware_id]
    return {(change.series.key.task, change.series.key.profile, change.series.key.recipe) for change in changes}


def drifting(found: regressions.Regressions, runs: Sequence[RunSpec], hardware_id: str) -> list[tuple[Series, RunSpec]]:
    """Series that drift for the worse and that no long run has decided about, each with the run that would."""
    by_cell = {(cell_of(run), run.board_id): run for run in reversed(runs)}
    chosen = []
    for change in found.of("new"):
        key = change.series.key
        run = by_cell.get(((key.task, key.profile, key.recipe), key.board_id))
        timed = change.series.metric == "ratio" and key.hardware_id == hardware_id
        if change.kind == "drift" and timed and run is not None and change.long_run is None:
            chosen.append((change.series, replace(run, measure=replace(run.measure, budget="release"))))
    return chosen


def self_check(profile: HardwareProfile, *, seed: int, watch: Callable[[float, str], None]) -> SelfCheck | None:
    """Compare programs of known difference under a profile; None where it can't be held here."""
    try:
        found = calibration.calibrate(
            profile, comparisons=IDENTICAL, planted_comparisons=PLANTED, watch=watch, seed=seed
        )
    except RefusedError:
        return None
    names = ("identical", "false_alarms", "planted", "planted_extra", "found", "wrong_way")
    return SelfCheck(**{name: getattr(found, name) for name in names})


@dataclass(slots=True, kw_only=True)
class Night:
    """What goes on in one nightly: every run is stored, noted, and where it looks worse measured again at once."""

    results: Path
    runner: Runner
    observer: session.Observer
    nightly: Nightly
    history: pd.DataFrame  # of the tasks, without nights that are not to be trusted
    judge: Callable[[pd.DataFrame], regressions.Regressions]
    known: Mapping[Key, Known]  # before this night
    clock: Callable[[], float] = time.monotonic

    def measure(self, runs: Sequence[RunSpec], *, deadline: float | None) -> Nightly:
        """Measure runs in this order until the deadline of `clock` has come; what became of all of it.

        Raises: StoreError where the disk refuses; what was stored before stays.
        """
        for number, run in enumerate(runs, 1):
            for repeat in range(1 + REPEATS):
                if deadline is not None and self.clock() >= deadline:
                    return self.nightly
                record = session.measure(
                    run,
                    runner=self.runner,
                    results=self.results,
                    observer=self.observer,
                    number=number,
                    total=len(runs),
                )
                self._note(record, repeat)
                # What pandas joins of columns without any value is not what it will be: empty frames are left out.
                frames = [frame for frame in (self.history, light.of([record])) if len(frame)]
                self.history = pd.concat(frames, ignore_index=True)
                if self.nightly.distrust or not (self._broke(record) or self._got_worse(record)):
                    break
        return self.nightly

    def decide(self, drifts: Sequence[tuple[Series, RunSpec]], *, deadline: float | None) -> Nightly:
        """Make the long runs that drifts are waiting for; their records are kept apart, since they are of no board.

        Raises: StoreError where the disk refuses.
        """
        apart = self.results / nightlies.FOLDER / nightlies.LONG
        for number, (series, run) in enumerate(drifts, 1):
            if deadline is not None and self.clock() >= deadline:
                break
            record = session.measure(
                run, runner=self.runner, results=apart, observer=self.observer, number=number, total=len(drifts)
            )
            timed = min(record.against(BASELINE), key=lambda comparison: comparison.batch, default=None)
            if timed is None or record.status != "ok":
                continue
            decision = LongRun(
                series=series.key.name,
                board_id=series.key.board_id,
                started_at=record.started_at,
                ratio=timed.ratio,
                low=timed.low,
                high=timed.high,
                launches=timed.launches,
            )
            self.nightly = replace(self.nightly, long_runs=(*self.nightly.long_runs, decision))
            nightlies.write(self.results, self.nightly)
        return self.nightly

    def resume(self) -> None:
        """Note the records of this nightly that it was interrupted before it could note."""
        noted = {(store.key_of(run.run_id, "", "")[0], run.started_at) for run in self.nightly.runs}
        hardware = store.key_of("", self.nightly.hardware_id, "")[1]
        for (run_id, where, _), entry in self.known.items():
            own = where == hardware and entry.started_at >= self.nightly.started_at
            if own and (run_id, entry.started_at) not in noted:
                self._note(store.read_one(entry.path), 0)

    def _note(self, record: RunRecord, repeat: int) -> None:
        run = NightlyRun(
            run_id=record.run_id,
            task=record.task,
            recipe=record.recipe,
            profile=record.profile,
            seed=record.seed,
            started_at=record.started_at,
            duration_s=record.duration_s,
            status=record.status,
            reason=record.reason,
            repeat=repeat,
            broke=self._broke(record),
        )
        # Measured again at once, the last word counts.
        runs = [replace(old, broke=False) if old.run_id == run.run_id else old for old in self.nightly.runs]
        self.nightly = replace(self.nightly, runs=(*runs, run))
        nightlies.write(self.results, self.nightly)

    def _broke(self, record: RunRecord) -> bool:
        """Whether a run failed that was fine when it was last measured here with this software."""
        made = record.provenance
        entry = self.known.get(store.key_of(record.run_id, made.hardware_id, made.environment_id))
        return record.status in _BROKEN and entry is not None and entry.status == "ok"

    def _got_worse(self, record: RunRecord) -> bool:
        """Whether a change for the worse begins with this record, or is still to be confirmed."""
        same = {
            "task": record.task,
            "profile": record.profile,
            "recipe": record.recipe,
            "hardware_id": record.provenance.hardware_id,
            "board_id": record.board_id,
        }
        rows = self.history
        for column, value in same.items():
            rows = rows[rows[column] == value]
        return any(_open(change, record) for change in self.judge(rows).of("new", "confirmed"))


def _open(change: Change, record: RunRecord) -> bool:
    """Whether later nights may still be asked about a change, and this record is of one of them."""
    nights = change.series.nights
    young = len(nights) - nights.index(change.first) <= 1 + regressions.LOOK_AHEAD
    return young and nights[-1].day == record.started_at.date()


def _minute(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
