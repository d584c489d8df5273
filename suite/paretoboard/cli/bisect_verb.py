"""`paretoboard bisect`: the first commit that made something slower, decided by paired measurements."""

from __future__ import annotations

import dataclasses
import json
import math
import os
import re
import shlex
import signal
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

import typer

from paretoboard.cli import options
from paretoboard.cli.progress import span
from paretoboard.errors import InputError, UnknownNameError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from paretoboard.regressions import Series  # noqa: TC004 - nothing resolves these annotations
    from paretoboard_runners.bisecting import Apart, Outcome, Pace, Side, Step
    from paretoboard_runners.commands import Done
    from paretoboard_runners.revisions import Commit, Repository

app = typer.Typer(add_completion=False, rich_markup_mode=None)

Value = Literal["cpu", "wall", "stdout", "record"]
_NOTHING_STORED: Final = "-"
_REVISION: Final = "PARETOBOARD_BISECT_REV"
_SIDE: Final = "PARETOBOARD_BISECT_SIDE"
_NUMBER: Final = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Wanted:
    """What is searched for."""

    series: Series | None
    command: tuple[str, ...]
    value: Value
    setup: tuple[str, ...]
    timeout_s: float


@app.command()
def bisect(
    run: Annotated[
        str,
        typer.Argument(
            metavar="RUN", help="The series, as `regressions` names it, or the beginning of a run's id; - without one."
        ),
    ],
    good: Annotated[str, typer.Option("--good", metavar="REV", help="A revision from before the change.")],
    bad: Annotated[str, typer.Option("--bad", metavar="REV", help="A later one, that has it.")],
    command: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="-- COMMAND...",
            help="What is run in a checkout of each revision, without a shell. [default: paretoboard run, of RUN]",
            show_default=False,
        ),
    ] = None,
    value: Annotated[
        Value | None,
        typer.Option(
            "--value",
            help="What is compared: the processor or wall time of COMMAND, the last number that it prints, or that of "
            "RUN in the record that it stores in results. [default: cpu, or record without COMMAND]",
            show_default=False,
        ),
    ] = None,
    setup: Annotated[
        str, typer.Option("--setup", metavar="COMMAND", help="Run once in each new checkout, before it is measured.")
    ] = "",
    pairs: Annotated[
        int,
        typer.Option(
            min=4, max=1000, help="Pairs of launches for each commit; doubled up to three times while it stays open."
        ),
    ] = 8,
    timeout: Annotated[
        str, typer.Option("--timeout", metavar="TIME", help="Of a single launch: '90s', '10m'.")
    ] = "10m",
    first_parent: Annotated[
        bool, typer.Option("--first-parent", help="Follow only the main line: a merge is one step.")
    ] = False,
    repo: Annotated[
        Path | None, typer.Option("--repo", metavar="FOLDER", help="The git repository. [default: here]")
    ] = None,
    results: options.Results = None,
    as_json: options.AsJson = False,
) -> None:
    """The first commit that changed a speed, each step decided by paired measurements.

    A fresh checkout of the good revision and one of the candidate are run in turns; your own files are never touched.
    What can't be built or stays open is skipped. Exit code 1 where good and bad can't be told apart, or what was
    skipped hides which commit it was.
    """
    from paretoboard_runners.bisecting import NotApartError, Pace, Search
    from paretoboard_runners.revisions import opened

    folder = options.results_folder(results)
    series = _series(folder, run)
    wanted = _wanted(series, command, value, setup, timeout)
    least, floor = _thresholds(folder, series)
    with _ended_by_signals(), opened(repo or Path.cwd()) as repository:
        first, last = _ends(repository, good, bad)
        say = _teller(sys.stderr if as_json else sys.stdout)
        say(f"good {_line(first)}\nbad  {_line(last)}")
        count = repository.between(first, last, first_parent=first_parent)
        say(f"{count} commit{'s' if count != 1 else ''} could be it")
        pairs += pairs % 2

        def watch(seen: Pace | Apart | Step) -> None:
            say(_paced(seen.launch_s, pairs, count) if isinstance(seen, Pace) else _told(seen))

        search = Search(
            repository=repository,
            prepare=_prepare(wanted),
            measure=_measure(wanted),
            least=least,
            floor=floor,
            pairs=pairs,
        )
        try:
            found = search.find(first, last, first_parent=first_parent, watch=watch)
        except NotApartError as error:
            if as_json:
                print(json.dumps({"apart": dataclasses.asdict(error.apart), "first_bad": [], "steps": []}, indent=1))
            print(error, file=sys.stderr)
            raise typer.Exit(1) from None
    print(json.dumps(dataclasses.asdict(found), indent=1) if as_json else _result(found))
    if len(found.first_bad) != 1:
        raise typer.Exit(1)


