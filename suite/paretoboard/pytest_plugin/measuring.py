"""What becomes of a run as a test: measured where it is not known, then judged by its record and its history."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from paretoboard import locations, store
from paretoboard.records import Status
from paretoboard.regressions import judge_of
from paretoboard.spec import BASELINE
from paretoboard_runners import machine, session
from paretoboard_runners.judging import local_runner
from paretoboard_runners.machine import Fingerprints
from paretoboard_runners.runner import Runner
from paretoboard_runners.weights import with_missing_marked

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import ExitStack
    from pathlib import Path

    from paretoboard.plan import RunSpec
    from paretoboard.pytest_plugin.tasks import Bench
    from paretoboard.records import RunRecord
    from paretoboard_runners.runner import Progress

_LOG_LINES: Final = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """What measures, and where it is."""

    runner: Runner
    prints: Fingerprints


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a test says of a run."""

    status: Status
    why: str  # it is skipped or fails; "" where it passes
    text: str  # what was measured, for the report of the test


def open_bench(results: Path, ends: ExitStack) -> Opened:
    """This machine's runner; `ends` lets go of the folder.

    Raises: InputError where another session measures into it.
    """
    prints = machine.fingerprints()
    ends.enter_context(session.locked(results))
    runner = ends.enter_context(local_runner(results, locations.data_root(), prints))
    return Opened(runner=runner, prints=prints)


def outcome(run: RunSpec, bench: Bench) -> Outcome:
    """Measure what is not known, and judge it."""
    locations.find_modules([run])
    [run] = with_missing_marked([run], locations.data_root())
    return judged(run, _record(run, bench), bench.results)


def judged(run: RunSpec, record: RunRecord, results: Path) -> Outcome:
    """What a record says as a test: its status, its quality's target, and regressions that nights confirmed.

    Slower or worse than the baseline is a result and no failure: recipes trade one for the other.
    """
    text = "\n".join(_told(record))
    if record.status != "ok":
        return Outcome(status=record.status, why=_reason(record), text=text)
    why = [*_missed(run, record), *_regressions(run, record, results)]
    return Outcome(status=record.status, why="\n".join(why), text=text)


def _record(run: RunSpec, bench: Bench) -> RunRecord:
    prints = machine.fingerprints()
    todo, _ = session.pending([run], bench.results, prints, fresh=False, retry=False)
    if todo:
        opened: Opened = bench.opened()
        return session.measure(run, runner=opened.runner, results=bench.results, observer=_Silent(), number=1, total=1)
    key = store.key_of(run.run_id, prints.hardware_id, prints.environment_id)
    return store.read_one(store.known(bench.results, tasks={run.task})[key].path)


def _reason(record: RunRecord) -> str:
    if record.status in ("skipped", "refused"):
        return f"{record.status}: {record.reason}"
    log = record.log_tail.strip().splitlines()[-_LOG_LINES:]
    again = "`paretoboard run --retry` measures it again"
    return "\n".join([f"{record.status}: {record.reason}", *(["its log ends with:", *log] if log else []), again])


def _missed(run: RunSpec, record: RunRecord) -> Iterator[str]:
    """Of the quality's target: missed where the whole interval lies below it, so that few images decide nothing."""
    target, found = run.quality.at_least, record.metric(run.quality.metric)
    if target is None or found is None:
        return
    most = found.value if found.high is None else found.high
    if most < target:
        yield (
            f"quality: {found.name} is {found.value:.4f}, at most {most:.4f} with its interval; "
            f"the task asks for at least {target}"
        )


def _regressions(run: RunSpec, record: RunRecord, results: Path) -> Iterator[str]:
    """What nights confirmed of this very series and nobody fixed or acknowledged."""
    found = judge_of(results)(store.history(results, tasks={run.task}))
    own = (run.task, run.board_id, run.profile.name, record.provenance.hardware_id, run.recipe.name)
    for change in found.of("confirmed"):
        key = change.series.key
        if (key.task, key.board_id, key.profile, key.hardware_id, key.recipe) == own:
            yield (
                f"regression: {key.what} went from {change.before:.4g} to {change.after:.4g} "
                f"({change.share:+.1%}) on {change.first.day}; `paretoboard regressions` says how to look into it"
            )


def _told(record: RunRecord) -> Iterator[str]:
    quality = record.metric(str(record.spec["quality"]))
    if quality is not None:
        yield f"{quality.name} {quality.value:.4f}"
    for comparison in record.against(BASELINE):
        yield (
            f"batch {comparison.batch}: {comparison.ratio:.3f} of the baseline's time "
            f"[{comparison.low:.3f}, {comparison.high:.3f}], {comparison.verdict}"
        )


class _Silent:
    """Tells nothing: pytest tells how its items go."""

    def run_started(self, run: RunSpec, number: int, total: int) -> None:
        """Nothing."""

    def run_progressed(self, progress: Progress) -> None:
        """Nothing."""

    def run_finished(self, record: RunRecord, path: Path) -> None:
        """Nothing."""
