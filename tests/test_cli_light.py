"""`list`, `plan` and the shared options: what they print, and that they start without the heavy libraries."""

from __future__ import annotations

import functools
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import builders
from paretoboard import store, taskfile
from paretoboard.cli import options
from paretoboard.cli.progress import span
from paretoboard.errors import InputError
from paretoboard.metrics import METRICS
from paretoboard.plan import expand
from paretoboard.registry import DATASETS, MODELS, TECHNIQUES
from paretoboard_runners import machine
from paretoboard_runners.budgets import BUDGETS

COMMAND = Path(sys.executable).with_name("paretoboard")
VALID = Path(__file__).parent / "broken_tasks" / "valid.toml"
KINDS = ("tasks", "recipes", "techniques", "models", "datasets", "metrics", "profiles", "runners")
HEAVY = ("torch", "numpy", "pandas", "pyarrow", "sklearn", "scipy", "onnx", "onnxruntime")


def paretoboard(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([COMMAND, *map(str, arguments)], capture_output=True, text=True, timeout=60)


def printed(*arguments: object) -> Any:
    """What the command prints with --json."""
    done = paretoboard(*arguments, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@functools.cache
def rows_of(kind: str) -> list[dict[str, Any]]:
    """What `list` prints of one kind; nothing changes it between two tests."""
    found: list[dict[str, Any]] = printed("list", kind)
    return found


# Light


@functools.cache
def watched(*arguments: str) -> subprocess.CompletedProcess[str]:
    """The command, that says in the last line of stderr which heavy libraries it has imported."""
    script = f"""
import atexit, sys
sys.argv = ["paretoboard", *{arguments!r}]
atexit.register(lambda: print("IMPORTED", *(name for name in {HEAVY!r} if name in sys.modules), file=sys.stderr))
from paretoboard.cli import main
main()
"""
    return subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize(
    "arguments",
    [["--help"], ["plan", "--help"], ["plan", "quick"], ["plan", "cifar10"], *(["list", kind] for kind in KINDS)],
)
def test_help_list_and_plan_import_no_heavy_library(arguments: list[str]) -> None:
    done = watched(*arguments)
    assert done.returncode == 0, done.stderr
    assert done.stderr.splitlines()[-1] == "IMPORTED"


# list


def test_list_names_everything_that_is_registered() -> None:
    for kind, known in (("techniques", TECHNIQUES), ("models", MODELS), ("datasets", DATASETS), ("metrics", METRICS)):
        assert [row["name"] for row in rows_of(kind)] == list(known)
    assert {row["name"] for row in rows_of("profiles")} >= {"cpu-1", "cpu-all", "cuda"}
    assert [row["name"] for row in rows_of("tasks")] == taskfile.known_names()
    assert [row["name"] for row in rows_of("runners")] == ["local"]


def test_list_recipes_shows_each_tasks_steps_with_all_their_parameters() -> None:
    rows = {(row["task"], row["recipe"]): row["steps"] for row in rows_of("recipes")}
    assert rows["quick/digits", "baseline"] == "the model as it is, in torch eager"
    static, runtime = rows["quick/digits", "ort-int8-static"].split(" -> ")
    assert static.startswith("quantize.static(")
    assert "calibrate=minmax" in static
    assert runtime.startswith("run.onnxruntime(")


def test_list_techniques_tells_ranges_defaults_and_sources() -> None:
    rows = {row["name"]: row for row in rows_of("techniques")}
    assert any(text.startswith("sparsity: number > 0") for text in rows["prune.magnitude"]["parameters"])
    assert 'calibrate: minmax|entropy|percentile = "minmax"' in rows["quantize.static"]["parameters"]
    assert all(row["source"] for row in rows.values())


@pytest.mark.parametrize("kind", sorted({*KINDS} - {"techniques"}))
def test_list_prints_one_aligned_line_for_each_thing(kind: str) -> None:
    lines = watched("list", kind).stdout.splitlines()
    assert len(lines) == 1 + len(rows_of(kind))
    assert lines[0] == lines[0].upper()


def test_list_techniques_gives_every_parameter_a_line_of_its_own() -> None:
    text = watched("list", "techniques").stdout
    for row in rows_of("techniques"):
        lines = [f"{row['name']}: {row['summary']}", *(f"    {line}" for line in row["parameters"])]
        assert "\n".join([*lines, f"    source: {row['source']}"]) in text


def test_list_of_something_else_names_what_can_be_listed() -> None:
    done = paretoboard("list", "metric")
    assert done.returncode == 2
    assert "Did you mean 'metrics'?" in done.stderr


# plan


def test_plan_shows_the_baseline_first_and_all_as_new_where_there_are_no_results(tmp_path: Path) -> None:
    plan = printed("plan", VALID, "--results", tmp_path / "none")
    assert [(cell["recipe"], cell["status"]) for cell in plan["runs"]] == [("baseline", None), ("int8", None)]
    assert (plan["new"], plan["cached"]) == (2, 0)
    quick = BUDGETS["quick"]
    # Two batches of two recipes against the baseline, and the smaller one beside the runtime alone.
    assert plan["estimate"]["timing_s"] == 5 * quick.count * quick.seconds
    assert not (tmp_path / "none").exists()


def test_plan_tells_what_was_measured_on_this_machine_and_how_it_ended(tmp_path: Path) -> None:
    [task] = taskfile.load_all([str(VALID)])
    here = machine.provenance()
    for run, status in zip(expand([task]), ("ok", "timeout"), strict=True):
        store.append(tmp_path, builders.run_record(spec=run, provenance=here, status=status))
    plan = printed("plan", VALID, "--results", tmp_path)
    assert [cell["status"] for cell in plan["runs"]] == ["ok", "timeout"]
    assert (plan["new"], plan["cached"], plan["estimate"]["total_s"]) == (0, 2, 0)
    text = paretoboard("plan", VALID, "--results", tmp_path).stdout
    assert "cached, timeout" in text
    assert "run --retry" in text


def test_plan_does_not_count_what_another_machine_measured(tmp_path: Path) -> None:
    [task] = taskfile.load_all([str(VALID)])
    store.append(tmp_path, builders.run_record(spec=next(expand([task]))))
    assert printed("plan", VALID, "--results", tmp_path)["cached"] == 0


def test_plan_takes_profiles_recipes_and_seeds_in_place_of_the_tasks() -> None:
    plan = printed("plan", "quick", "--profile", "cpu-all", "--only", "ort-fp32", "--seeds", "3-4")
    cells = [(cell["seed"], cell["profile"], cell["recipe"]) for cell in plan["runs"]]
    assert cells == [(seed, "cpu-all", recipe) for seed in (3, 4) for recipe in ("baseline", "ort-fp32")]


def test_plan_takes_a_profile_of_ones_own_from_its_file(tmp_path: Path) -> None:
    file = tmp_path / "two-cores.toml"
    file.write_text('title = "Two cores"\ncores = 2\nrequire = ["cores"]\n[settings]\npriority = 5\n')
    plan = printed("plan", "quick", "--profile", file, "--only", "ort-fp32", "--seeds", "0")
    assert {cell["profile"] for cell in plan["runs"]} == {"two-cores"}
    file.write_text('title = "Two cores"\ncoars = 2\n')
    done = paretoboard("plan", "quick", "--profile", file)
    assert done.returncode == 2
    assert "two-cores.toml:2: coars: no such key. Did you mean 'cores'?" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["quick", "--profile", "mine/cpu-4.toml"], "mine/cpu-4.toml: no such file"),
        (["quick", "--profile", "cpu-al"], "unknown profile 'cpu-al'. Did you mean 'cpu-all'?"),
        (["quick", "--only", "ort-fp23"], "unknown recipe 'ort-fp23'. Did you mean 'ort-fp32'?"),
        (["quick", "--seeds", "1,x"], "--seeds: found '1,x'"),
        (["cifar10/resnet21"], "unknown task 'cifar10/resnet21'. Did you mean 'cifar10/resnet20'?"),
        ([], "Missing argument 'TASK...'"),
        (["quick", "--seed", "1"], "No such option"),
    ],
)
def test_plan_refuses_what_there_is_not_with_exit_code_2(arguments: list[str], message: str) -> None:
    done = paretoboard("plan", *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert message in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr


# Options


@pytest.mark.parametrize(
    ("text", "seeds"), [("0", (0,)), ("0,1,2", (0, 1, 2)), ("2-4, 0,3", (2, 3, 4, 0)), ("4294967295", (4294967295,))]
)
def test_seeds_are_read_as_lists_and_ranges(text: str, seeds: tuple[int, ...]) -> None:
    assert options.parse_seeds(text) == seeds
    assert options.parse_seeds(None) is None


@pytest.mark.parametrize("text", ["", ",", "-1", "1-", "4-2", "a", "1.5", "4294967296", "0-99999999", "٣"])
def test_other_seeds_are_refused(text: str) -> None:
    with pytest.raises(InputError, match="--seeds: found"):
        options.parse_seeds(text)


@pytest.mark.parametrize(("text", "seconds"), [("90s", 90), ("15m", 900), ("1.5h", 5400), ("7", 7), (" 2 m ", 120)])
def test_times_are_read_with_their_unit(text: str, seconds: float) -> None:
    assert options.seconds(text) == seconds


@pytest.mark.parametrize("text", ["", "0s", "-1s", "m", "1d", "1e9s", "nan"])
def test_other_times_are_refused(text: str) -> None:
    with pytest.raises(InputError, match="a time such as"):
        options.seconds(text)


@pytest.mark.parametrize(("seconds", "text"), [(0.314, "0.31 s"), (12.4, "12 s"), (600, "10 min"), (9000, "2.5 h")])
def test_durations_are_told_in_the_unit_a_person_would_use(seconds: float, text: str) -> None:
    assert span(seconds) == text
