"""The same run done twice gives the same bits, and what does not hold is said."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import builders
from paretoboard import taskfile
from paretoboard.plan import RunSpec, expand
from paretoboard.taskfile.subsets import read_ids
from paretoboard_runners import controls, jobs, verify
from paretoboard_runners.client import JobLimits, Worker
from paretoboard_runners.quality import PREDICTIONS


def holding(findings: tuple[verify.Finding, ...]) -> dict[str, bool]:
    return {finding.what: finding.holds for finding in findings}


def test_a_run_repeated_exactly_holds_in_everything() -> None:
    record = builders.run_record()
    assert set(holding(verify.compare_with_stored(record, record)).values()) == {True}


def test_other_bytes_and_other_predictions_do_not_hold() -> None:
    record = builders.run_record()
    assert record.artifact is not None
    assert record.predictions is not None
    top = record.predictions.top_classes.copy()
    top[0] = np.roll(top[0], 1)
    other = dataclasses.replace(
        record,
        artifact=dataclasses.replace(record.artifact, digest="0" * 64),
        predictions=dataclasses.replace(record.predictions, top_classes=top),
    )
    found = {finding.what: finding for finding in verify.compare_with_stored(record, other)}
    assert not found["bytes of model.onnx"].holds
    assert not found["predictions"].holds
    assert found["predictions"].repeated == "359 of 360 best guesses equal"


def test_another_artifact_holds_where_a_measurement_decided_what_was_built() -> None:
    steps = {"latency": [("prune.structured", {"latency": 0.3})], "macs": [("prune.structured", {"macs": 0.3})]}
    holds = {}
    for budget, given in steps.items():
        record = builders.run_record("cut", steps=given)
        assert record.artifact is not None
        other = dataclasses.replace(record, artifact=dataclasses.replace(record.artifact, digest="0" * 64))
        findings = verify.compare_with_stored(record, other)
        holds[budget] = [finding.holds for finding in findings if finding.what.startswith("bytes")]
        if budget == "latency":
            assert len(findings) == 1
            assert "times measured on the machine" in findings[0].repeated
    assert holds == {"latency": [True], "macs": [False]}


@pytest.mark.parametrize(("speedup", "holds"), [(2.0, True), (2.02, True), (2.2, False)])
def test_a_speed_holds_within_its_interval_and_what_counts(speedup: float, holds: bool) -> None:
    stored = builders.run_record("ort-fp32", comparisons=(builders.comparison(2.0),))
    repeated = builders.run_record("ort-fp32", comparisons=(builders.comparison(speedup),))
    assert holding(verify.compare_with_stored(stored, repeated))["time at batch 1 against baseline"] is holds


def test_a_run_that_fails_now_does_not_hold() -> None:
    [finding] = verify.compare_with_stored(builders.run_record(), builders.failed_record())
    assert not finding.holds
    assert finding.repeated == "failed: out of memory"


TWO_EPOCHS = """
extends = "tiny.toml"
version = 1
dataset = { train = "few" }
[model]
train = { epochs = 2, lr = 0.1, batch = 64 }
"""


@pytest.fixture(scope="module")
def two_epochs(tiny_task: Path) -> RunSpec:
    """The baseline of the tiny task, of fewer images and more epochs."""
    task = tiny_task.with_name("two-epochs.toml")
    task.write_text(TWO_EPOCHS)
    ids = read_ids(tiny_task.with_name("train.txt"))
    task.with_name("few.txt").write_text("".join(f"{name}\n" for name in ids[:320]))
    return next(expand([taskfile.load(task)]))


@pytest.fixture(scope="module")
def worker(two_epochs: RunSpec) -> Iterator[Worker]:
    """Pinned to what is measured on, as in a session; each build names the cores that it takes."""
    profile = two_epochs.profile
    cores = controls.choose_cores(profile)
    with Worker(profile, cores=cores, environment=controls.session_environment(profile, cores)) as started:
        yield started


@pytest.mark.parametrize("threads", [1, 2])
def test_two_epochs_of_training_repeat_to_the_bit(
    threads: int, two_epochs: RunSpec, worker: Worker, tmp_path: Path
) -> None:
    allowed = controls.choose_cores(two_epochs.profile, building=True)
    if len(allowed) < threads:
        pytest.skip(f"{threads} threads need as many cores, {len(allowed)} can be used here")
    limits = JobLimits(timeout_s=300.0)
    digests, predictions = [], []
    for name in ("first", "second"):
        build = jobs.BuildJob(
            run=two_epochs,
            data_root=tmp_path,
            artifacts=tmp_path / name,
            environment_id="e" * 64,
            cores=allowed[:threads],
        )
        built, _ = worker.do("paretoboard_runners.build:build", build, jobs.BuildResult, limits=limits)
        score = jobs.QualityJob(
            artifact=built.folder,
            dataset=two_epochs.dataset,
            preprocess=two_epochs.preprocess,
            data_root=tmp_path,
            batches=(32,),
            threads=threads,
        )
        _, folder = worker.do("paretoboard_runners.quality:score", score, jobs.QualityResult, limits=limits)
        digests.append(built.digest)
        predictions.append((folder / PREDICTIONS).read_bytes())
    assert digests[0] == digests[1]
    assert predictions[0] == predictions[1]


@pytest.mark.slow
def test_run_verify_repeats_a_stored_run_from_nothing(tiny_task: Path, tiny_results: Path) -> None:
    before = sorted(tiny_results.rglob("*"))
    command = [sys.executable, "-m", "paretoboard", "run", str(tiny_task), "--results", str(tiny_results)]
    done = subprocess.run(
        [*command, "--only", "ort-fp32", "--verify", "--sample", "1"], capture_output=True, text=True, timeout=300
    )
    assert "bytes of" in done.stdout
    assert "predictions: holds" in done.stdout
    assert "DOES NOT HOLD" not in done.stdout.replace("time at batch 1 against baseline: DOES NOT HOLD", "")
    assert sorted(tiny_results.rglob("*")) == before
