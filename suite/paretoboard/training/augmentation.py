"""Altering images while a network is trained, so that it sees more of them than there are."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

import torch
from torch import Tensor, nn

from paretoboard.errors import UnknownNameError

Augmentation = Callable[[Tensor], Tensor]


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


def augmentation(name: str) -> Augmentation:
    """The augmentation of that name.

    Raises: UnknownNameError for one that AUGMENTATIONS does not know.
    """
    if name not in AUGMENTATIONS:
        raise UnknownNameError("augmentation", name, AUGMENTATIONS)
    return AUGMENTATIONS[name]


def _shifted(images: Tensor, by: int) -> Tensor:
    """Each image moved by -by..by pixels in both directions, zeros where nothing was."""
    count, channels, height, width = images.shape
    padded = nn.functional.pad(images, (by, by, by, by))
    rows = torch.randint(2 * by + 1, (count, 1)) + torch.arange(height)
    columns = torch.randint(2 * by + 1, (count, 1)) + torch.arange(width)
    which = torch.arange(count)[:, None, None, None]
    return padded[which, torch.arange(channels)[None, :, None, None], rows[:, None, :, None], columns[:, None, None, :]]
