"""`paretoboard run`: measure tasks; what was measured before is not measured again."""

from __future__ import annotations

import sys
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Annotated

import typer

from paretoboard.cli import options

if TYPE_CHECKING:
    from pathlib import Path

    from paretoboard.plan import RunSpec
    from paretoboard.records import RunRecord
    from paretoboard_runners.local import Progress
    from paretoboard_runners.session import Observer, Summary

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
def run(
    tasks: options.Tasks,
    profile: options.Profiles = None,
    only: options.Only = None,
    seeds: options.Seeds = None,
    results: options.Results = None,
    data_root: options.DataRoot = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="Measure everything again.")] = False,
    retry: Annotated[
        bool, typer.Option("--retry", help="Measure again what failed, timed out or was skipped.")
    ] = False,
    budget: Annotated[
        str | None, typer.Option("--budget", metavar="TIME", help="Begin no run after this time: 90s, 15m, 2h.")
    ] = None,
) -> None:
    """Measure tasks; what was measured before is not measured again.

    Exit code 1 when a run of the plan failed. Interrupted at any moment, at most the run in hand is lost, and the
    same command goes on.
    """
    budget_s = None if budget is None else options.seconds(budget)
    runs = options.chosen_runs(tasks, profile=profile, only=only, seeds=seeds)
    summary = _measure(
        runs, options.results_folder(results), options.data_root_folder(data_root), fresh, retry, budget_s
    )
    _say(_sentence(summary))
    raise typer.Exit(1 if summary.not_ok else 0)


def _measure(
    runs: list[RunSpec], results: Path, data_root: Path, fresh: bool, retry: bool, budget_s: float | None
) -> Summary:
    from paretoboard.store import calibrations
    from paretoboard_runners import machine, session

    prints = machine.fingerprints()
    todo, done = session.pending(runs, results, prints, fresh=fresh, retry=retry)
    if not todo:
        # Answered without the measuring side: nothing that it imports is needed to say that there is nothing to do.
        return session.Summary(
            measured=0, known=len(done), not_ok=session.count_not_ok(runs, results, prints), stopped_early=False
        )
    from paretoboard_runners.local import LocalRunner

    def noise_floor(profile: str) -> float:
        found = calibrations.latest(results, hardware_id=prints.hardware_id, profile=profile)
        return found.noise_floor if found else 0.0

    artifacts = results / "artifacts"
    try:
        with (
            LocalRunner(data_root=data_root, artifacts=artifacts, noise_floor=noise_floor) as runner,
            _observer() as observer,
        ):
            return session.carry_out(
                runs,
                runner=runner,
                results=results,
                prints=prints,
                observer=observer,
                fresh=fresh,
                retry=retry,
                budget_s=budget_s,
            )
    except KeyboardInterrupt:
        _say("Interrupted. Every finished run is stored; the same command goes on from here.")
        raise typer.Exit(130) from None


def _sentence(summary: Summary) -> str:
    parts = [f"{summary.measured} measured", f"{summary.known} known before"]
    if summary.not_ok:
        parts.append(f"{summary.not_ok} not ok (--retry measures those again)")
    if summary.stopped_early:
        parts.append("the time budget ended before the plan; the same command goes on")
    return ", ".join(parts) + "."


def _say(text: str) -> None:
    print(text, file=sys.stderr)


def _observer() -> AbstractContextManager[Observer]:
    from rich.console import Console

    console = Console(stderr=True)
    return _Bars(console) if console.is_terminal and not console.no_color else _Lines()


def _name(run: RunSpec) -> str:
    return f"{run.task} / {run.recipe.name} ({run.profile.name}, seed {run.seed})"


def _result(record: RunRecord) -> str:
    """One line on a finished run."""
    if record.status != "ok":
        return f"{record.status}: {record.reason}"
    parts = []
    quality = record.metric("top1")
    if quality is not None:
        parts.append(f"top-1 {quality.value:.2%}")
    for comparison in record.comparisons:
        latency = record.metric("latency", f"batch={comparison.batch}")
        if latency is not None:
            speed = f"{1 / comparison.ratio:.2f}x [{1 / comparison.high:.2f}, {1 / comparison.low:.2f}]"
            parts.append(f"batch {comparison.batch}: {latency.value * 1e3:.3g} ms, {speed} {comparison.verdict}")
    return "; ".join(parts)


class _Lines(AbstractContextManager["_Lines"]):
    """One line when a run begins and one when it ends, for logs."""

    def __init__(self) -> None:
        self._label = ""

    def __exit__(self, *_: object) -> None:
        return

    def run_started(self, run: RunSpec, number: int, total: int) -> None:
        self._label = f"[{number}/{total}] {_name(run)}"
        _say(f"{self._label} ...")

    def run_progressed(self, progress: Progress) -> None:  # noqa: ARG002 - a log is told of whole runs only
        return

    def run_finished(self, record: RunRecord, path: Path) -> None:  # noqa: ARG002
        _say(f"{self._label}: {_result(record)} ({record.duration_s:.1f} s)")


class _Bars(AbstractContextManager["_Bars"]):
    """Two nested bars: the plan with its remaining time, and the stage of the run in hand."""

    def __init__(self, console: object) -> None:
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

        # Twice a second: drawing costs time on the core beside the measured one.
        self._bars = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            TextColumn("{task.percentage:>3.0f}%"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=console,  # type: ignore[arg-type]
            refresh_per_second=2,
            transient=True,
        )
        self._console = self._bars.console
        self._plan = self._bars.add_task("plan", total=None)
        self._stage = self._bars.add_task("", total=1.0)
        self._number = 0
        self._name = ""

    def __enter__(self) -> _Bars:
        self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bars.stop()

    def run_started(self, run: RunSpec, number: int, total: int) -> None:
        self._number, self._name = number, _name(run)
        self._bars.update(self._plan, description=f"run {number} of {total}", completed=number - 1, total=total)
        self._bars.reset(self._stage, description=self._name, total=1.0)

    def run_progressed(self, progress: Progress) -> None:
        text = f"  {progress.stage}: {progress.text}"
        self._bars.update(self._stage, description=f"{self._name}{text}"[:90], completed=progress.done)

    def run_finished(self, record: RunRecord, path: Path) -> None:  # noqa: ARG002
        from rich.markup import escape

        mark = "[green]ok[/]" if record.status == "ok" else "[red]--[/]"
        self._console.print(
            f"{mark} {escape(self._name)}  {escape(_result(record))}  [dim]{record.duration_s:.1f} s[/]"
        )
        self._bars.update(self._plan, completed=self._number)
