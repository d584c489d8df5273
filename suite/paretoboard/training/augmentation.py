"""Altering images while a network is trained, so that it sees more of them than there are.

Every augmentation makes one of finitely many variants of an image, all equally likely, and variants have numbers: what
a network says of a variant can be kept and looked up.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

import torch
from torch import Tensor, nn

from paretoboard.errors import UnknownNameError


class Augmentation(Protocol):
    """One way of altering images."""

    def variants(self, height: int, width: int) -> int:
        """How many variants there are of an image of this size."""

    def __call__(self, images: Tensor, which: Tensor) -> Tensor:
        """Stored pixels (n, channels, height, width), uint8, each as its variant of number `which`, (n,)."""


@dataclass(frozen=True, slots=True)
class Flip:
    """Mirror an image left to right, or don't."""

    def variants(self, height: int, width: int) -> int:  # noqa: ARG002 - two, whatever the size
        """As it is, and mirrored."""
        return 2

    def __call__(self, images: Tensor, which: Tensor) -> Tensor:
        """1 mirrors."""
        return torch.where(which.view(-1, 1, 1, 1) == 1, images.flip(-1), images)


@dataclass(frozen=True, slots=True)
class Shift:
    """Move an image by up to a share of its side in both directions, with black where it leaves."""

    part: int  # of the side: 8 is an eighth

    def variants(self, height: int, width: int) -> int:  # noqa: ARG002 - the share is of the width, both ways
        """One for each place."""
        return int((2 * (width // self.part) + 1) ** 2)

    def __call__(self, images: Tensor, which: Tensor) -> Tensor:
        """Places row by row, from the upper left."""
        height, width = images.shape[-2:]
        by = width // self.part
        windows = nn.functional.pad(images, (by, by, by, by)).unfold(2, height, 1).unfold(3, width, 1)
        down, right = which // (2 * by + 1), which % (2 * by + 1)
        return windows[torch.arange(len(images)), :, down, right]


@dataclass(frozen=True, slots=True)
class Cutout:
    """Blacken a square of half the side, centred anywhere in the image.

    Source: DeVries and Taylor 2017, arXiv:1708.04552.
    """

    def variants(self, height: int, width: int) -> int:
        """One for each centre."""
        return height * width

    def __call__(self, images: Tensor, which: Tensor) -> Tensor:
        """Centres row by row, from the upper left."""
        height, width = images.shape[-2:]
        half = width // 4
        from_top = torch.arange(height) - (which // width)[:, None] + half
        from_left = torch.arange(width) - (which % width)[:, None] + half
        inside_y, inside_x = (from_top >= 0) & (from_top < 2 * half), (from_left >= 0) & (from_left < 2 * half)
        return images.masked_fill((inside_y[:, :, None] & inside_x[:, None, :])[:, None], 0)


AUGMENTATIONS: Final[Mapping[str, Augmentation]] = {
    "crop": Shift(8),  # He et al. 2015, arXiv:1512.03385, section 4.2: 4 pixels of padding for images of 32x32
    "cutout": Cutout(),
    "flip": Flip(),
    "shift": Shift(16),
}


def augmentation(name: str) -> Augmentation:
    """The augmentation of that name.

    Raises: UnknownNameError for one that AUGMENTATIONS does not know.
    """
    if name not in AUGMENTATIONS:
        raise UnknownNameError("augmentation", name, AUGMENTATIONS)
    return AUGMENTATIONS[name]


@dataclass(frozen=True, slots=True)
class Chain:
    """Several augmentations, one after the other; without any the image is its only variant."""

    parts: Sequence[Augmentation]

    def variants(self, height: int, width: int) -> int:
        """One for each combination."""
        count = 1
        for part in self.parts:
            count *= part.variants(height, width)
        return count

    def __call__(self, images: Tensor, which: Tensor) -> Tensor:
        """The variant of the first augmentation counts fastest."""
        for part in self.parts:
            own = part.variants(*images.shape[-2:])
            images = part(images, which % own)
            which = which // own
        return images
