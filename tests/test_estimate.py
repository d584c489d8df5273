"""How long a plan will take: budgets, what like steps took before, and a rough figure for the rest."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import builders
from paretoboard.plan import RunSpec
from paretoboard.spec import Budget, MeasureSpec, ModelUse, Recipe, TechniqueUse, TrainSettings
from paretoboard_runners.budgets import BUDGETS, DURATIONS
from paretoboard_runners.estimate import EPOCH_S, REST_S, STEP_S, estimate

HERE, ELSEWHERE = "a" * 64, "b" * 64
TRAINED = ModelUse(name="cifar-resnet8", train=TrainSettings(epochs=3, lr=0.1))


def a_run(*steps: TechniqueUse, **overrides: Any) -> RunSpec:
    name = "-".join(step.name for step in steps) or "baseline"
    given = {"model": TRAINED, "recipe": Recipe(name=name, steps=steps), **overrides}
    return builders.run_spec(**given)


def use(name: str, **parameters: Any) -> TechniqueUse:
    return TechniqueUse(name=name, version=1, parameters=parameters)


def built(artifacts: Path, build_id: str, step_s: float, environment_id: str = HERE) -> None:
    """What a finished build leaves that an estimate looks at."""
    folder = artifacts / f"{build_id[:32]}-{environment_id[:8]}"
    folder.mkdir(parents=True)
    (folder / "cost.json").write_text(json.dumps({"step_s": step_s}))


def test_without_any_earlier_build_every_step_has_a_rough_figure(tmp_path: Path) -> None:
    runs = [a_run(), a_run(use("run.onnxruntime")), a_run(use("train.finetune", epochs=2), use("run.onnxruntime"))]
    found = estimate(runs, runs, tmp_path, HERE)
    # The trained model once, since all begin with it, and three steps, of which one trains.
    assert (found.builds, found.guessed) == (4, 4)
    assert found.building_s == 4 * STEP_S + (3 + 2) * EPOCH_S
    assert found.rest_s == 3 * REST_S
    assert found.total_s == found.building_s + found.timing_s + found.rest_s + found.energy_s


def test_what_is_built_already_costs_nothing_and_says_what_a_like_step_takes(tmp_path: Path) -> None:
    known, other = a_run(use("train.finetune", epochs=2)), a_run(use("train.finetune", epochs=4))
    built(tmp_path, known.build_ids[0], 50.0)
    built(tmp_path, known.build_ids[1], 21.0)
    found = estimate([known, other], [known, other], tmp_path, HERE)
    assert (found.building_s, found.builds, found.guessed) == (21.0, 1, 0)


def test_what_was_built_with_other_software_is_built_again_and_takes_as_long(tmp_path: Path) -> None:
    run = a_run()
    built(tmp_path, run.build_ids[0], 33.0, ELSEWHERE)
    found = estimate([run], [run], tmp_path, HERE)
    assert (found.building_s, found.builds, found.guessed) == (33.0, 1, 0)


def test_the_same_technique_on_another_model_is_no_like_step(tmp_path: Path) -> None:
    small, large = (
        a_run(use("run.onnxruntime"), model=ModelUse(name=name)) for name in ("cifar-resnet8", "cifar-resnet56")
    )
    for build_id in small.build_ids:
        built(tmp_path, build_id, 1.0)
    assert estimate([small, large], [large], tmp_path, HERE).guessed == 2


def test_an_unfinished_or_damaged_artifact_is_none(tmp_path: Path) -> None:
    run = a_run()
    folder = tmp_path / f"{run.build_ids[0][:32]}-{HERE[:8]}"
    folder.mkdir()
    (folder / "cost.json").write_text("{")
    assert estimate([run], [run], tmp_path, HERE).builds == 1


def test_a_teacher_is_built_where_a_step_needs_one_and_once(tmp_path: Path) -> None:
    teacher = ModelUse(name="cifar-resnet20", train=TrainSettings(epochs=7, lr=0.1))
    runs = [
        a_run(use(name, epochs=1), teacher=teacher)
        for name in ("train.finetune", "distill.logits", "distill.decoupled")
    ]
    without, one, two = (estimate(runs, runs[:count], tmp_path, HERE).building_s for count in (1, 2, 3))
    assert one - without == (STEP_S + EPOCH_S) + (STEP_S + 7 * EPOCH_S)
    assert two - one == STEP_S + EPOCH_S


def test_what_is_trained_as_the_task_takes_as_many_epochs_or_seconds(tmp_path: Path) -> None:
    def building_s(train: TrainSettings, **parameters: object) -> float:
        run = a_run(use("train.scratch", **parameters), model=ModelUse(name="cifar-resnet8", train=train))
        return estimate([run], [run], tmp_path, HERE).building_s

    epochs = TrainSettings(epochs=3, lr=0.1)
    timed = TrainSettings(epochs=300, lr=0.1, seconds=60.0)
    assert building_s(epochs, epochs=None, seconds=None) == 2 * (STEP_S + 3 * EPOCH_S)
    assert building_s(epochs, epochs=1, seconds=None) == 2 * STEP_S + 4 * EPOCH_S
    assert building_s(timed, epochs=None, seconds=None) == 2 * (STEP_S + 60.0)
    assert building_s(epochs, epochs=None, seconds=20.0) == 2 * STEP_S + 3 * EPOCH_S + 20.0
    ranks = a_run(use("parallel.data"), model=ModelUse(name="cifar-resnet8", train=epochs))
    assert estimate([ranks], [ranks], tmp_path, HERE).building_s == 2 * (STEP_S + 3 * EPOCH_S)


@pytest.mark.parametrize("budget", DURATIONS)
def test_scenarios_and_timing_follow_the_budget(tmp_path: Path, budget: Budget) -> None:
    measure = MeasureSpec(batches=(1, 8), budget=budget, scenarios=("single-stream", "server"), server_latency_s=0.01)
    run = a_run(measure=measure)
    plain = a_run(measure=dataclasses.replace(measure, scenarios=(), server_latency_s=None))
    found = estimate([run], [run], tmp_path, HERE)
    assert found.timing_s == 2 * BUDGETS[budget].count * BUDGETS[budget].seconds
    # One test of SingleStream, and more than two of Server, since it searches.
    assert found.scenarios_s > 3 * DURATIONS[budget].least_s
    assert estimate([plain], [plain], tmp_path, HERE).scenarios_s == 0


def test_a_reference_is_built_once_and_timed_at_the_smallest_batch(tmp_path: Path) -> None:
    run = a_run(use("quantize.static"), use("run.onnxruntime"), measure=MeasureSpec(batches=(1, 8), budget="quick"))
    alone = Recipe(name="fp32", steps=(use("run.onnxruntime"),))
    beside = dataclasses.replace(run, recipe=dataclasses.replace(run.recipe, references=(alone,)))
    without, found = (estimate([each], [each], tmp_path, HERE) for each in (run, beside))
    assert found.builds == without.builds + 1
    assert found.timing_s == without.timing_s * 3 / 2
    own = dataclasses.replace(run, recipe=alone)
    assert estimate([own, beside], [own, beside], tmp_path, HERE).builds == found.builds


def test_plan_tells_the_parts_and_what_they_rest_on(tiny_task: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "paretoboard", "plan", str(tiny_task), "--results", str(tmp_path)]
    text = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout
    assert "Estimated time: about " in text
    assert "building 3 steps, 3 of them by a rough figure; 8 s timing; 18 s scoring and the rest" in text
    told = json.loads(
        subprocess.run([*command, "--json"], capture_output=True, text=True, timeout=60, check=True).stdout
    )
    assert told["estimate"]["building_s"] == 3 * STEP_S + 2 * EPOCH_S
