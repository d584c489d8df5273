"""Whatever a recipe does, its run becomes a record that says so, and the runner goes on with the next."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import trouble

TESTS = Path(__file__).parent

# Each run in the same runner, as in a session: what one leaves behind would disturb the next.
PROGRAM = """
import dataclasses, json, os, sys
from pathlib import Path
import psutil
from paretoboard import plan, taskfile
from paretoboard.spec import Recipe, TechniqueUse
from paretoboard_runners.local import LocalRunner

task, scratch, wanted = Path(sys.argv[1]), Path(sys.argv[2]), json.loads(sys.argv[3])
baseline, *_ = plan.expand([taskfile.load(task)])

def spec(name, technique, parameters, timeout_s, memory_limit_bytes):
    step = TechniqueUse(name=technique, version=1, parameters=parameters)
    profile = dataclasses.replace(baseline.profile, memory_limit_bytes=memory_limit_bytes)
    measure = dataclasses.replace(baseline.measure, timeout_s=timeout_s)
    return dataclasses.replace(baseline, recipe=Recipe(name=name, steps=(step,)), profile=profile, measure=measure)

def watch(progress):
    if moving and progress.stage == "timing":
        [worker] = [one for one in psutil.Process().children() if "paretoboard_runners.worker" in one.cmdline()]
        os.sched_setaffinity(worker.pid, everywhere)

moving, everywhere = False, os.sched_getaffinity(0)
with LocalRunner(data_root=scratch, artifacts=scratch / "artifacts", noise_floor=lambda profile: 0.04) as runner:
    for one in wanted:
        moving = one.pop("moving", False)
        record = runner.measure(spec(**one), watch)
        print(json.dumps({"name": one["name"], "status": record.status, "reason": record.reason,
            "duration_s": record.duration_s, "notes": record.notes, "log_bytes": len(record.log_tail),
            "timed": record.calls is not None,
            "tolerances": [c.tolerance for c in record.comparisons],
            "unheld": [c.name for c in record.controls if not c.held],
            "left": len(psutil.Process().children(recursive=True)) - 1}), flush=True)
"""
GIB = 2**30
LIMIT_S = 5.0


def wanted(name: str, technique: str = "trouble.make", **overrides: Any) -> dict[str, Any]:
    parameters = {"kinds": [name]} if technique == "trouble.make" else {"name": name}
    given = {"name": name, "technique": technique, "parameters": parameters, "timeout_s": 200.0}
    return {**given, "memory_limit_bytes": None, **overrides}


NUISANCES = ["unrepeatable", "fork bomb", "flood", "change affinity", "close pipes"]
# The first builds the model that all begin with, so that none of those with a short time limit has to. The last but one
# moves the worker; the last has a profile, and so a worker, of its own.
WANTED = [
    wanted("nuisances", parameters={"kinds": NUISANCES}),
    wanted("segmentation fault"),
    wanted("abort"),
    wanted("native loop", timeout_s=LIMIT_S),
    wanted("stop", timeout_s=LIMIT_S),
    wanted("trouble.careless", "trouble.run"),
    wanted("trouble.caching", "trouble.run"),
    wanted("wandering", parameters={"kinds": []}, moving=True),
    wanted("out of memory", memory_limit_bytes=6 * GIB),
]
Told = dict[str, dict[str, Any]]


@pytest.fixture(scope="module")
def records(tiny_task: Path, tmp_path_factory: pytest.TempPathFactory) -> Told:
    """What the records say, by recipe."""
    scratch = tmp_path_factory.mktemp("trouble")
    trouble.install(scratch / "site")
    path = os.pathsep.join([str(scratch / "site"), str(TESTS), *sys.path])
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(tiny_task), str(scratch), json.dumps(WANTED)],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=500,
    )
    assert done.returncode == 0, done.stderr
    return {told["name"]: told for told in map(json.loads, done.stdout.splitlines())}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "status", "reason"),
    [
        ("segmentation fault", "failed", "killed by SIGSEGV"),
        ("abort", "failed", "killed by SIGABRT"),
        ("native loop", "timeout", "ran into its time limit"),
        ("stop", "timeout", "ran into its time limit"),
        ("out of memory", "failed", "out of memory"),
    ],
)
def test_a_recipe_that_ends_its_process_is_a_record_within_its_time_limit(
    records: Told, name: str, status: str, reason: str
) -> None:
    told = records[name]
    assert told["status"] == status
    assert reason in told["reason"]
    assert told["left"] == 0
    if status == "timeout":
        assert told["duration_s"] < LIMIT_S + 30


@pytest.mark.slow
def test_a_recipe_that_forks_floods_moves_and_closes_its_pipes_is_measured_all_the_same(records: Told) -> None:
    told = records["nuisances"]
    assert (told["status"], told["reason"], told["left"]) == ("ok", "", 0)
    assert told["log_bytes"] <= 64 * 1024


@pytest.mark.slow
def test_what_counts_as_a_difference_is_what_the_last_calibration_found(records: Told) -> None:
    assert records["nuisances"]["tolerances"] == [0.04]


@pytest.mark.slow
def test_an_operator_without_a_deterministic_form_is_named_in_the_record(records: Told) -> None:
    assert "trouble.make can't be repeated to the bit: put_." in records["nuisances"]["notes"]


@pytest.mark.slow
def test_a_runtime_that_answers_otherwise_where_it_is_timed_is_found(records: Told) -> None:
    told = records["trouble.careless"]
    assert told["status"] == "unstable"
    assert "kept from timed calls differ from the scored ones" in told["reason"]


@pytest.mark.slow
def test_a_runtime_that_remembers_its_answers_is_found(records: Told) -> None:
    told = records["trouble.caching"]
    assert told["status"] == "unstable"
    assert "answers are cached" in told["reason"]


@pytest.mark.slow
def test_a_required_control_that_is_lost_on_the_way_makes_the_run_unstable(records: Told) -> None:
    if len(os.sched_getaffinity(0)) < 2:
        pytest.skip("with one core a process can't leave it")
    told = records["wandering"]
    assert told["status"] == "unstable"
    assert told["reason"].startswith("not held until the end: cores (asked for ")
    assert "cores" in told["unheld"]
    assert told["timed"]
