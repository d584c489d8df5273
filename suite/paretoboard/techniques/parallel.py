"""Training a task's own network anew, by several processes: what ranks buy, and whether the result is the same."""

from __future__ import annotations

import dataclasses
import os
import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Final, Literal

from annotated_types import Ge, Gt, Le

from paretoboard.errors import InputError, NotApplicableError
from paretoboard.techniques import Need, Technique
from paretoboard.techniques.forms import own_float32_module
from paretoboard.techniques.train.anew import initial
from paretoboard.techniques.train.finetune import trained

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from torch import nn

    from paretoboard.artifact import Candidate
    from paretoboard.records import MetricValue
    from paretoboard.spec import TrainSettings
    from paretoboard.techniques import Applied, Workbench
    from paretoboard.training import TrainResult
    from paretoboard.training.parallel import Answer, Comparison, Job

RENDEZVOUS: Final = "PARETOBOARD_RENDEZVOUS"  # in the environment: takes the place of the parameter, for any task
_ENOUGH_ROUNDS: Final = 6  # 1 - 2 / 2**6 = 0.97


@dataclass(frozen=True, slots=True, kw_only=True)
class ParallelTraining(Technique):
    """Train as the task trained its own network: same initial weights, settings, seed, order and images.

    What the ranks gain is measured in the same build: some steps by them and by one process, in turns. Their first
    gradient must be that of one process.
    """

    takes = ("torch",)
    needs: ClassVar[tuple[Need, ...]] = ("train",)
    as_the_task = True
    way: ClassVar[Literal["data", "sharded", "tensor", "pipeline"]]

    ranks: Annotated[int, Ge(2), Le(1024)] = 2  # processes that train, of all nodes
    nodes: Annotated[int, Ge(1)] = 1  # machines, each of which runs this task
    rendezvous: str = ""  # host:port where they meet; PARETOBOARD_RENDEZVOUS in the environment goes first
    device: Literal["cpu", "cuda"] = "cpu"  # they talk through gloo, or through NCCL
    timeout_s: Annotated[float, Gt(0)] = 120.0  # without any step before the training counts as hung
    rounds: Annotated[int, Ge(0), Le(100)] = 6  # of timing against one process; 0 compares nothing

    def __post_init__(self) -> None:
        if self.ranks % self.nodes:
            raise InputError(f"{self.ranks} ranks can't be spread evenly over {self.nodes} nodes")
        if self.rendezvous and self.nodes == 1:
            raise InputError("'rendezvous' is where several nodes meet, and there is one: set 'nodes' too")

    def apply(self, candidate: Candidate, bench: Workbench) -> Applied:
        """Train with `ranks` processes.

        Raises:
            NotApplicableError: for an ONNX graph, for weights of fewer than 32 bits, for a model that the task did not
                train, and for a network, settings or a machine that this way can't share.
            ParallelError: for ranks that died, hung or did not meet, and where their gradient is another.
            DivergedError: for a loss that is not finite.
        """
        from paretoboard.training.parallel import check, train_in_parallel

        name = f"parallel.{self.way}"
        module = own_float32_module(candidate, name)
        if bench.train_settings is None:
            raise NotApplicableError(
                f"{name} trains as the task trained its own model, and that one was read from a file: name 'train' "
                "instead of 'weights' under [model]"
            )
        images = bench.train_images()
        job = self._job(bench.train_settings, bench)
        check(job, len(images))
        start, anew = initial(module, candidate, bench.train_seed)
        self.check_network(start, candidate.input_shape)
        done = train_in_parallel(
            dataclasses.replace(candidate, module=start),
            images,
            job,
            scratch=bench.scratch,
            progress=bench.progress,
        )
        # A span of a pipeline may leave out what its forward pass never uses.
        start.load_state_dict({**start.state_dict(), **done.state})
        start.eval()
        batch = min(job.settings.batch, len(images))
        result = _result(done.answer, start, len(images) // batch * batch)
        applied = trained(candidate, start, result)
        notes = (*applied.notes, *_notes(job, done.answer, batch))
        return dataclasses.replace(applied, anew=anew, notes=notes, metrics=tuple(_metrics(job, done.answer)))

    def check_network(self, module: nn.Module, image_shape: tuple[int, ...]) -> None:
        """Raises: NotApplicableError for a network that can't be shared in this way."""

    def options(self) -> dict[str, Any]:
        """What this way's job says beside what all have."""
        return {}

    def _job(self, settings: TrainSettings, bench: Workbench) -> Job:
        import torch

        from paretoboard.training.parallel import Job

        meeting = os.environ.get(RENDEZVOUS, self.rendezvous) if self.nodes > 1 else ""
        if self.nodes > 1 and not meeting:
            raise NotApplicableError(
                f"{self.nodes} nodes need a place to meet: 'rendezvous', or {RENDEZVOUS} in the environment"
            )
        threads = torch.get_num_threads()
        return Job(
            way=self.way,
            ranks=self.ranks,
            nodes=self.nodes,
            rendezvous=meeting,
            device=self.device,
            threads=max(threads * self.nodes // self.ranks, 1),
            all_threads=threads,
            settings=settings,
            preprocess=bench.preprocess,
            seed=bench.train_seed,
            timeout_s=self.timeout_s,
            rounds=self.rounds,
            checkpoint_every_s=bench.checkpoint_every_s,
            **self.options(),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _OfBatches(ParallelTraining):
    """Each rank takes its part of every batch."""

    # Mean and variance of the whole batch, as in one process, or of each rank's part, for which nothing is sent.
    batch_norm: Literal["synchronized", "local"] = "synchronized"

    def options(self) -> dict[str, Any]:
        """What batch norm counts."""
        return {"batch_norm": self.batch_norm}


@dataclass(frozen=True, slots=True, kw_only=True)
class DataParallel(_OfBatches):
    """A copy of the network on each rank; gradients are averaged."""

    source = "Li et al. 2020, PyTorch Distributed, arXiv:2006.15704; torch's DistributedDataParallel"
    way = "data"


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardedDataParallel(_OfBatches):
    """A part of every parameter on each rank, gathered where it is computed with."""

    source = "Zhao et al. 2023, PyTorch FSDP, arXiv:2304.11277; torch.distributed.fsdp.fully_shard (FSDP2)"
    way = "sharded"


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorParallel(ParallelTraining):
    """The weights of linear layers are spread over ranks; convolutions are computed by every rank."""

    source = "Shoeybi et al. 2019, Megatron-LM, arXiv:1909.08053, section 3; torch's parallelize_module (DTensor)"
    way = "tensor"

    def check_network(self, module: nn.Module, image_shape: tuple[int, ...]) -> None:  # noqa: ARG002
        """Raises: NotApplicableError for a network without linear layers."""
        from paretoboard.training.parallel.tensor import linear_layers

        linear_layers(module, self.ranks)


@dataclass(frozen=True, slots=True, kw_only=True)
class PipelineParallel(ParallelTraining):
    """A span of the layers on each rank; batches pass through in parts."""

    source = "Huang et al. 2019, GPipe, arXiv:1811.06965; Narayanan et al. 2019, PipeDream, arXiv:1806.03377 (1F1B)"
    way = "pipeline"

    schedule: Literal["gpipe", "1f1b"] = "1f1b"
    microbatches: Annotated[int, Ge(1)] = 4

    def check_network(self, module: nn.Module, image_shape: tuple[int, ...]) -> None:
        """Raises: NotApplicableError for a network whose layers can't be cut into as many spans as there are ranks."""
        from paretoboard.training.parallel.spans import spans

        spans(module.train(), image_shape, self.ranks)
        module.eval()

    def options(self) -> dict[str, Any]:
        """How batches pass."""
        return {"schedule": self.schedule, "microbatches": self.microbatches}


def _result(answer: Answer, module: nn.Module, images_of_epoch: int) -> TrainResult:
    """As one process tells it."""
    from paretoboard.records import TrainedEpoch
    from paretoboard.training import TrainResult, weights_digest

    curve = tuple(
        TrainedEpoch(epoch=epoch, images_seen=epoch * images_of_epoch, seconds=seconds, loss=loss)
        for epoch, (loss, seconds) in enumerate(zip(answer.losses, answer.until_s, strict=True), 1)
    )
    return TrainResult(
        losses=answer.losses,
        images_seen=curve[-1].images_seen,
        seconds=curve[-1].seconds,
        curve=curve,
        weights=weights_digest(module),
        peak_bytes=sum(report.memory_bytes for report in answer.reports),
    )


def _notes(job: Job, answer: Answer, batch: int) -> Iterator[str]:
    backend = "NCCL" if job.device == "cuda" else "gloo"
    where = f" on {job.nodes} nodes" if job.nodes > 1 else ""
    yield (
        f"{job.ranks} ranks{where} through {backend}, {_threads(job.threads)} each: {answer.layout}; trained in "
        f"{answer.until_s[-1]:.1f} s"
    )
    yield (
        f"a rank's memory grew by up to {answer.memory_bytes / 1e6:.0f} MB while it trained "
        f"({', '.join(f'{report.memory_bytes / 1e6:.0f}' for report in answer.reports)})"
    )
    if answer.comparison is None:
        return
    yield from _comparison_notes(job, answer.comparison, batch)
    shares = [report.communication for report in answer.reports]
    if answer.communication is None:
        yield "the share of communication is not known: the profiler names no collectives here"
    else:
        said = ", ".join(f"{share:.0%}" for share in shares if share is not None)
        yield f"a collective was under way, waiting for others included, in {said} of a step's time (rank by rank)"


def _comparison_notes(job: Job, found: Comparison, batch: int) -> Iterator[str]:
    yield (
        f"{batch / statistics.median(found.ranks_s):,.0f} images/s against "
        f"{batch / statistics.median(found.one_s):,.0f} of one process with {_threads(job.threads)} "
        f"({_range(found.scaling)} times as fast, "
        f"{statistics.median(found.scaling) / job.ranks:.0%} of perfect scaling) "
        f"and {batch / statistics.median(found.whole_s):,.0f} of one with {job.all_threads} ({_range(found.speedups)})"
    )
    from paretoboard.training.parallel.job import TOLERANCE

    tolerated = f", {TOLERANCE:g} is tolerated" if found.exact else ": each rank's batch norm counts its own part"
    yield (
        f"in float64 the first gradient differs from one process's by {found.gradient_difference:.1g} of its largest "
        f"entry{tolerated}; the weights after {found.steps} steps by {found.weight_difference:.1g} of the largest"
    )


def _metrics(job: Job, answer: Answer) -> Iterator[MetricValue]:
    yield _metric("rank_memory", [answer.memory_bytes])
    if answer.comparison is not None:
        yield _metric("train_speedup", answer.comparison.speedups)
        yield _metric("scaling_efficiency", [each / job.ranks for each in answer.comparison.scaling])
    if answer.communication is not None:
        yield _metric("communication_share", [answer.communication])


def _metric(name: str, values: Sequence[float]) -> MetricValue:
    """Their median; its interval is their range where that holds it in 19 of 20 cases, which takes six."""
    from paretoboard.metrics import METRICS
    from paretoboard.records import MetricValue

    enough = len(values) >= _ENOUGH_ROUNDS
    return MetricValue(
        name=name,
        scope="",
        value=statistics.median(values),
        low=min(values) if enough else None,
        high=max(values) if enough else None,
        n=len(values),
        unit=METRICS[name].unit,
    )


def _threads(count: int) -> str:
    return f"{count} thread{'' if count == 1 else 's'}"


def _range(values: Sequence[float]) -> str:
    return f"{statistics.median(values):.2f} [{min(values):.2f}, {max(values):.2f}]"
