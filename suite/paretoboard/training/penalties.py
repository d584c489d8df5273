"""What large weights cost, as a part of the loss."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import torch
from torch import Tensor, nn

from paretoboard.errors import InputError, NotApplicableError

if TYPE_CHECKING:
    from collections.abc import Callable

# Kinds that multiply by a matrix or a kernel; their parameters of one dimension are biases.
_KINDS: Final = (nn.Conv1d, nn.Conv2d, nn.Linear, nn.MultiheadAttention, nn.RNNBase)


@dataclass(frozen=True, slots=True, kw_only=True)
class Penalty:
    """l1 x sum of |w| + l2 / 2 x sum of w^2, over the weights of convolutions and linear layers.

    With the half, the gradient of `l2` is that of an equal `weight_decay` of SGD, which decays biases and normalization
    too. L1 by gradient descent makes weights small and leaves hardly any at exactly zero.

    Source: Hoerl and Kennard 1970 (L2); Tibshirani 1996 (L1); Goodfellow et al. 2016, Deep Learning, section 7.1, for
    leaving biases out.
    """

    l1: float = 0.0  # >= 0
    l2: float = 0.0  # >= 0

    def __post_init__(self) -> None:
        for name in ("l1", "l2"):
            if not getattr(self, name) >= 0:
                raise InputError(f"{name} = {getattr(self, name)}: a penalty is zero or more")

    def __call__(self, module: nn.Module) -> Tensor:
        """The penalty of the weights as they are now, a scalar with a gradient.

        Raises: NotApplicableError for a network without such layers: a traced one, for example.
        """
        penalized = weights(module)
        if not penalized:
            raise NotApplicableError("l1 and l2 need a convolution or a linear layer, and the network has none")
        total = penalized[0].new_zeros(())
        if self.l1:
            total = total + self.l1 * _sum_of(penalized, torch.abs)
        if self.l2:
            total = total + self.l2 / 2 * _sum_of(penalized, torch.square)
        return total


def weights(module: nn.Module) -> list[nn.Parameter]:
    """Matrices and kernels of convolutions, linear layers, attention and recurrent layers, a shared one once."""
    found = {
        parameter: None
        for layer in module.modules()
        if isinstance(layer, _KINDS)
        for parameter in layer.parameters(recurse=False)
        if parameter.ndim > 1
    }
    return list(found)


def _sum_of(parameters: list[nn.Parameter], size: Callable[[Tensor], Tensor]) -> Tensor:
    return torch.stack([size(parameter).sum() for parameter in parameters]).sum()