def _ends(repository: Repository, good: str, bad: str) -> tuple[Commit, Commit]:
    first, last = repository.resolve(good), repository.resolve(bad)
    if not repository.leads_to(first, last):
        raise InputError(
            f"found --good {first.id[:10]} and --bad {last.id[:10]}; a good revision that the bad one descends from "
            "would be right"
        )
    return first, last


def _series(results: Path, name: str) -> Series | None:
    """The series that RUN names.

    Raises: InputError where there is none, or more than one.
    """
    if name == _NOTHING_STORED:
        return None
    from paretoboard.regressions import of_folder

    every = of_folder(results).series
    named = [series for series in every if series.key.name == name]
    if not named and re.fullmatch(r"[0-9a-f]{4,64}", name):
        speeds = [series for series in every if series.key.what == "speed"]
        named = [each for each in speeds if any(night.run_id.startswith(name) for night in each.nights)]
        if len({each.key.name for each in named}) > 1:
            found = ", ".join(sorted(each.key.name for each in named))
            raise InputError(f"{results}: run '{name}' is one of {found}; more digits would be right")
    if not named:
        raise UnknownNameError(f"series or run of {results}", name, {series.key.name for series in every})
    return max(named, key=lambda series: series.nights[-1].day)


def _wanted(
    series: Series | None, command: Sequence[str] | None, value: Value | None, setup: str, timeout: str
) -> _Wanted:
    if not command and series is None:
        raise InputError("found RUN '-' and no COMMAND; a command after -- that does the work would be right")
    chosen: Value = value or ("cpu" if command else "record")
    if chosen == "record" and series is None:
        raise InputError("found --value record and RUN '-'; the series whose record is to be read would be right")
    return _Wanted(
        series=series,
        command=tuple(command or _own_command(series)),
        value=chosen,
        setup=_words(setup),
        timeout_s=options.seconds(timeout),
    )


def _words(text: str) -> tuple[str, ...]:
    try:
        return tuple(shlex.split(text))
    except ValueError as error:
        raise InputError(f"--setup: found {text!r}: {error}; words as in a shell would be right") from error


def _own_command(series: Series | None) -> list[str]:
    """What measures a series with the code of a checkout."""
    if series is None:
        return []
    key = series.key
    run = [sys.executable, "-m", "paretoboard", "run", key.task, "--only", key.recipe, "--profile", key.profile]
    return [*run, "--fresh"]


def _thresholds(results: Path, series: Series | None) -> tuple[float, float]:
    """By what share good and bad have to differ, and the noise floor of the machine."""
    from paretoboard.regressions import floors_of
    from paretoboard.regressions.shifts import LEAST_STEP
    from paretoboard.store.calibrations import all_latest

    key = series.key if series is not None else None
    floors = floors_of(all_latest(results))
    floor = floors.get((key.hardware_id, key.profile), 0.0) if key is not None and key.what == "speed" else 0.0
    return max(LEAST_STEP, floor), floor


def _prepare(wanted: _Wanted) -> Callable[[Path, Commit], None]:
    from paretoboard_runners.commands import run

    def prepare(folder: Path, commit: Commit) -> None:
        if wanted.setup:
            run(wanted.setup, folder=folder, environment={_REVISION: commit.id}, timeout_s=wanted.timeout_s)

    return prepare


