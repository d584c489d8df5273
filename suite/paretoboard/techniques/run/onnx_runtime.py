"""ONNX Runtime's CPU provider."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

from annotated_types import Ge

from paretoboard.techniques import Applied, Technique
from paretoboard.techniques.export import as_graph
from paretoboard.techniques.run.options import noted

if TYPE_CHECKING:
    from paretoboard.artifact import Candidate
    from paretoboard.techniques import Workbench


@dataclass(frozen=True, slots=True, kw_only=True)
class OnnxRuntime(Technique):
    """Export to ONNX and run in ONNX Runtime's CPU provider."""

    source = "ONNX Runtime documentation, 'Graph Optimizations in ONNX Runtime'"
    takes = ("torch", "onnx")
    gives = "onnx"
    runtime = "onnxruntime"

    graph: Literal["all", "extended", "basic", "disabled"] = "all"
    threads: Annotated[int, Ge(1)] | None = None

    def apply(self, candidate: Candidate, bench: Workbench) -> Applied:
        """Export where that was not done yet, and note the level of graph optimization.

        Raises: NotApplicableError for a module that can't be exported or whose dtype the provider can't compute in.
        """
        bench.progress(0.0, "exporting to ONNX")
        return Applied(candidate=noted(as_graph(candidate), threads=self.threads, options={"graph": self.graph}))
