"""Training images, batch by batch: which ones, which variant of each, and as the network sees them.

Order and variants of an epoch follow from seed and epoch alone, so that a training can be taken up anywhere in between.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Final

import numpy as np
import torch
from torch import Tensor

from paretoboard.datasets.preprocess import channel_values, pixel_scale
from paretoboard.errors import InputError
from paretoboard.plan import digest, plain
from paretoboard.training.augmentation import NUMBERS, Chain, augmentation
from paretoboard.training.loss import Batch
from paretoboard.training.mixing import Mixing

if TYPE_CHECKING:
    from collections.abc import Iterator

    from paretoboard.datasets import Images
    from paretoboard.spec import Preprocess, TrainSettings

MEMORY_FORMATS: Final = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}


class Feed:
    """Images in memory, augmented and preprocessed when they are asked for."""

    def __init__(self, images: Images, settings: TrainSettings, preprocess: Preprocess) -> None:
        """Raises:
        InputError: without images.
        UnknownNameError: for an augmentation that AUGMENTATIONS does not know.
        """
        if len(images) == 0:
            raise InputError("there are no images to train on")
        # What does not fill a batch waits for the next epoch's order: batch norm needs more than an image or two.
        self.batch = min(settings.batch, len(images))
        self.steps = len(images) // self.batch  # of an epoch
        self._chain = Chain([augmentation(name) for name in settings.augment])
        self._mixing = Mixing(kind=settings.mix, alpha=settings.mix_alpha, classes=len(images.classes))
        # Copied where a reader gave memory that can't be written: torch warns of such.
        self._pixels = torch.from_numpy(np.require(images.pixels, requirements=["C", "W"]))
        self._labels = torch.from_numpy(np.require(images.labels, requirements=["C", "W"]))
        self._memory_format = MEMORY_FORMATS[settings.memory_format]
        self._preprocess, self._augment = preprocess, settings.augment
        channels = images.pixels.shape[1]
        self._scale = pixel_scale(preprocess)
        self._mean = torch.from_numpy(channel_values(preprocess.mean, channels, "mean"))
        self._std = torch.from_numpy(channel_values(preprocess.std, channels, "std"))

    def __len__(self) -> int:
        return len(self._pixels)

    @property
    def variants(self) -> int | None:
        """How many images each stored one can become before it is mixed; None for no finite number."""
        return self._chain.variants(*self._pixels.shape[-2:])

    @property
    def mixes(self) -> bool:
        """Whether an epoch's images are made of two each."""
        return self._mixing.kind != "none"

    @property
    def identity(self) -> str:
        """Digest of everything that decides what a network sees of an image's variant."""
        content = hashlib.sha256(self._pixels.numpy().data)
        content.update(self._labels.numpy().data)
        return digest([content.hexdigest(), list(self._augment), plain(self._preprocess), str(self._memory_format)])

    def epoch(self, seed: int, epoch: int, *, after: int = 0) -> Iterator[Batch]:
        """The batches of an epoch, from 0, but for the first `after`: images in a new order, each as one variant,
        mixed where the settings say so.
        """
        order, variants = self.order(seed, epoch)
        for step in range(after, self.steps):
            chosen = slice(step * self.batch, (step + 1) * self.batch)
            batch = self.take(order[chosen], variants[chosen])
            yield self._mixing(batch, seed=seed, epoch=epoch, step=step)

    def order(self, seed: int, epoch: int) -> tuple[Tensor, Tensor]:
        """All images in the order of an epoch, from 0, and the variant of each, both (n,)."""
        generator = torch.Generator().manual_seed(int(digest({"seed": seed, "epoch": epoch})[:15], 16))
        order = torch.randperm(len(self), generator=generator)
        return order, torch.randint(self.variants or NUMBERS, (len(self),), generator=generator)

    def take(self, indices: Tensor, variants: Tensor) -> Batch:
        """These images as these variants, not mixed."""
        pixels = self._chain(self._pixels.index_select(0, indices), variants)
        images = pixels.to(torch.float32, memory_format=self._memory_format)
        images.mul_(self._scale).sub_(self._mean).div_(self._std)
        return Batch(images=images, labels=self._labels[indices], indices=indices, variants=variants)
