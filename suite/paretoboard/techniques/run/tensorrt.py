"""TensorRT through ONNX Runtime."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from paretoboard.techniques import Applied, Technique
from paretoboard.techniques.export import as_graph
from paretoboard.techniques.run.options import noted

if TYPE_CHECKING:
    from paretoboard.artifact import Candidate
    from paretoboard.techniques import Workbench


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorRt(Technique):
    """Export to ONNX and run in TensorRT, as a provider of ONNX Runtime.

    Never run by this project's authors, who have no GPU: what is tested is that it is refused without one.
    """

    source = "ONNX Runtime documentation 'NVIDIA - TensorRT Execution Provider'"
    takes = ("torch", "onnx")
    gives = "onnx"
    runtime = "tensorrt"

    precision: Literal["f32", "f16"] = "f32"  # of layers that are not quantized; f32 may be TF32 on newer GPUs

    def apply(self, candidate: Candidate, bench: Workbench) -> Applied:
        """Export where that was not done yet; engines are built where the model is opened, once, and kept.

        Raises: NotApplicableError where the provider is missing, and for a module that can't be exported.
        """
        from paretoboard import runtimes

        runtimes.idle("tensorrt")
        bench.progress(0.0, "exporting to ONNX")
        options = {"precision": self.precision}
        return Applied(candidate=noted(as_graph(candidate), threads=None, options=options, runtime="tensorrt"))
