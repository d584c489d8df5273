"""One rank of a training that several processes share."""

from __future__ import annotations

import copy
import math
import os
import signal
import time
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import torch
import torch.distributed as dist

from paretoboard import artifact
from paretoboard.datasets import Images
from paretoboard.errors import DivergedError, ParallelError
from paretoboard.process import die_with_parent
from paretoboard.training import weights_digest
from paretoboard.training.network import prepare
from paretoboard.training.parallel import job as jobs
from paretoboard.training.parallel.checkpoint import Checkpoints
from paretoboard.training.parallel.comparing import compare
from paretoboard.training.parallel.process import Memory
from paretoboard.training.parallel.pulse import Pulse
from paretoboard.training.parallel.sharing import Learner, Share, Work, work_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from torch import nn

    from paretoboard.artifact import Candidate
    from paretoboard.training.parallel.job import Comparison, Job, Way

_BACKENDS: Final = {"cpu": "gloo", "cuda": "cpu:gloo,cuda:nccl"}
_GRACE_S: Final = 1.0  # a rank that was killed is to be found before those that its death broke
_SLACK_S: Final = 30.0  # whoever watches ends a training that hangs before its collectives do
_TRAINING_SHARE: Final = 0.8  # of the time, about; the rest compares


def run(folder: str, descriptor: int, launcher: int) -> None:
    """The training of the job in `folder`, as the rank that the environment says.

    Args:
        descriptor: a pipe that signs of life are written to.
        launcher: process id of the parent, with which this process ends.
    """
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # the launcher's own handler was inherited
    die_with_parent(launcher)
    rank = int(os.environ["RANK"])
    try:
        with Pulse(descriptor, rank) as pulse:
            _take_part(jobs.read(jobs.Job, Path(folder) / jobs.JOB), Path(folder), pulse)
    except Exception as error:
        failure = jobs.Failure(who=rank, kind=type(error).__name__, message=str(error), at_s=time.monotonic())
        jobs.write(Path(folder) / jobs.FAILURE.format(rank), failure)
        time.sleep(_GRACE_S)
        raise


def share_of(way: Way) -> Callable[[nn.Module, Work], Share]:
    """What makes a rank's share of a network, for one way of sharing."""
    # Here, since each takes a part of torch that the others do without: a second of imports.
    if way == "pipeline":
        from paretoboard.training.parallel.pipeline import Pipeline

        return Pipeline
    if way == "tensor":
        from paretoboard.training.parallel.tensor import TensorParallel

        return TensorParallel
    from paretoboard.training.parallel.data import DataParallel, Sharded

    return DataParallel if way == "data" else Sharded


def _take_part(job: Job, folder: Path, pulse: Pulse) -> None:
    device = torch.device("cpu")
    if job.device == "cuda":
        device = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
        torch.cuda.set_device(device)
    torch.set_num_threads(job.threads)
    pulse.at("the meeting of the ranks", 0.0, "meeting")
    dist.init_process_group(_BACKENDS[job.device], timeout=timedelta(seconds=job.timeout_s + _SLACK_S))
    memory = Memory()
    start = artifact.load(folder / jobs.NETWORK)
    work = work_of(job, _images(folder, start.classes), device)
    network = _network(start, work)
    identity = _agreed(job, network, work)
    shared = share_of(job.way)
    # Ranks with different images draw different numbers; ranks with the same ones must draw the same.
    torch.manual_seed(job.seed + (dist.get_rank() if job.way in ("data", "sharded") else 0))
    memory.begin()
    share = shared(copy.deepcopy(network), work)
    trained = _train(share, work, pulse, identity)
    peak_bytes = memory.peak_bytes()
    state = share.whole(share.state())
    if os.environ["LOCAL_RANK"] == "0":
        torch.save(state, folder / jobs.WEIGHTS)
    layout = share.layout
    del share, state
    comparison, communication = None, None
    if job.rounds:
        comparison, communication = compare(network, shared, work, lambda what: pulse.at(what, _TRAINING_SHARE, what))
    report = jobs.RankReport(
        rank=dist.get_rank(), memory_bytes=peak_bytes, communication=communication, loss_parts=tuple(trained.parts)
    )
    _answer(folder, report, comparison, until_s=tuple(trained.until_s), layout=layout)
    dist.destroy_process_group()


def _network(start: Candidate, work: Work) -> nn.Module:
    """With its initial weights, and as it asks to be before its training begins."""
    assert start.module is not None
    module = start.module.requires_grad_(True)
    prepare(module, work.feed)
    return module


