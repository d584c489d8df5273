"""Networks for the tests of parallel training, found by `module:function` in every rank."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def tiny(classes: int = 10) -> nn.Module:
    """A convolution and a perceptron, without batch norm: ranks compute what one process does."""
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, stride=4, padding=1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(8 * 8 * 8, 24),
        nn.ReLU(),
        nn.Linear(24, classes),
    )


class _Wilful(nn.Module):
    """Asks about its input, which no trace can follow."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.linear = nn.Linear(3, classes)

    def forward(self, x: Tensor) -> Tensor:
        means = x.mean((2, 3))
        result: Tensor = self.linear(means if means.sum() > 0 else -means)
        return result


def wilful(classes: int = 10) -> nn.Module:
    """Can't be cut into a sequence."""
    return _Wilful(classes)


class _Failing(nn.Module):
    """Fails in training on rank 1 only."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.linear = nn.Linear(3, classes)

    def forward(self, x: Tensor) -> Tensor:
        if self.training and torch.distributed.is_initialized() and torch.distributed.get_rank() == 1:
            raise RuntimeError("a network of this kind\nfails here")
        result: Tensor = self.linear(x.mean((2, 3)))
        return result


def failing(classes: int = 10) -> nn.Module:
    """Works in one process."""
    return _Failing(classes)
