"""`paretoboard report` and `paretoboard board`, as they are called."""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from builders import board_records, run_record
from paretoboard import store
from paretoboard_reports.view import page
from site_kit import board_html, board_pages


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """A folder of results with one board."""
    folder = tmp_path_factory.mktemp("results")
    for record in board_records():
        store.append(folder, record)
    return folder


@pytest.fixture(scope="module")
def task(tmp_path_factory):
    """The path of a task file with the name that the results are of; only the name matters here."""
    file = tmp_path_factory.mktemp("work") / "tasks" / "quick" / "digits.toml"
    file.parent.mkdir(parents=True)
    file.touch()
    return file


@functools.cache
def call(*arguments, columns=118):
    """A call of the command, made once: no test changes what another one calls it with."""
    command = [sys.executable, "-m", "paretoboard", *map(str, arguments)]
    environment = {**os.environ, "COLUMNS": str(columns), "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=60)


def test_report_writes_the_page_and_ends_with_its_path(results, tmp_path):
    done = call("report", "--results", results, "--out", tmp_path / "site")
    assert done.returncode == 0, done.stderr
    target = Path(done.stdout.splitlines()[-1])
    assert target == (tmp_path / "site" / "index.html").resolve()
    assert board_pages(target.parent) == board_html(board_records())


def test_report_without_results_writes_a_page_that_says_so(tmp_path):
    done = call("report", "--results", tmp_path / "none", "--out", tmp_path)
    assert done.returncode == 0, done.stderr
    assert "Nothing has been measured yet" in (tmp_path / "index.html").read_text(encoding="utf-8")


def test_report_names_a_damaged_file_and_renders_the_rest(tmp_path):
    kept = store.append(tmp_path / "results", run_record())
    damaged = store.append(tmp_path / "results", run_record("ort-int8"))
    damaged.write_bytes(damaged.read_bytes()[:500])
    done = call("report", "--results", tmp_path / "results", "--out", tmp_path / "site")
    assert done.returncode == 0
    assert damaged.name in done.stderr
    assert kept.name not in done.stderr
    assert damaged.name in (tmp_path / "site" / "index.html").read_text(encoding="utf-8")


@pytest.mark.parametrize("columns", [70, 95, 200])
def test_board_fits_the_terminal_and_never_cuts_a_name(results, task, columns):
    done = call("board", task, "--results", results, columns=columns)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert max(map(len, lines)) <= min(columns, 118)
    for record in board_records():
        assert record.recipe in done.stdout
    assert "quick/digits × AMD EPYC 9R14" in done.stdout
    assert lines[-1] == "9 measured, 1 failed."
    assert "paretoboard report" in done.stderr


def test_board_lists_rows_in_the_page_s_order(results, task):
    lines = call("board", task, "--results", results).stdout.splitlines()
    shown = [line.split()[1] for line in lines if line.strip()[:1] in "●○·" and " ± " in line]
    assert shown == [row.recipe for row in page(board_records()).boards[0].ranked]


def test_board_json_has_a_row_for_every_recipe_with_unrounded_values_and_verdicts(results, task):
    rows = {row["recipe"]: row for row in json.loads(call("board", task, "--results", results, "--json").stdout)}
    assert set(rows) == {record.recipe for record in board_records()}
    (record,) = [record for record in board_records() if record.recipe == "ort-int8"]
    row = rows["ort-int8"]
    assert row["status"] == "ok"
    assert row["metrics"]["latency"]["value"] == record.metric("latency", "batch=1").value
    assert row["metrics"]["top1"].keys() == {"value", "low", "high", "n", "unit"}
    assert row["verdicts"]["latency"]["verdict"] == "better"
    assert row["verdicts"]["latency"]["value"] == pytest.approx(1 / record.comparisons[0].ratio)
    assert (rows["compile"]["status"], rows["compile"]["reason"]) == ("failed", "out of memory")


def test_board_shows_markup_in_a_name_as_it_is(task, tmp_path):
    store.append(tmp_path, run_record("[red]int8[/red]", steps=[("quantize.dynamic", {})]))
    assert "[red]int8[/red]" in call("board", task, "--results", tmp_path).stdout


def test_board_without_results_says_which_command_makes_them(task, tmp_path):
    done = call("board", task, "--results", tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert f"`paretoboard run {task}` makes them" in done.stderr


def test_board_of_an_unknown_task_is_a_mistake_of_the_caller(tmp_path):
    done = call("board", "no/such/task", "--results", tmp_path)
    assert done.returncode == 2
    assert "no/such/task" in done.stderr
    assert "Traceback" not in done.stderr


def test_board_says_why_below_the_table_when_asked(results, task):
    plain = call("board", task, "--results", results).stdout
    said = call("board", task, "--results", results, "--why", columns=80).stdout
    (record,) = [record for record in board_records() if record.recipe == "ort-int8"]
    assert record.diagnosis.sentence not in " ".join(plain.split())
    assert f"ort-int8: {record.diagnosis.sentence}" in " ".join(said.split())
    assert max(map(len, said.splitlines())) <= 80


def test_board_json_has_the_diagnosis_whole(results, task):
    rows = {row["recipe"]: row for row in json.loads(call("board", task, "--results", results, "--json").stdout)}
    (record,) = [record for record in board_records() if record.recipe == "ort-int8"]
    found = rows["ort-int8"]["diagnosis"]
    assert found["sentence"] == record.diagnosis.sentence
    assert found["operators"][0]["macs"] == record.diagnosis.operators[0].macs
    assert rows["compile"]["diagnosis"] is None
