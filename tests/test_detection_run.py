"""A task that finds objects, from its file to its board: everything but its data is as for every other task."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from detections import spec
from paretoboard import artifact, runtimes, store, taskfile
from paretoboard.artifact import Candidate
from paretoboard.datasets import read_subset
from paretoboard.datasets.digit_scenes import DigitScenes
from paretoboard.detection.average_precision import precisions
from paretoboard.detection.coco_format import by_library
from paretoboard.detection.heads import decode
from paretoboard.errors import DivergedError, InputError, NotApplicableError, TaskFileError
from paretoboard.models import build
from paretoboard.models.own import require_fit
from paretoboard.plan import expand
from paretoboard.records import Detections, RunRecord
from paretoboard.runtimes.boxes import BoxSession
from paretoboard.runtimes.profiling import Question
from paretoboard.spec import DetectionUse, Preprocess
from paretoboard.taskfile import subsets
from paretoboard.techniques.detect import Boxes, InputSize
from paretoboard.techniques.quantize import MixedQuantization
from paretoboard_runners import jobs, quality, scoring
from site_kit import full_pages
from small_models import workbench

USE = DetectionUse(head="anchor-free", score_threshold=0.01)
TASK = """
version = 1
title = "A tiny detection task"
quality = { metric = "mAP" }
seeds = [0]
profiles = ["cpu-1"]
[dataset]
name = "digit-scenes"
subset = "some-test"
train = "some-train"
calibration = "calibration"
[model]
name = "scene-detector"
train = { epochs = 40, lr = 0.004, batch = 16, optimizer = "adamw", schedule = "onecycle" }
[preprocess]
mean = [0.5]
std = [0.5]
resize = 96
squash = true
[detection]
head = "anchor-free"
score_threshold = 0.01
[measure]
batches = [4]
budget = "quick"
[recipes.int8]
steps = [{ technique = "quantize.static" }, { technique = "run.onnxruntime" }]
[recipes.boxes]
steps = [{ technique = "detect.boxes" }, { technique = "run.onnxruntime" }]
[recipes.smaller]
steps = [{ technique = "detect.input_size", side = 64 }, { technique = "run.onnxruntime" }]
[recipes.pruned]
steps = [
    { technique = "prune.structured", parameters = 0.3 },
    { technique = "train.finetune", epochs = 1, lr = 0.001, batch = 16, optimizer = "adamw" },
]
[recipes.labels]
steps = [{ technique = "quantize.qat", epochs = 1 }, { technique = "run.onnxruntime" }]
"""


@pytest.fixture(scope="session")
def scenes_task(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A task of few scenes, with a recipe of each kind and one that needs labels."""
    folder = tmp_path_factory.mktemp("tasks")
    for split, count in (("train", 300), ("test", 60)):
        ids = "".join(f"{split}/{index:04d}\n" for index in range(count))
        (folder / f"some-{split}.txt").write_text(ids)
    path = folder / "scenes.toml"
    path.write_text(TASK)
    return path


