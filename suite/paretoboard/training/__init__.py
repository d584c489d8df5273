"""Training a network on images in memory: the one loop that every process by itself trains with.

The same module, images, settings, seed and number of threads give bit-identical weights, whether the training was
interrupted in between or not, unless a budget of seconds or joules ends it.
"""

from __future__ import annotations

import io
import math
import pickle
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import torch

from paretoboard import durable
from paretoboard.errors import DivergedError, InputError
from paretoboard.plan import digest, plain
from paretoboard.records import TrainedEpoch
from paretoboard.spec import Fairness
from paretoboard.training.augmentation import AUGMENTATIONS
from paretoboard.training.budget import Budget
from paretoboard.training.detection import check_settings
from paretoboard.training.feed import MEMORY_FORMATS, Feed
from paretoboard.training.judging import Best, score
from paretoboard.training.loss import Batch, CrossEntropy, Loss
from paretoboard.training.masks import Masks, Sparsity
from paretoboard.training.network import FitsImages, optimizer, prepare, train_mode, weights_digest
from paretoboard.training.penalties import Penalty
from paretoboard.training.precision import autocast, scaler
from paretoboard.training.rates import rates

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from torch import Tensor, nn

    from paretoboard.datasets import Images
    from paretoboard.spec import Preprocess, TrainSettings

__all__ = [
    "AUGMENTATIONS",
    "Batch",
    "CrossEntropy",
    "FitsImages",
    "Loss",
    "Sparsity",
    "TrainResult",
    "train",
    "weights_digest",
]

_CHECKPOINT_FORMAT: Final = 3
# Of a budget of seconds or joules, whose steps nobody knows: enough that no step of the learning rate is seen.
_PLACES: Final = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainResult:
    """What training took, and how the loss went."""

    losses: tuple[float, ...]  # mean training loss of each epoch
    images_seen: int  # repeats counted
    seconds: float  # of training, judging left out; the parts before interruptions counted
    curve: tuple[TrainedEpoch, ...] = ()
    stopped_at: int | None = None  # the epoch after which it stopped early; None where it didn't
    best_epoch: int | None = None  # whose weights are kept, where it may stop early
    target: float | None = None  # held-out share right that time was taken until
    seconds_to_target: float | None = None  # None where it was not reached, or none was asked for
    fair: Fairness = "images"  # what trainings with this budget have equal
    weights: str = ""  # weights_digest of what it left
    peak_bytes: int | None = None  # that it added to the processes that trained, where these are not the caller's


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
    difficulty: Tensor | None = None,
    judged: Callable[[TrainedEpoch], None] = lambda point: None,
    progress: Callable[[float, str], None] = lambda share, text: None,
    clock: Callable[[], float] = time.perf_counter,
    joules: Callable[[], float | None] = lambda: None,
) -> TrainResult:
    """Train `module` in place; it is left in evaluation mode.

    It ends with its epochs, with its seconds or joules where `settings` name them, or early where it gets no better on
    images held out. It is judged on these after each epoch and at the end. Parameters that need no gradient stay as
    they are, and so do the statistics of batch normalization that has no others; those that a network names as
    `frozen` are made such. A network that is `FitsImages` is fitted first.

    Args:
        module: float32, on the CPU; its weights are where training starts.
        images: stored pixels; augmented and preprocessed batch by batch.
        seed: of order, augmentation, mixing and what is held out; torch's global generator is left as it was.
        threads: for torch's operators, the process's own setting if None. Other numbers give other bits.
        checkpoint: a file written now and then and at the end; a training found there is continued if it is this one.
        checkpoint_every_s: at most about so much work is lost by a kill; 0 writes one after each step.
        loss: cross-entropy with the label smoothing of `settings` if None.
        keep_zeros: whether entries of weights that are zero at the start stay zero.
        sparsity: how many weights of each layer are to become zero on the way, and stay so; the smallest go.
        difficulty: (n,), how hard each image is, where `settings` name a curriculum by it.
        judged: told each point of the curve, those before an interruption again; what it raises ends the training.
        progress: told (share done, where it is, the loss, images per second and the time left) after each step.
        joules: of the computing device since any moment, for a budget of them; None where nothing counts them.
    Raises:
        DivergedError: for a loss that is not finite, naming epoch and step.
        InputError: without images, and for settings that don't go together.
        NotApplicableError: for a precision that this machine can't train in.
        RefusedError: for a budget of joules where nothing counts them.
        UnknownNameError: for an augmentation that AUGMENTATIONS does not know.
    """
    _check(settings, images, loss)
    budget = Budget(settings, clock, joules)
    threads_before = torch.get_num_threads()
    torch.set_num_threads(threads or threads_before)
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            feed = Feed(images, settings, preprocess, seed=seed, difficulty=difficulty)
            prepare(module, feed)
            wanted = loss or CrossEntropy(label_smoothing=settings.label_smoothing)
            masks = Masks(module, keep_zeros=keep_zeros, growing=sparsity is not None)
            rest = (seed, torch.get_num_threads(), keep_zeros, wanted.identity, sparsity.identity if sparsity else "")
            identity = _identity(module, feed, settings, rest)
            training = _Training(
                module, feed, settings, seed=seed, loss=wanted, masks=masks, sparsity=sparsity, budget=budget
            )
            if checkpoint:
                training.resume(checkpoint, identity)
            for point in training.curve:
                judged(point)
            _run(training, checkpoint, identity, checkpoint_every_s, judged, progress)
            training.best.settle(module)
    finally:
        torch.set_num_threads(threads_before)
        module.to(memory_format=torch.contiguous_format).eval()
    return training.result()


