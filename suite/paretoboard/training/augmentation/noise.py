"""Gaussian noise."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
import torch
from torch import Tensor

from paretoboard.training.augmentation.draws import words

if TYPE_CHECKING:
    from numpy.typing import NDArray

_LEVELS: Final = 255
_DRAWS: Final = 1 << 16  # a draw is 16 bits, four of them a word


@dataclass(frozen=True, slots=True)
class Noise:
    """Add to every pixel of every channel a draw from a normal distribution."""

    share: float  # its standard deviation, of the range from black to white

    def variants(self, height: int, width: int) -> None:
        """As many as there are numbers."""

    def __call__(self, images: Tensor, which: Tensor) -> Tensor:
        """Rounded, and cut to what pixels can be. Beyond 4.3 standard deviations there is no noise."""
        size = images.shape[1:].numel()
        drawn = words(which, 0, -(-size // 4)).view(np.uint16)[:, :size]
        noise = torch.from_numpy(_normal(self.share * _LEVELS)[drawn]).view(images.shape)
        return noise.add_(images).clamp_(0, _LEVELS).to(torch.uint8)


@functools.cache
def _normal(deviation: float) -> NDArray[np.int16]:
    """65,536 equally likely draws from a normal distribution, in whole levels.

    A table, since computing each draw took longer than all else that happens to an image. To round the noise is to
    round the sum, as pixels are whole.
    """
    shares = (torch.arange(_DRAWS, dtype=torch.float64) + 0.5) / _DRAWS
    table: NDArray[np.int16] = (torch.special.ndtri(shares) * deviation).round().to(torch.int16).numpy()
    return table
