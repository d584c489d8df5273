"""Augmentations with finitely many variants: which pixels are where."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn


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
    """Move an image by whole pixels, up to a share of its side in both directions, with black where it leaves."""

    share: float

    def variants(self, height: int, width: int) -> int:
        """One for each place."""
        return (2 * self._reach(height) + 1) * (2 * self._reach(width) + 1)

    def __call__(self, images: Tensor, which: Tensor) -> Tensor:
        """Places row by row: 0 shows what is up and left of the image's place, that is, moves it down and right."""
        height, width = images.shape[-2:]
        y, x = self._reach(height), self._reach(width)
        windows = nn.functional.pad(images, (x, x, y, y)).unfold(2, height, 1).unfold(3, width, 1)
        return windows[torch.arange(len(images)), :, which // (2 * x + 1), which % (2 * x + 1)]

    def _reach(self, side: int) -> int:
        return int(self.share * side + 1e-9)  # 0.29 * 100 is 28.999999999999996


@dataclass(frozen=True, slots=True)
class Cutout:
    """Blacken a square, its side a share of the image's width, centred anywhere in the image.

    Source: DeVries and Taylor 2017, arXiv:1708.04552.
    """

    share: float

    def variants(self, height: int, width: int) -> int:
        """One for each centre."""
        return height * width

    def __call__(self, images: Tensor, which: Tensor) -> Tensor:
        """Centres row by row, from the upper left."""
        height, width = images.shape[-2:]
        half = int(self.share * width / 2 + 1e-9)
        from_top = torch.arange(height) - (which // width)[:, None] + half
        from_left = torch.arange(width) - (which % width)[:, None] + half
        inside_y, inside_x = (from_top >= 0) & (from_top < 2 * half), (from_left >= 0) & (from_left < 2 * half)
        return images.masked_fill((inside_y[:, :, None] & inside_x[:, None, :])[:, None], 0)
