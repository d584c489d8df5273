"""Training a network on images in memory: the one loop that everything in the project trains with.

The same module, images, settings, seed and number of threads give bit-identical weights, whether the training was
interrupted in between or not.
"""

from __future__ import annotations

import hashlib
import io
import math
import pickle
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from paretoboard import durable
from paretoboard.datasets.preprocess import channel_values, pixel_scale
from paretoboard.errors import DivergedError, InputError
from paretoboard.plan import digest, plain
from paretoboard.training.augmentation import AUGMENTATIONS, augmentation
from paretoboard.training.loss import Batch, CrossEntropy, Loss
from paretoboard.training.masks import Masks, Sparsity

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from paretoboard.datasets import Images
    from paretoboard.spec import Preprocess, TrainSettings

__all__ = ["AUGMENTATIONS", "Batch", "CrossEntropy", "Loss", "Sparsity", "TrainResult", "train", "weights_digest"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainResult:
    """What training took, and how the loss went."""

    losses: tuple[float, ...]  # mean training loss of each epoch
    images_seen: int  # repeats counted
    seconds: float  # of this call: an interrupted training counts what came after the interruption


def train(
    module: nn.Module,
    images: Images,
    settings: TrainSettings,
    *,
    preprocess: Preprocess,
    seed: int,
    threads: int | None = None,
    checkpoint: Path | None = None,
    loss: Loss | None = None,
    keep_zeros: bool = False,
    sparsity: Sparsity | None = None,
    progress: Callable[[float, str], None] = lambda share, text: None,
    clock: Callable[[], float] = time.perf_counter,
) -> TrainResult:
    """Train `module` in place; it is left in evaluation mode.

    Args:
        module: float32, on the CPU; its weights are where training starts.
        images: stored pixels; augmented and preprocessed batch by batch.
        seed: of order and augmentation; torch's global generator is left as it was.
        threads: for torch's operators, the process's own setting if None. Other numbers give other bits.
        checkpoint: a file written after each epoch; a training found there is continued if it is this one.
        loss: cross-entropy with the label smoothing of `settings` if None.
        keep_zeros: whether entries of weights that are zero at the start stay zero.
        sparsity: how many weights of each layer are to become zero on the way, and stay so; the smallest go.
        progress: told (share done, what is going on) after each step.
    Raises:
        DivergedError: for a loss that is not finite, naming epoch and step.
        UnknownNameError: for an augmentation that AUGMENTATIONS does not know.
    """
    started = clock()
    threads_before = torch.get_num_threads()
    torch.set_num_threads(threads or threads_before)
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            wanted = loss or CrossEntropy(label_smoothing=settings.label_smoothing)
            masks = Masks(module, keep_zeros=keep_zeros, growing=sparsity is not None)
            training = _Training(module, images, settings, preprocess, loss=wanted, masks=masks, sparsity=sparsity)
            rest = (seed, torch.get_num_threads(), keep_zeros, wanted.identity, sparsity.identity if sparsity else "")
            identity = _identity(module, images, settings, preprocess, rest)
            losses = training.resume(checkpoint, identity) if checkpoint else []
            for epoch in range(len(losses), settings.epochs):
                losses.append(training.epoch(epoch, progress))
                if checkpoint:
                    training.save(checkpoint, identity, losses)
    finally:
        torch.set_num_threads(threads_before)
        module.to(memory_format=torch.contiguous_format).eval()
    seen = training.steps * training.batch * settings.epochs
    return TrainResult(losses=tuple(losses), images_seen=seen, seconds=clock() - started)


def weights_digest(module: nn.Module) -> str:
    """64 hex digits over the names and the bits of all weights and running statistics."""
    content = hashlib.sha256()
    for name, tensor in module.state_dict().items():
        content.update(name.encode())
        content.update(tensor.detach().contiguous().reshape(-1).view(torch.uint8).numpy())
    return content.hexdigest()


class _Training:
    """Module, optimizer and schedule between two epochs."""

    def __init__(
        self,
        module: nn.Module,
        images: Images,
        settings: TrainSettings,
        preprocess: Preprocess,
        *,
        loss: Loss,
        masks: Masks,
        sparsity: Sparsity | None,
    ) -> None:
        if len(images) == 0:
            raise InputError("there are no images to train on")
        self.settings = settings
        # What does not fill a batch waits for the next epoch's order: batch norm needs more than an image or two.
        self.batch = min(settings.batch, len(images))
        self.steps = len(images) // self.batch
        self.module = module.to(memory_format=torch.channels_last)
        self.loss, self.masks, self.sparsity = loss, masks, sparsity
        self.optimizer = _optimizer(module, settings)
        self.schedule = _schedule(self.optimizer, settings, self.steps * settings.epochs)
        self.augmentations = [augmentation(name) for name in settings.augment]
        # Copied where a reader gave memory that can't be written: torch warns of such.
        self.pixels = torch.from_numpy(np.require(images.pixels, requirements=["C", "W"]))
        self.labels = torch.from_numpy(np.require(images.labels, requirements=["C", "W"]))
        channels = images.pixels.shape[1]
        self.scale = pixel_scale(preprocess)
        self.mean = torch.from_numpy(channel_values(preprocess.mean, channels, "mean"))
        self.std = torch.from_numpy(channel_values(preprocess.std, channels, "std"))

    def epoch(self, epoch: int, progress: Callable[[float, str], None]) -> float:
        """One pass over the images; the mean loss."""
        self.module.train()
        total = 0.0
        for step, batch in enumerate(self._batches()):
            loss = self._step(batch, epoch * self.steps + step + 1)
            if not math.isfinite(loss):
                raise DivergedError(
                    f"training diverged in epoch {epoch + 1}, step {step + 1} of {self.steps}: the loss is {loss}"
                )
            total += loss
            done = (epoch * self.steps + step + 1) / (self.settings.epochs * self.steps)
            progress(done, f"epoch {epoch + 1} of {self.settings.epochs}, loss {total / (step + 1):.3f}")
        return total / self.steps

    def _batches(self) -> Iterator[Batch]:
        order = torch.randperm(len(self.pixels))[: self.steps * self.batch]
        for chosen in torch.split(order, self.batch):
            pixels = self.pixels[chosen]
            for augment in self.augmentations:
                pixels = augment(pixels)
            images = pixels.to(torch.float32, memory_format=torch.channels_last)
            images.mul_(self.scale).sub_(self.mean).div_(self.std)
            yield Batch(images=images, labels=self.labels[chosen], indices=chosen)

    def _step(self, batch: Batch, number: int) -> float:
        half = self.settings.precision == "bfloat16"
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=half):
            logits = self.module(batch.images)
        loss = self.loss(logits.float(), batch)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()
        self.schedule.step()
        share = self.sparsity(number, self.steps * self.settings.epochs) if self.sparsity else None
        if share is not None:
            self.masks.grow(share)
        self.masks.apply()
        return float(loss.detach())

    def save(self, path: Path, identity: str, losses: list[float]) -> None:
        """Replace the checkpoint: a kill leaves the old one or the new one."""
        content = {
            "identity": identity,
            "losses": losses,
            "module": self.module.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state_dict(),
            "masks": self.masks.state(),
            "random": torch.get_rng_state(),
        }
        stream = io.BytesIO()
        torch.save(content, stream)
        durable.write(path, stream.getbuffer())

    def resume(self, path: Path, identity: str) -> list[float]:
        """Take up the training in `path`; its losses, none where there is none or it is of another training."""
        try:
            content: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        except (OSError, RuntimeError, EOFError, pickle.UnpicklingError):
            return []  # nothing there, or not of ours: begin anew and replace it
        if not isinstance(content, dict) or content.get("identity") != identity:
            return []
        self.module.load_state_dict(content["module"])
        self.optimizer.load_state_dict(content["optimizer"])
        self.schedule.load_state_dict(content["schedule"])
        self.masks.load(content["masks"])
        torch.set_rng_state(content["random"])
        return list(content["losses"])


