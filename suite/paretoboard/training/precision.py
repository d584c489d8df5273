"""In which precision a step of training computes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import torch
from torch import nn

from paretoboard.errors import NotApplicableError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from paretoboard.spec import Precision

_HALF: Final[Mapping[str, torch.dtype]] = {"bfloat16": torch.bfloat16, "float16": torch.float16}


def autocast(precision: Precision) -> torch.autocast:
    """A block in which torch computes in `precision` where its own list says that this is safe."""
    return torch.autocast("cpu", dtype=_HALF.get(precision, torch.bfloat16), enabled=precision in _HALF)


def scaler(precision: Precision) -> torch.amp.GradScaler:
    """Scales the loss so that float16's small gradients don't vanish; does nothing for other precisions.

    Steps whose gradients overflow are left out and the scale is halved.

    Raises: NotApplicableError where this machine can't train in float16.
    Source: Micikevicius et al. 2018, Mixed Precision Training, arXiv:1710.03740, section 3.2; torch.amp.GradScaler.
    """
    if precision == "float16":
        _try_float16()
    return torch.amp.GradScaler("cpu", enabled=precision == "float16")


def _try_float16() -> None:
    """A step of a network of two layers: a processor without float16 arithmetic refuses some of it."""
    with torch.random.fork_rng(devices=[]):
        layers = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4, 2))
        try:
            with autocast("float16"):
                said = layers(torch.rand(2, 3, 3, 3))
            said.float().sum().backward()
        except RuntimeError as error:
            reason = str(error).strip().splitlines()[0]
            raise NotApplicableError(f"this machine can't train in float16: {reason}") from error
