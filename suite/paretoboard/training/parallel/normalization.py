"""Batch norm over a batch that is spread over ranks, so that it computes what one process with the whole batch would.

torch.nn.SyncBatchNorm does so on accelerators only.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - the field's name for it
from torch.nn.modules.batchnorm import _BatchNorm


class SynchronizedBatchNorm(_BatchNorm):
    """nn.BatchNorm1d, 2d and 3d with mean and variance over the batches of all ranks; the same parameters and buffers.

    In evaluation mode it is what it replaces.
    """

    def _check_input_dim(self, input: Tensor) -> None:  # noqa: A002 - torch's name
        if input.dim() < 2:
            raise ValueError(f"batch norm needs (n, channels, ...), found {tuple(input.shape)}")

    def forward(self, x: Tensor) -> Tensor:
        """Normalize, (n, channels, ...) to the same shape and dtype."""
        if not self.training:
            return super().forward(x)
        normalized, mean, variance, count = _Normalize.apply(x, self.weight, self.bias, self.eps)
        if self.running_mean is not None and self.running_var is not None:
            self._follow(mean, variance, float(count))
        result: Tensor = normalized
        return result

    @torch.no_grad()
    def _follow(self, mean: Tensor, variance: Tensor, count: float) -> None:
        """Move the running statistics as nn.BatchNorm2d does: towards the unbiased variance."""
        assert self.num_batches_tracked is not None
        assert self.running_mean is not None
        assert self.running_var is not None
        self.num_batches_tracked.add_(1)
        factor = 1.0 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
        self.running_mean.lerp_(mean, factor)
        self.running_var.lerp_(variance * (count / max(count - 1.0, 1.0)), factor)


def synchronize(module: nn.Module) -> int:
    """Put SynchronizedBatchNorm in place of every batch norm of `module`, with its parameters; how many there were."""
    found = [(name, layer) for name, layer in module.named_modules() if isinstance(layer, _BatchNorm)]
    for name, layer in found:
        module.set_submodule(name, _synchronized(layer))
    return len(found)


def has_batch_norm(module: nn.Module) -> bool:
    """Whether any layer counts over the batch."""
    return any(isinstance(layer, _BatchNorm) for layer in module.modules())


def _synchronized(layer: _BatchNorm) -> SynchronizedBatchNorm:
    made = SynchronizedBatchNorm(layer.num_features, layer.eps, layer.momentum, layer.affine, layer.track_running_stats)
    made.weight, made.bias = layer.weight, layer.bias
    made.running_mean, made.running_var = layer.running_mean, layer.running_var
    made.num_batches_tracked = layer.num_batches_tracked
    return made.train(layer.training)


class _Normalize(torch.autograd.Function):
    """x, weight, bias, eps -> normalized, and mean, biased variance and count over all ranks.

    Each rank's loss is of its own images; gradients are those of the sum of all ranks' losses.
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        variance, mean = torch.var_mean(_wide(x.detach()), _all_but_channels(x), correction=0)
        count = mean.new_tensor([x.numel() / x.shape[1]])
        # Means and variances rather than sums of squares, which would cancel.
        own = torch.cat([mean, variance, count])
        everyone = [torch.empty_like(own) for _ in range(dist.get_world_size())]
        dist.all_gather(everyone, own)
        means, variances, counts = torch.stack(everyone).split(  # type: ignore[no-untyped-call]
            [len(mean), len(mean), 1], 1
        )
        total = counts.sum()
        mean = (counts * means).sum(0) / total
        variance = (counts * (variances + (means - mean) ** 2)).sum(0) / total
        ctx.save_for_backward(x, weight, mean, variance, total)
        ctx.eps = eps
        ctx.mark_non_differentiable(mean, variance, total)
        normalized = F.batch_norm(x, mean, variance, weight, bias, training=False, eps=eps)
        return normalized, mean, variance, total

    @staticmethod
    def backward(ctx: Any, grad: Tensor, *_: Tensor | None) -> tuple[Tensor, Tensor | None, Tensor | None, None]:
        x, weight, mean, variance, total = ctx.saved_tensors
        shape = (1, -1, *(1 for _ in x.shape[2:]))
        scale = torch.rsqrt(variance + ctx.eps)
        deviation = _wide(x) - mean.view(shape)
        wide, across = _wide(grad), _all_but_channels(x)
        sums = torch.stack([wide.sum(across), (wide * deviation).sum(across)])  # (2, channels)
        grad_weight = None if weight is None else sums[1] * scale
        grad_bias = None if weight is None else sums[0].clone()
        dist.all_reduce(sums)
        slope = scale if weight is None else scale * weight
        along = (-slope * scale**2 * sums[1] / total).view(shape)
        constant = (-slope * sums[0] / total).view(shape)
        grad_x = wide * slope.view(shape) + deviation * along + constant
        return grad_x.to(x.dtype), grad_weight, grad_bias, None


def _wide(x: Tensor) -> Tensor:
    """As float32 at least."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def _all_but_channels(x: Tensor) -> list[int]:
    return [0, *range(2, x.dim())]
