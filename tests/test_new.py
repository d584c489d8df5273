"""`paretoboard new`, and what it writes measured: one's own network and images from outside of the repository."""

from __future__ import annotations

import hashlib
import io
import json
import os
import pty
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import torch

from own_networks import CLASSES, SIDE, onnx_model, write_images, write_module, write_onnx, write_program
from paretoboard import taskfile
from paretoboard.taskfile.subsets import read_ids
from pickles import FileMaker
from site_kit import full_pages

COMMAND = Path(sys.executable).with_name("paretoboard")


def paretoboard(*arguments: object, cwd: Path, timeout: float = 60) -> subprocess.CompletedProcess[str]:
    command = [str(COMMAND), *map(str, arguments)]
    return subprocess.run(
        command, capture_output=True, text=True, timeout=timeout, cwd=cwd, stdin=subprocess.DEVNULL, check=False
    )


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """A folder of a person's own, with a network, images and nothing of this project."""
    write_module(tmp_path)
    write_images(tmp_path / "photos")
    return tmp_path


def new(outside: Path, model: str = "ownnet:make", *more: object) -> subprocess.CompletedProcess[str]:
    options = ["--images", "photos", "--model", model, "--input-size", SIDE, "--out", "mine.toml"]
    return paretoboard("new", *options, *more, cwd=outside)


def time_one_batch(task: Path) -> None:
    """What is written times two, which takes twice as long."""
    written = "batches = [1, 8]"
    assert written in task.read_text()
    task.write_text(task.read_text().replace(written, "batches = [1]"))


def board(task: Path, results: Path) -> dict[str, Any]:
    done = paretoboard("board", task, "--results", results, "--json", cwd=task.parent)
    assert done.returncode == 0, done.stderr
    return {row["recipe"]: row for row in json.loads(done.stdout)}


def test_a_task_file_of_about_ten_lines_is_written_that_can_be_planned(outside: Path) -> None:
    done = new(outside)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "mine.toml: written. Next: paretoboard run mine.toml\n"
    text = (outside / "mine.toml").read_text()
    assert len(text.splitlines()) <= 12
    task = taskfile.load(outside / "mine.toml")
    assert task.model.name == "ownnet:make"
    assert task.model.code == hashlib.sha256((outside / "ownnet.py").read_bytes()).hexdigest()
    assert [recipe.name for recipe in task.recipes] == ["baseline", "ort-fp32", "ort-int8"]
    assert (task.preprocess.crop, task.preprocess.resize) == (SIDE, 37)
    planned = paretoboard("plan", "mine.toml", cwd=outside)
    assert planned.returncode == 0, planned.stderr
    assert "3 runs: 3 new" in planned.stdout


def test_images_to_calibrate_with_are_not_those_to_score_on(outside: Path) -> None:
    assert new(outside).returncode == 0
    scored = set(read_ids(outside / "mine-test.txt"))
    kept = set(read_ids(outside / "mine-calibration.txt"))
    assert not scored & kept
    assert len(scored | kept) == 36
    assert {name.split("/")[0] for name in kept} == set(CLASSES)


def test_splits_that_are_there_are_used(outside: Path) -> None:
    whole = outside / "photos"
    shutil.move(whole, outside / "all")
    for split in ("train", "val"):
        shutil.copytree(outside / "all", whole / split)
    assert new(outside).returncode == 0
    dataset = tomllib.loads((outside / "mine.toml").read_text())["dataset"]
    assert dataset["subset"] == "val"
    assert dataset["train"] == "train"
    assert all(name.startswith("train/") for name in read_ids(outside / "mine-calibration.txt"))


def test_of_images_that_are_all_for_training_some_are_scored_on_and_the_others_trained_on(outside: Path) -> None:
    shutil.move(outside / "photos", outside / "all")
    shutil.copytree(outside / "all", outside / "photos" / "train")
    done = new(outside)
    assert done.returncode == 0, done.stderr
    dataset = tomllib.loads((outside / "mine.toml").read_text())["dataset"]
    assert [dataset[role] for role in ("subset", "train", "calibration")] == ["mine-test", *["mine-calibration"] * 2]


