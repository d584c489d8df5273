"""From a task file to stored records, through the real command line and real processes."""

from __future__ import annotations

import hashlib
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import killing
from paretoboard import store
from paretoboard.records import RunRecord


def paretoboard(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "paretoboard", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)


def records(results: Path) -> dict[str, RunRecord]:
    reading = store.read(results, with_samples=True, with_predictions=True)
    assert reading.damaged == ()
    return {record.recipe: record for record in reading.records}


@pytest.fixture
def measured(tiny_results: Path) -> dict[str, RunRecord]:
    return records(tiny_results)


def test_every_run_of_the_plan_has_a_record_with_a_status(measured: dict[str, RunRecord]) -> None:
    assert {name: record.status for name, record in measured.items()} == {
        "baseline": "ok",
        "ort-fp32": "ok",
        "diverging": "failed",
    }


def test_a_loss_that_is_not_a_number_is_a_record_that_says_where(measured: dict[str, RunRecord]) -> None:
    record = measured["diverging"]
    assert record.reason.startswith("DivergedError: ")
    assert "epoch 1" in record.reason
    assert "step" in record.reason
    assert record.metrics == ()


def test_the_file_that_was_scored_is_byte_for_byte_the_file_that_was_timed(
    measured: dict[str, RunRecord], tiny_results: Path
) -> None:
    for record in (measured["baseline"], measured["ort-fp32"]):
        assert record.artifact is not None
        [folder] = (tiny_results / "artifacts").glob(f"{record.artifact.build_id[:32]}-*")
        content = (folder / record.artifact.file).read_bytes()
        assert hashlib.sha256(content).hexdigest() == record.artifact.digest
        size = record.metric("file_size")
        assert size is not None
        assert size.value == len(content)


def test_every_prediction_and_every_call_is_kept(measured: dict[str, RunRecord]) -> None:
    record = measured["ort-fp32"]
    assert record.predictions is not None
    assert record.predictions.top_classes.shape == (597, 5)
    assert record.calls is not None
    assert set(np.unique(record.calls.arm)) == {0, 1}
    latency = record.metric("latency", "batch=1")
    assert latency is not None
    assert latency.value == pytest.approx(float(np.median(record.calls.wall_ns[record.calls.arm == 1])) / 1e9)
    assert latency.n == int((record.calls.arm == 1).sum())


def test_every_measured_run_ends_with_a_diagnosis_and_one_roofline_serves_them_all(
    measured: dict[str, RunRecord], tiny_results: Path
) -> None:
    for record in (measured["baseline"], measured["ort-fp32"]):
        found = record.diagnosis
        assert found is not None, record.notes
        assert sum(operator.share for operator in found.operators) == pytest.approx(1)
        macs = record.metric("macs")
        assert macs is not None
        assert sum(operator.macs for operator in found.operators) >= macs.value
        assert found.operators[0].kind == "convolution"
        assert found.call_s > 0
        assert found.sentence
    first, second = measured["baseline"].diagnosis, measured["ort-fp32"].diagnosis
    assert first is not None
    assert second is not None
    assert (first.peaks, first.bandwidths) == (second.peaks, second.bandwidths)
    assert second.attainable_s is not None
    assert second.attainable_s > 0
    assert len(list((tiny_results / "rooflines").iterdir())) == 1
    assert measured["diverging"].diagnosis is None


def test_top1_is_what_the_predictions_say(measured: dict[str, RunRecord]) -> None:
    record = measured["baseline"]
    assert record.predictions is not None
    right = record.predictions.top_classes[:, 0] == record.predictions.labels
    top1 = record.metric("top1")
    assert top1 is not None
    assert top1.value == right.mean()
    assert top1.low is not None
    assert top1.low < top1.value


def test_onnx_runtime_agrees_with_eager(measured: dict[str, RunRecord]) -> None:
    first, second = measured["baseline"].predictions, measured["ort-fp32"].predictions
    assert first is not None
    assert second is not None
    assert (first.top_classes[:, 0] == second.top_classes[:, 0]).mean() >= 0.999


def test_memory_is_given_with_and_without_the_idle_runtime(measured: dict[str, RunRecord]) -> None:
    for record in (measured["baseline"], measured["ort-fp32"]):
        peak, process, idle = (record.metric(name) for name in ("peak_memory", "process_memory", "idle_memory"))
        assert peak is not None
        assert process is not None
        assert idle is not None
        assert peak.value == process.value - idle.value
        assert peak.value > 0
    torch, ort = (measured[name].metric("idle_memory") for name in ("baseline", "ort-fp32"))
    assert torch is not None
    assert ort is not None
    assert ort.value < torch.value / 3


