"""One's own images, from a folder outside the repository to a board, through the real command line."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from paretoboard import store
from paretoboard.datasets.folder import Folder
from pictures import bomb, encoded, written

TASK = """
version = 1
title = "Light and dark"
quality = { metric = "top1" }
profiles = ["cpu-1"]
[dataset]
name = "folder"
path = "photos"
subset = "val"
train = "train"
calibration = "few"
[model]
name = "cifar-resnet8"
train = { epochs = 3, lr = 0.1, batch = 16 }
[preprocess]
resize = 36
crop = 32
[measure]
budget = "quick"
[recipes.int8]
steps = [{ technique = "quantize.static" }, { technique = "run.onnxruntime" }]
"""


@pytest.fixture
def task(tmp_path: Path) -> Path:
    """A task file, and a folder beside it with pictures of two kinds and several forms."""
    rng = np.random.default_rng(0)
    for split, count in (("train", 40), ("val", 20)):
        for name, level in (("dark", 60), ("light", 190)):
            for number in range(count):
                picture = np.clip(rng.normal(level, 30, (48, 64, 3)), 0, 255).astype(np.uint8)
                picture = picture[..., 0] if number == 0 else picture
                kind, suffix = ("JPEG", "jpg") if number % 2 else ("PNG", "png")
                written(tmp_path / "photos" / split / name / f"no {number}.{suffix}", encoded(picture, kind))
    labels = Folder(tmp_path / "photos").labels("train")
    (tmp_path / "few.txt").write_text("".join(f"{name}\n" for name in list(labels)[::4]))
    path = tmp_path / "mine.toml"
    path.write_text(TASK)
    return path


def run(task: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "paretoboard", *options, str(task), "--results", str(task.parent / "results")]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)


@pytest.mark.slow
@pytest.mark.usefixtures("own_cache")
def test_a_folder_of_images_becomes_a_board(task: Path) -> None:
    done = run(task, "run")
    assert done.returncode == 0, done.stderr
    records = {found.recipe: found for found in store.read(task.parent / "results", with_predictions=True).records}
    assert {name: found.status for name, found in records.items()} == {"baseline": "ok", "int8": "ok"}
    for found in records.values():
        top1 = found.metric("top1")
        assert top1 is not None
        assert top1.n == 40
        assert found.predictions is not None
        assert found.predictions.labels.tolist() == [0] * 20 + [1] * 20
        assert found.spec["preprocess"]["resize"] == 36
        assert found.spec["dataset"]["subset"]["digest"]
    rows = json.loads(run(task, "board", "--json").stdout)
    assert rows


@pytest.mark.slow
@pytest.mark.usefixtures("own_cache")
def test_damaged_pictures_end_a_run_with_their_names_before_anything_is_timed(task: Path) -> None:
    photos = task.parent / "photos"
    whole = encoded(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8), "JPEG")
    written(photos / "val" / "dark" / "cut.jpg", whole[: len(whole) // 2])
    written(photos / "val" / "light" / "huge.png", bomb())
    done = run(task, "run", "--only", "int8")
    assert done.returncode == 2, done.stderr
    assert "2 of 42 images can't be used" in done.stderr
    assert f"{photos}/val/dark/cut.jpg: damaged" in done.stderr
    assert f"{photos}/val/light/huge.png: too large a picture" in done.stderr
    assert "Traceback" not in done.stderr
