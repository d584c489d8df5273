"""A k x k convolution as three, by a Tucker decomposition of its channels."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from paretoboard.techniques.factorize.base import Factorization, Layer, Ranks, spatial
from paretoboard.techniques.factorize.library import decomposition
from paretoboard.techniques.factorize.spectrum import rank_of, singular_values
from paretoboard.techniques.factorize.thin import convolution, pointwise

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import nn


@dataclass(frozen=True, slots=True, kw_only=True)
class Tucker2(Factorization):
    """A k x k convolution as three: 1x1 to fewer channels, k x k among those, 1x1 back to all of them."""

    source = (
        "Kim et al. 2016, arXiv:1511.06530, section 3.1, ranks by energy instead of VBMF; tensorly's partial_tucker"
    )

    def fits(self, layer: nn.Module) -> bool:
        """A convolution without groups, larger than 1x1."""
        return spatial(layer)

    def chooser(self, layer: Layer, seed: int) -> Callable[[float], Ranks]:  # noqa: ARG002
        """By the singular values of both unfoldings; each keeps the share."""
        weight = layer.module.weight
        values = [singular_values(weight.transpose(0, mode).flatten(1)) for mode in (0, 1)]
        return lambda energy: tuple(rank_of(of_mode, energy) for of_mode in values)

    def weights(self, layer: Any, ranks: Ranks) -> int:
        """Of all three layers."""
        outputs, inputs, *kernel = layer.weight.shape
        return int(ranks[1] * inputs + math.prod(kernel) * ranks[0] * ranks[1] + ranks[0] * outputs)

    def factor_macs(self, layer: Layer, ranks: Ranks) -> int:
        """The first layer computes at the places of the input."""
        at_input = ranks[1] * layer.module.weight.shape[1]
        return int(at_input * layer.input_places + (self.weights(layer.module, ranks) - at_input) * layer.places)

    def factors(self, layer: Any, ranks: Ranks, seed: int) -> list[nn.Module]:
        """Core and two factor matrices by higher-order orthogonal iteration."""
        weight = layer.weight.detach().double()
        (core, (outputs, inputs)), _ = decomposition().partial_tucker(
            weight, rank=list(ranks), modes=[0, 1], init="svd", random_state=seed
        )
        return [pointwise(inputs.T), convolution(core, like=layer), pointwise(outputs, layer.bias)]
