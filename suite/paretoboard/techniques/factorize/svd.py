"""A layer as two of a lower rank, by singular values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from paretoboard.techniques.factorize.base import Factorization, Layer, Ranks
from paretoboard.techniques.factorize.spectrum import rank_of, singular_values
from paretoboard.techniques.factorize.thin import convolution, linear, pointwise

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import nn


@dataclass(frozen=True, slots=True, kw_only=True)
class SingularValues(Factorization):
    """A layer as two: the first to fewer channels, the second, 1x1, to all of them."""

    source = "Eckart and Young 1936, doi:10.1007/BF02288367; k x k: Zhang et al. 2016, arXiv:1505.06798, section 3.1"

    convolutions: Literal["1x1", "all"] = "1x1"  # beside linear layers; "all" cuts the output channels of k x k ones

    def fits(self, layer: nn.Module) -> bool:
        """A linear layer or a convolution without groups."""
        from torch import nn

        if not isinstance(layer, nn.Conv2d):
            return isinstance(layer, nn.Linear)
        return layer.groups == 1 and (self.convolutions == "all" or layer.kernel_size == (1, 1))

    def chooser(self, layer: Layer, seed: int) -> Callable[[float], Ranks]:  # noqa: ARG002
        """By the singular values of the weight as a matrix of outputs and inputs."""
        values = singular_values(layer.module.weight.flatten(1))
        return lambda energy: (rank_of(values, energy),)

    def weights(self, layer: Any, ranks: Ranks) -> int:
        """Of both layers."""
        outputs, inputs = layer.weight.flatten(1).shape
        return int(ranks[0] * (outputs + inputs))

    def factor_macs(self, layer: Layer, ranks: Ranks) -> int:
        """Both layers compute at the places of the output."""
        return self.weights(layer.module, ranks) * layer.places

    def factors(self, layer: Any, ranks: Ranks, seed: int) -> list[nn.Module]:  # noqa: ARG002
        """W = (U sqrt(S)) (sqrt(S) V^T), cut to the rank."""
        import torch
        from torch import nn

        (rank,) = ranks
        left, values, right = torch.linalg.svd(layer.weight.detach().double().flatten(1), full_matrices=False)
        root = values[:rank].sqrt()
        first, second = root[:, None] * right[:rank], left[:, :rank] * root
        if isinstance(layer, nn.Linear):
            return [linear(first), linear(second, layer.bias)]
        return [convolution(first.view(rank, *layer.weight.shape[1:]), like=layer), pointwise(second, layer.bias)]
