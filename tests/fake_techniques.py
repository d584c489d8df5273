"""Small techniques that implement the seam, to test how a task file's steps are checked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

from annotated_types import Ge, Gt, Lt

from paretoboard.registry import Registry
from paretoboard.techniques import Applied, Technique

if TYPE_CHECKING:
    from paretoboard.artifact import Candidate
    from paretoboard.techniques import Workbench


class Fake(Technique):
    """Leaves the model as it is."""

    __slots__ = ()
    source = "made up"

    def apply(self, candidate: Candidate, bench: Workbench) -> Applied:
        return Applied(candidate=candidate)


@dataclass(frozen=True, slots=True, kw_only=True)
class Prune(Fake):
    takes = ("torch",)
    sparsity: Annotated[float, Gt(0), Lt(1)]
    layers: tuple[str, ...] = ("conv", "linear")


@dataclass(frozen=True, slots=True, kw_only=True)
class Static(Fake):
    takes = ("onnx",)
    gives = "onnx"
    needs = ("calibration",)
    version = 3
    per_channel: bool = True
    calibrate: Literal["minmax", "entropy", "percentile"] = "minmax"
    images: Annotated[int, Ge(1)] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Compile(Fake):
    takes = ("torch",)
    runtime = "compile"


@dataclass(frozen=True, slots=True, kw_only=True)
class OnnxRuntime(Fake):
    takes = ("torch", "onnx")
    gives = "onnx"
    runtime = "onnxruntime"


@dataclass(frozen=True, slots=True, kw_only=True)
class ToTorch(Fake):
    takes = ("onnx",)
    gives = "torch"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finetune(Fake):
    takes = ("torch",)
    needs = ("train",)
    epochs: Annotated[int, Gt(0)]


FAKES = Registry(
    "technique",
    {
        "convert.torch": ("fake_techniques:ToTorch", "a module of a graph again"),
        "prune.magnitude": ("fake_techniques:Prune", "zero some weights"),
        "quantize.static": ("fake_techniques:Static", "fewer bits"),
        "run.compile": ("fake_techniques:Compile", "compile it"),
        "run.onnxruntime": ("fake_techniques:OnnxRuntime", "run the graph"),
        "train.finetune": ("fake_techniques:Finetune", "train on"),
    },
)
