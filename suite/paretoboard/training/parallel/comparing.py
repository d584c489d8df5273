"""Ranks beside one process: the same gradients, and how long a step takes either way.

Times are taken in turns, so that what disturbs the machine meets all arms: in each round the ranks, one process with
the threads of one rank, and one process with all threads.
"""

from __future__ import annotations

import copy
import dataclasses
import math
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.modules.dropout import _DropoutNd
from torch.profiler import ProfilerActivity, profile

from paretoboard.errors import ParallelError
from paretoboard.training.parallel.job import TOLERANCE, Comparison
from paretoboard.training.parallel.normalization import has_batch_norm
from paretoboard.training.parallel.sharing import Learner, OneProcess, Share, Work

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

_EQUAL_STEPS: Final = 3
_ROUND_S: Final = 0.3  # an arm of a round lasts about so long, one step at least
_MOST_STEPS: Final = 100
_COLLECTIVES: Final = ("gloo:", "nccldevkernel")  # how the profiler calls them


def compare(
    network: nn.Module, shared: Callable[[nn.Module, Work], Share], work: Work, tell: Callable[[str], None]
) -> tuple[Comparison | None, float | None]:
    """Do some steps both ways, without dropout; every rank must call it.

    Args:
        network: with its initial weights; not changed.
        shared: makes this rank's share of a network.
        tell: told before each step what it is for.
    Returns: the comparison, on rank 0; and the share of a step in which this rank had a collective under way.
    Raises: ParallelError where the ranks' gradient is not that of one process.
    """
    still = _without_dropout(copy.deepcopy(network))
    first = dist.get_rank() == 0
    gradient, weights = _differences(still, shared, dataclasses.replace(work, dtype=torch.float64), tell)
    exact = not (work.job.way in ("data", "sharded") and work.job.batch_norm == "local" and has_batch_norm(network))
    if exact and gradient > TOLERANCE:
        raise ParallelError(
            f"parallel.{work.job.way} gives another gradient than one process: in float64 they differ by "
            f"{gradient:.2g} of the largest entry, and {TOLERANCE:g} is tolerated"
        )
    steps = _Steps(work, tell)
    ranks = _learner(shared(copy.deepcopy(still), work), work)
    one = _learner(OneProcess(copy.deepcopy(still), work), work) if first else None
    seconds, count = _seconds(ranks, one, steps)
    communication = _communication(ranks, steps, count)
    if not first:
        return None, communication
    comparison = Comparison(
        gradient_difference=gradient,
        weight_difference=weights,
        steps=_EQUAL_STEPS,
        exact=exact,
        ranks_s=seconds[0],
        one_s=seconds[1],
        whole_s=seconds[2],
    )
    return comparison, communication