def test_images_for_training_that_are_too_few_to_be_divided_are_refused(tmp_path: Path) -> None:
    write_module(tmp_path)
    write_images(tmp_path / "photos" / "train", each=4)
    done = new(tmp_path)
    assert done.returncode == 2
    assert "a class has fewer than 5 images" in done.stderr


def test_names_in_any_script_are_written_as_they_are(outside: Path) -> None:
    (outside / "photos").rename(outside / "Fotos 🦜 鳥")
    done = paretoboard(
        *["new", "--images", "Fotos 🦜 鳥", "--model", "ownnet:make", "--input-size", SIDE, "--out", "mine.toml"],
        cwd=outside,
    )
    assert done.returncode == 0, done.stderr
    assert taskfile.load(outside / "mine.toml").dataset.path == str(outside / "Fotos 🦜 鳥")


def test_a_file_that_is_there_is_written_over_only_when_forced(outside: Path) -> None:
    (outside / "mine.toml").write_text("precious")
    done = new(outside)
    assert done.returncode == 2
    assert "mine.toml: already there; --force writes over it" in done.stderr
    assert (outside / "mine.toml").read_text() == "precious"
    assert new(outside, "ownnet:make", "--force").returncode == 0
    assert taskfile.load(outside / "mine.toml").version == 1


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("ownnet:stubborn", "gives (2, 5) for 2 images; a tensor of (2, 3)"),
        ("ownnet:failing", "takes no images of 3x32x32"),
        ("ownnet:greedy", "needs depth"),
        ("ownnet:lost", "gives no network: FileNotFoundError: lost.pth"),
        ("ownnet:nothing", "has no 'nothing'"),
        ("nonet:make", "can't import 'nonet'"),
        ("own.pth", "holds weights, and no network"),
        ("missing.onnx", "missing.onnx: there is no such file"),
        ("cifar-resnet8", "needs weights or training"),
        ("torchvision:resnet18", "IMAGENET1K_V1 know 1,000 classes, and the images are of 3"),
        ("a:b:c", "'module:function'"),
    ],
)
def test_a_model_that_does_not_fit_is_refused_and_nothing_is_written(model: str, message: str, outside: Path) -> None:
    before = sorted(outside.iterdir())
    done = new(outside, model)
    assert done.returncode == 2, done.stderr
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert sorted(path for path in outside.iterdir() if path.name != "__pycache__") == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"classes": 5}, "gives (1, 5) for 1 images; (1, 3)"),
        ({"side": 64}, "takes images of (3, 64, 64), the task gives (3, 32, 32)"),
    ],
)
def test_an_onnx_file_that_does_not_fit_is_refused(arguments: dict[str, int], message: str, outside: Path) -> None:
    write_onnx(outside / "own.onnx", **arguments)
    done = new(outside, "own.onnx")
    assert done.returncode == 2
    assert message in done.stderr


def test_an_onnx_file_whose_channels_come_last_is_refused_with_that_reason(outside: Path) -> None:
    model = onnx_model()
    dimensions = model.graph.input[0].type.tensor_type.shape.dim
    for dimension, extent in zip(dimensions, (1, SIDE, SIDE, 3), strict=True):
        dimension.dim_value = extent
    (outside / "own.onnx").write_bytes(model.SerializeToString())
    done = paretoboard("new", "--images", "photos", "--model", "own.onnx", "--out", "mine.toml", cwd=outside)
    assert done.returncode == 2
    assert "Its channels come last" in done.stderr


def test_a_truncated_onnx_file_is_refused(outside: Path) -> None:
    path = write_onnx(outside / "own.onnx")
    path.write_bytes(path.read_bytes()[:900])
    done = new(outside, "own.onnx")
    assert done.returncode == 2
    assert "own.onnx: not a whole ONNX file" in done.stderr