def _optimizer(module: nn.Module, settings: TrainSettings) -> torch.optim.Optimizer:
    if settings.optimizer == "adamw":
        return torch.optim.AdamW(module.parameters(), settings.lr, weight_decay=settings.weight_decay)
    return torch.optim.SGD(
        module.parameters(),
        settings.lr,
        momentum=settings.momentum,
        weight_decay=settings.weight_decay,
        nesterov=settings.momentum > 0,
    )


def _schedule(
    optimizer: torch.optim.Optimizer, settings: TrainSettings, steps: int
) -> torch.optim.lr_scheduler.LRScheduler:
    if settings.schedule == "cosine":
        return torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=steps)
    if settings.schedule == "onecycle":
        # The momentum stays: cycling it too is a setting of its own.
        return torch.optim.lr_scheduler.OneCycleLR(optimizer, settings.lr, total_steps=steps, cycle_momentum=False)
    return torch.optim.lr_scheduler.ConstantLR(optimizer, factor=1.0)


def _identity(
    module: nn.Module, images: Images, settings: TrainSettings, preprocess: Preprocess, rest: tuple[Any, ...]
) -> str:
    """Digest of all that decides the outcome of a training, so that a checkpoint of another one is not taken up."""
    content = hashlib.sha256(weights_digest(module).encode())
    content.update(images.pixels.tobytes())
    content.update(images.labels.tobytes())
    return digest([content.hexdigest(), plain(settings), plain(preprocess), list(rest), torch.__version__])
