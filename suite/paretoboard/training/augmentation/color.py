"""Brightness, contrast and saturation: images nearer to something plain, or farther from it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

from paretoboard.training.augmentation.draws import uniform

_RED_GREEN_BLUE: Final = (0.2989, 0.587, 0.114)  # of Rec. 601 luma, as torchvision has them


@dataclass(frozen=True, slots=True)
class Blend:
    """Multiply an image's difference from something plain by a factor from 1 - share to 1 + share."""

    plain: Callable[[Tensor], Tensor]  # of images, (n, channels, height, width): what broadcasts to their shape
    share: float

    def variants(self, height: int, width: int) -> None:
        """One for each factor."""

    def __call__(self, images: Tensor, which: Tensor) -> Tensor:
        """The factor follows from the number."""
        return blended(images, self.plain(images), 1 + (2 * uniform(which, 0) - 1) * self.share)


def blended(images: Tensor, plain: Tensor, factors: Tensor) -> Tensor:
    """`plain` at factor 0, `images` at 1, beyond them above; rounded, and cut to what pixels can be.

    Args:
        images: (n, channels, height, width), uint8.
        factors: (n,), float32, 0 or more.
    """
    factors = factors.view(-1, 1, 1, 1)
    return (images * factors).add_(plain * (1 - factors)).round_().clamp_(0, 255).to(torch.uint8)


def black(images: Tensor) -> Tensor:
    """What brightness is the distance from."""
    return torch.zeros((len(images), 1, 1, 1))


def mean_grey(images: Tensor) -> Tensor:
    """What contrast is the distance from, (n, 1, 1, 1)."""
    return grey(images).mean((1, 2, 3), keepdim=True)


def grey(images: Tensor) -> Tensor:
    """What saturation is the distance from: (n, 1, height, width), float32; of other than three channels their mean."""
    if images.shape[1] != len(_RED_GREEN_BLUE):
        return images.float().mean(1, keepdim=True)
    red, green, blue = images.unbind(1)
    # One after the other as torchvision does it, for the same last bit.
    return (
        (red * _RED_GREEN_BLUE[0]).add_(green, alpha=_RED_GREEN_BLUE[1]).add_(blue, alpha=_RED_GREEN_BLUE[2])[:, None]
    )
