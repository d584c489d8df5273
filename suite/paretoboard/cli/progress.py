"""How a session is told while it goes on: bars on a terminal, lines elsewhere. All of it goes to stderr."""

from __future__ import annotations

import sys
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Final

from paretoboard.spec import BASELINE

if TYPE_CHECKING:
    from pathlib import Path

    from paretoboard.plan import RunSpec
    from paretoboard.records import RunRecord
    from paretoboard_runners.runner import Progress
    from paretoboard_runners.session import Observer


# Of qualities that are called otherwise than they are named.
_LABELS: Final = {"top1": "top-1", "top5": "top-5", "f1": "F1"}


def say(text: str) -> None:
    """One line to whoever watches."""
    print(text, file=sys.stderr)


def span(seconds: float) -> str:
    """`0.3 s`, `40 s`, `12 min` or `2.5 h`."""
    if seconds < 1:
        return f"{seconds:.2g} s"
    if seconds < 100:
        return f"{seconds:.0f} s"
    if seconds < 100 * 60:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"


def observer() -> AbstractContextManager[Observer]:
    """Bars where stderr is a terminal with colours, else lines."""
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
    name = str(record.spec["quality"])
    quality = record.metric(name)
    if quality is not None:
        parts.append(f"{_LABELS.get(name, name)} {quality.value:.2%}")
    for comparison in record.against(BASELINE):
        latency = record.metric("latency", f"batch={comparison.batch}")
        if latency is not None:
            speed = f"{1 / comparison.ratio:.2f}x [{1 / comparison.high:.2f}, {1 / comparison.low:.2f}]"
            parts.append(f"batch {comparison.batch}: {latency.value * 1e3:.3g} ms, {speed} {comparison.verdict}")
    train_time = record.metric("train_time")
    if train_time is not None and not record.comparisons:
        parts.append(f"trained in {train_time.value:.3g} s")
    return "; ".join(parts)


class _Lines(AbstractContextManager["_Lines"]):
    """One line when a run begins and one when it ends, for logs."""

    def __init__(self) -> None:
        self._label = ""

    def __exit__(self, *_: object) -> None:
        return

    def run_started(self, run: RunSpec, number: int, total: int) -> None:
        self._label = f"[{number}/{total}] {_name(run)}"
        say(f"{self._label} ...")

    def run_progressed(self, progress: Progress) -> None:  # noqa: ARG002 - a log is told of whole runs only
        return

    def run_finished(self, record: RunRecord, path: Path) -> None:  # noqa: ARG002
        say(f"{self._label}: {_result(record)} ({record.duration_s:.1f} s)")


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
