"""A plan is carried out once: what is stored is not measured again, and two sessions never mix."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from datetime import timedelta
from itertools import count
from pathlib import Path

import pytest

import builders
from paretoboard import store
from paretoboard.errors import InputError
from paretoboard.plan import RunSpec
from paretoboard.records import RunRecord, Status
from paretoboard_runners import machine, session
from paretoboard_runners.runner import Progress

PRINTS = machine.Fingerprints(hardware_id="a" * 64, environment_id="b" * 64)


class ReplayRunner:
    """A runner that measures nothing and gives what it was told to."""

    _seconds = count()

    def __init__(self, status_of: Callable[[RunSpec], Status] = lambda run: "ok") -> None:
        self.status_of = status_of
        self.measured: list[str] = []

    def measure(self, run: RunSpec, watch: Callable[[Progress], None]) -> RunRecord:
        self.measured.append(run.recipe.name)
        watch(Progress(stage="timing", done=1.0, text="replayed"))
        status = self.status_of(run)
        return builders.run_record(
            spec=run,
            status=status,
            reason="" if status == "ok" else "told to",
            started_at=builders.MEASURED_AT + timedelta(seconds=next(self._seconds)),
            provenance=builders.provenance(hardware_id=PRINTS.hardware_id, environment_id=PRINTS.environment_id),
        )

    def close(self) -> None:
        return


class Notes:
    """An observer that writes down what it is told."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def run_started(self, run: RunSpec, number: int, total: int) -> None:
        self.said.append(f"{number}/{total} {run.recipe.name}")

    def run_progressed(self, progress: Progress) -> None:
        self.said.append(progress.text)

    def run_finished(self, record: RunRecord, path: Path) -> None:
        assert path.exists()
        self.said.append(record.status)


def runs(*recipes: str) -> list[RunSpec]:
    return [builders.run_spec(recipe=builders.recipe(name)) for name in recipes]


def carry_out(plan: list[RunSpec], runner: ReplayRunner, results: Path, **options: object) -> session.Summary:
    return session.carry_out(plan, runner=runner, results=results, prints=PRINTS, observer=Notes(), **options)  # type: ignore[arg-type]


def test_what_is_stored_is_not_measured_again(tmp_path: Path) -> None:
    first = carry_out(runs("baseline", "bf16"), ReplayRunner(), tmp_path)
    runner = ReplayRunner()
    second = carry_out(runs("baseline", "bf16", "compile"), runner, tmp_path)
    assert (first.measured, first.known) == (2, 0)
    assert (second.measured, second.known) == (1, 2)
    assert runner.measured == ["compile"]


def test_other_software_or_hardware_is_measured_anew(tmp_path: Path) -> None:
    plan = runs("baseline")
    carry_out(plan, ReplayRunner(), tmp_path)
    other = machine.Fingerprints(hardware_id=PRINTS.hardware_id, environment_id="c" * 64)
    todo, done = session.pending(plan, tmp_path, other, fresh=False, retry=False)
    assert (len(todo), len(done)) == (1, 0)


def test_a_failure_is_kept_until_somebody_asks_for_a_retry(tmp_path: Path) -> None:
    plan = runs("baseline", "bf16")
    failing = ReplayRunner(lambda run: "failed" if run.recipe.name == "bf16" else "ok")
    assert carry_out(plan, failing, tmp_path).not_ok == 1
    again = ReplayRunner()
    assert carry_out(plan, again, tmp_path).not_ok == 1
    assert again.measured == []
    mended = carry_out(plan, again, tmp_path, retry=True)
    assert again.measured == ["bf16"]
    assert mended.not_ok == 0


def test_fresh_measures_everything_again_and_keeps_the_old_records(tmp_path: Path) -> None:
    plan = runs("baseline", "bf16")
    carry_out(plan, ReplayRunner(), tmp_path)
    runner = ReplayRunner()
    carry_out(plan, runner, tmp_path, fresh=True)
    assert runner.measured == ["baseline", "bf16"]
    assert len(store.record_files(tmp_path)) == 4


def test_no_run_begins_after_the_time_budget(tmp_path: Path) -> None:
    seconds = iter([0.0, 0.0, 5.0, 11.0, 12.0])
    runner = ReplayRunner()
    summary = carry_out(
        runs("baseline", "bf16", "compile"), runner, tmp_path, budget_s=10.0, clock=lambda: next(seconds)
    )
    assert runner.measured == ["baseline", "bf16"]
    assert summary.stopped_early


def test_the_observer_hears_of_every_run_in_order(tmp_path: Path) -> None:
    notes = Notes()
    session.carry_out(runs("baseline", "bf16"), runner=ReplayRunner(), results=tmp_path, prints=PRINTS, observer=notes)
    assert notes.said == ["1/2 baseline", "replayed", "ok", "2/2 bf16", "replayed", "ok"]


def test_a_second_session_is_told_who_holds_the_results(tmp_path: Path) -> None:
    program = (
        "import sys, pathlib\n"
        "from paretoboard_runners import session\n"
        "with session.locked(pathlib.Path(sys.argv[1])):\n"
        "    print('held', flush=True); sys.stdin.read()\n"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    with pytest.raises(InputError, match=rf"process {holder.pid} since 20\d\d-"), session.locked(tmp_path):
        pass
    holder.kill()
    holder.wait()
    with session.locked(tmp_path):
        pass
