"""What `make bench-parity` says of recorded values, and that what it compares can be found; no speed is measured."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from bench.parity import measuring, table
from bench.parity.libraries import torch_pruning
from bench.parity.procedures import PROCEDURES, TASKS
from bench.parity.table import Machine, Report, Result, Skipped, Timing
from paretoboard.errors import InputError, TaskFileError
from paretoboard.records import Comparison
from paretoboard.registry import load_object
from paretoboard_runners import jobs
from small_models import candidate

MACHINE = Machine(cpu="AMD EPYC", kernel="6.1", python="3.11.2", commit="0123456789", date="2026-11-22", load1=1.25)


def a_timing(*, batch: int = 1, ratio: float = 1.0, half: float = 0.01, reason: str = "") -> Timing:
    compared = Comparison(
        batch=batch,
        against="library",
        ratio=ratio,
        low=ratio - half,
        high=ratio + half,
        confidence=0.95,
        launches=8,
        windows=80,
        clock="cpu",
        tolerance=0.015,
        p_value=0.5,
        verdict="same",
        reason=reason,
    )
    return Timing(comparison=compared, theirs_ms=0.4, ours_ms=0.4 * ratio)


def a_result(*, only_theirs: int = 20, only_ours: int = 25, timings: tuple[Timing, ...] = ()) -> Result:
    return Result(
        name="ort",
        recipe="quantize.static -> run.onnxruntime",
        procedure="ONNX Runtime, documented",
        across="",
        versions={"onnxruntime": "1.31.1"},
        images=10_000,
        right_theirs=9140,
        right_ours=9140 - only_theirs + only_ours,
        only_theirs=only_theirs,
        only_ours=only_ours,
        timings=timings,
        notes_theirs=("30.2% of the parameters removed",),
        notes_ours=("activation ranges from 512 images",),
    )


def rendered(*results: Result | Skipped) -> list[str]:
    return table.render(Report(machine=MACHINE, results=results)).splitlines()


def row(lines: list[str], about: str) -> str:
    (found,) = [line for line in lines if about in line and line.lstrip().startswith(("met", "MISSED"))]
    return found.strip()


@pytest.mark.parametrize(
    ("only_theirs", "only_ours", "mark", "open_end"),
    [
        (20, 25, "met", False),
        (0, 0, "met", False),
        (50, 25, "met", True),  # 0.25 points below; the interval begins at 0.42
        (60, 20, "MISSED", True),
        (200, 20, "MISSED", False),
    ],
)
def test_a_row_says_whether_accuracy_meets_its_bar(only_theirs: int, only_ours: int, mark: str, open_end: bool) -> None:
    found = row(rendered(a_result(only_theirs=only_theirs, only_ours=only_ours)), "top-1")
    assert found.split()[0] == mark
    assert f"{(only_ours - only_theirs) / 100:+.2f} points" in found
    assert ("reaches beyond the bar" in found) == open_end


@pytest.mark.parametrize(
    ("ratio", "half", "mark", "open_end"),
    [
        (0.5, 0.01, "met", False),
        (1.04, 0.005, "met", False),
        (1.04, 0.02, "met", True),
        (1.06, 0.02, "MISSED", True),
        (1.2, 0.02, "MISSED", False),
    ],
)
def test_a_row_says_whether_time_meets_its_bar(ratio: float, half: float, mark: str, open_end: bool) -> None:
    timings = (a_timing(ratio=ratio, half=half), a_timing(batch=32))
    lines = rendered(a_result(timings=timings))
    found = row(lines, "batch 1 ")
    assert found.split()[0] == mark
    assert f"{100 * (ratio - 1):+.1f} %" in found
    assert ("reaches beyond the bar" in found) == open_end
    assert row(lines, "batch 32").startswith("met")


def test_the_page_names_machine_versions_notes_and_why_something_was_skipped() -> None:
    other = dataclasses.replace(a_result(timings=(a_timing(reason="wall only"),)), across="settings")
    text = "\n".join(rendered(other, Skipped(name="nncf", procedure="NNCF", reason="not installed: nncf")))
    for wanted in (
        "AMD EPYC",
        "0123456789",
        "onnxruntime 1.31.1",
        "not alike: settings",
        "ours: activation ranges from 512 images",
        "library's: 30.2% of the parameters removed",
        "same: wall only",
        "nncf: NNCF\n  skipped not installed: nncf",
    ):
        assert wanted in text


def test_a_report_is_read_back_as_it_was_written() -> None:
    report = Report(
        machine=MACHINE,
        results=(a_result(timings=(a_timing(),)), Skipped(name="nncf", procedure="NNCF", reason="not there")),
    )
    assert jobs.from_json(Report, jobs.to_json(report)) == report


@pytest.mark.parametrize("name", PROCEDURES)
def test_every_procedure_has_its_task_and_its_functions(name: str) -> None:
    procedure = PROCEDURES[name]
    try:
        run = measuring.our_run(procedure)
    except TaskFileError as error:
        pytest.skip(f"a technique of {TASKS / procedure.task} is not there yet: {error}")
    assert run.recipe.steps
    assert run.dataset.calibration is not None
    for function in filter(None, (procedure.make, procedure.open)):
        try:
            assert callable(load_object(function, "parity"))
        except InputError as error:
            pytest.skip(f"{', '.join(procedure.needs)} can't be imported: {error}")


def test_the_pruning_library_stops_at_the_first_step_that_reaches_the_budget() -> None:
    start = candidate("cifar-resnet20")
    assert start.module is not None
    whole = sum(parameter.numel() for parameter in start.module.parameters())
    left = torch_pruning.prune(start.module, start, 0.3)
    assert left == sum(parameter.numel() for parameter in start.module.parameters())
    assert 0.3 <= 1 - left / whole < 0.32


def test_what_a_procedure_says_decides_whether_its_model_is_made_again() -> None:
    assert "def with_our_settings" in measuring._source("bench.parity.libraries.ort:with_our_settings")


def test_options_choose_comparisons_and_extent(tmp_path: Path) -> None:
    from bench.parity.__main__ import _parser

    chosen = _parser().parse_args(["--only", "ort", "nncf", "--extent", "quick", "--out", str(tmp_path)])
    assert (chosen.only, chosen.extent) == (["ort", "nncf"], "quick")
    assert measuring.EXTENTS["quick"].launches < measuring.EXTENTS["full"].launches
