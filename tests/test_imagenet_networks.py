"""Networks for larger images: the published figures of their weights, and what techniques make of them."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

import small_models
from paretoboard import runtimes, taskfile
from paretoboard.artifact import Candidate, load, save
from paretoboard.datasets import read_subset
from paretoboard.datasets.preprocess import preprocess_images
from paretoboard.datasets.weights import load_into
from paretoboard.errors import DataError
from paretoboard.models import build, native_of
from paretoboard.models.native import differences
from paretoboard.registry import TECHNIQUES
from paretoboard.runtimes.statistics import statistics
from paretoboard.spec import TaskSpec
from paretoboard_runners.weights import path_of

# name -> (top-1, top-5) of data/MANIFEST.md on the 610 images
PUBLISHED = {"mobilenetv2": (0.7049, 0.8984), "efficientnet-lite0": (0.7426, 0.9246)}
TASKS = ("mobilenetv2", "efficientnet-lite0", "squeezenet", "resnet18", "resnet50")
SHAPE = (3, 64, 96)  # neither 32 nor square
CLASSES = 7


def task_of(name: str) -> TaskSpec:
    [task] = taskfile.load_all([f"imagenet/{name}"])
    return task


@pytest.mark.parametrize("name", TASKS)
def test_the_tasks_share_images_and_recipes_and_prepare_images_as_their_weights_want(name: str) -> None:
    task, first = task_of(name), task_of("mobilenetv2")
    assert task.dataset == first.dataset
    assert task.recipes == first.recipes
    assert task.model.weights is not None
    native = native_of(task.model.name, task.model.weights.enum)
    assert native is not None
    assert not list(differences(native, (3, 224, 224), task.preprocess))


@pytest.mark.slow
@pytest.mark.parametrize("name", list(PUBLISHED))
def test_published_weights_give_the_published_figures(name: str, data_root: Path, tmp_path: Path) -> None:
    task = task_of(name)
    if not (data_root / "imagenet" / "val").is_dir():
        pytest.skip(f"no images of ImageNet in {data_root}")
    try:
        weights = path_of(task.model, data_root)
    except DataError as error:
        pytest.skip(str(error))
    module = build(task.model.name, 1000)
    load_into(module, weights)
    held = Candidate(architecture=task.model.name, classes=1000, input_shape=(3, 224, 224), module=module)
    save(held, tmp_path / "artifact")
    images = read_subset(task.dataset, task.dataset.subset, data_root, task.preprocess)
    session = runtimes.open(tmp_path / "artifact", threads=1, batches=(8,))
    logits = np.concatenate(
        [
            runtimes.predict(session, preprocess_images(images.pixels[start : start + 8], task.preprocess), 8)
            for start in range(0, len(images), 8)
        ]
    )
    order = np.argsort(-logits, axis=1, kind="stable")
    top1, top5 = PUBLISHED[name]
    assert len(images) == 610
    assert abs((order[:, 0] == images.labels).mean() - top1) <= 0.002
    assert abs((order[:, :5] == images.labels[:, None]).any(1).mean() - top5) <= 0.002


# What techniques make of networks that are not for images of 32x32


def candidate(architecture: str) -> Candidate:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        module = build(architecture, CLASSES)
    return Candidate(architecture=architecture, classes=CLASSES, input_shape=SHAPE, module=module)


NETWORKS = ("mobilenetv2", "efficientnet-lite0", "torchvision:squeezenet1_1", "torchvision:resnet18")
STEPS = {
    "prune.structured": {"parameters": 0.3},
    "prune.magnitude": {"sparsity": 0.5},
    "factorize.svd": {"energy": 0.9},
    "quantize.cast": {"dtype": "bfloat16"},
    "quantize.static": {},
    "run.channels_last": {},
    "run.onnxruntime": {},
    "share.kmeans": {"clusters": 16},
}


@pytest.mark.slow
@pytest.mark.parametrize("step", list(STEPS))
@pytest.mark.parametrize("network", NETWORKS)
def test_a_technique_works_on_a_network_for_other_images_and_its_artifact_comes_back(
    network: str, step: str, tmp_path: Path
) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (8, *SHAPE), dtype=np.uint8)
    images = dataclasses.replace(small_models.images(8), pixels=pixels)
    bench = dataclasses.replace(
        small_models.workbench(tmp_path / "scratch"), calibration_images=lambda: images, train_images=lambda: images
    )
    made = TECHNIQUES.load(step)(**STEPS[step]).apply(candidate(network), bench).candidate
    save(made, tmp_path / "artifact")
    session = runtimes.open(tmp_path / "artifact", threads=1, batches=(2,))
    logits = runtimes.predict(session, preprocess_images(pixels[:2], small_models.PREPROCESS), 2)
    assert logits.shape == (2, CLASSES)
    assert np.isfinite(logits).all()
    assert load(tmp_path / "artifact").input_shape == SHAPE
    assert statistics(made).macs > 0


def test_a_network_without_linear_layers_keeps_the_convolution_that_gives_its_classes(tmp_path: Path) -> None:
    network = candidate("torchvision:squeezenet1_1")
    made = TECHNIQUES.load("prune.structured")(parameters=0.3)
    cut = made.apply(network, small_models.workbench(tmp_path)).candidate
    assert cut.module is not None
    assert cut.module(torch.zeros(1, *SHAPE)).shape == (1, CLASSES)
    removed = 1 - statistics(cut).parameters / statistics(network).parameters
    assert abs(removed - 0.3) <= 0.05
