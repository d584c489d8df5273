"""Small networks, images and a workbench, for the tests of models, artifacts, runtimes and techniques."""

from __future__ import annotations

import functools
import hashlib
from typing import TYPE_CHECKING

import numpy as np
import torch

from paretoboard.artifact import Candidate
from paretoboard.datasets import Images
from paretoboard.models import build
from paretoboard.spec import Preprocess
from paretoboard.techniques import Workbench
from paretoboard.techniques.export import as_graph

if TYPE_CHECKING:
    from pathlib import Path

    from torch import nn

SHAPE = (3, 32, 32)
PREPROCESS = Preprocess(mean=(0.5, 0.4, 0.3), std=(0.25, 0.3, 0.35))


def candidate(architecture: str = "cifar-resnet8", *, seed: int = 0) -> Candidate:
    """A randomly initialized network whose batch norm has seen something, so that folding it matters."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        module = build(architecture, 10)
        for layer in module.modules():
            if isinstance(layer, torch.nn.BatchNorm2d):
                torch.nn.init.uniform_(layer.running_mean, -0.2, 0.2)
                torch.nn.init.uniform_(layer.running_var, 0.5, 1.5)
                torch.nn.init.uniform_(layer.weight, 0.5, 1.5)
                torch.nn.init.uniform_(layer.bias, -0.2, 0.2)
    return Candidate(architecture=architecture, classes=10, input_shape=SHAPE, module=module)


def module(architecture: str = "cifar-resnet8", *, seed: int = 0) -> nn.Module:
    """The network of `candidate`."""
    made = candidate(architecture, seed=seed).module
    assert made is not None
    return made


@functools.cache
def exported(architecture: str = "cifar-resnet8") -> Candidate:
    """The network of `candidate` as a graph; exporting takes seconds, so all tests of a session share it."""
    return as_graph(candidate(architecture))


def images(count: int, *, seed: int = 0) -> Images:
    """Noise whose brightness tells its class: ten classes that a network can learn."""
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, 10, count)
    pixels = generator.integers(0, 60, (count, *SHAPE)) + 19 * labels[:, None, None, None]
    return Images(
        ids=tuple(f"made/{index:04d}" for index in range(count)),
        pixels=pixels.astype(np.uint8),
        labels=labels.astype(np.int64),
        classes=tuple("abcdefghij"),
    )


def workbench(scratch: Path, *, seed: int = 3) -> Workbench:
    """A workbench with 64 training and 32 calibration images."""
    scratch.mkdir(parents=True, exist_ok=True)
    return Workbench(
        seed=seed,
        preprocess=PREPROCESS,
        train_images=lambda: images(64, seed=1),
        calibration_images=lambda: images(32, seed=2),
        teacher=lambda: module(seed=9),
        train_settings=None,
        train_seed=17,
        scratch=scratch,
        progress=lambda share, text: None,
        checkpoint_every_s=0.0,  # after each step, so that a test can interrupt anywhere
    )


def inputs(count: int, *, seed: int = 5) -> np.ndarray:
    """Preprocessed images (count, 3, 32, 32), float32."""
    return np.random.default_rng(seed).standard_normal((count, *SHAPE)).astype(np.float32)


def fingerprint(module: nn.Module) -> str:
    """Changes when any bit of any weight or statistic does."""
    content = hashlib.sha256()
    for name, tensor in sorted(module.state_dict().items()):
        content.update(name.encode() + tensor.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return content.hexdigest()
