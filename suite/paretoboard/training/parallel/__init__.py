"""The project's training, shared by several processes: the same settings, seed, order and images as in one.

How it runs:

    train_in_parallel (parent)     writes the job, listens, ends everything when it is done or something goes wrong
      └─ launcher                  torch.distributed's elastic agent, as torchrun has it; one on each node
           └─ ranks                one process each: train, then compare with one process

Jobs, images, weights and answers travel as files of one folder. A training that was interrupted goes on after the last
epoch that all ranks have kept.
"""

from __future__ import annotations

import dataclasses
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
import torch

from paretoboard import artifact
from paretoboard.errors import NotApplicableError
from paretoboard.training.parallel import job as jobs
from paretoboard.training.parallel.job import Answer, Comparison, Job, RankReport
from paretoboard.training.parallel.launching import launch

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor  # noqa: TC004 - nothing resolves these annotations

    from paretoboard.artifact import Candidate
    from paretoboard.datasets import Images
    from paretoboard.spec import TrainSettings

__all__ = ["Answer", "Comparison", "Job", "RankReport", "Trained", "check", "train_in_parallel"]

# What the ranks' loop does; a setting that it knows nothing of must be as it is by default.
_KNOWN: Final = frozenset(
    {
        "epochs",
        "lr",
        "batch",
        "optimizer",
        "schedule",
        "momentum",
        "weight_decay",
        "label_smoothing",
        "augment",
        "precision",
        "memory_format",
        "alternate_flip",
    }
)
_FOLDER: Final = "parallel-"
_CHECKPOINTS: Final = "ranks"
_PRECISIONS: Final = ("float32", "bfloat16")


@dataclass(frozen=True, slots=True, kw_only=True)
class Trained:
    """What ranks left."""

    state: dict[str, Tensor]  # the network's whole state dict
    answer: Answer


def train_in_parallel(
    start: Candidate, images: Images, job: Job, *, scratch: Path, progress: Callable[[float, str], None]
) -> Trained:
    """Train a network with several processes.

    Args:
        start: with its initial weights; not changed.
        scratch: a folder for what the training needs; after a kill, the same one lets it go on, and after its end
            there is nothing left in it.
        progress: told (share done, how it goes).
    Raises: what `check` and `launching.launch` raise.
    """
    check(job, len(images))
    for left in scratch.glob(f"{_FOLDER}*"):  # by one that was killed
        shutil.rmtree(left, ignore_errors=True)
    kept = scratch / _CHECKPOINTS
    job = dataclasses.replace(job, checkpoints=str(kept))
    with tempfile.TemporaryDirectory(dir=scratch, prefix=_FOLDER) as name:
        folder = Path(name)
        artifact.save(start, folder / jobs.NETWORK)
        np.save(folder / jobs.PIXELS, images.pixels)
        np.save(folder / jobs.LABELS, images.labels)
        answer = launch(job, folder, progress=progress)
        state = torch.load(folder / jobs.WEIGHTS, map_location="cpu", weights_only=True)
    shutil.rmtree(kept)
    return Trained(state=state, answer=answer)


def check(job: Job, images: int) -> None:
    """Refuse what can't be shared, before any process is started.

    Raises: NotApplicableError, with what would do.
    """
    _check_settings(job.settings)
    batch = min(job.settings.batch, images)
    if job.way in ("data", "sharded") and batch % job.ranks:
        raise NotApplicableError(
            f"a batch of {batch} images can't be shared evenly by {job.ranks} ranks: "
            "the mean of their gradients would not be that of the batch"
        )
    if job.way == "pipeline":
        if batch % job.microbatches:
            raise NotApplicableError(f"a batch of {batch} images has no {job.microbatches} microbatches of one size")
        if job.schedule == "1f1b" and job.microbatches < job.ranks:
            raise NotApplicableError(f"1f1b needs as many microbatches as ranks, found {job.microbatches}")
    if job.device == "cuda":
        _check_cuda(job.local_ranks)


def _check_settings(settings: TrainSettings) -> None:
    for field in dataclasses.fields(settings):
        if field.name not in _KNOWN and getattr(settings, field.name) != field.default:
            raise NotApplicableError(f"ranks don't train with '{field.name}', which this task's own training has")
    if settings.precision not in _PRECISIONS:
        raise NotApplicableError(
            f"ranks train in {' or '.join(_PRECISIONS)}, and the task asks for {settings.precision}"
        )


def _check_cuda(needed: int) -> None:
    if not torch.distributed.is_nccl_available():
        raise NotApplicableError("ranks on GPUs talk through NCCL, which this build of torch has not")
    found = torch.cuda.device_count()
    if found < needed:
        raise NotApplicableError(f"{needed} ranks need a GPU each, and {found} can be seen here")
