"""16-bit floats."""

from __future__ import annotations

import copy
import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from paretoboard.techniques import Applied, Technique
from paretoboard.techniques.forms import require_module

if TYPE_CHECKING:
    from paretoboard.artifact import Candidate
    from paretoboard.techniques import Workbench


@dataclass(frozen=True, slots=True, kw_only=True)
class Cast(Technique):
    """Store weights and compute in a 16-bit float."""

    source = "Kalamkar et al. 2019, arXiv:1905.12322 (bfloat16); Micikevicius et al. 2018, arXiv:1710.03740 (float16)"
    takes = ("torch",)

    dtype: Literal["bfloat16", "float16"] = "bfloat16"

    def apply(self, candidate: Candidate, bench: Workbench) -> Applied:  # noqa: ARG002
        """Cast all weights and running statistics; inputs are cast before the timed call.

        Raises: NotApplicableError for an ONNX graph.
        """
        import torch

        module = copy.deepcopy(require_module(candidate, "quantize.cast")).to(getattr(torch, self.dtype))
        execution = dataclasses.replace(candidate.execution, dtype=self.dtype)
        return Applied(candidate=dataclasses.replace(candidate, module=module, execution=execution))