def test_without_a_terminal_all_that_is_missing_is_named(outside: Path) -> None:
    done = paretoboard("new", "--images", "photos", cwd=outside)
    assert done.returncode == 2
    assert "--model and --out needed" in done.stderr
    done = paretoboard("new", "--images", "photos", "--model", "ownnet:make", "--out", "mine.toml", cwd=outside)
    assert done.returncode == 2
    assert "--input-size needed" in done.stderr


def test_an_input_size_that_the_file_says_need_not_be_given(outside: Path) -> None:
    write_onnx(outside / "own.onnx")
    done = paretoboard("new", "--images", "photos", "--model", "own.onnx", "--out", "mine.toml", cwd=outside)
    assert done.returncode == 0, done.stderr
    task = taskfile.load(outside / "mine.toml")
    assert task.preprocess.crop == SIDE
    assert task.model.file is not None
    assert task.model.file.path == outside / "own.onnx"
    assert [recipe.name for recipe in task.recipes] == ["baseline", "ort-int8"]


def test_on_a_terminal_it_asks_and_asks_again_for_what_is_wrong(outside: Path) -> None:
    keyboard, terminal = pty.openpty()
    answers = ["mine.txt", "mine.toml", "nowhere", "photos", "nonet:make", "ownnet:make", "big", str(SIDE), "half"]
    process = subprocess.Popen(
        [COMMAND, "new"], stdin=terminal, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=outside
    )
    os.close(terminal)
    os.write(keyboard, "".join(f"{answer}\n" for answer in answers).encode())
    stdout, stderr = process.communicate(timeout=60)
    os.close(keyboard)
    assert process.returncode == 0, stderr
    assert "mine.toml: written" in stdout
    for complaint in ("ends in .toml", "there is no such folder", "can't import 'nonet'", "input size big"):
        assert complaint in stderr
    assert taskfile.load(outside / "mine.toml").preprocess.mean == (0.5,)


# Measured


@pytest.mark.slow
def test_a_network_and_images_of_ones_own_give_a_board(outside: Path) -> None:
    assert new(outside).returncode == 0
    elsewhere, task, results = outside / "elsewhere", outside / "mine.toml", outside / "results"
    elsewhere.mkdir()  # the module is found beside the task file, wherever the command is called
    done = paretoboard("run", task, "--results", results, cwd=elsewhere, timeout=400)
    assert done.returncode == 0, done.stderr
    rows = board(task, results)
    assert set(rows) == {"baseline", "ort-fp32", "ort-int8"}
    for row in rows.values():
        assert row["status"] == "ok", row["reason"]
        assert row["metrics"]["top1"]["n"] == 30
    assert rows["ort-fp32"]["metrics"]["top1"]["value"] == rows["baseline"]["metrics"]["top1"]["value"]
    assert rows["ort-int8"]["verdicts"]["latency"]["verdict"] in ("better", "worse", "same", "undecided")
    # Other code is another model, though it has the same name.
    before = json.loads(paretoboard("plan", task, "--results", results, "--json", cwd=elsewhere).stdout)
    with (outside / "ownnet.py").open("a") as stream:
        stream.write("\n# changed\n")
    after = json.loads(paretoboard("plan", task, "--results", results, "--json", cwd=elsewhere).stdout)
    assert (before["new"], after["new"]) == (0, 3)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["onnx", "pt2"])
def test_a_file_of_ones_own_gives_a_board_whose_baseline_is_onnx_runtime(kind: str, outside: Path) -> None:
    write = {"onnx": write_onnx, "pt2": write_program}[kind]
    write(outside / f"own.{kind}")
    done = new(outside, f"own.{kind}")
    assert done.returncode == 0, done.stderr
    task, results = outside / "mine.toml", outside / "results"
    time_one_batch(task)
    done = paretoboard("run", task, "--results", results, cwd=outside, timeout=400)
    assert done.returncode == 0, done.stderr
    rows = board(task, results)
    assert {row["status"] for row in rows.values()} == {"ok"}
    assert set(rows) == {"baseline", "ort-int8"}
    page = outside / "site"
    assert paretoboard("report", "--results", results, "--out", page, cwd=outside).returncode == 0
    assert "the baseline is ONNX Runtime" in full_pages(page)


