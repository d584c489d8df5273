"""What all ways of sharing a training have in common: the images, the loss, and the step."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from paretoboard.training import CrossEntropy
from paretoboard.training.feed import MEMORY_FORMATS, Feed
from paretoboard.training.loss import Batch
from paretoboard.training.network import optimizer, train_mode
from paretoboard.training.rates import rates

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from paretoboard.datasets import Images
    from paretoboard.training.parallel.job import Job  # noqa: TC004 - nothing resolves these annotations


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What is trained on, and how a loss comes about; the same in every process."""

    job: Job
    feed: Feed
    labels: Tensor  # of all images
    device: torch.device
    dtype: torch.dtype = torch.float32  # of weights and images; float64 tells other sums from other orders of a sum

    def epoch(self, epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
        """The images of each step of an epoch, from 0, and the variants, both (batch,): those that `Feed.epoch` has.

        Without the pixels: each rank takes only those it needs.
        """
        order, variants = self.feed.order(self.job.seed, epoch)
        for step in range(self.feed.steps):
            chosen = slice(step * self.feed.batch, (step + 1) * self.feed.batch)
            yield order[chosen], variants[chosen]

    def batch(self, indices: Tensor, variants: Tensor) -> Batch:
        """These images on the device."""
        made = self.feed.take(indices, variants)
        images = made.images.to(self.device, self.dtype, non_blocking=True)
        return Batch(images=images, labels=made.labels.to(self.device), indices=indices, variants=variants)

    def labels_of(self, indices: Tensor) -> Tensor:
        """Of these images, on the device."""
        return self.labels[indices].to(self.device)

    def autocast(self) -> torch.autocast:
        """The precision of the training; in float64 there is no other."""
        half = self.job.settings.precision == "bfloat16" and self.dtype == torch.float32
        return torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=half)

    def loss(self, module: nn.Module, batch: Batch) -> Tensor:
        """Mean over the batch."""
        with self.autocast():
            logits = module(batch.images)
        return self.loss_of(logits, batch)

    def loss_of(self, logits: Tensor, batch: Batch) -> Tensor:
        """Mean over the batch."""
        return CrossEntropy(label_smoothing=self.job.settings.label_smoothing)(logits.to(self.dtype), batch)

    def formatted(self, module: nn.Module) -> nn.Module:
        """`module` on the device, in the memory format of the training, ready to train."""
        module.to(self.device, self.dtype).to(memory_format=MEMORY_FORMATS[self.job.settings.memory_format])
        train_mode(module)
        return module


def work_of(job: Job, images: Images, device: torch.device) -> Work:
    """The images of `job` as its network sees them."""
    feed = Feed(images, job.settings, job.preprocess, seed=job.seed)
    return Work(job=job, feed=feed, labels=torch.from_numpy(images.labels), device=device)


class Share(ABC):
    """This rank's part of one way of training a network."""

    module: nn.Module  # whose parameters this rank's optimizer moves
    prefix: str = ""  # what the way put before the network's own names
    layout: str  # in plain words: what each rank holds

    @abstractmethod
    def gradients(self, indices: Tensor, variants: Tensor) -> float:
        """Leave the gradients of the mean loss over these images at the parameters.

        Returns: this rank's part of that loss; the sum over ranks is all of it.
        """

    @abstractmethod
    def whole(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Copies on the CPU of all tensors of a network, of which this rank holds `tensors`; all ranks must call it."""

    def parameters(self) -> dict[str, Tensor]:
        """What this rank holds of the network's parameters, by the network's own names."""
        return {name.removeprefix(self.prefix): each.detach() for name, each in self.module.named_parameters()}

    def parameter_gradients(self) -> dict[str, Tensor]:
        """What this rank holds of the gradients."""
        found = {name: each.grad for name, each in self.module.named_parameters()}
        return {name.removeprefix(self.prefix): each.detach() for name, each in found.items() if each is not None}

    def state(self) -> dict[str, Tensor]:
        """What this rank holds of the network's state dict."""
        return {name.removeprefix(self.prefix): each for name, each in self.module.state_dict().items()}


class OneProcess(Share):
    """All of it in one process: what the ranks are compared with."""

    def __init__(self, module: nn.Module, work: Work, *, microbatches: int = 1) -> None:
        """Args:
        microbatches: parts that a batch is computed in, one after the other; with batch norm that differs from one.
        """
        self.module, self._work, self._microbatches = work.formatted(module), work, microbatches
        self.layout = "one process"

    def gradients(self, indices: Tensor, variants: Tensor) -> float:
        """Part by part."""
        total = 0.0
        parts = zip(indices.chunk(self._microbatches), variants.chunk(self._microbatches), strict=True)
        for some, their in parts:
            loss = self._work.loss(self.module, self._work.batch(some, their)) * (len(some) / len(indices))
            loss.backward()  # type: ignore[no-untyped-call]
            total += float(loss.detach())
        return total

    def whole(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """They are all here."""
        return {name: each.detach().to("cpu", copy=True) for name, each in tensors.items()}


class Learner:
    """A share with its optimizer, between two steps."""

    def __init__(self, share: Share, work: Work, *, steps: int) -> None:
        """`steps` of the whole training, for the schedule; further ones keep the last learning rate."""
        self.share = share
        self.optimizer = optimizer(share.module, work.job.settings)
        self.done = 0  # steps
        self._rates = rates(work.job.settings, steps)

    def gradients(self, indices: Tensor, variants: Tensor) -> float:
        """Leave fresh gradients; this rank's part of the loss."""
        self.optimizer.zero_grad(set_to_none=True)
        return self.share.gradients(indices, variants)

    def move(self) -> None:
        """Let the optimizer take a step along the gradients that are there."""
        for group in self.optimizer.param_groups:
            group["lr"] = self._rates[min(self.done, len(self._rates) - 1)]
        self.optimizer.step()
        self.done += 1

    def learn(self, indices: Tensor, variants: Tensor) -> float:
        """Do one step; this rank's part of the loss."""
        loss = self.gradients(indices, variants)
        self.move()
        return loss
