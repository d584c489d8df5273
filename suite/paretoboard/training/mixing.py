"""Training on images that are made of two, with the classes of both as their label."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from paretoboard.plan import digest
from paretoboard.spec import Mix

if TYPE_CHECKING:
    from paretoboard.training.loss import Batch


@dataclass(frozen=True, slots=True, kw_only=True)
class Mixing:
    """How the images of a batch are mixed with each other, if they are.

    Every batch is mixed: each image with that in whose place a random order puts it, all of a batch in one proportion,
    which is drawn from Beta(alpha, alpha).
    """

    kind: Mix
    alpha: float  # above 0; 1 draws all proportions alike, less makes most pairs nearly one image
    classes: int

    def __call__(self, batch: Batch, *, seed: int, epoch: int, step: int) -> Batch:
        """`batch`, which is not changed, as it is in that step of that epoch under that seed."""
        if self.kind == "none":
            return batch
        what = {"purpose": "mixing", "seed": seed, "epoch": epoch, "step": step}
        generator = np.random.default_rng(int(digest(what)[:32], 16))
        share = float(generator.beta(self.alpha, self.alpha))
        partners = torch.from_numpy(generator.permutation(len(batch.images)))
        if self.kind == "mixup":
            return mixup(batch, partners, share, self.classes)
        height, width = batch.images.shape[-2:]
        centre = (int(generator.integers(height)), int(generator.integers(width)))
        return cutmix(batch, partners, box(share, centre, height, width), self.classes)


@dataclass(frozen=True, slots=True, kw_only=True)
class Box:
    """Part of an image, in pixels from its upper left; `bottom` and `right` are not in it."""

    top: int
    left: int
    bottom: int
    right: int

    @property
    def area(self) -> int:
        """In pixels."""
        return (self.bottom - self.top) * (self.right - self.left)


def box(share: float, centre: tuple[int, int], height: int, width: int) -> Box:
    """What is cut so that about `share` of an image stays: in its shape, about (row, column), as far as it reaches.

    Source: Yun et al. 2019, arXiv:1905.04899, equation 2, and its published code for the rounding.
    """
    cut = math.sqrt(1 - share) / 2
    half_height, half_width = int(cut * height), int(cut * width)
    row, column = centre
    return Box(
        top=max(row - half_height, 0),
        left=max(column - half_width, 0),
        bottom=min(row + half_height, height),
        right=min(column + half_width, width),
    )


def mixup(batch: Batch, partners: Tensor, share: float, classes: int) -> Batch:
    """`share` of each image and the rest of its partner, and of their labels alike.

    Args:
        partners: (n,), places in the batch.
        share: 0 to 1.
    Source: Zhang et al. 2018, arXiv:1710.09412, section 2.
    """
    images = (batch.images * share).add_(batch.images[partners], alpha=1 - share)
    return dataclasses.replace(batch, images=images, labels=_both(batch.labels, partners, share, classes))


def cutmix(batch: Batch, partners: Tensor, cut: Box, classes: int) -> Batch:
    """Each image with `cut` from its partner, whose label counts for as much as the image's area that is.

    Args:
        partners: (n,), places in the batch.
    Source: Yun et al. 2019, arXiv:1905.04899, section 3.1.
    """
    height, width = batch.images.shape[-2:]
    images = batch.images.clone()
    part = (..., slice(cut.top, cut.bottom), slice(cut.left, cut.right))
    images[part] = batch.images[part][partners]
    share = 1 - cut.area / (height * width)
    return dataclasses.replace(batch, images=images, labels=_both(batch.labels, partners, share, classes))


def _both(labels: Tensor, partners: Tensor, share: float, classes: int) -> Tensor:
    """(n, classes), float32, rows that sum to 1."""
    own = nn.functional.one_hot(labels, classes).float()
    return own * share + own[partners] * (1 - share)