@pytest.fixture(scope="session")
def scenes_results(scenes_task: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its results, measured by the command line."""
    results = tmp_path_factory.mktemp("results")
    command = [sys.executable, "-m", "paretoboard", "run", str(scenes_task), "--results", str(results)]
    own = {**os.environ, "XDG_CACHE_HOME": str(tmp_path_factory.mktemp("cache"))}
    done = subprocess.run(command, env=own, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 1, done.stderr  # one recipe is skipped, as it should be
    return results


@pytest.fixture(scope="session")
def records(scenes_results: Path) -> dict[str, RunRecord]:
    reading = store.read(scenes_results, with_predictions=True)
    assert not reading.damaged
    return {record.recipe: record for record in reading.records}


@pytest.mark.slow
def test_every_recipe_is_measured_and_what_needs_labels_is_skipped_with_the_reason(
    records: dict[str, RunRecord],
) -> None:
    assert {name: record.status for name, record in records.items()} == {
        "baseline": "ok",
        "int8": "ok",
        "boxes": "ok",
        "smaller": "ok",
        "pruned": "ok",
        "labels": "skipped",
    }
    assert "needs a class for each image" in records["labels"].reason


@pytest.mark.slow
def test_every_detection_is_kept_and_gives_the_stated_map_again(records: dict[str, RunRecord]) -> None:
    for record in records.values():
        if record.status != "ok":
            continue
        assert record.predictions is None
        found = record.detections
        assert found is not None
        stated = record.metric("mAP")
        assert stated is not None
        assert stated.low is not None
        assert stated.high is not None
        assert stated.low <= stated.value <= stated.high
        assert precisions(found).mean("mAP")[0] == pytest.approx(stated.value, abs=1e-12)
        for scope in ("size=small", "size=medium", *(f"class={name}" for name in range(10))):
            assert record.metric("mAP", scope) is not None
        for name in ("AP50", "AP75", "preprocess_time", "postprocess_time"):
            assert record.metric(name) is not None
        library = by_library(found)
        if library is not None:
            assert library.values["mAP"] == pytest.approx(stated.value, abs=1e-6)
            assert any(library.library in note for note in record.notes)


@pytest.mark.slow
def test_the_detector_has_learnt_and_the_recipe_in_boxes_finds_the_same(records: dict[str, RunRecord]) -> None:
    baseline, boxes = records["baseline"], records["boxes"]
    assert baseline.metric("AP50").value > 0.2  # type: ignore[union-attr]
    assert boxes.metric("mAP").value == pytest.approx(baseline.metric("mAP").value, abs=1e-3)  # type: ignore[union-attr]
    # Beside its runtime alone, the recipe shows what post-processing costs.
    (alone,) = (found for found in boxes.comparisons if found.against != "baseline")
    assert alone.ratio > 1
    assert any("calls end with boxes" in note for note in boxes.notes)


@pytest.mark.slow
def test_fewer_pixels_are_fewer_macs_and_are_timed_with_inputs_of_their_own(records: dict[str, RunRecord]) -> None:
    baseline, smaller = records["baseline"], records["smaller"]
    ratio = smaller.metric("macs").value / baseline.metric("macs").value  # type: ignore[union-attr]
    assert ratio == pytest.approx((64 / 96) ** 2, rel=0.01)
    assert any("64x64 pixels instead of 96x96" in note for note in smaller.notes)
    assert {found.against for found in smaller.comparisons} >= {"baseline"}


@pytest.mark.slow
def test_the_terminal_and_programs_are_told_map_with_verdicts(scenes_task: Path, scenes_results: Path) -> None:
    command = [sys.executable, "-m", "paretoboard", "board", str(scenes_task), "--results", str(scenes_results)]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert "mAP" in text
    assert "Top-1" not in text
    rows = json.loads(subprocess.run([*command, "--json"], capture_output=True, text=True, check=True).stdout)
    found = {row["recipe"]: row for row in rows}
    assert set(found["int8"]["metrics"]["mAP"]) == {"value", "low", "high", "n", "unit"}
    assert found["int8"]["metrics"]["mAP"]["n"] == 60
    assert found["int8"]["verdicts"]["mAP"]["verdict"] in ("better", "worse", "same", "undecided")
    assert found["boxes"]["verdicts"]["mAP"]["verdict"] == "same"
    assert "mAP" not in found["baseline"]["verdicts"]


@pytest.mark.slow
def test_the_page_says_average_precision_by_class(scenes_results: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "paretoboard", "report", "--results", str(scenes_results), "--out", str(tmp_path)]
    subprocess.run(command, capture_output=True, text=True, check=True)
    page = full_pages(tmp_path)
    assert "Average precision by class" in page
    assert "mAP on the same 60 images; both from the same images drawn again" in page


# Parts


def candidate(side: int = 96) -> Candidate:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        module = build("scene-detector", 10)
    return Candidate(architecture="scene-detector", classes=10, input_shape=(3, side, side), module=module)


def bench(scratch: Path, **changes: Any) -> Any:
    given = {"preprocess": Preprocess(resize=96, squash=True), "detection": USE, **changes}
    return dataclasses.replace(workbench(scratch), **given)


def test_a_call_that_ends_with_boxes_gives_them_and_is_scored_by_the_networks_numbers(tmp_path: Path) -> None:
    images = np.random.default_rng(0).standard_normal((2, 3, 96, 96)).astype(np.float32)
    plain = candidate()
    ended = Boxes().apply(plain, bench(tmp_path / "scratch")).candidate
    sessions = []
    for name, each in (("plain", plain), ("boxes", ended)):
        artifact.save(each, tmp_path / name)
        sessions.append(runtimes.open(tmp_path / name, threads=1, batches=(2,)))
    assert isinstance(sessions[1], BoxSession)
    numbers = [session.logits(session.run(session.prepare(images))) for session in sessions]
    np.testing.assert_array_equal(*numbers)
    _, found = sessions[1].run(sessions[1].prepare(images))
    assert len(found) == 2
    assert max(found[0].scores) == pytest.approx(decode(numbers[0], "anchor-free").scores[0].max())
    question = Question(images=images, threads=1, cache=tmp_path / "cache", scratch=tmp_path, seconds=0.02)
    profile = runtimes.profile(tmp_path / "boxes", question)
    assert profile.operators[-1].kind == "boxes"
    assert profile.call_s > 0
    with pytest.raises(NotApplicableError, match="end with boxes already"):
        Boxes().apply(ended, bench(tmp_path / "scratch"))
    with pytest.raises(NotApplicableError, match="it has no boxes"):
        Boxes().apply(plain, bench(tmp_path / "scratch", detection=None))


def test_another_size_is_refused_where_the_task_resizes_nothing_or_the_network_takes_none(tmp_path: Path) -> None:
    with pytest.raises(NotApplicableError, match="it resizes none"):
        InputSize(side=64).apply(candidate(), bench(tmp_path, preprocess=Preprocess()))
    with torch.random.fork_rng(devices=[]):
        fixed = Candidate(architecture="lenet5", classes=10, input_shape=(3, 32, 32), module=build("lenet5", 10))
    with pytest.raises(NotApplicableError, match="takes no 64x64"):
        InputSize(side=64).apply(fixed, bench(tmp_path))
    with pytest.raises(NotApplicableError, match="100 pixels are no whole number of cells of 8"):
        InputSize(side=100).apply(candidate(), bench(tmp_path))
    smaller = InputSize(side=64).apply(candidate(), bench(tmp_path)).candidate
    assert smaller.input_shape == (3, 64, 64)
    assert smaller.preprocess_of(Preprocess(resize=96, squash=True)).resize == 64


def test_layers_are_not_told_apart_by_classes_where_boxes_are_given(tmp_path: Path) -> None:
    with pytest.raises(NotApplicableError, match="'kl' is of one class for each image"):
        MixedQuantization(float_layers=1).apply(candidate(), bench(tmp_path))


def test_outputs_that_are_no_numbers_fail_the_run_and_say_for_how_many_images() -> None:
    images = DigitScenes(Path()).read_ids(("test/0000", "test/0001"))
    scorer = scoring.scorer_for(images, Preprocess(), USE)
    outputs = np.zeros((2, 14, 12, 12), dtype=np.float32)
    outputs[1, 3, 4, 5] = np.nan
    scorer.add(outputs)
    with pytest.raises(DivergedError, match="for 1 of 2 images"):
        scorer.result()


def test_what_is_scored_is_written_and_read_again(tmp_path: Path) -> None:
    images = DigitScenes(Path()).read_ids(tuple(f"test/{index:04d}" for index in range(6)))
    scorer = scoring.scorer_for(images, Preprocess(), USE)
    outputs = np.random.default_rng(0).standard_normal((6, 14, 12, 12)).astype(np.float32)
    scorer.add(outputs[:4])
    scorer.add(outputs[4:])
    scored = scorer.result()
    scoring.write(tmp_path / "kept.npz", scored)
    kept, answers = scoring.read(tmp_path / "kept.npz")
    assert isinstance(kept, Detections)
    assert isinstance(scored.kept, Detections)
    np.testing.assert_array_equal(kept.boxes, scored.kept.boxes)
    np.testing.assert_array_equal(kept.objects.boxes, scored.kept.objects.boxes)
    np.testing.assert_array_equal(answers, scoring.answering(USE)(outputs))
    assert kept.drawn.shape == (1000, 3)


def test_a_quality_job_leaves_inputs_of_the_artifacts_own_size(
    scenes_task: Path, tmp_path: Path, own_cache: Path
) -> None:
    [run, *_] = expand([taskfile.load(scenes_task)])
    artifact.save(candidate(64), tmp_path / "artifact")
    job = jobs.QualityJob(
        artifact=tmp_path / "artifact",
        dataset=run.dataset,
        preprocess=run.preprocess,
        detection=run.detection,
        data_root=tmp_path,
        batches=(1, 4),
        threads=1,
    )
    assert jobs.from_json(jobs.QualityJob, jobs.to_json(job)) == job
    quality.first_inputs(job, tmp_path, lambda event: None)
    assert np.load(tmp_path / quality.INPUTS).shape == (8, 3, 64, 64)
    result = quality.score(job, tmp_path, lambda event: None)
    names = {value.name for value in result.metrics}
    assert {"mAP", "AP50", "AP75", "preprocess_time", "postprocess_time"} <= names
    untimed = quality.score(dataclasses.replace(job, timed=False), tmp_path, lambda event: None)
    assert {value.name for value in untimed.metrics} == names - {"preprocess_time", "postprocess_time"}


def test_the_committed_lists_of_coco_share_no_photograph_and_follow_their_rule() -> None:
    folder = Path(__file__).resolve().parent.parent / "tasks" / "coco"
    evaluated, calibrated = (subsets.read_ids(folder / name) for name in ("val-100.txt", "val-calibration-20.txt"))
    assert (len(evaluated), len(calibrated)) == (100, 20)
    assert not set(evaluated) & set(calibrated)
    rank = {name: hashlib.sha256(f"seed 0/{name}".encode()).digest() for name in (*evaluated, *calibrated)}
    assert max(rank[name] for name in evaluated) < min(rank[name] for name in calibrated)
    assert list(evaluated) == sorted(evaluated)


def test_the_committed_tasks_can_be_planned() -> None:
    folder = Path(__file__).resolve().parent.parent / "tasks"
    for name in ("coco/fastestdet", "scenes/digits"):
        task = taskfile.load(folder / f"{name}.toml")
        assert task.detection is not None
        assert task.quality.metric == "mAP"
        assert {"ort-fp32", "ort-int8-static", "ort-int8-dynamic", "openvino-fp32"} <= {
            recipe.name for recipe in task.recipes
        }


# Task files


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ('metric = "mAP"', 'metric = "top1"', "'top1' says nothing of detection"),
        ('[detection]\nhead = "anchor-free"\nscore_threshold = 0.01\n', "", "say under [detection] with 'head'"),
        ('head = "anchor-free"', 'head = "anchors"', "detection.head"),
        ("squash = true", "", "leaves images of several sides; 'squash' or 'letterbox'"),
        ("squash = true", "squash = true\nletterbox = true", "found 'letterbox' and 'squash'"),
        ("squash = true", "crop = 64", "would cut objects off"),
        ("resize = 96\nsquash = true", "squash = true", "'squash' is of resizing: give 'resize'"),
        ('name = "digit-scenes"', 'name = "digits"', "no boxes"),
        ('budget = "quick"', 'budget = "quick"\nscenarios = ["offline"]', "asks for one class of each image"),
        ("score_threshold = 0.01", "score_threshold = 1.5", "detection.score_threshold"),
    ],
)
def test_what_does_not_go_together_is_said_before_anything_runs(
    before: str, after: str, said: str, scenes_task: Path
) -> None:
    assert before in TASK
    changed = scenes_task.with_name("changed.toml")
    changed.write_text(TASK.replace(before, after))
    with pytest.raises(TaskFileError) as raised:
        taskfile.load(changed)
    assert said in str(raised.value)


def test_detection_is_part_of_a_runs_id() -> None:
    run = spec()
    assert run.detection is not None
    other = dataclasses.replace(run, detection=dataclasses.replace(run.detection, nms_iou=0.6))
    assert run.run_id != other.run_id
    assert run.build_ids != other.build_ids


def test_scenes_are_read_as_the_task_names_them(scenes_task: Path, tmp_path: Path, own_cache: Path) -> None:
    task = taskfile.load(scenes_task)
    images = read_subset(task.dataset, task.dataset.subset, tmp_path, task.preprocess)
    assert len(images) == 60
    assert images.objects is not None
    assert images.objects.image.max() == 59


def test_a_network_that_is_no_detector_for_the_head_is_refused_with_both_shapes() -> None:
    with pytest.raises(InputError, match=r"gives \(2, 10\) for 2 images.*\(2, 14, rows, columns\) would be right"):
        require_fit(build("cifar-resnet8", 10), (3, 32, 32), 10, "cifar-resnet8", USE.head)
    with pytest.raises(InputError, match=r"gives \(2, 14, 12, 12\).*80 classes \(2, 84, rows, columns\)"):
        require_fit(build("scene-detector", 10), (3, 96, 96), 80, "scene-detector", USE.head)
    with pytest.raises(InputError, match="takes no images of 3x40x40"):
        require_fit(build("fastestdet", 10), (3, 40, 40), 10, "fastestdet", "fastestdet")
    require_fit(build("scene-detector", 10), (3, 96, 96), 10, "scene-detector", USE.head)
