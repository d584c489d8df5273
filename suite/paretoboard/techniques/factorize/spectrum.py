"""How much of a layer each rank keeps, by singular values."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


def singular_values(matrix: Tensor) -> Tensor:
    """Of `matrix` in float64, largest first."""
    import torch

    values: Tensor = torch.linalg.svdvals(matrix.detach().double())
    return values


def rank_of(values: Tensor, energy: float) -> int:
    """The smallest rank whose singular values, largest first, hold `energy` of the sum of all squares."""
    shares = values.square().cumsum(0) / values.square().sum()
    # The last share is 1 up to rounding; asked for all of it, all ranks are needed.
    return min(int((shares < energy).sum()) + 1, len(values))
