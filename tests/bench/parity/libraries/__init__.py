"""Each library's documented procedure, as close to its documentation's own lines as the model at hand allows."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from paretoboard import artifact, datasets
from paretoboard.artifact import Candidate
from paretoboard.datasets.preprocess import preprocess_images
from paretoboard.plan import RunSpec

Emit = Callable[[dict[str, Any]], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class MakeJob:
    """Make the library's model from the one that our recipe begins with."""

    run: RunSpec  # ours: dataset, calibration images and preprocessing are the same
    data_root: Path
    baseline: Path  # artifact of the untouched model
    out: Path  # a folder that is not there yet
    seed: int  # of our recipe's last training step
    cores: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """What to know about the library's model."""

    notes: tuple[str, ...] = ()


def use_cores(job: MakeJob) -> None:
    """Let this process use as many cores and threads as building may."""
    import torch

    os.sched_setaffinity(0, job.cores)
    torch.set_num_threads(len(job.cores))


def baseline(job: MakeJob) -> Candidate:
    """The untouched model."""
    return artifact.load(job.baseline)


def calibration_inputs(job: MakeJob) -> NDArray[np.float32]:
    """The task's calibration images as the model sees them."""
    subset = job.run.dataset.calibration
    assert subset is not None
    images = datasets.read_subset(job.run.dataset, subset, job.data_root, job.run.preprocess)
    return preprocess_images(images.pixels, job.run.preprocess)