def test_a_torch_technique_on_a_file_is_refused_before_anything_runs(outside: Path) -> None:
    write_onnx(outside / "own.onnx")
    assert new(outside, "own.onnx").returncode == 0
    with (outside / "mine.toml").open("a") as stream:
        stream.write('recipes.cut.steps = [{ technique = "prune.structured", parameters = 0.3 }]\n')
    done = paretoboard("plan", "mine.toml", cwd=outside)
    assert done.returncode == 2
    assert "works on a torch model, and this task's is an ONNX graph" in done.stderr


def test_weights_that_are_a_malicious_pickle_end_the_run_and_are_not_loaded(outside: Path) -> None:
    trace, stream = outside / "trace", io.BytesIO()
    torch.save({"weight": FileMaker(trace)}, stream)
    (outside / "data" / "weights").mkdir(parents=True)
    (outside / "data" / "weights" / "own.pth").write_bytes(stream.getvalue())
    assert new(outside).returncode == 0
    task = outside / "mine.toml"
    digest = hashlib.sha256(stream.getvalue()).hexdigest()
    text = task.read_text().replace(
        'name = "ownnet:make"', f'name = "ownnet:make", weights = {{ file = "own.pth", sha256 = "{digest}" }}'
    )
    task.write_text(text)
    done = paretoboard("run", task, "--results", outside / "results", "--data-root", outside / "data", cwd=outside)
    assert done.returncode == 2, done.stderr
    assert "not a plain state dict, and nothing else is loaded" in done.stderr
    assert not trace.exists()


# Weights that are nowhere


@pytest.mark.slow
def test_without_weights_costs_are_measured_and_quality_never(outside: Path) -> None:
    assert new(outside).returncode == 0
    task, results, data = outside / "mine.toml", outside / "results", outside / "data"
    time_one_batch(task)
    (data / "weights").mkdir(parents=True)
    names: dict[str, Any] = {}
    exec((outside / "ownnet.py").read_text(), names)
    stream = io.BytesIO()
    torch.save(names["make"](3).state_dict(), stream)
    digest = hashlib.sha256(stream.getvalue()).hexdigest()
    task.write_text(
        task.read_text().replace(
            'name = "ownnet:make"', f'name = "ownnet:make", weights = {{ file = "own.pth", sha256 = "{digest}" }}'
        )
    )
    command = ["run", task, "--results", results, "--data-root", data, "--only", "ort-fp32"]
    done = paretoboard(*command, cwd=outside, timeout=400)
    assert done.returncode == 0, done.stderr
    assert "weights 'own.pth' are not in" in done.stderr
    rows = board(task, results)
    assert {row["status"] for row in rows.values()} == {"ok"}
    for row in rows.values():
        assert row["unscored"] == "quality not measured: weights missing"
        assert "top1" not in row["metrics"]
        assert "top1" not in row["verdicts"]
        assert {"latency", "file_size", "peak_memory", "macs"} <= set(row["metrics"])
    text = paretoboard("board", task, "--results", results, cwd=outside).stdout
    assert "Quality not measured: weights missing" in text
    page = outside / "site"
    assert paretoboard("report", "--results", results, "--out", page, cwd=outside).returncode == 0
    assert "uality not measured: weights missing" in full_pages(page)

    (data / "weights" / "own.pth").write_bytes(stream.getvalue())
    done = paretoboard(*command, cwd=outside, timeout=400)
    assert done.returncode == 0, done.stderr
    assert "2 measured" in done.stderr  # what was measured without weights is not taken for what is asked now
    rows = board(task, results)
    assert all("top1" in row["metrics"] and row["unscored"] == "" for row in rows.values())
