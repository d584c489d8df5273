"""What torch offers beside eager execution in float32 and NCHW."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from annotated_types import Ge

from paretoboard.errors import NotApplicableError
from paretoboard.techniques import Applied, Technique
from paretoboard.techniques.forms import require_module
from paretoboard.techniques.run.options import noted

if TYPE_CHECKING:
    from paretoboard.artifact import Candidate
    from paretoboard.techniques import Workbench


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelsLast(Technique):
    """Keep tensors as NHWC, the layout that convolutions are fastest in."""

    source = "PyTorch tutorial 'Channels Last Memory Format in PyTorch'"
    takes = ("torch",)

    threads: Annotated[int, Ge(1)] | None = None

    def apply(self, candidate: Candidate, bench: Workbench) -> Applied:  # noqa: ARG002
        """Note the memory format; the runtime lays weights and inputs out by it.

        Raises: NotApplicableError for an ONNX graph.
        """
        require_module(candidate, "run.channels_last")
        return Applied(candidate=noted(candidate, threads=self.threads, options={}, memory_format="channels_last"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Autocast(Technique):
    """Compute convolutions and matrix products in bfloat16, and the rest as torch.autocast decides.

    Weights stay float32, in the file and in memory, and are cast anew at each call: autocast keeps cast copies of
    weights that are trained only. The casts are a part of what is timed.
    """

    source = "PyTorch documentation 'Automatic Mixed Precision package - torch.amp', CPU op lists; arXiv:1905.12322"
    takes = ("torch",)

    channels_last: bool = False
    threads: Annotated[int, Ge(1)] | None = None

    def apply(self, candidate: Candidate, bench: Workbench) -> Applied:  # noqa: ARG002
        """Note the precision that calls are made in, as option `autocast`.

        Raises: NotApplicableError for an ONNX graph, and for weights that are 16 bits wide already.
        """
        require_module(candidate, "run.autocast")
        if candidate.execution.dtype != "float32":
            raise NotApplicableError(f"run.autocast casts float32 weights, these are {candidate.execution.dtype}")
        fields = {"memory_format": "channels_last"} if self.channels_last else {}
        options = {"autocast": "bfloat16"}
        return Applied(
            candidate=noted(candidate, threads=self.threads, options=options, **fields),
            notes=("weights stay float32 and are cast to bfloat16 at each call",),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Compile(Technique):
    """Generate fused kernels for the batch sizes that are measured."""

    source = "Ansel et al. 2024, PyTorch 2 (ASPLOS), doi:10.1145/3620665.3640366; torch.compile's defaults"
    takes = ("torch",)
    runtime = "compile"

    threads: Annotated[int, Ge(1)] | None = None

    def apply(self, candidate: Candidate, bench: Workbench) -> Applied:  # noqa: ARG002
        """Choose the runtime; compiling happens where the model is opened, once, and its kernels are kept.

        Raises: NotApplicableError for an ONNX graph.
        """
        require_module(candidate, "run.compile")
        return Applied(candidate=noted(candidate, threads=self.threads, options={}, runtime="compile"))
