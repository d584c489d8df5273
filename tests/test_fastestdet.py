"""FastestDet: our network is the published graph, and finds what it was measured to find."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch

from conftest import REPOSITORY
from paretoboard.datasets import read_subset
from paretoboard.datasets.preprocess import preprocess_images
from paretoboard.datasets.weights import load_convolutions, load_into, resolve
from paretoboard.detection.average_precision import precisions
from paretoboard.detection.found import Postprocessing
from paretoboard.detection.placement import placements
from paretoboard.errors import DataError
from paretoboard.models import build
from paretoboard.spec import DetectionUse, Preprocess, Subset, Weights
from paretoboard_runners.scoring.boxes import detections_of
from site_kit import full_pages

FILE = "fastestdet_352_coco.onnx"
SHA256 = "31cb14c017fce347cb4c846ec62fdf00d76bb3beecdf4be21e7116ac67feb880"
PREPROCESS = Preprocess(resize=352, squash=True, order="bgr")
USE = DetectionUse(head="fastestdet", score_threshold=0.001, nms_iou=0.45)


@pytest.fixture(scope="module")
def graph(data_root: Path) -> Path:
    path = data_root / "weights" / FILE
    if not path.exists():
        pytest.skip(f"no {FILE} in {data_root / 'weights'}")
    return path


@pytest.fixture(scope="module")
def network(graph: Path) -> torch.nn.Module:
    module = build("fastestdet", 80)
    load_into(module, resolve(Weights(file=FILE, sha256=SHA256), graph.parent.parent))
    return module


def test_the_network_gives_what_the_graph_gives(graph: Path, network: torch.nn.Module) -> None:
    images = np.random.default_rng(0).uniform(0, 1, (2, 3, 352, 352)).astype(np.float32)
    session = onnxruntime.InferenceSession(str(graph), providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    wanted = np.concatenate([session.run(None, {name: image[None]})[0] for image in images])
    with torch.inference_mode():
        found = network(torch.from_numpy(images)).numpy()
    assert found.shape == wanted.shape == (2, 85, 22, 22)
    np.testing.assert_allclose(found, wanted, atol=1e-4)


def test_other_sizes_give_other_grids(network: torch.nn.Module) -> None:
    with torch.inference_mode():
        assert network(torch.zeros(1, 3, 256, 320)).shape == (1, 85, 16, 20)


def test_it_finds_what_it_was_measured_to_find_on_120_photographs(
    data_root: Path, network: torch.nn.Module, own_cache: Path
) -> None:
    """MANIFEST.md: mAP 16.74, AP50 31.98 by pycocotools."""
    if not (data_root / "coco" / "annotations" / "instances_val2017.json").exists():
        pytest.skip(f"no COCO in {data_root}")
    images = read_subset("coco", Subset(name="val2017"), data_root, PREPROCESS)
    if len(images) != 120:
        pytest.skip(f"measured on 120 photographs, {len(images)} are here")
    assert images.objects is not None
    where = placements(images.objects.sizes, PREPROCESS)
    found = []
    for start in range(0, len(images), 8):
        chosen = slice(start, start + 8)
        with torch.inference_mode():
            output = network(torch.from_numpy(preprocess_images(images.pixels[chosen], PREPROCESS)))
        found += Postprocessing(use=USE).stored(output.numpy(), where[chosen])
    measured = precisions(detections_of(found, images.objects))
    assert 100 * measured.mean("mAP")[0] == pytest.approx(16.74, abs=0.3)
    assert 100 * measured.mean("AP50")[0] == pytest.approx(31.98, abs=0.3)


@pytest.mark.slow
@pytest.mark.usefixtures("graph")
def test_int8_and_pruning_run_on_coco_from_the_task_to_paired_verdicts(data_root: Path, tmp_path: Path) -> None:
    if not (data_root / "coco" / "annotations" / "instances_val2017.json").exists():
        pytest.skip(f"no COCO in {data_root}")
    task = tmp_path / "coco.toml"
    task.write_text(f'extends = "{REPOSITORY}/tasks/coco/fastestdet.toml"\n[measure]\nbudget = "none"\n')
    own = {**os.environ, "XDG_CACHE_HOME": str(tmp_path / "cache")}
    here = tmp_path / "here"
    here.mkdir()

    def call(*arguments: str) -> str:
        command = [sys.executable, "-m", "paretoboard", *arguments, "--results", str(tmp_path / "results")]
        done = subprocess.run(command, cwd=here, env=own, capture_output=True, text=True, timeout=600, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    recipes = ("ort-int8-static", "pruned-30-ort")
    chosen = [option for name in recipes for option in ("--only", name)]
    call("run", str(task), "--data-root", str(data_root), *chosen)
    assert not list(here.iterdir()), "a run leaves nothing in the folder it is called from"
    rows = {row["recipe"]: row for row in json.loads(call("board", str(task), "--json"))}
    assert set(rows) == {"baseline", *recipes}
    for name in recipes:
        assert rows[name]["status"] == "ok"
        assert rows[name]["metrics"]["mAP"]["n"] == 100
        assert rows[name]["verdicts"]["mAP"]["verdict"] in ("better", "worse", "same", "undecided")
    call("report", "--out", str(tmp_path / "site"))
    page = full_pages(tmp_path / "site")
    assert "mAP on the same 100 images; both from the same images drawn again" in page


def test_a_graph_of_other_convolutions_is_refused(graph: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"70 convolutions, the network has 6"):
        load_convolutions(graph, build("scene-detector", 80))
    broken = tmp_path / "half.onnx"
    broken.write_bytes(graph.read_bytes()[:5000])
    with pytest.raises(DataError, match=r"half\.onnx"):
        load_convolutions(broken, build("fastestdet", 80))
    broken.write_bytes(b"no graph at all")
    with pytest.raises(DataError, match="not a whole ONNX file"):
        load_convolutions(broken, build("fastestdet", 80))