def _measure(wanted: _Wanted) -> Callable[[Path, Commit, Side], float]:
    from paretoboard_runners.commands import CommandFailedError, run

    def measure(folder: Path, commit: Commit, side: Side) -> float:
        environment = {_REVISION: commit.id, _SIDE: side, **_own_code(wanted, folder)}
        done = run(wanted.command, folder=folder, environment=environment, timeout_s=wanted.timeout_s)
        found = _value(wanted, done, folder)
        if not 0 < found < float("inf"):
            raise CommandFailedError(f"its value is {found:g}; a number above zero would be right")
        return found

    return measure


def _own_code(wanted: _Wanted, folder: Path) -> dict[str, str]:
    """Lets this project's own commands run the code of a checkout of this project."""
    if wanted.value != "record" or not (folder / "suite" / "paretoboard").is_dir():
        return {}
    paths = [str(folder / name) for name in ("suite", "runners", "reports")]
    return {"PYTHONPATH": os.pathsep.join(paths)}


def _value(wanted: _Wanted, done: Done, folder: Path) -> float:
    from paretoboard_runners.commands import CommandFailedError

    if wanted.value == "cpu":
        return done.cpu_s
    if wanted.value == "wall":
        return done.wall_s
    if wanted.value == "record":
        return _recorded(wanted.series, folder / "results")
    numbers = _NUMBER.findall(done.stdout)
    if not numbers:
        raise CommandFailedError(f"it printed no number, but {done.stdout[-200:]!r}")
    return float(numbers[-1])


def _recorded(series: Series | None, results: Path) -> float:
    """The newest value of a series in a folder of results."""
    from paretoboard import store
    from paretoboard_runners.commands import CommandFailedError

    history = store.history(results)
    if series is not None and not history.empty:
        key = series.key
        column = "quality" if key.what == "quality" else series.metric
        same = (history["task"] == key.task) & (history["recipe"] == key.recipe) & (history["profile"] == key.profile)
        known = history[same & (history["status"] == "ok")][column].dropna()
        if len(known):
            return float(known.iloc[-1])
    raise CommandFailedError(f"{results}: no record of {series.key.name if series is not None else 'it'} was stored")


@contextmanager
def _ended_by_signals() -> Iterator[None]:
    """Let SIGTERM and SIGHUP end this process as Ctrl-C does: with what was checked out removed."""

    def end(number: int, _frame: object) -> None:
        raise SystemExit(128 + number)

    before = {number: signal.signal(number, end) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _teller(stream: Any) -> Callable[[str], None]:
    return lambda text: print(text, file=stream, flush=True)


def _line(commit: Commit) -> str:
    return f"{commit.id[:10]}  {commit.subject}"


def _paced(launch_s: float, pairs: int, count: int) -> str:
    """How long it will take, where no commit stays open."""
    compared = 1 + math.ceil(math.log2(count))
    return (
        f"a launch takes about {span(launch_s)}: {pairs} pairs of each of about {compared} "
        f"revision{'s' if compared != 1 else ''} take about {span(2 * pairs * compared * launch_s)}, and longer where "
        "one stays open"
    )


def _told(seen: Apart | Step) -> str:
    from paretoboard_runners.bisecting import Apart, in_words

    if isinstance(seen, Apart):
        return f"bad beside good: {in_words(seen)}"
    found = in_words(seen.apart) if seen.apart is not None else ""
    lines = [f"{seen.mark:<4} {_line(seen.commit)}"]
    lines += [f"     {text}" for text in (found, *seen.reason.splitlines()) if text]
    return "\n".join(lines)


def _result(found: Outcome) -> str:
    beyond = f"{100 * abs(found.beyond):.1f} % {'more' if found.beyond > 0 else 'less'} than the good revision"
    if len(found.first_bad) == 1:
        commit = found.first_bad[0]
        return (
            f"\nfirst bad commit, the first with {beyond}:\n"
            f"{commit.id}\n    {commit.author}, {commit.date}\n    {commit.subject}"
        )
    listed = "\n".join(f"    {_line(commit)}" for commit in found.first_bad)
    return f"\nthe first bad commit ({beyond}) is one of these; what was skipped hides which:\n{listed}"
