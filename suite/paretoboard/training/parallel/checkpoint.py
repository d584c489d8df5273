"""A training of several processes, kept so that it can be taken up after a kill: by each rank its own part."""

from __future__ import annotations

import io
import pickle
import time
from typing import TYPE_CHECKING, Any, Final

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.tensor import DTensor

from paretoboard import durable

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from torch import nn

_KEPT: Final = 2


class Checkpoints:
    """The parts of this rank after whole epochs, in a file each.

    The last two, since a kill may come when one rank has written its part and another has not.
    """

    def __init__(self, folder: Path, identity: str, *, every_s: float) -> None:
        """Args:
        identity: all that decides the training's outcome; what lies there of another is not taken up.
        every_s: `save` does nothing sooner after the last time.
        """
        self._folder, self._identity, self._every_s = folder, identity, every_s
        self._saved_s = time.monotonic()
        folder.mkdir(parents=True, exist_ok=True)

    def save(self, epoch: int, module: nn.Module, optimizer: torch.optim.Optimizer, progress: dict[str, Any]) -> None:
        """Keep what there is after `epoch`, from 1, if it is time; every rank must call it.

        That is this rank's part of the weights, its optimizer and its `progress`.
        """
        due = torch.tensor([int(time.monotonic() - self._saved_s >= self._every_s)])
        dist.broadcast(due, 0)
        if not due:
            return
        content = {
            "identity": self._identity,
            "module": {name: _local(each) for name, each in module.state_dict().items()},
            "optimizer": [
                {key: _local(value) for key, value in optimizer.state.get(each, {}).items()}
                for each in _parameters(optimizer)
            ],
            "random": torch.get_rng_state(),
            **progress,
        }
        stream = io.BytesIO()
        torch.save(content, stream)
        durable.write(self._path(epoch), stream.getbuffer())
        for old in sorted(self._epochs())[:-_KEPT]:
            self._path(old).unlink()
        self._saved_s = time.monotonic()

    def take_up(self, module: nn.Module, optimizer: torch.optim.Optimizer) -> tuple[int, dict[str, Any]]:
        """Go on after the last epoch that all ranks have kept; every rank must call it.

        Returns: that epoch, 0 where the training begins, and the progress that was kept with it.
        """
        found = {epoch: content for epoch in self._epochs() if (content := self._read(epoch)) is not None}
        everyone: list[set[int] | None] = [None] * dist.get_world_size()
        dist.all_gather_object(everyone, set(found))
        epoch = max(set.intersection(*(each or set() for each in everyone)), default=0)
        for other in self._epochs() - {each for each in found if each <= epoch}:
            self._path(other).unlink()  # of another training, damaged, or not of all ranks
        if epoch == 0:
            return 0, {}
        content = found[epoch]
        _put_back(module, optimizer, content)
        torch.set_rng_state(content["random"])
        return epoch, content

    def _epochs(self) -> set[int]:
        """Those that lie there of this rank."""
        return {int(path.stem.rpartition("-")[2]) for path in self._folder.glob(f"rank-{dist.get_rank()}-*.pt")}

    def _path(self, epoch: int) -> Path:
        return self._folder / f"rank-{dist.get_rank()}-{epoch}.pt"

    def _read(self, epoch: int) -> dict[str, Any] | None:
        """None for what is damaged or of another training."""
        try:
            content: dict[str, Any] = torch.load(self._path(epoch), weights_only=True)
        except (OSError, RuntimeError, EOFError, pickle.UnpicklingError):
            return None
        return content if isinstance(content, dict) and content.get("identity") == self._identity else None


@torch.no_grad()
def _put_back(module: nn.Module, optimizer: torch.optim.Optimizer, content: dict[str, Any]) -> None:
    for name, each in module.state_dict().items():
        _local(each).copy_(content["module"][name])
    for parameter, state in zip(_parameters(optimizer), content["optimizer"], strict=True):
        if state:
            optimizer.state[parameter] = {key: _like(value, parameter) for key, value in state.items()}


def _parameters(optimizer: torch.optim.Optimizer) -> Iterator[Tensor]:
    for group in optimizer.param_groups:
        yield from group["params"]


def _local(value: Any) -> Any:
    """What this rank holds of a tensor that may be spread over ranks."""
    return value.to_local() if isinstance(value, DTensor) else value


def _like(value: Any, parameter: Tensor) -> Any:
    """A tensor of the optimizer's, spread as its parameter is; numbers stay what they are."""
    if not isinstance(parameter, DTensor) or not isinstance(value, Tensor) or value.dim() == 0:
        return value
    return DTensor.from_local(
        value,
        parameter.device_mesh,
        parameter.placements,
        run_check=False,
        shape=parameter.shape,
        stride=parameter.stride(),
    )
