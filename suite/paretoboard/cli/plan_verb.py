"""`paretoboard plan`: what run would do."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import typer

from paretoboard.cli import options

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from paretoboard.plan import RunSpec
    from paretoboard.records import Status

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
def plan(
    tasks: options.Tasks,
    profile: options.Profiles = None,
    only: options.Only = None,
    seeds: options.Seeds = None,
    results: options.Results = None,
    as_json: options.AsJson = False,
) -> None:
    """What run would do: cells, cached or new, estimated time."""
    runs = options.chosen_runs(tasks, profile=profile, only=only, seeds=seeds)
    statuses = _stored(runs, options.results_folder(results))
    new = [run for run in runs if run.run_id not in statuses]
    print(_as_json(runs, statuses, new) if as_json else _as_text(runs, statuses, new))


def _stored(runs: Sequence[RunSpec], results: Path) -> Mapping[str, Status]:
    """By run id, how each run ended that was made on this machine with this software."""
    from paretoboard import store

    known = store.known(results, tasks={run.task for run in runs})
    if not known:
        return {}
    from paretoboard_runners import machine

    here = machine.fingerprints()
    keys = {run.run_id: store.key_of(run.run_id, here.hardware_id, here.environment_id) for run in runs}
    return {run_id: known[key].status for run_id, key in keys.items() if key in known}


def _timing_s(runs: Sequence[RunSpec]) -> float:
    """Seconds of timing that the tasks' budgets give to `runs`."""
    from paretoboard_runners.budgets import BUDGETS

    launches = ((BUDGETS[run.measure.budget], len(run.measure.batches)) for run in runs)
    return sum(launch.count * launch.seconds * batches for launch, batches in launches)


def _state(run: RunSpec, statuses: Mapping[str, Status]) -> str:
    status = statuses.get(run.run_id)
    if status is None:
        return "new"
    return "cached" if status == "ok" else f"cached, {status}"


def _as_text(runs: Sequence[RunSpec], statuses: Mapping[str, Status], new: Sequence[RunSpec]) -> str:
    rows = [("TASK", "PROFILE", "SEED", "RECIPE", "STATE")]
    rows += [(run.task, run.profile.name, str(run.seed), run.recipe.name, _state(run, statuses)) for run in runs]
    count = f"{len(runs)} runs: {len(new)} new, {len(runs) - len(new)} cached."
    if new:
        count += (
            f"\nEstimated time: {duration(_timing_s(new))} of timing, by the tasks' budgets;"
            " building, scoring and second looks come on top."
        )
    if len(new) < len(runs) and set(statuses.values()) - {"ok"}:
        count += "\nRuns that did not end well stay as they are; run --retry measures them again."
    return f"{options.table(rows)}\n\n{count}"


def _as_json(runs: Sequence[RunSpec], statuses: Mapping[str, Status], new: Sequence[RunSpec]) -> str:
    cells: list[dict[str, Any]] = [
        {
            "task": run.task,
            "profile": run.profile.name,
            "seed": run.seed,
            "recipe": run.recipe.name,
            "run_id": run.run_id,
            "board_id": run.board_id,
            "status": statuses.get(run.run_id),
        }
        for run in runs
    ]
    summary = {"new": len(new), "cached": len(runs) - len(new), "estimated_timing_s": _timing_s(new)}
    return json.dumps({**summary, "runs": cells}, indent=2)


def duration(seconds: float) -> str:
    """`about 40 s`, `about 12 min` or `about 2.5 h`."""
    if seconds < 100:
        return f"about {seconds:.0f} s"
    if seconds < 100 * 60:
        return f"about {seconds / 60:.0f} min"
    return f"about {seconds / 3600:.1f} h"
