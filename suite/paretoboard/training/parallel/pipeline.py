"""Pipeline parallel: each rank holds a span of the network's layers, and batches pass through them in parts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.pipelining import PipelineStage, Schedule1F1B, ScheduleGPipe

from paretoboard.training.feed import MEMORY_FORMATS
from paretoboard.training.loss import Batch
from paretoboard.training.network import train_mode
from paretoboard.training.parallel.sharing import Share, Work
from paretoboard.training.parallel.spans import spans

if TYPE_CHECKING:
    from collections.abc import Mapping

_SCHEDULES = {"gpipe": ScheduleGPipe, "1f1b": Schedule1F1B}


class Pipeline(Share):
    """One span of the network on each rank. A batch goes through in microbatches, whose gradients add up.

    GPipe computes all forward passes and then all backward passes; 1F1B goes back with each microbatch as soon as it
    can, and so keeps fewer activations. Batch norm counts each microbatch by itself, in both.

    Source: Huang et al. 2019, GPipe, arXiv:1811.06965; Narayanan et al. 2019, PipeDream, arXiv:1806.03377, for 1F1B,
    here with one version of the weights; torch.distributed.pipelining.
    """

    prefix = "span."

    def __init__(self, module: nn.Module, work: Work) -> None:
        """The spans of `module` itself; this rank keeps its own.

        Raises: NotApplicableError where the network can't be cut into as many spans as there are ranks.
        """
        job, rank, ranks = work.job, dist.get_rank(), dist.get_world_size()
        image = tuple(work.batch(torch.tensor([0]), torch.tensor([0])).images.shape[1:])
        train_mode(module)
        cut = spans(module, image, ranks)
        self._work, self._first, self._last = work, rank == 0, rank == ranks - 1
        stage = _Stage(cut[rank].module, work, last=self._last)
        self.module = work.formatted(stage)
        size = work.feed.batch // job.microbatches
        given = image if self._first else cut[rank - 1].shape
        pipeline_stage = PipelineStage(
            self.module,
            rank,
            ranks,
            work.device,
            # Known beforehand: else torch finds out by running the first microbatch once for nothing.
            input_args=_example((size, *given), work, learned=not self._first),
            output_args=_example((size, *cut[rank].shape), work, learned=True),
        )
        self._schedule = _SCHEDULES[job.schedule](pipeline_stage, job.microbatches, loss_fn=self._loss)
        shares = ", ".join(f"{each.flops / max(sum(one.flops for one in cut), 1):.0%}" for each in cut)
        self.layout = (
            f"each rank holds a span of the layers, with {shares} of the multiplications; "
            f"batches pass in {job.microbatches} parts of {size}"
        )

    def gradients(self, indices: Tensor, variants: Tensor) -> float:
        """Of the whole batch, microbatch by microbatch."""
        losses: list[Tensor] = []
        if self._first:
            self._schedule.step(self._work.batch(indices, variants).images)
        elif self._last:
            self._schedule.step(target=self._work.labels_of(indices), losses=losses)
        else:
            self._schedule.step()
        return float(torch.stack([loss.detach() for loss in losses]).mean()) if losses else 0.0

    def whole(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Those of all spans."""
        own = {name: each.detach().to("cpu", copy=True) for name, each in tensors.items()}
        everyone: list[dict[str, Tensor] | None] = [None] * dist.get_world_size()
        dist.all_gather_object(everyone, own)
        return {name: each for held in everyone if held is not None for name, each in held.items()}

    def _loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Of one microbatch; the schedule takes the mean of all."""
        nothing = labels.new_zeros(len(labels))
        return self._work.loss_of(logits, Batch(images=logits, labels=labels, indices=nothing, variants=nothing))


class _Stage(nn.Module):
    """A span as it lies between two ranks: what is sent has the weights' dtype and is contiguous."""

    def __init__(self, span: nn.Module, work: Work, *, last: bool) -> None:
        super().__init__()
        self.span = span
        self._work, self._last = work, last
        self._memory_format = MEMORY_FORMATS[work.job.settings.memory_format]

    def forward(self, x: Tensor) -> Tensor:
        """What the next rank gets, or the logits."""
        if x.dim() == 4:
            x = x.contiguous(memory_format=self._memory_format)
        with self._work.autocast():
            y: Tensor = self.span(x)
        y = y.to(self._work.dtype)
        return y if self._last else y.contiguous()


def _example(shape: tuple[int, ...], work: Work, *, learned: bool) -> Tensor:
    """Of this shape and contiguous, as it will be sent."""
    return torch.empty(shape, device=work.device, dtype=work.dtype).requires_grad_(learned)
