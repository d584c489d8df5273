"""A k x k convolution as four, by a canonical polyadic decomposition."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from paretoboard.errors import NotApplicableError
from paretoboard.techniques.factorize.base import Factorization, Layer, Ranks, spatial
from paretoboard.techniques.factorize.library import decomposition
from paretoboard.techniques.factorize.thin import convolution, pointwise

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor, nn

_CP_ITERATIONS: Final = 100  # of alternating least squares; what they end at is in the outputs, so more is only slower


@dataclass(frozen=True, slots=True, kw_only=True)
class CanonicalPolyadic(Factorization):
    """A k x k convolution as four: 1x1 to the rank, k x 1 and 1 x k of each channel alone, 1x1 to the outputs."""

    source = "Lebedev et al. 2015, arXiv:1412.6553, section 3; tensorly's parafac"

    def fits(self, layer: nn.Module) -> bool:
        """A convolution without groups, larger than 1x1."""
        return spatial(layer)

    def chooser(self, layer: Layer, seed: int) -> Callable[[float], Ranks]:
        """For an energy the smallest rank found that keeps it; for a budget, the same share of each layer's weights.

        What a rank keeps is known only after decomposing, so that searching an energy takes seconds a layer.
        """
        weight = layer.module.weight
        largest = max(1, (weight.numel() - 1) // sum(weight.shape))  # beyond it nothing is saved
        if self.energy is None:
            return lambda share: (max(1, round(share * largest)),)
        return lambda energy: (_cp_rank(weight.detach(), energy, largest, seed),)

    def weights(self, layer: Any, ranks: Ranks) -> int:
        """Of all four layers."""
        return int(ranks[0] * sum(layer.weight.shape))

    def factor_macs(self, layer: Layer, ranks: Ranks) -> int:
        """The first layer computes at the places of the input; the second counted as if it did not shrink the width."""
        outputs, inputs, height, width = layer.module.weight.shape
        between = math.isqrt(layer.input_places * layer.places)  # the height is strided already, the width not yet
        places = inputs * layer.input_places + height * between + (width + outputs) * layer.places
        return int(ranks[0] * places)

    def factors(self, layer: Any, ranks: Ranks, seed: int) -> list[nn.Module]:
        """Factors by alternating least squares.

        Raises: NotApplicableError where they don't end in finite numbers.
        """
        import torch

        (rank,) = ranks
        outputs, inputs, height, width = _cp(layer.weight.detach().double(), rank, seed)
        factors = (outputs, inputs, height, width)
        if not all(bool(torch.isfinite(factor).all()) for factor in factors):
            raise NotApplicableError(f"the CP decomposition at rank {rank} diverged")
        vertical = convolution(height.T[:, None, :, None], like=layer, axis=0)
        horizontal = convolution(width.T[:, None, None, :], like=layer, axis=1)
        return [pointwise(inputs.T), vertical, horizontal, pointwise(outputs, layer.bias)]


def _cp(weight: Tensor, rank: int, seed: int) -> list[Tensor]:
    """Factors (extent, rank) of the four modes whose columns' products add up to about `weight`.

    Raises: NotApplicableError where a step of the least squares is singular.
    """
    import torch

    with warnings.catch_warnings():
        # Ranks above an extent are what is wanted; their factors begin with seeded random numbers.
        warnings.filterwarnings("ignore", "Trying to compute SVD", UserWarning)
        try:
            scale, factors = decomposition().parafac(
                weight, rank=rank, init="svd", n_iter_max=_CP_ITERATIONS, random_state=seed
            )
        except torch.linalg.LinAlgError as error:  # type: ignore[attr-defined]
            raise NotApplicableError(f"the CP decomposition at rank {rank} has no least-squares solution") from error
    # One mode takes the scale, so that the product is what was decomposed.
    return [factors[0] * scale, *factors[1:]]


def _cp_rank(weight: Tensor, energy: float, largest: int, seed: int) -> int:
    """The smallest rank found by bisection that keeps `energy`; one more than `largest` where that one does not."""
    import torch

    exact = weight.double()
    low, high = 0, largest + 1
    while high - low > 1:
        rank = (low + high) // 2
        found = torch.einsum("or,ir,hr,wr->oihw", *_cp(exact, rank, seed))
        kept = 1 - float((found - exact).square().sum() / exact.square().sum())
        low, high = (low, rank) if kept >= energy else (rank, high)
    return high
