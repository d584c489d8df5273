"""Ways of running a model that leave its numbers alone."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from paretoboard.techniques import Applied, Technique
from paretoboard.techniques.export import as_graph
from paretoboard.techniques.forms import require_module

if TYPE_CHECKING:
    from paretoboard.artifact import Candidate
    from paretoboard.techniques import Workbench


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelsLast(Technique):
    """Keep tensors as NHWC, the layout that convolutions are fastest in."""

    source = "PyTorch tutorial 'Channels Last Memory Format in PyTorch'"
    takes = ("torch",)

    def apply(self, candidate: Candidate, bench: Workbench) -> Applied:  # noqa: ARG002
        """Note the memory format; the runtime lays weights and inputs out by it.

        Raises: NotApplicableError for an ONNX graph.
        """
        require_module(candidate, "run.channels_last")
        execution = dataclasses.replace(candidate.execution, memory_format="channels_last")
        return Applied(candidate=dataclasses.replace(candidate, execution=execution))


@dataclass(frozen=True, slots=True, kw_only=True)
class Compile(Technique):
    """Generate fused kernels for the batch sizes that are measured."""

    source = "Ansel et al. 2024, PyTorch 2 (ASPLOS), doi:10.1145/3620665.3640366; torch.compile's defaults"
    takes = ("torch",)
    runtime = "compile"

    def apply(self, candidate: Candidate, bench: Workbench) -> Applied:  # noqa: ARG002
        """Choose the runtime; compiling happens where the model is opened, once, and its kernels are kept.

        Raises: NotApplicableError for an ONNX graph.
        """
        require_module(candidate, "run.compile")
        execution = dataclasses.replace(candidate.execution, runtime="compile")
        return Applied(candidate=dataclasses.replace(candidate, execution=execution))


@dataclass(frozen=True, slots=True, kw_only=True)
class OnnxRuntime(Technique):
    """Export to ONNX and run in ONNX Runtime's CPU provider."""

    source = "ONNX Runtime documentation, 'Graph Optimizations in ONNX Runtime'"
    takes = ("torch", "onnx")
    gives = "onnx"
    runtime = "onnxruntime"

    graph: Literal["all", "extended", "basic", "disabled"] = "all"

    def apply(self, candidate: Candidate, bench: Workbench) -> Applied:
        """Export where that was not done yet, and note the level of graph optimization.

        Raises: NotApplicableError for a module that can't be exported or whose dtype the provider can't compute in.
        """
        bench.progress(0.0, "exporting to ONNX")
        exported = as_graph(candidate)
        options = {**exported.execution.options, "graph": self.graph}
        execution = dataclasses.replace(exported.execution, options=options)
        return Applied(candidate=dataclasses.replace(exported, execution=execution))
