"""Data parallel: each rank takes its part of every batch; parameters are copied to all ranks, or spread over them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor
from torch.nn.parallel import DistributedDataParallel

from paretoboard.training.network import train_mode
from paretoboard.training.parallel.normalization import synchronize
from paretoboard.training.parallel.sharing import Share, Work

if TYPE_CHECKING:
    from collections.abc import Mapping


class _Parts(Share):
    """What the two have in common."""

    def __init__(self, module: nn.Module, work: Work) -> None:
        """`module` itself becomes this rank's."""
        if work.job.batch_norm == "synchronized":
            synchronize(module)
        self.module, self._work = module, work

    def gradients(self, indices: Tensor, variants: Tensor) -> float:
        """Of this rank's part; all ranks' gradients are averaged on the way."""
        ranks, rank = dist.get_world_size(), dist.get_rank()
        own = slice(rank * len(indices) // ranks, (rank + 1) * len(indices) // ranks)
        loss = self._work.loss(self.module, self._work.batch(indices[own], variants[own]))
        loss.backward()  # type: ignore[no-untyped-call]
        return float(loss.detach()) / ranks

    def whole(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Put together what is spread."""
        return {name: whole_tensor(each) for name, each in tensors.items()}


class DataParallel(_Parts):
    """A copy of the network on each rank; gradients are averaged while the backward pass goes on.

    Source: Li et al. 2020, PyTorch Distributed, arXiv:2006.15704.
    """

    prefix = "module."

    def __init__(self, module: nn.Module, work: Work) -> None:
        """`module` itself becomes this rank's copy."""
        super().__init__(work.formatted(module), work)
        # Running statistics are the same on all ranks, or each rank's own: there is nothing to send.
        devices = [work.device] if work.device.type == "cuda" else None
        self.module = DistributedDataParallel(
            self.module, device_ids=devices, broadcast_buffers=False, gradient_as_bucket_view=True
        )
        self.layout = "each rank holds a copy of the network and sees its part of every batch"


class Sharded(_Parts):
    """Each rank holds its part of every parameter, and gathers a layer's only while it computes with them.

    Source: Zhao et al. 2023, PyTorch FSDP, arXiv:2304.11277; torch.distributed.fsdp.fully_shard.
    """

    def __init__(self, module: nn.Module, work: Work) -> None:
        """`module` itself becomes this rank's part; its weights stay contiguous, as fully_shard asks."""
        super().__init__(module.to(work.device, work.dtype), work)
        train_mode(module)
        mesh = init_device_mesh(work.device.type, (dist.get_world_size(),))
        units = units_of(module)
        for unit in units:
            fully_shard(unit, mesh=mesh)
        fully_shard(module, mesh=mesh)
        self.layout = (
            f"each rank holds a part of every parameter and sees its part of every batch; "
            f"parameters are gathered in {len(units) + 1} units"
        )


def units_of(module: nn.Module) -> list[nn.Module]:
    """What is gathered together: the blocks of each sequence; the root gathers what is in none."""
    sequences = [child for child in module.children() if isinstance(child, nn.Sequential | nn.ModuleList)]
    blocks = [block for sequence in sequences for block in sequence.children()]
    return [block for block in blocks if any(True for _ in block.parameters())]


def whole_tensor(tensor: Tensor) -> Tensor:
    """A copy of a tensor on the CPU, put together where it is spread over ranks; all ranks must call it."""
    gathered = tensor.full_tensor() if isinstance(tensor, DTensor) else tensor
    return gathered.detach().to("cpu", copy=True)
