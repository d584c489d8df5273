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
from typing import TYPE_CHECKING, Any, Final

import torch
from torch import nn

from paretoboard import durable
from paretoboard.errors import DivergedError
from paretoboard.plan import digest, plain
from paretoboard.training.augmentation import AUGMENTATIONS
from paretoboard.training.feed import MEMORY_FORMATS, Feed
from paretoboard.training.loss import Batch, CrossEntropy, Loss
from paretoboard.training.masks import Masks, Sparsity

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from paretoboard.datasets import Images
    from paretoboard.spec import Preprocess, TrainSettings

__all__ = ["AUGMENTATIONS", "Batch", "CrossEntropy", "Loss", "Sparsity", "TrainResult", "train", "weights_digest"]

_CHECKPOINT_FORMAT: Final = 2


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
    checkpoint_every_s: float = durable.CHECKPOINT_EVERY_S,
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
        checkpoint: a file written now and then and at the end; a training found there is continued if it is this one.
        checkpoint_every_s: at most about so much work is lost by a kill; 0 writes one after each step.
        loss: cross-entropy with the label smoothing of `settings` if None.
        keep_zeros: whether entries of weights that are zero at the start stay zero.
        sparsity: how many weights of each layer are to become zero on the way, and stay so; the smallest go.
        progress: told (share done, where it is, the loss, images per second and the time left) after each step.
    Raises:
        DivergedError: for a loss that is not finite, naming epoch and step.
        InputError: without images.
        UnknownNameError: for an augmentation that AUGMENTATIONS does not know.
    """
    started = clock()
    threads_before = torch.get_num_threads()
    torch.set_num_threads(threads or threads_before)
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            feed = Feed(images, settings, preprocess)
            wanted = loss or CrossEntropy(label_smoothing=settings.label_smoothing)
            masks = Masks(module, keep_zeros=keep_zeros, growing=sparsity is not None)
            rest = (seed, torch.get_num_threads(), keep_zeros, wanted.identity, sparsity.identity if sparsity else "")
            identity = _identity(module, feed, settings, rest)
            training = _Training(module, feed, settings, seed=seed, loss=wanted, masks=masks, sparsity=sparsity)
            if checkpoint:
                training.resume(checkpoint, identity)
            _run(training, checkpoint, identity, checkpoint_every_s, progress, clock)
    finally:
        torch.set_num_threads(threads_before)
        module.to(memory_format=torch.contiguous_format).eval()
    seen = feed.steps * feed.batch * settings.epochs
    return TrainResult(losses=tuple(training.losses), images_seen=seen, seconds=clock() - started)


def weights_digest(module: nn.Module) -> str:
    """64 hex digits over the names and the bits of all weights and running statistics."""
    content = hashlib.sha256()
    for name, tensor in module.state_dict().items():
        content.update(name.encode())
        content.update(tensor.detach().contiguous().reshape(-1).view(torch.uint8).numpy())
    return content.hexdigest()


def _run(
    training: _Training,
    checkpoint: Path | None,
    identity: str,
    every_s: float,
    progress: Callable[[float, str], None],
    clock: Callable[[], float],
) -> None:
    """All steps that are not done yet."""
    found_done, began = training.done, clock()
    saved = began
    training.module.train()
    while training.done < training.steps:
        epoch, step = divmod(training.done, training.feed.steps)
        for batch in training.feed.epoch(training.seed, epoch, after=step):
            training.learn(batch)
            now = clock()
            per_step_s = (now - began) / (training.done - found_done)
            progress(training.done / training.steps, training.describe(per_step_s))
            if checkpoint and now - saved >= every_s:
                training.save(checkpoint, identity)
                saved = clock()
    if checkpoint:
        training.save(checkpoint, identity)


class _Training:
    """Module, optimizer and schedule between two steps."""

    def __init__(
        self,
        module: nn.Module,
        feed: Feed,
        settings: TrainSettings,
        *,
        seed: int,
        loss: Loss,
        masks: Masks,
        sparsity: Sparsity | None,
    ) -> None:
        self.settings, self.feed, self.seed = settings, feed, seed
        self.steps = feed.steps * settings.epochs
        self.done = 0  # steps
        self.losses: list[float] = []  # mean of each finished epoch
        self._total = 0.0  # of the losses of the epoch in hand
        self.module = module.to(memory_format=MEMORY_FORMATS[settings.memory_format])
        self._loss, self._masks, self._sparsity = loss, masks, sparsity
        self._optimizer = _optimizer(module, settings)
        self._schedule = _schedule(self._optimizer, settings, self.steps)

    def learn(self, batch: Batch) -> None:
        """Do one step.

        Raises: DivergedError for a loss that is not finite.
        """
        loss = self._step(batch)
        if not math.isfinite(loss):
            epoch, step = divmod(self.done, self.feed.steps)
            raise DivergedError(
                f"training diverged in epoch {epoch + 1}, step {step + 1} of {self.feed.steps}: the loss is {loss}"
            )
        self.done += 1
        self._total += loss
        if self.done % self.feed.steps == 0:
            self.losses.append(self._total / self.feed.steps)
            self._total = 0.0

    def describe(self, per_step_s: float) -> str:
        """Where the training is, how it goes and how long it still takes; after at least one step."""
        steps_of_epoch = self.done % self.feed.steps
        loss = self._total / steps_of_epoch if steps_of_epoch else self.losses[-1]
        epoch = -(-self.done // self.feed.steps)
        rate = self.feed.batch / per_step_s if per_step_s > 0 else math.inf
        left_s = round((self.steps - self.done) * per_step_s)
        left = f"{left_s // 60}:{left_s % 60:02} left"
        return f"epoch {epoch} of {self.settings.epochs}, loss {loss:.3f}, {rate:,.0f} images/s, {left}"

    def _step(self, batch: Batch) -> float:
        half = self.settings.precision == "bfloat16"
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=half):
            logits = self.module(batch.images)
        loss = self._loss(logits.float(), batch)
        self._optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        self._optimizer.step()
        self._schedule.step()
        share = self._sparsity(self.done + 1, self.steps) if self._sparsity else None
        if share is not None:
            self._masks.grow(share)
        self._masks.apply()
        return float(loss.detach())

    def save(self, path: Path, identity: str) -> None:
        """Replace the checkpoint: a kill leaves the old one or the new one."""
        content = {
            "identity": identity,
            "done": self.done,
            "losses": self.losses,
            "total": self._total,
            "module": self.module.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "schedule": self._schedule.state_dict(),
            "masks": self._masks.state(),
            "random": torch.get_rng_state(),  # for modules that draw, such as dropout
        }
        stream = io.BytesIO()
        torch.save(content, stream)
        durable.write(path, stream.getbuffer())

    def resume(self, path: Path, identity: str) -> None:
        """Take up the training in `path`; nothing happens where there is none or it is of another training."""
        try:
            content: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        except (OSError, RuntimeError, EOFError, pickle.UnpicklingError):
            return  # nothing there, or not of ours: begin anew and replace it
        if not isinstance(content, dict) or content.get("identity") != identity:
            return
        self.module.load_state_dict(content["module"])
        self._optimizer.load_state_dict(content["optimizer"])
        self._schedule.load_state_dict(content["schedule"])
        self._masks.load(content["masks"])
        torch.set_rng_state(content["random"])
        self.done, self.losses, self._total = content["done"], content["losses"], content["total"]


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


def _identity(module: nn.Module, feed: Feed, settings: TrainSettings, rest: tuple[Any, ...]) -> str:
    """Digest of all that decides the outcome of a training, so that a checkpoint of another one is not taken up."""
    parts = [_CHECKPOINT_FORMAT, weights_digest(module), feed.identity, plain(settings), list(rest)]
    return digest([*parts, torch.__version__])
