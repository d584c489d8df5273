"""What a technique can be applied to."""

from __future__ import annotations

from typing import TYPE_CHECKING

from paretoboard.errors import NotApplicableError

if TYPE_CHECKING:
    from torch import nn

    from paretoboard.artifact import Candidate


def require_module(candidate: Candidate, technique: str) -> nn.Module:
    """The torch module of `candidate`, which must not be changed.

    Raises: NotApplicableError where it is a graph by now.
    """
    if candidate.module is None:
        raise NotApplicableError(f"{technique} takes a torch model, and this one is an ONNX graph by now: move it up")
    return candidate.module


def own_float32_module(candidate: Candidate, technique: str) -> nn.Module:
    """A copy of the torch module of `candidate`, to be changed.

    Raises: NotApplicableError for a graph, and for weights of fewer than 32 bits.
    """
    import copy

    module = require_module(candidate, technique)
    if candidate.execution.dtype != "float32":
        raise NotApplicableError(
            f"{technique} needs float32 weights, these are {candidate.execution.dtype}: move it up"
        )
    return copy.deepcopy(module)
