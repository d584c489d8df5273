"""What each technique contributes, from records to the page and the terminal, and once from a task file on."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import builders
from builders import comparison, failed_record, run_record, run_spec
from paretoboard import ablation, store
from paretoboard.records import Comparison, RunRecord
from paretoboard.spec import BASELINE, Recipe
from paretoboard_reports.view import Contribution, Row, page
from site_kit import board_html, full_pages

PRUNE = ("prune.structured", {"parameters": 0.3})
INT8 = ("quantize.static", {"per_channel": True})
ORT: tuple[str, dict[str, Any]] = ("run.onnxruntime", {})
# By recipe: how many times as fast as what, top-1, bytes of the file.
SPEEDS = {
    "ort-fp32": {BASELINE: 3.0},
    "stack:first-1": {BASELINE: 3.6, "ort-fp32": 1.2},
    "ort-int8": {BASELINE: 6.0, "ort-fp32": 2.0},
    "stack": {BASELINE: 7.5, "ort-fp32": 2.5, "stack:first-1": 2.1, "ort-int8": 1.25},
}
ACCURACY = {BASELINE: 0.97, "ort-fp32": 0.97, "stack:first-1": 0.90, "ort-int8": 0.965, "stack": 0.88}
BYTES = {BASELINE: 331_000, "ort-fp32": 320_000, "stack:first-1": 224_000, "ort-int8": 104_000, "stack": 80_000}


def recipes(refused: str = "") -> dict[str, Recipe]:
    """A stack of two techniques with its ablation, two recipes that are a part of it, and the baseline."""
    rules = ablation.Rules(
        is_runtime=lambda step: step.name.startswith("run."),
        refusal=lambda steps: (
            refused if [step.name for step in steps] == ["prune.structured", "run.onnxruntime"] else ""
        ),
    )
    declared = [
        builders.recipe(),
        builders.recipe("ort-fp32", [ORT]),
        builders.recipe("ort-int8", [INT8, ORT]),
        builders.recipe("stack", [PRUNE, INT8, ORT]),
    ]
    return {found.name: found for found in ablation.complete(declared, ablated={"stack"}, rules=rules)}


def record(recipe: Recipe, **overrides: Any) -> RunRecord:
    timed = [comparison(speed, against=other) for other, speed in SPEEDS.get(recipe.name, {BASELINE: 1.0}).items()]
    return run_record(
        recipe.name,
        spec=run_spec(recipe=recipe),
        accuracy=ACCURACY[recipe.name],
        file_bytes=BYTES[recipe.name],
        **{"comparisons": (*timed, comparison(1.0, batch=32)), **overrides},
    )


def board_records(**of_recipe: RunRecord) -> list[RunRecord]:
    return [
        of_recipe.get(name.replace(":", "_").replace("-", "_")) or record(found) for name, found in recipes().items()
    ]


def row_of(records: list[RunRecord], recipe: str) -> Row:
    (board,) = page(records).boards
    (row,) = [row for row in board.rows if row.recipe == recipe]
    return row


def lines_of(row: Row) -> dict[str, list[Contribution]]:
    return {table.view: list(table.lines) for table in row.contributions}


def told(line: Contribution) -> tuple[str, str, str, float | None]:
    speed = line.speed.quantity.value if line.speed else None
    return " + ".join(step.name for step in line.techniques), line.recipe, line.against, speed


def test_a_stack_is_told_apart_step_by_step_and_with_each_technique_left_out() -> None:
    found = lines_of(row_of(board_records(), "stack"))
    assert [told(line) for line in found["step by step"]] == [
        ("run.onnxruntime", "ort-fp32", BASELINE, pytest.approx(3.0)),
        ("prune.structured", "stack:first-1", "ort-fp32", pytest.approx(1.2)),
        ("quantize.static", "stack", "stack:first-1", pytest.approx(2.1)),
    ]
    assert [told(line) for line in found["left out"]] == [
        ("prune.structured", "stack", "ort-int8", pytest.approx(1.25)),
        ("quantize.static", "stack", "stack:first-1", pytest.approx(2.1)),
    ]
    assert [told(line) for line in found["runtime alone"]] == [
        ("prune.structured + quantize.static", "stack", "ort-fp32", pytest.approx(2.5))
    ]
    assert all(line.missing == "" for lines in found.values() for line in lines)


def test_qualities_are_differences_on_the_same_images_and_files_are_ratios() -> None:
    records = {found.recipe: found for found in board_records()}
    (line,) = [
        each for each in lines_of(row_of(list(records.values()), "stack"))["left out"] if each.against == "ort-int8"
    ]

    def right(name: str) -> np.ndarray[Any, Any]:
        predicted = records[name].predictions
        assert predicted is not None
        return predicted.top_classes[:, 0] == predicted.labels

    assert line.quality is not None
    assert line.quality.quantity.value == pytest.approx(right("stack").mean() - right("ort-int8").mean())
    lost = int((right("ort-int8") & ~right("stack")).sum())
    assert f"{lost} only ort-int8" in line.quality.note
    assert line.size_ratio == pytest.approx(80_000 / 104_000)


def test_a_recipe_that_no_ablation_is_asked_for_stands_beside_its_runtime_alone() -> None:
    rows = board_records()
    row = row_of(rows, "ort-int8")
    assert list(lines_of(row)) == ["runtime alone"]
    assert row.beside_runtime is not None
    assert told(row.beside_runtime) == ("quantize.static", "ort-int8", "ort-fp32", pytest.approx(2.0))
    assert (row_of(rows, "ort-fp32").contributions, row_of(rows, BASELINE).contributions) == ((), ())


def test_the_row_s_own_speed_up_is_still_that_against_the_baseline() -> None:
    row = row_of(board_records(), "stack")
    assert row.speedup is not None
    assert row.speedup.quantity.value == pytest.approx(7.5)
    assert [what for what, _ in row.details.effects if "speed" in what] == [
        "speed at batch 1 against baseline",
        "speed at batch 32 against baseline",
    ]
    # Its place rests on the same ratio, in whatever order the comparisons are stored.
    turned = record(recipes()["stack"])
    turned = dataclasses.replace(turned, comparisons=turned.comparisons[::-1])
    assert row_of(board_records(stack=turned), "stack").costs == row.costs


def test_a_variant_that_failed_says_so_where_its_numbers_would_be() -> None:
    broken = failed_record("stack:first-1", spec=run_spec(recipe=recipes()["stack:first-1"]), reason="out of memory")
    kept = tuple(found for found in record(recipes()["stack"]).comparisons if found.against != "stack:first-1")
    rows = board_records(stack_first_1=broken, stack=record(recipes()["stack"], comparisons=kept))
    steps = lines_of(row_of(rows, "stack"))["step by step"]
    reason = "stack:first-1: failed, out of memory"
    assert [line.missing for line in steps] == ["", reason, reason]
    assert (steps[1].speed, steps[1].quality, steps[1].size_ratio) == (None, None, None)
    assert reason in board_html(rows)


def test_a_variant_that_was_not_measured_leaves_the_speed_beside_it() -> None:
    rows = [found for found in board_records() if found.recipe != "ort-int8"]
    (line, _) = lines_of(row_of(rows, "stack"))["left out"]
    assert told(line) == ("prune.structured", "stack", "ort-int8", pytest.approx(1.25))
    assert (line.quality, line.missing) == (None, "ort-int8 was not measured on its own")


def test_a_variant_that_can_not_be_made_keeps_its_line_with_the_reason() -> None:
    found = recipes(refused="needs more")
    rows = [record(each) for each in found.values()]
    steps = lines_of(row_of(rows, "stack"))["step by step"]
    reason = "prune.structured + run.onnxruntime can't be made: needs more"
    assert [line.missing for line in steps] == ["", reason, reason]
    assert "made: needs more" in board_html(rows)


def test_a_reference_that_has_another_name_by_now_is_found_by_its_steps() -> None:
    renamed = dataclasses.replace(recipes()["ort-int8"], name="int8-by-another-name")
    rows = [found for found in board_records() if found.recipe != "ort-int8"]
    other = run_record(renamed.name, spec=run_spec(recipe=renamed), accuracy=0.965, file_bytes=104_000)
    (line, _) = lines_of(row_of([*rows, other], "stack"))["left out"]
    assert told(line) == ("prune.structured", "stack", "int8-by-another-name", pytest.approx(1.25))
    assert line.missing == ""


def test_contributions_and_comparisons_with_the_baseline_are_corrected_apart() -> None:
    def beside_runtime(*others: Comparison) -> str:
        weak = comparison(1.03, verdict="better", p_value=0.02, against="ort-fp32")
        rows = [record(recipes()[BASELINE]), record(recipes()["ort-fp32"])]
        found = row_of([*rows, record(recipes()["ort-int8"], comparisons=(weak, *others))], "ort-int8").beside_runtime
        assert found is not None
        assert found.speed is not None
        return found.speed.words

    def same(against: str) -> list[Comparison]:
        return [comparison(1.0, verdict="same", p_value=0.6, batch=batch, against=against) for batch in (2, 4, 8)]

    assert beside_runtime(*same(BASELINE)) == "faster"
    assert beside_runtime(*same("ort-fp32")) == "undecided"


# On the page, in the terminal, and for programs


@pytest.fixture
def stored(tmp_path: Path) -> tuple[Path, Path]:
    """A folder of results, and the path of a task file with the name that they are of."""
    file = tmp_path / "tasks" / "quick" / "digits.toml"
    file.parent.mkdir(parents=True)
    file.touch()
    for found in board_records():
        store.append(tmp_path / "results", found)
    return file, tmp_path / "results"


def call(*arguments: object, columns: int = 118) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "paretoboard", *map(str, arguments)]
    environment = {**os.environ, "COLUMNS": str(columns)}
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=600)


def test_the_terminal_shows_both_tables_of_a_stack_and_fits(stored: tuple[Path, Path]) -> None:
    task, results = stored
    done = call("board", task, "--results", results)
    assert done.returncode == 0, done.stderr
    assert max(map(len, done.stdout.splitlines())) <= 118
    text = done.stdout
    assert "stack, step by step" in text
    assert "stack, left out" in text
    first, last = text.index("stack, step by step"), text.index("stack, left out")
    [line] = [line for line in text[first:last].splitlines() if line.split()[:1] == ["prune.structured"]]
    assert line.split()[1:3] == ["stack:first-1", "ort-fp32"]
    assert "1.200" in line
    assert "▲" in line
    [beside] = [line for line in text[:first].splitlines() if line.split()[:2] == ["quantize.static", "ort-int8"]]
    assert "2.00" in beside


def test_a_narrow_terminal_still_says_which_recipe_stands_beside_its_runtime(stored: tuple[Path, Path]) -> None:
    task, results = stored
    text = call("board", task, "--results", results, columns=60).stdout
    assert max(map(len, text.splitlines())) <= 60
    beside = text[text.index("Beside their runtimes") : text.index("stack, step by step")]
    assert {line.split()[0] for line in beside.splitlines() if "▲" in line} == {"ort-int8", "stack:first-1", "stack"}


def test_programs_get_contributions_unrounded(stored: tuple[Path, Path]) -> None:
    task, results = stored
    rows = {row["recipe"]: row for row in json.loads(call("board", task, "--results", results, "--json").stdout)}
    found = rows["stack"]["contributions"]
    assert list(found) == ["runtime alone", "step by step", "left out"]
    assert found["step by step"][1]["techniques"] == ["prune.structured"]
    assert found["step by step"][1]["speedup"]["value"] == pytest.approx(1.2)
    assert found["left out"][0]["size_ratio"] == pytest.approx(80 / 104)
    assert found["left out"][0]["quality"].keys() == {"verdict", "value", "low", "high", "reason"}
    assert rows["ort-fp32"]["contributions"] == {}


def test_the_page_shows_both_tables_and_the_reference_in_the_row() -> None:
    html = board_html(board_records())
    assert html.count("<h3>Step by step") == html.count("<h3>Each technique left out") == 1
    assert html.count("<h3>Beside its runtime alone") == 3  # ort-int8, the first rung, the stack
    assert "prune.structured(parameters=0.3)" in html
    assert html.count("beside its runtime alone, timed side by side") == 3


STACK = """
[recipes.stack]
ablate = true
steps = [
    { technique = "prune.structured", parameters = 0.3 },
    { technique = "quantize.static" },
    { technique = "run.onnxruntime" },
]
"""


@pytest.mark.slow
def test_an_ablated_recipe_is_measured_part_by_part_from_the_task_file_to_the_page(
    tiny_task: Path, tiny_results: Path, tmp_path: Path
) -> None:
    """The tiny task, to which somebody adds a recipe after the others were measured; one part is left unmeasured."""
    shutil.copytree(tiny_task.parent, tmp_path / "tasks")
    results = shutil.copytree(tiny_results, tmp_path / "results")
    task = tmp_path / "tasks" / tiny_task.name
    task.write_text(tiny_task.read_text() + STACK)
    planned = json.loads(call("plan", task, "--results", results, "--json").stdout)
    assert {run["recipe"]: run["against"] for run in planned["runs"]}["stack"] == [
        BASELINE,
        "ort-fp32",
        "stack:first-1",
        "stack:without-prune.structured",
    ]
    measured, unmeasured = ["ort-fp32", "stack:first-1", "stack"], "stack:without-prune.structured"
    only = [word for part in measured for word in ("--only", part)]
    done = call("run", task, "--results", results, *only)
    assert done.returncode == 0, done.stderr
    assert "2 measured, 2 known before" in done.stderr
    records = {found.recipe: found for found in store.read(results, with_samples=True).records}
    assert records.keys() == {BASELINE, *measured, "diverging"}
    stack = records["stack"]
    assert [found.against for found in stack.comparisons] == [BASELINE, "ort-fp32", "stack:first-1", unmeasured]
    assert stack.calls is not None
    assert set(np.unique(stack.calls.reference)) == {0, 1, 2, 3}
    for number in range(4):
        chosen = stack.calls.reference == number
        assert set(np.unique(stack.calls.arm[chosen])) == {0, 1}
    processes = {(int(launch), int(ref)) for launch, ref in zip(stack.calls.launch, stack.calls.reference, strict=True)}
    assert len({launch for launch, _ in processes}) == len(processes)  # no process served two comparisons
    rows = {row["recipe"]: row for row in json.loads(call("board", task, "--results", results, "--json").stdout)}
    found = rows["stack"]["contributions"]
    assert [line["techniques"] for line in found["step by step"]] == [
        ["run.onnxruntime"],
        ["prune.structured"],
        ["quantize.static"],
    ]
    lines = [line for lines in found.values() for line in lines]
    assert sorted(line["missing"] for line in lines) == [""] * 5 + [f"{unmeasured} was not measured on its own"]
    assert all(line["speedup"] for line in lines)
    assert all(line["quality"] for line in lines if not line["missing"])
    assert found["left out"][1]["size_ratio"] < 0.5  # INT8 beside float32
    assert "stack, step by step" in call("board", task, "--results", results).stdout
    assert call("report", "--results", results, "--out", tmp_path / "site").returncode == 0
    assert "Each technique left out" in full_pages(tmp_path / "site")
    again = call("run", task, "--results", results, *only)
    assert "0 measured, 4 known before" in again.stderr
