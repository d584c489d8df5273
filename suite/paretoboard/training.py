"""Training a network on images in memory: the one loop that everything in the project trains with.

The same module, images, settings, seed and number of threads give bit-identical weights, whether the training was
interrupted in between or not.
"""

from __future__ import annotations

import hashlib
import math
import os
import pickle
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import torch
from torch import Tensor, nn

from paretoboard.datasets.preprocess import channel_values, pixel_scale
from paretoboard.errors import DivergedError, InputError, UnknownNameError
from paretoboard.plan import digest, plain

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from paretoboard.datasets import Images
    from paretoboard.spec import Preprocess, TrainSettings

Augmentation = Callable[[Tensor], Tensor]


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainResult:
    """What training took, and how the loss went."""

    losses: tuple[float, ...]  # mean training loss of each epoch
    images_seen: int  # repeats counted
    seconds: float  # of this call: an interrupted training counts what came after the interruption


def flip(images: Tensor) -> Tensor:
    """Mirror each image with probability 1/2, left to right."""
    mirrored = torch.rand(len(images), 1, 1, 1) < 0.5
    return torch.where(mirrored, images.flip(-1), images)


def crop(images: Tensor) -> Tensor:
    """Shift each image by up to an eighth of its side in both directions, with black where it leaves.

    Source: He et al. 2015, arXiv:1512.03385, section 4.2: 4 pixels of padding for images of 32x32.
    """
    return _shifted(images, images.shape[-1] // 8)


def shift(images: Tensor) -> Tensor:
    """Shift each image by up to a sixteenth of its side in both directions, with black where it leaves."""
    return _shifted(images, images.shape[-1] // 16)


def cutout(images: Tensor) -> Tensor:
    """Blacken a square of half the side, centred anywhere in each image.

    Source: DeVries and Taylor 2017, arXiv:1708.04552.
    """
    count, _, height, width = images.shape
    half = width // 4
    rows, columns = torch.arange(height), torch.arange(width)
    centre_y, centre_x = torch.randint(height, (count, 1)), torch.randint(width, (count, 1))
    inside_y = ((rows - centre_y + half) >= 0) & ((rows - centre_y) < half)
    inside_x = ((columns - centre_x + half) >= 0) & ((columns - centre_x) < half)
    return images.masked_fill((inside_y[:, :, None] & inside_x[:, None, :])[:, None], 0)


# name -> function of stored pixels (n, channels, height, width), uint8; draws from torch's global generator
AUGMENTATIONS: Final[Mapping[str, Augmentation]] = {"crop": crop, "cutout": cutout, "flip": flip, "shift": shift}


def train(
    module: nn.Module,
    images: Images,
    settings: TrainSettings,
    *,
    preprocess: Preprocess,
    seed: int,
    threads: int | None = None,
    checkpoint: Path | None = None,
    keep_zeros: bool = False,
    progress: Callable[[float, str], None] = lambda share, text: None,
    clock: Callable[[], float] = time.perf_counter,
) -> TrainResult:
    """Train `module` in place with cross-entropy; it is left in evaluation mode.

    Args:
        module: float32, on the CPU; its weights are where training starts.
        images: stored pixels; augmented and preprocessed batch by batch.
        seed: of order and augmentation; torch's global generator is left as it was.
        threads: for torch's operators, the process's own setting if None. Other numbers give other bits.
        checkpoint: a file written after each epoch; a training found there is continued if it is this one.
        keep_zeros: whether entries of weights that are zero at the start stay zero.
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
            training = _Training(module, images, settings, preprocess, keep_zeros=keep_zeros)
            identity = _identity(module, images, settings, preprocess, (seed, torch.get_num_threads(), keep_zeros))
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


class _Training:
    """Module, optimizer and schedule between two epochs."""

    def __init__(
        self, module: nn.Module, images: Images, settings: TrainSettings, preprocess: Preprocess, *, keep_zeros: bool
    ) -> None:
        if len(images) == 0:
            raise InputError("there are no images to train on")
        self.settings = settings
        # What does not fill a batch waits for the next epoch's order: batch norm needs more than an image or two.
        self.batch = min(settings.batch, len(images))
        self.steps = len(images) // self.batch
        self.module = module.to(memory_format=torch.channels_last)
        self.masks = _zero_masks(module) if keep_zeros else {}
        self.optimizer = _optimizer(module, settings)
        self.schedule = _schedule(self.optimizer, settings, self.steps * settings.epochs)
        self.augmentations = [_augmentation(name) for name in settings.augment]
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
        for step, (images, labels) in enumerate(self._batches()):
            loss = self._step(images, labels)
            if not math.isfinite(loss):
                raise DivergedError(
                    f"training diverged in epoch {epoch + 1}, step {step + 1} of {self.steps}: the loss is {loss}"
                )
            total += loss
            done = (epoch * self.steps + step + 1) / (self.settings.epochs * self.steps)
            progress(done, f"epoch {epoch + 1} of {self.settings.epochs}, loss {total / (step + 1):.3f}")
        return total / self.steps

    def _batches(self) -> Iterator[tuple[Tensor, Tensor]]:
        order = torch.randperm(len(self.pixels))[: self.steps * self.batch]
        for chosen in torch.split(order, self.batch):
            pixels = self.pixels[chosen]
            for augment in self.augmentations:
                pixels = augment(pixels)
            images = pixels.to(torch.float32, memory_format=torch.channels_last)
            yield images.mul_(self.scale).sub_(self.mean).div_(self.std), self.labels[chosen]

    def _step(self, images: Tensor, labels: Tensor) -> float:
        half = self.settings.precision == "bfloat16"
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=half):
            logits = self.module(images)
        smoothing = self.settings.label_smoothing
        loss = nn.functional.cross_entropy(logits.float(), labels, label_smoothing=smoothing)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()
        self.schedule.step()
        with torch.no_grad():
            for weight, mask in self.masks.items():
                weight.mul_(mask)
        return float(loss.detach())

    def save(self, path: Path, identity: str, losses: list[float]) -> None:
        """Replace the checkpoint: a kill leaves the old one or the new one."""
        draft = path.with_name(path.name + ".draft")
        content = {
            "identity": identity,
            "losses": losses,
            "module": self.module.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state_dict(),
            "random": torch.get_rng_state(),
        }
        with draft.open("wb") as stream:
            torch.save(content, stream)
            stream.flush()
            os.fsync(stream.fileno())
        draft.replace(path)

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
        torch.set_rng_state(content["random"])
        return list(content["losses"])


def _shifted(images: Tensor, by: int) -> Tensor:
    """Each image moved by -by..by pixels in both directions, zeros where nothing was."""
    count, channels, height, width = images.shape
    padded = nn.functional.pad(images, (by, by, by, by))
    rows = torch.randint(2 * by + 1, (count, 1)) + torch.arange(height)
    columns = torch.randint(2 * by + 1, (count, 1)) + torch.arange(width)
    which = torch.arange(count)[:, None, None, None]
    return padded[which, torch.arange(channels)[None, :, None, None], rows[:, None, :, None], columns[:, None, None, :]]


def _augmentation(name: str) -> Augmentation:
    if name not in AUGMENTATIONS:
        raise UnknownNameError("augmentation", name, AUGMENTATIONS)
    return AUGMENTATIONS[name]


def _zero_masks(module: nn.Module) -> dict[nn.Parameter, Tensor]:
    """Masks of the weights of convolutions and linear layers that hold zeros."""
    layers = [layer for layer in module.modules() if isinstance(layer, nn.Conv2d | nn.Linear)]
    weights = [weight for layer in layers if isinstance(weight := layer.weight, nn.Parameter)]
    return {weight: (weight != 0).to(weight.dtype) for weight in weights if bool((weight == 0).any())}


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
    content = hashlib.sha256()
    for name, tensor in module.state_dict().items():
        content.update(name.encode())
        content.update(tensor.detach().contiguous().reshape(-1).view(torch.uint8).numpy())
    content.update(images.pixels.tobytes())
    content.update(images.labels.tobytes())
    return digest([content.hexdigest(), plain(settings), plain(preprocess), list(rest), torch.__version__])