def largest_difference(found: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> float:
    """The largest difference of two sets of tensors, as a share of the largest entry of `wanted`.

    Infinite where names or shapes differ, and where it is no number.
    """
    if found.keys() != wanted.keys() or any(found[name].shape != each.shape for name, each in wanted.items()):
        return math.inf
    gaps = [float((found[name] - each).abs().max()) for name, each in wanted.items()]
    if not all(map(math.isfinite, gaps)):
        return math.inf
    return max(gaps) / (max(float(each.abs().max()) for each in wanted.values()) or 1.0)


class _Steps:
    """The batches of the first epoch, again and again: the same for every arm."""

    def __init__(self, work: Work, tell: Callable[[str], None]) -> None:
        self.work, self._tell = work, tell
        self._batches = list(work.epoch(0))

    def __getitem__(self, step: int) -> tuple[Tensor, Tensor]:
        """Images of a step, and their variants."""
        return self._batches[step % len(self._batches)]

    def do(self, learner: Learner, steps: Iterable[int], what: str) -> None:
        """These steps of `learner`."""
        for step in steps:
            self._tell(f"{what}, step {step + 1}")
            learner.learn(*self[step])


@dataclass(frozen=True, slots=True, kw_only=True)
class _Arm:
    """One of the things that are timed in turns."""

    name: str
    learner: Learner | None  # None where this rank only waits for it
    threads: int
    steps: _Steps

    def seconds(self, count: int) -> float:
        """Of `count` steps; every rank must call it."""
        device, threads = self.steps.work.device, torch.get_num_threads()
        dist.barrier()
        torch.set_num_threads(self.threads)
        start = time.perf_counter()
        if self.learner is not None:
            self.steps.do(self.learner, range(count), f"timing {self.name}")
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        dist.barrier()
        elapsed_s = time.perf_counter() - start
        torch.set_num_threads(threads)
        return elapsed_s


def _learner(share: Share, work: Work) -> Learner:
    return Learner(share, work, steps=work.job.settings.epochs * work.feed.steps)


def _twin(network: nn.Module, work: Work) -> Learner:
    """One process that does what the ranks do: batch norm sees a pipeline's microbatches."""
    parts = work.job.microbatches if work.job.way == "pipeline" and has_batch_norm(network) else 1
    return _learner(OneProcess(copy.deepcopy(network), work, microbatches=parts), work)


def _differences(
    network: nn.Module, shared: Callable[[nn.Module, Work], Share], work: Work, tell: Callable[[str], None]
) -> tuple[float, float]:
    """Largest relative difference of the first gradient, and of the weights after some steps; on rank 0, else 0."""
    ranks = _learner(shared(copy.deepcopy(network), work), work)
    one = _twin(network, work) if dist.get_rank() == 0 else None
    steps, found = _Steps(work, tell), []
    for learner, what in ((ranks, "comparing the ranks"), (one, "comparing one process")):
        if learner is None:
            return 0.0, 0.0
        learner.gradients(*steps[0])
        gradient = learner.share.whole(learner.share.parameter_gradients())
        learner.move()
        steps.do(learner, range(1, _EQUAL_STEPS), what)
        found.append((gradient, learner.share.whole(learner.share.parameters())))
    (gradient, weights), (its_gradient, its_weights) = found
    return largest_difference(gradient, its_gradient), largest_difference(weights, its_weights)


def _seconds(ranks: Learner, one: Learner | None, steps: _Steps) -> tuple[tuple[tuple[float, ...], ...], int]:
    """Seconds of a step in each round, for the three arms; and how many steps of the ranks a round had."""
    job = steps.work.job
    arms = [
        _Arm(name="the ranks", learner=ranks, threads=job.threads, steps=steps),
        _Arm(name="one process", learner=one, threads=job.threads, steps=steps),
        _Arm(name="one process with all threads", learner=one, threads=job.all_threads, steps=steps),
    ]
    counts = [_agreed(arm.seconds(1)) for arm in arms]
    rounds = [[arm.seconds(count) / count for arm, count in zip(arms, counts, strict=True)] for _ in range(job.rounds)]
    return tuple(zip(*rounds, strict=True)), counts[0]


def _agreed(step_s: float) -> int:
    """How many steps of this length fill a round, as rank 0 says."""
    count = torch.tensor([min(max(math.ceil(_ROUND_S / step_s), 1), _MOST_STEPS)])
    dist.broadcast(count, 0)
    return int(count)


def _communication(ranks: Learner, steps: _Steps, count: int) -> float | None:
    """Share of the time of `count` steps with a collective under way on this rank, waiting for others included.

    None where the profiler names none. The profiler itself takes time, more in steps of many small operators.
    """
    device = steps.work.device
    kinds = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if device.type == "cuda" else [])]
    dist.barrier()
    with profile(activities=kinds) as trace:
        start = time.perf_counter()
        steps.do(ranks, range(count), "looking at communication")
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        elapsed_s = time.perf_counter() - start
    dist.barrier()
    spans = [
        (event.time_range.start, event.time_range.end)
        for event in trace.events() or ()
        if event.name.lower().startswith(_COLLECTIVES)
    ]
    return min(_union(spans) / 1e6 / elapsed_s, 1.0) if spans else None


def _union(spans: Iterable[tuple[float, float]]) -> float:
    """Length of what the spans cover together."""
    covered, until = 0.0, -math.inf
    for start, end in sorted(spans):
        covered += max(end - max(start, until), 0.0)
        until = max(until, end)
    return covered


def _without_dropout(module: nn.Module) -> nn.Module:
    """`module` with no layer that draws: ranks draw other numbers than one process."""
    for layer in module.modules():
        if isinstance(layer, _DropoutNd):
            layer.p = 0.0
        elif isinstance(layer, nn.MultiheadAttention | nn.RNNBase):
            layer.dropout = 0.0
    return module
