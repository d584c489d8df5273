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
from paretoboard.training.curriculum import Curriculum, Pacing, ranked
from paretoboard.training.loss import Batch
from paretoboard.training.mixing import Mixing

if TYPE_CHECKING:
    from collections.abc import Iterator

    from paretoboard.datasets import Images
    from paretoboard.spec import Preprocess, TrainSettings

MEMORY_FORMATS: Final = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}


class Feed:
    """Images in memory, augmented, preprocessed and mixed when they are asked for."""

    def __init__(
        self,
        images: Images,
        settings: TrainSettings,
        preprocess: Preprocess,
        *,
        seed: int | None = None,
        difficulty: Tensor | None = None,
    ) -> None:
        """Args:
            seed: of what is held out, of alternate flips and of a random curriculum; needed where there are such.
            difficulty: (n,), how hard each image is; needed for a curriculum from easy to hard or the other way.
        Raises:
            InputError: without images, and for settings that don't go together.
            UnknownNameError: for an augmentation that AUGMENTATIONS does not know.
        """
        if len(images) == 0:
            raise InputError("there are no images to train on")
        # Copied where a reader gave memory that can't be written: torch warns of such.
        self._pixels = torch.from_numpy(np.require(images.pixels, requirements=["C", "W"]))
        self._labels = torch.from_numpy(np.require(images.labels, requirements=["C", "W"]))
        share = settings.held_out if seed is not None else 0.0
        self._trained, self.held_out = split(self._labels, share, seed or 0)
        # What does not fill a batch waits for the next epoch's order: batch norm needs more than an image or two.
        self.batch = min(settings.batch, len(self._trained))
        self.steps = len(self._trained) // self.batch  # of an epoch
        self._epochs = settings.epochs
        self._chain = Chain([augmentation(name) for name in settings.augment])
        self._mixing = Mixing(kind=settings.mix, alpha=settings.mix_alpha, classes=len(images.classes))
        self._mirrored = self._first_mirrored(settings, seed or 0) if settings.alternate_flip else None
        self._curriculum = self._curriculum_of(settings, seed or 0, difficulty)
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

    @property
    def order_identity(self) -> str:
        """What beside images, settings and seed decides which image comes when."""
        return self._curriculum.identity if self._curriculum else ""

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
        """The images of an epoch, from 0, in their order, and the variant of each, both (n,).

        All that are trained on, once each; under a curriculum as many as fill the batches, of those that are open.
        """
        generator = torch.Generator().manual_seed(int(digest({"seed": seed, "epoch": epoch})[:15], 16))
        order = torch.randperm(len(self._trained), generator=generator)
        variants = torch.randint(self.variants or NUMBERS, (len(order),), generator=generator)
        if self._curriculum:
            order = self._curriculum.epoch(order, epoch=epoch, epochs=self._epochs, batch=self.batch, seed=seed)
            variants = variants[: len(order)]
        order = self._trained[order]
        if self._mirrored is not None:
            stride, first = self._mirrored
            now = variants // stride % 2
            variants = variants + stride * ((first[order] + epoch) % 2 - now)
        return order, variants

    def take(self, indices: Tensor, variants: Tensor) -> Batch:
        """These images as these variants, not mixed."""
        pixels = self._chain(self._pixels.index_select(0, indices), variants)
        return self._seen(pixels, indices, variants)

    def as_stored(self, indices: Tensor) -> Batch:
        """These images, not augmented."""
        return self._seen(self._pixels.index_select(0, indices), indices, torch.zeros_like(indices))

    def first(self, count: int) -> Tensor:
        """The first `count` of the images that are trained on, not augmented, (count, channels, height, width)."""
        return self.as_stored(self._trained[:count]).images

    def _seen(self, pixels: Tensor, indices: Tensor, variants: Tensor) -> Batch:
        if self._preprocess.order == "bgr":
            pixels = pixels.flip(1)
        images = pixels.to(torch.float32, memory_format=self._memory_format)
        images.mul_(self._scale).sub_(self._mean).div_(self._std)
        return Batch(images=images, labels=self._labels[indices], indices=indices, variants=variants)

    def _first_mirrored(self, settings: TrainSettings, seed: int) -> tuple[int, Tensor]:
        """What the flip's part of a variant's number is multiplied by, and which images are mirrored in epoch 0.

        Source: Jordan 2024, 94% on CIFAR-10 in 3.29 Seconds on a Single GPU, arXiv:2404.00498, section 3.6.
        """
        if "flip" not in settings.augment:
            raise InputError("alternate_flip needs 'flip' in augment")
        before = Chain([augmentation(name) for name in settings.augment[: settings.augment.index("flip")]])
        stride = before.variants(*self._pixels.shape[-2:])
        if stride is None or self.variants is None:
            raise InputError("alternate_flip needs augmentations of finitely many variants: crop, cutout, flip, shift")
        content = {"purpose": "alternate flip", "seed": seed}
        generator = torch.Generator().manual_seed(int(digest(content)[:15], 16))
        return stride, torch.randint(2, (len(self),), generator=generator)

    def _curriculum_of(self, settings: TrainSettings, seed: int, difficulty: Tensor | None) -> Curriculum | None:
        if settings.curriculum == "none":
            return None
        if settings.fair != "images":
            raise InputError(
                "the pace of a curriculum is counted in steps, of which seconds and joules leave open how many"
            )
        if difficulty is None and settings.curriculum != "random":
            raise InputError(f"curriculum '{settings.curriculum}' needs to know how hard each image is")
        hard = torch.zeros(len(self)) if difficulty is None else difficulty
        labels = self._labels[self._trained]
        ranking = ranked(hard[self._trained], labels, settings.curriculum, seed=seed)
        pacing = Pacing(
            growth=settings.pacing,
            start=settings.pacing_start,
            increase=settings.pacing_increase,
            lengths=settings.pacing_lengths,
        )
        return Curriculum(ranking=ranking, pacing=pacing)


def split(labels: Tensor, share: float, seed: int) -> tuple[Tensor, Tensor]:
    """Places of the images to train on and of those held out, both ascending: `share` of each class, drawn by `seed`.

    Rounded to whole images of a class, at least one where anything is held out, and at least one is left to train on.

    Args:
        labels: (n,).
        share: 0 to below 1.
    """
    held = torch.zeros(len(labels), dtype=torch.bool)
    generator = torch.Generator().manual_seed(int(digest({"purpose": "held out", "seed": seed})[:15], 16))
    classes = labels.unique() if share else ()  # type: ignore[no-untyped-call]
    for label in classes:
        members = (labels == label).nonzero().flatten()
        count = min(max(1, round(share * len(members))), len(members) - 1)
        held[members[torch.randperm(len(members), generator=generator)[:count]]] = True
    return (~held).nonzero().flatten(), held.nonzero().flatten()