def test_the_record_says_what_was_held_and_where_it_was_measured(measured: dict[str, RunRecord]) -> None:
    record = measured["baseline"]
    held = {control.name: control.held for control in record.controls}
    assert held["cores"]
    assert held["threads"]
    assert held["allocator"]
    assert record.provenance.environment["libraries"]["torch"]
    assert len(record.provenance.hardware_id) == 64


def test_what_supervising_costs_is_measured_and_stated(measured: dict[str, RunRecord]) -> None:
    for record in (measured["baseline"], measured["ort-fp32"]):
        supervision = record.metric("supervision")
        assert supervision is not None
        # CPU time over wall time, of processes that only wait: a watcher that polls would use a core of its own.
        assert 0 < supervision.value < 0.25
        [note] = [note for note in record.notes if "supervising processes used" in note]
        assert record.calls is not None
        timed_s = float(re.search(r"In the ([\d.]+) s of timing", note)[1])  # type: ignore[index]
        assert timed_s > record.calls.wall_ns.sum() / 1e9


def test_a_second_run_measures_nothing(tiny_task: Path, tiny_results: Path) -> None:
    before = store.record_files(tiny_results)
    done = paretoboard("run", tiny_task, "--results", tiny_results)
    assert done.returncode == 1  # the failed run is still there
    assert "0 measured, 3 known before, 1 not ok" in done.stderr
    assert store.record_files(tiny_results) == before


def test_missing_data_ends_with_the_files_the_folder_and_the_command(tmp_path: Path) -> None:
    done = paretoboard("run", "cifar10/resnet20", "--results", tmp_path / "results", "--data-root", tmp_path)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert "resnet20_cifar10_akamaster.pth" in done.stderr
    assert str(tmp_path / "weights") in done.stderr


def test_a_run_that_takes_too_long_is_a_record(tiny_task: Path, tmp_path: Path) -> None:
    task = tiny_task.with_name("late.toml")
    task.write_text('extends = "tiny.toml"\nversion = 1\nmeasure = { timeout_s = 0.2 }\n')
    done = paretoboard("run", task, "--results", tmp_path, "--only", "ort-fp32")
    assert done.returncode == 1
    found = records(tmp_path)
    assert {record.status for record in found.values()} == {"timeout"}
    assert "time limit" in found["baseline"].reason


def test_a_task_that_times_nothing_is_scored_and_says_what_its_trainings_took(tiny_task: Path, tmp_path: Path) -> None:
    task = tiny_task.with_name("untimed.toml")
    task.write_text(
        """
        extends = "tiny.toml"
        version = 1
        measure = { budget = "none" }
        [recipes.smoothed]
        steps = [{ technique = "train.scratch", label_smoothing = 0.1 }]
        """
    )
    done = paretoboard("run", task, "--results", tmp_path, "--only", "smoothed")
    assert done.returncode == 0, done.stderr
    assert re.search(r"smoothed \(cpu-1, seed 0\): top-1 [\d.]+%; trained in [\d.]+ s", done.stderr)
    found = records(tmp_path)
    assert set(found) == {"baseline", "smoothed"}
    for record in found.values():
        assert (record.status, record.comparisons, record.calls, record.diagnosis) == ("ok", (), None, None)
        names = {value.name for value in record.metrics}
        assert {"top1", "train_time", "file_size", "parameters"} <= names
        assert not names & {"latency", "throughput", "load", "first_inference", "peak_memory"}
    board = paretoboard("board", task, "--results", tmp_path)
    assert "training" in board.stdout
    assert "latency" not in board.stdout


@pytest.mark.slow
def test_killed_at_twenty_random_moments_nothing_is_lost_and_nothing_doubled(
    tiny_task: Path, tiny_results: Path, tmp_path: Path
) -> None:
    """From a stored baseline without its artifact on; `make bench-kill` kills as often, from nothing on."""
    stored, kept = killing.begin_with_baseline(tiny_results, tmp_path)
    for _ in killing.kill_again_and_again(str(tiny_task), tmp_path, kills=20, longest_s=6.0):
        pass
    assert paretoboard("run", tiny_task, "--results", tmp_path).returncode == 1
    killing.assert_each_run_once(tmp_path)
    assert kept.read_bytes() == stored.read_bytes()
    assert {name: record.status for name, record in records(tmp_path).items()} == {
        "baseline": "ok",
        "ort-fp32": "ok",
        "diverging": "failed",
    }
