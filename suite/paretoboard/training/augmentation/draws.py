"""Random draws that are a function of a number: the same number gives the same draws, in whatever batch it comes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
import torch
from torch import Tensor

if TYPE_CHECKING:
    from numpy.typing import NDArray

NUMBERS: Final = 2**63 - 1  # numbers are below this; the largest bound that torch.randint takes
# Steele, Lea and Flood 2014, "Fast splittable pseudorandom number generators": SplitMix64 with mix variant 13.
_STEP: Final = np.uint64(0x9E3779B97F4A7C15)
_MIX: Final = ((np.uint64(30), np.uint64(0xBF58476D1CE4E5B9)), (np.uint64(27), np.uint64(0x94D049BB133111EB)))
_LANE: Final = 1 << 32  # words of one lane


def words(numbers: Tensor, lane: int, count: int = 1) -> NDArray[np.uint64]:
    """64 random bits, `count` times for each of `numbers`.

    Args:
        numbers: (n,), int64, 0 or more.
        lane: draws for different purposes take different lanes.
    Returns: (n, count).
    """
    places = np.arange(lane * _LANE + 1, lane * _LANE + 1 + count, dtype=np.uint64) * _STEP
    mixed = numbers.numpy().view(np.uint64)[:, None] + places
    for shift, factor in _MIX:
        mixed ^= mixed >> shift
        mixed *= factor
    mixed ^= mixed >> np.uint64(31)
    return mixed


def others(numbers: Tensor, lane: int) -> Tensor:
    """Other numbers, one for each of `numbers`, (n,)."""
    return torch.from_numpy((words(numbers, lane)[:, 0] >> np.uint64(1)).view(np.int64))


def uniform(numbers: Tensor, lane: int) -> Tensor:
    """From 0 to 1, which it never is; (n,), float32."""
    drawn = (words(numbers, lane)[:, 0] >> np.uint64(40)).astype(np.float32)
    return torch.from_numpy(drawn) * 2**-24


def below(bound: int, numbers: Tensor, lane: int) -> Tensor:
    """Whole numbers from 0 to `bound` - 1, (n,), int64; `bound` far below 2**63, so that all are equally likely."""
    return others(numbers, lane) % bound
