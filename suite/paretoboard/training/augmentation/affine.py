"""Turning, shearing and moving images, each its own way."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from paretoboard.training.augmentation.draws import uniform


@dataclass(frozen=True, slots=True)
class Rotate:
    """Turn an image about its middle, by up to `degrees` to either side, with black where it leaves."""

    degrees: float

    def variants(self, height: int, width: int) -> None:
        """One for each angle."""

    def __call__(self, images: Tensor, which: Tensor) -> Tensor:
        """The angle follows from the number."""
        return transformed(images, rotations((2 * uniform(which, 0) - 1) * self.degrees))


def rotations(degrees: Tensor) -> Tensor:
    """What `transformed` takes to turn by `degrees`, (n,), counter-clockwise."""
    angles = degrees * (math.pi / 180)
    matrices = identities(len(degrees))
    matrices[:, 0, 0] = matrices[:, 1, 1] = angles.cos()
    matrices[:, 1, 0] = angles.sin()
    matrices[:, 0, 1] = -matrices[:, 1, 0]
    return matrices


def identities(count: int) -> Tensor:
    """What `transformed` takes to leave images as they are."""
    return torch.eye(2, 3).repeat(count, 1, 1)


def transformed(images: Tensor, matrices: Tensor) -> Tensor:
    """Each image seen through its matrix: bilinear, rounded, black beyond its borders.

    Args:
        images: (n, channels, height, width), uint8.
        matrices: (n, 2, 3), float32: from a place (x, y, 1) in the result to the place in the image that is shown
            there, both in pixels to the right and down from the middle.
    """
    height, width = images.shape[-2:]
    from_left = torch.arange((1 - width) / 2, width / 2)
    from_top = torch.arange((1 - height) / 2, height / 2)[:, None]
    normalized = matrices * torch.tensor([[2 / width], [2 / height]])  # torch counts places from -1 to 1
    x, y, one = (normalized[:, :, column, None, None] for column in range(3))
    # By hand: products of matrices, as affine_grid has them, may round otherwise in batches of another size.
    grid = (x * from_left + (y * from_top + one)).permute(0, 2, 3, 1)
    seen = nn.functional.grid_sample(images.float(), grid, "bilinear", "zeros", align_corners=False)
    return seen.round_().to(torch.uint8)
