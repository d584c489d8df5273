"""What a recipe builds: the model between two steps, and the folder it is kept in."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import nn

Form = Literal["torch", "onnx"]
MemoryFormat = Literal["contiguous", "channels_last"]
Dtype = Literal["float32", "bfloat16", "float16"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Execution:
    """How a built model is to be run."""

    runtime: str = "eager"  # a name of runtimes.RUNTIMES
    memory_format: MemoryFormat = "contiguous"
    dtype: Dtype = "float32"  # of the input tensor and of a torch model's weights
    options: Mapping[str, Any] = field(default_factory=dict)  # the runtime's own


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A model on its way through the steps of a recipe; exactly one of `module` and `graph` is set."""

    architecture: str  # name in registry.MODELS
    classes: int
    input_shape: tuple[int, ...]  # of one image: (channels, height, width)
    module: nn.Module | None = None  # in evaluation mode, on the CPU
    graph: bytes | None = None  # a serialized ONNX model: float32 (n, *input_shape) -> (n, classes) logits
    execution: Execution = field(default_factory=Execution)

    @property
    def form(self) -> Form:
        """Which of the two it is."""
        return "torch" if self.graph is None else "onnx"


FILES: Final[Mapping[Form, str]] = {"torch": "weights.pt", "onnx": "model.onnx"}
