"""Weights that are held at zero while the others are trained."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from collections.abc import Sequence


class Sparsity(Protocol):
    """How the share of zeros grows while a network is trained."""

    @property
    def identity(self) -> str:
        """Everything that decides its values."""

    def __call__(self, step: int, steps: int) -> float | None:
        """The share of each layer's weights to be zero after `step` (from 1) of `steps`; None leaves it as it is."""


class Masks:
    """Which weights of convolutions and linear layers stay zero."""

    def __init__(self, module: nn.Module, *, keep_zeros: bool, growing: bool) -> None:
        """Args:
        keep_zeros: hold the weights that are zero now.
        growing: `grow` will be called.
        """
        layers = [layer for layer in module.modules() if isinstance(layer, nn.Conv2d | nn.Linear)]
        weights = [weight for layer in layers if isinstance(weight := layer.weight, nn.Parameter)]
        kept = {weight: ((weight != 0) | (not keep_zeros)).contiguous() for weight in weights}
        # Weights of which nothing is held cost nothing.
        self._kept = {weight: kept[weight] for weight in weights if growing or not bool(kept[weight].all())}

    @torch.no_grad()
    def grow(self, sparsity: float) -> None:
        """Hold the smallest of each layer too, until `sparsity` of its weights are, rounded to whole weights.

        What is held stays held. Of equal weights any may go, always the same on one machine.
        """
        for weight, kept in self._kept.items():
            size = torch.where(kept, weight.abs(), -1.0).flatten()
            smallest = torch.topk(size, round(sparsity * size.numel()), largest=False, sorted=False).indices
            kept.view(-1)[smallest] = False

    @torch.no_grad()
    def apply(self) -> None:
        """Set the held weights to zero."""
        for weight, kept in self._kept.items():
            weight.mul_(kept)

    def state(self) -> list[Tensor]:
        """For a checkpoint."""
        return list(self._kept.values())

    def load(self, state: Sequence[Tensor]) -> None:
        """Take up what `state` gave for the same network."""
        for kept, stored in zip(self._kept.values(), state, strict=True):
            kept.copy_(stored)
