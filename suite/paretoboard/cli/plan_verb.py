"""`paretoboard plan`: what run would do."""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from paretoboard.cli import options, resolving
from paretoboard.cli.progress import span
from paretoboard.spec import BASELINE

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from paretoboard.plan import RunSpec
    from paretoboard.records import Status
    from paretoboard_runners.estimate import Estimate

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
def plan(
    tasks: options.Tasks,
    profile: options.Profiles = None,
    only: options.Only = None,
    seeds: options.Seeds = None,
    results: options.Results = None,
    data_root: options.DataRoot = None,
    as_json: options.AsJson = False,
    resolve: Annotated[
        float | None,
        typer.Option(
            "--resolve",
            metavar="POINTS",
            min=0.01,
            max=100,
            help="Also say how many images a difference of so many takes.",
        ),
    ] = None,
) -> None:
    """What run would do: cells, cached or new, estimated time."""
    data = options.data_root_folder(data_root)
    runs = options.runs_at_hand(options.chosen_runs(tasks, profile=profile, only=only, seeds=seeds), data)
    folder = options.results_folder(results)
    statuses = _stored(runs, folder)
    new = [run for run in runs if run.run_id not in statuses]
    cost = _estimate(runs, new, folder)
    shares = [run.task for run in runs if run.detection is None]
    wished = resolving.needs(shares, resolve, folder) if resolve is not None else ()
    if as_json:
        print(_as_json(runs, statuses, cost, wished))
    else:
        boxes = [run.task for run in runs if run.detection is not None and resolve is not None]
        told = resolving.in_words(wished, boxes)
        print(_as_text(runs, statuses, cost) + (f"\n\n{told}" if told else ""))


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


def _estimate(runs: Sequence[RunSpec], new: Sequence[RunSpec], results: Path) -> Estimate:
    from paretoboard_runners import machine
    from paretoboard_runners.estimate import estimate

    return estimate(runs, new, results / "artifacts", machine.fingerprints().environment_id)


def _state(run: RunSpec, statuses: Mapping[str, Status]) -> str:
    status = statuses.get(run.run_id)
    if status is None:
        return "new"
    return "cached" if status == "ok" else f"cached, {status}"


def _as_text(runs: Sequence[RunSpec], statuses: Mapping[str, Status], cost: Estimate) -> str:
    rows = [("TASK", "PROFILE", "SEED", "RECIPE", "STATE", "TIMED AGAINST")]
    rows += [
        (run.task, run.profile.name, str(run.seed), run.recipe.name, _state(run, statuses), ", ".join(_against(run)))
        for run in runs
    ]
    cached = sum(run.run_id in statuses for run in runs)
    count = f"{len(runs)} runs: {len(runs) - cached} new, {cached} cached."
    if cached < len(runs):
        count += f"\n{_time(cost)}"
    if cached and set(statuses.values()) - {"ok"}:
        count += "\nRuns that did not end well stay as they are; run --retry measures them again."
    unscored = {f"\n{run.task}: quality won't be measured: {run.model.unscored}." for run in runs if run.model.unscored}
    count += "".join(sorted(unscored))
    count += "".join(f"\nLeft out: {name}: {reason}." for name, reason in _impossible(runs).items())
    return f"{options.table(rows)}\n\n{count}"


def _against(run: RunSpec) -> list[str]:
    return [BASELINE, *(reference.name for reference in run.recipe.references)]


def _impossible(runs: Sequence[RunSpec]) -> Mapping[str, str]:
    """Variants of ablated recipes that can't be made, with the reason."""
    ablations = (run.recipe.ablation for run in runs)
    return {found.name: found.reason for ablation in ablations if ablation for found in ablation.impossible}


def _time(cost: Estimate) -> str:
    """The estimate in words, with what it rests on."""
    guessed = f", {cost.guessed} of them by a rough figure" if cost.guessed else ""
    parts = {
        f"building {cost.builds} steps{guessed}": cost.building_s,
        "timing": cost.timing_s,
        "scenarios": cost.scenarios_s,
        "energy": cost.energy_s,
        "scoring and the rest": cost.rest_s,
    }
    told = "; ".join(f"{span(seconds)} {name}" for name, seconds in parts.items() if seconds)
    return f"Estimated time: about {span(cost.total_s)} ({told}). Second looks at what stays undecided come on top."


def _as_json(
    runs: Sequence[RunSpec], statuses: Mapping[str, Status], cost: Estimate, wished: Sequence[resolving.Need]
) -> str:
    cells: list[dict[str, Any]] = [
        {
            "task": run.task,
            "profile": run.profile.name,
            "seed": run.seed,
            "recipe": run.recipe.name,
            "against": _against(run),
            "run_id": run.run_id,
            "board_id": run.board_id,
            "status": statuses.get(run.run_id),
        }
        for run in runs
    ]
    cached = sum(run.run_id in statuses for run in runs)
    estimate = {"total_s": cost.total_s, **dataclasses.asdict(cost)}
    counts = {"new": len(runs) - cached, "cached": cached}
    resolution = {"resolution": [dataclasses.asdict(need) for need in wished]} if wished else {}
    content = {**counts, "estimate": estimate, "left_out": _impossible(runs), **resolution, "runs": cells}
    return json.dumps(content, indent=2)
