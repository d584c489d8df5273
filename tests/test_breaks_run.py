"""What the quality phase leaves when a task asks what compression breaks: from one job, and from the command line."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import small_models
from paretoboard import artifact, datasets, store
from paretoboard.datasets.corrupting import corrupt
from paretoboard.datasets.preprocess import preprocess_images
from paretoboard.records import Predictions
from paretoboard.runtimes import gradcam
from paretoboard.spec import DatasetUse, Subset
from paretoboard_runners import jobs, quality, scoring
from site_kit import full_pages

DIGITS = DatasetUse(name="digits", subset=Subset(name="all"), train=Subset(name="all"))


def scored(tmp_path: Path, **overrides: Any) -> jobs.QualityResult:
    artifact.save(small_models.candidate(), tmp_path / "model")
    given: dict[str, Any] = {
        "artifact": tmp_path / "model",
        "dataset": DIGITS,
        "preprocess": small_models.PREPROCESS,
        "data_root": tmp_path,
        "batches": (64,),
        "threads": 1,
    }
    return quality.score(jobs.QualityJob(**{**given, **overrides}), tmp_path, lambda event: None)


def test_every_guess_under_a_corruption_is_kept_with_the_metrics_that_follow(tmp_path: Path) -> None:
    result = scored(tmp_path, corruptions=("noise:5", "contrast:2"))
    found, answers = scoring.read(tmp_path / quality.PREDICTIONS)
    assert isinstance(found, Predictions)
    assert (answers == found.top_classes[:, 0]).all()
    images = datasets.read_subset("digits", DIGITS.subset, tmp_path, small_models.PREPROCESS)
    assert found.ids == images.ids
    assert [kept.corruption for kept in found.corrupted] == ["noise:5", "contrast:2"]
    values = {(value.name, value.scope): value for value in result.metrics}
    for kept in found.corrupted:
        top1 = values["top1", f"corruption={kept.corruption}"]
        assert top1.value == (kept.best == found.labels).mean()
        assert top1.low <= top1.value <= top1.high
    by_hand = preprocess_images(corrupt(images.pixels[:50], images.ids[:50], "noise:5"), small_models.PREPROCESS)
    best = gradcam.answers(small_models.candidate(), by_hand)
    assert (best == found.corrupted[0].best[:50]).mean() >= 0.98
    assert not any(scope.startswith("class=") and "corruption" in scope for _, scope in values)
    error = values["calibration_error", ""]
    assert error.low <= error.value <= error.high


def test_a_task_that_asks_for_nothing_leaves_no_corrupted_guesses(tmp_path: Path) -> None:
    result = scored(tmp_path)
    found, _ = scoring.read(tmp_path / quality.PREDICTIONS)
    assert isinstance(found, Predictions)
    assert found.corrupted == ()
    assert not [value for value in result.metrics if value.scope.startswith("corruption=")]


ASKING = """
extends = "tiny.toml"
version = 1
[measure]
batches = [1]
budget = "smoke"
explain = 12
corruptions = ["noise:3", "jpeg:1"]
[recipes.pruned]
steps = [{ technique = "prune.magnitude", sparsity = 0.7 }]
"""


@pytest.mark.slow
def test_from_a_task_file_to_the_board(tiny_task: Path, tmp_path: Path) -> None:
    pytest.importorskip("captum", reason="the extra 'explain' is not installed")
    task = tiny_task.with_name("asking.toml")
    task.write_text(ASKING)
    command = [sys.executable, "-m", "paretoboard"]
    only = ["--only", "ort-fp32", "--only", "pruned"]
    done = subprocess.run(
        [*command, "run", str(task), "--results", str(tmp_path), *only], capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    records = {record.recipe: record for record in store.read(tmp_path, with_predictions=True).records}
    pruned, graph = records["pruned"].explanation, records["ort-fp32"].explanation
    assert pruned is not None
    assert graph is not None
    assert len(pruned.images) == 12
    assert pruned.images[0].picture.startswith(b"\x89PNG")
    assert records["baseline"].explanation is None
    assert graph.reason.startswith("not possible: the artifact is an ONNX graph")
    for record in records.values():
        assert record.predictions is not None
        assert len(record.predictions.corrupted) == 2
        assert len(record.predictions.ids) == len(record.predictions.labels)
    ort, baseline = (records[name].predictions for name in ("ort-fp32", "baseline"))
    assert ort is not None
    assert baseline is not None
    assert np.mean(ort.corrupted[0].best == baseline.corrupted[0].best) > 0.99
    shown = subprocess.run(
        [*command, "board", str(task), "--results", str(tmp_path), "--breaks"], capture_output=True, text=True
    )
    assert "Under corruptions" in shown.stdout, shown.stderr
    page = subprocess.run(
        [*command, "report", "--results", str(tmp_path), "--out", str(tmp_path / "site")], capture_output=True
    )
    assert page.returncode == 0
    assert "data:image/png;base64," in full_pages(tmp_path / "site")
