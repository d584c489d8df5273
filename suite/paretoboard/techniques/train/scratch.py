"""Training the task's network anew with something done otherwise."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

from annotated_types import Ge, Lt

from paretoboard.techniques.forms import own_float32_module
from paretoboard.techniques.train.anew import TrainedAnew, initial

if TYPE_CHECKING:
    from paretoboard.artifact import Candidate
    from paretoboard.techniques import Applied, Workbench


@dataclass(frozen=True, slots=True, kw_only=True)
class Scratch(TrainedAnew):
    """Train the task's network as the task did, but for what is named here, which is then all that differs.

    Without any parameter it gives the task's own weights, bit for bit.
    """

    source = (
        "ablation of one training setting at a time, as in He et al. 2019, Bag of Tricks, arXiv:1812.01187, section 5; "
        "equal budgets as in Dahl et al. 2023, AlgoPerf, arXiv:2306.07179, section 4"
    )
    detects = True

    normalization: Literal["batch", "group", "none"] | None = None  # None and "batch": as the network has it
    dropout: Annotated[float, Ge(0), Lt(1)] | None = None  # share of the last linear layer's inputs

    def apply(self, candidate: Candidate, bench: Workbench) -> Applied:
        """Train; an interrupted training is taken up at its last checkpoint.

        Raises:
            NotApplicableError: for an ONNX graph, for weights of fewer than 32 bits, for a model that the task did not
                train, and for settings that don't go together.
            DivergedError: for a loss that is not finite.
        """
        module = own_float32_module(candidate, "train.scratch")
        network, anew = initial(module, candidate, bench.train_seed)
        if self.normalization in ("group", "none"):
            from paretoboard.models.surgery import with_normalization

            network = with_normalization(network, self.normalization)
        if self.dropout:
            from paretoboard.models.surgery import with_dropout

            network = with_dropout(network, self.dropout)
        return self.train_anew(network.requires_grad_(True), candidate, bench, "train.scratch", anew=anew)
