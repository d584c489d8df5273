"""torch on other devices than the CPU."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from paretoboard.techniques import Applied, Technique
from paretoboard.techniques.forms import require_module
from paretoboard.techniques.run.options import noted

if TYPE_CHECKING:
    from paretoboard.artifact import Candidate
    from paretoboard.techniques import Workbench


@dataclass(frozen=True, slots=True, kw_only=True)
class Cuda(Technique):
    """Run torch on an NVIDIA GPU, operator by operator.

    A call ends when the GPU is done. Never run by this project's authors, who have no GPU: tested with a device that
    pretends.
    """

    source = "PyTorch documentation 'CUDA semantics', asynchronous execution"
    takes = ("torch",)
    runtime = "cuda"

    def apply(self, candidate: Candidate, bench: Workbench) -> Applied:  # noqa: ARG002
        """Choose the runtime; weights move to the device where the model is opened.

        Raises: NotApplicableError for an ONNX graph, and where there is no such device.
        """
        return _on_device(candidate, "run.cuda", "cuda")


@dataclass(frozen=True, slots=True, kw_only=True)
class Xla(Technique):
    """Compile with XLA for what PJRT finds, a TPU above all.

    A call ends when the device is done. Never run by this project's authors, who have no TPU: tested with a device
    that pretends.
    """

    source = "PyTorch/XLA documentation 'TorchDynamo integration in PyTorch/XLA', backend openxla"
    takes = ("torch",)
    runtime = "xla"

    def apply(self, candidate: Candidate, bench: Workbench) -> Applied:  # noqa: ARG002
        """Choose the runtime; compiling happens where the model is opened.

        Raises: NotApplicableError for an ONNX graph, and where torch_xla or a device is missing.
        """
        return _on_device(candidate, "run.xla", "xla")


def _on_device(candidate: Candidate, technique: str, runtime: str) -> Applied:
    from paretoboard import runtimes

    require_module(candidate, technique)
    runtimes.idle(runtime)
    return Applied(candidate=noted(candidate, threads=None, options={}, runtime=runtime))
