"""`paretoboard run`: measure tasks; what was measured before is not measured again."""

from __future__ import annotations

import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from paretoboard.cli import options
from paretoboard.cli.progress import observer, say

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from paretoboard.plan import RunSpec
    from paretoboard_runners.local import LocalRunner
    from paretoboard_runners.machine import Fingerprints
    from paretoboard_runners.session import Summary

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
    verify: Annotated[
        bool, typer.Option("--verify", help="Repeat a sample of stored runs from nothing and say whether they hold.")
    ] = False,
    sample: Annotated[int, typer.Option(min=1, help="How many runs --verify repeats.")] = 3,
) -> None:
    """Measure tasks; what was measured before is not measured again.

    Exit code 1 when a run of the plan failed, or with --verify when one does not hold. Interrupted at any moment, at
    most the run in hand is lost, and the same command goes on.
    """
    budget_s = None if budget is None else options.seconds(budget)
    kept, data = options.results_folder(results), options.data_root_folder(data_root)
    runs = options.runs_at_hand(options.chosen_runs(tasks, profile=profile, only=only, seeds=seeds), data)
    options.find_modules(runs)
    for line in _without_weights(runs, data):
        say(line)
    if verify:
        raise typer.Exit(_verify(runs, kept, data, sample))
    summary = _measure(runs, kept, data, fresh=fresh, retry=retry, budget_s=budget_s)
    say(_sentence(summary))
    raise typer.Exit(1 if summary.not_ok else 0)


def _without_weights(runs: Sequence[RunSpec], data_root: Path) -> list[str]:
    """What is told before anything is measured that will have no quality."""
    missing = {(run.task, run.model.weights.name) for run in runs if run.model.weights and run.model.weights.missing}
    return [
        f"{task}: weights '{name}' are not in {data_root / 'weights'}: costs will be measured with initial weights, "
        "and quality will not be."
        for task, name in sorted(missing)
    ]


def _measure(
    runs: Sequence[RunSpec], results: Path, data_root: Path, *, fresh: bool, retry: bool, budget_s: float | None
) -> Summary:
    from paretoboard_runners import machine, session

    prints = machine.fingerprints()
    todo, done = session.pending(runs, results, prints, fresh=fresh, retry=retry)
    if not todo:
        # Answered without the measuring side: nothing that it imports is needed to say that there is nothing to do.
        return session.Summary(
            measured=0, known=len(done), not_ok=session.count_not_ok(runs, results, prints), stopped_early=False
        )
    with _runner(results, data_root, results / "artifacts", prints) as runner, observer() as told:
        return session.carry_out(
            runs,
            runner=runner,
            results=results,
            prints=prints,
            observer=told,
            fresh=fresh,
            retry=retry,
            budget_s=budget_s,
        )


def _verify(runs: Sequence[RunSpec], results: Path, data_root: Path, sample: int) -> int:
    """Repeat stored runs in a folder of artifacts that is empty; 1 when one does not hold."""
    from paretoboard_runners import machine, session, verify

    prints = machine.fingerprints()
    stored = session.sample_stored(runs, results, prints, count=sample)
    if not stored:
        say("Nothing to verify: no run of this plan is stored with this hardware and this software.")
        return 2
    all_hold = True
    with (
        session.locked(results),
        tempfile.TemporaryDirectory(prefix=".verify-", dir=results) as scratch,
        _runner(results, data_root, Path(scratch), prints) as runner,
        observer() as told,
    ):
        for number, (spec, record) in enumerate(stored, 1):
            told.run_started(spec, number, len(stored))
            repeated = runner.measure(spec, told.run_progressed)
            for finding in verify.compare_with_stored(record, repeated):
                all_hold &= finding.holds
                mark = "holds" if finding.holds else "DOES NOT HOLD"
                name = f"{spec.task} / {spec.recipe.name}"
                print(
                    f"{name}: {finding.what}: {mark}: {finding.stored} stored, {finding.repeated} repeated", flush=True
                )
    return 0 if all_hold else 1


@contextmanager
def _runner(results: Path, data_root: Path, artifacts: Path, prints: Fingerprints) -> Iterator[LocalRunner]:
    """This machine's runner; an interruption ends it with a word on how to go on."""
    from paretoboard_runners.judging import local_runner

    try:
        with local_runner(results, data_root, prints, artifacts=artifacts) as runner:
            yield runner
    except KeyboardInterrupt:
        say("Interrupted. Every finished run is stored; the same command goes on from here.")
        raise typer.Exit(130) from None


def _sentence(summary: Summary) -> str:
    parts = [f"{summary.measured} measured", f"{summary.known} known before"]
    if summary.not_ok:
        parts.append(f"{summary.not_ok} not ok (--retry measures those again)")
    if summary.stopped_early:
        parts.append("the time budget ended before the plan; the same command goes on")
    return ", ".join(parts) + "."