def _images(folder: Path, classes: int) -> Images:
    """Mapped into memory, private to this rank where it writes."""
    pixels = np.load(folder / jobs.PIXELS, mmap_mode="c")
    labels = np.load(folder / jobs.LABELS)
    names = tuple(map(str, range(len(labels))))
    return Images(ids=names, pixels=pixels, labels=labels, classes=tuple(map(str, range(classes))))


def _agreed(job: Job, network: nn.Module, work: Work) -> str:
    """What decides the outcome of the training, the same on all ranks.

    Raises: ParallelError unless as many ranks met as the job asks for, all with the same job, weights and images.
    """
    world = dist.get_world_size()
    if world != job.ranks:
        raise ParallelError(f"{job.ranks} ranks are asked for and {world} met: all nodes must run the same task")
    identities: list[str | None] = [None] * world
    own = f"{job.identity} {weights_digest(network)} {work.feed.identity} {torch.__version__}"
    dist.all_gather_object(identities, own)
    others = [rank for rank, identity in enumerate(identities) if identity != identities[0]]
    if others:
        raise ParallelError(
            f"rank {others[0]} has other settings, weights or images than rank 0: all nodes must run the same task "
            "with the same software"
        )
    return f"{own} {job.threads}"


class _Progress:
    """How far a training has come; lists with one entry for each finished epoch."""

    def __init__(self, done: int, kept: Mapping[str, Any]) -> None:
        self.epochs = done
        self.parts: list[float] = list(kept.get("parts", ()))  # this rank's of the mean loss
        self.until_s: list[float] = list(kept.get("until_s", ()))  # seconds of training, interruptions left out
        self._before_s = self.until_s[-1] if self.until_s else 0.0
        self._start = time.perf_counter()

    @property
    def seconds(self) -> float:
        """Of training so far."""
        return self._before_s + time.perf_counter() - self._start

    def end_epoch(self, part: float) -> None:
        """Another one is done."""
        self.epochs += 1
        self.parts.append(part)
        self.until_s.append(self.seconds)


def _train(share: Share, work: Work, pulse: Pulse, identity: str) -> _Progress:
    """All steps that are not done yet.

    Raises: DivergedError for a loss that is not finite.
    """
    settings, feed = work.job.settings, work.feed
    learner = Learner(share, work, steps=settings.epochs * feed.steps)
    kept = None
    if work.job.checkpoints:
        kept = Checkpoints(Path(work.job.checkpoints), identity, every_s=work.job.checkpoint_every_s)
    progress = _Progress(*(kept.take_up(share.module, learner.optimizer) if kept else (0, {})))
    learner.done = progress.epochs * feed.steps
    while progress.epochs < settings.epochs:
        total = 0.0
        for step, (indices, variants) in enumerate(work.epoch(progress.epochs), 1):
            _tell(learner, work, progress, pulse)
            loss = learner.learn(indices, variants)
            if not math.isfinite(loss):
                raise DivergedError(
                    f"training diverged in epoch {progress.epochs + 1}, step {step} of {feed.steps}: the loss is {loss}"
                )
            total += loss
        progress.end_epoch(total / feed.steps)
        if kept and progress.epochs < settings.epochs:
            state = {"parts": progress.parts, "until_s": progress.until_s}
            kept.save(progress.epochs, share.module, learner.optimizer, state)
    return progress


def _tell(learner: Learner, work: Work, progress: _Progress, pulse: Pulse) -> None:
    """That the next step begins."""
    settings, steps = work.job.settings, work.feed.steps * work.job.settings.epochs
    rate = learner.done * work.feed.batch / max(progress.seconds, 1e-9)
    text = f"epoch {progress.epochs + 1} of {settings.epochs}, {rate:,.0f} images/s on {work.job.ranks} ranks"
    pulse.at(f"step {learner.done + 1} of {steps}", _TRAINING_SHARE * learner.done / steps, text)


def _answer(
    folder: Path, own: jobs.RankReport, comparison: Comparison | None, *, until_s: tuple[float, ...], layout: str
) -> None:
    """What all ranks saw, written once on each node."""
    everyone: list[tuple[jobs.RankReport, Comparison | None] | None] = [None] * dist.get_world_size()
    dist.all_gather_object(everyone, (own, comparison))
    found = [each for each in everyone if each is not None]
    answer = jobs.Answer(
        reports=tuple(report for report, _ in found), until_s=until_s, comparison=found[0][1], layout=layout
    )
    if os.environ["LOCAL_RANK"] == "0":
        jobs.write(folder / jobs.ANSWER, answer)