def _check(settings: TrainSettings, images: Images, loss: Loss | None) -> None:
    """Raises: InputError for settings that don't go together, or not with the images."""
    if images.objects is not None:
        if loss is None:
            raise InputError("these images have boxes around objects and no classes: train with a loss of boxes")
        check_settings(settings)
    if not settings.held_out and (settings.patience is not None or settings.target is not None):
        name = "patience" if settings.patience is not None else "target"
        raise InputError(f"{name} needs images to judge on: give held_out, 0.1 for every tenth")
    if settings.seconds is not None and settings.joules is not None:
        raise InputError("seconds and joules are two budgets, and a training has one")


def _run(
    training: _Training,
    checkpoint: Path | None,
    identity: str,
    every_s: float,
    judged: Callable[[TrainedEpoch], None],
    progress: Callable[[float, str], None],
) -> None:
    """All steps that are not done yet."""
    found_done, began_s = training.done, training.seconds
    saved_s = began_s
    train_mode(training.module)
    while not training.over():
        epoch, step = divmod(training.done, training.feed.steps)
        for batch in training.feed.epoch(training.seed, epoch, after=step):
            points = len(training.curve)
            training.learn(batch)
            for point in training.curve[points:]:
                judged(point)
            progress(training.share, training.describe(found_done, began_s))
            if checkpoint and training.seconds - saved_s >= every_s:
                training.save(checkpoint, identity)
                saved_s = training.budget.seconds()
            if training.over():
                break
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
        budget: Budget,
    ) -> None:
        self.settings, self.feed, self.seed, self.budget = settings, feed, seed, budget
        self.steps = feed.steps * settings.epochs  # the most there may be
        self.done = 0  # steps
        self.seconds = 0.0  # of training until the last step
        self.used = 0.0  # share of the seconds or joules, where these are the budget
        self.best = Best(settings)
        self.module = module.to(memory_format=MEMORY_FORMATS[settings.memory_format])
        self.curve: list[TrainedEpoch] = []
        self._total = 0.0  # of the losses of the epoch in hand
        self._loss, self._masks, self._sparsity = loss, masks, sparsity
        self._penalty = Penalty(l1=settings.l1, l2=settings.l2) if settings.l1 or settings.l2 else None
        self._optimizer = optimizer(module, settings)
        self._scaler = scaler(settings.precision)
        self._rates = rates(settings, self.steps if settings.fair == "images" else min(self.steps, _PLACES))

    @property
    def share(self) -> float:
        """How much of the training is done, 0 to 1."""
        return max(self.done / self.steps, self.used)

    def over(self) -> bool:
        """Whether no step is left."""
        return self.done >= self.steps or self.used >= 1.0 or self.best.over

    def learn(self, batch: Batch) -> None:
        """Do one step, and judge where it ends an epoch or the training.

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
        self.seconds = self.budget.seconds()
        self.used = self.budget.share(self.seconds)
        if self.done % self.feed.steps == 0 or self.over():
            self._end_epoch()

    def describe(self, found_done: int, began_s: float) -> str:
        """Where the training is, how it goes and how long it still takes; after at least one step.

        Args:
            found_done: steps that were done at `began_s` seconds of training, when this process took it up.
        """
        point = self.curve[-1] if self.curve else None
        steps_of_epoch = self.done % self.feed.steps
        ended = point is not None and point.images_seen == self.images_seen
        loss = point.loss if point is not None and ended else self._total / steps_of_epoch
        per_step_s = (self.seconds - began_s) / (self.done - found_done)
        rate = self.feed.batch / per_step_s if per_step_s > 0 else math.inf
        left_s = round(self._left_s(per_step_s))
        epoch = -(-self.done // self.feed.steps)
        held_out = f", {point.held_out_top1:.3f} held out" if point and point.held_out_top1 is not None else ""
        left = f"{left_s // 60}:{left_s % 60:02} left"
        return f"epoch {epoch} of {self.settings.epochs}, loss {loss:.3f}{held_out}, {rate:,.0f} images/s, {left}"

    @property
    def images_seen(self) -> int:
        """Repeats counted."""
        return self.done * self.feed.batch

    def result(self) -> TrainResult:
        """After the last step, with the weights that are kept in the module."""
        target = self.settings.target
        reached = (
            point.seconds
            for point in self.curve
            if target is not None and point.held_out_top1 is not None and point.held_out_top1 >= target
        )
        return TrainResult(
            losses=tuple(point.loss for point in self.curve),
            images_seen=self.images_seen,
            seconds=self.seconds,
            curve=tuple(self.curve),
            stopped_at=self.curve[-1].epoch if self.best.over else None,
            best_epoch=self.best.epoch,
            target=target,
            seconds_to_target=next(reached, None),
            fair=self.settings.fair,
            weights=weights_digest(self.module),
        )

    def _left_s(self, per_step_s: float) -> float:
        """Seconds that the training still takes, if it is not stopped early."""
        left_s = (self.steps - self.done) * per_step_s
        if self.used > 0:
            left_s = min(left_s, self.seconds * (1 / self.used - 1))
        return left_s

    def _step(self, batch: Batch) -> float:
        place = self.done if self.settings.fair == "images" else int(self.share * len(self._rates))
        for group in self._optimizer.param_groups:
            group["lr"] = self._rates[min(place, len(self._rates) - 1)]
        with autocast(self.settings.precision):
            logits = self.module(batch.images)
        loss = self._loss(logits.float(), batch)
        if self._penalty is not None:
            loss = loss + self._penalty(self.module)
        self._optimizer.zero_grad(set_to_none=True)
        self._scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
        self._scaler.step(self._optimizer)
        self._scaler.update()
        share = self._sparsity(self.done + 1, self.steps) if self._sparsity else None
        if share is not None:
            self._masks.grow(share)
        self._masks.apply()
        return float(loss.detach())

    def _end_epoch(self) -> None:
        """Add a point to the curve, and see whether the training has got better."""
        top1 = held_out_loss = None
        if len(self.feed.held_out):
            with self.budget.apart():
                top1, held_out_loss = score(self.module, self.feed, self.settings)
                train_mode(self.module)
        point = TrainedEpoch(
            epoch=-(-self.done // self.feed.steps),
            images_seen=self.images_seen,
            seconds=self.seconds,
            loss=self._total / ((self.done - 1) % self.feed.steps + 1),
            held_out_top1=top1,
            held_out_loss=held_out_loss,
        )
        self.curve.append(point)
        self._total = 0.0
        self.best.look(self.module, self.curve)

    def save(self, path: Path, identity: str) -> None:
        """Replace the checkpoint: a kill leaves the old one or the new one."""
        content = {
            "identity": identity,
            "done": self.done,
            "seconds": self.seconds,
            "joules": self.budget.joules(),
            "used": self.used,
            "curve": [plain(point) for point in self.curve],
            "total": self._total,
            "best": self.best.state(),
            "module": self.module.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "scaler": self._scaler.state_dict(),
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
        self._scaler.load_state_dict(content["scaler"])
        self._masks.load(content["masks"])
        self.best.load(content["best"])
        torch.set_rng_state(content["random"])
        self.done, self.seconds, self.used = content["done"], content["seconds"], content["used"]
        self._total, self.curve = content["total"], [TrainedEpoch(**point) for point in content["curve"]]
        self.budget.go_on(content["seconds"], content["joules"])


def _identity(module: nn.Module, feed: Feed, settings: TrainSettings, rest: tuple[Any, ...]) -> str:
    """Digest of all that decides the outcome of a training, so that a checkpoint of another one is not taken up."""
    frozen = [name for name, parameter in module.named_parameters() if not parameter.requires_grad]
    parts = [_CHECKPOINT_FORMAT, weights_digest(module), feed.identity, feed.order_identity, frozen]
    return digest([*parts, plain(settings), list(rest), torch.__version__])
