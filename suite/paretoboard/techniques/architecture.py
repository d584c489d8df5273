"""Another network for the same task, so that architectures stand in one table."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from annotated_types import MinLen

from paretoboard.errors import NotApplicableError, UnknownNameError
from paretoboard.registry import MODELS
from paretoboard.techniques.forms import own_float32_module
from paretoboard.techniques.train.anew import TrainedAnew

if TYPE_CHECKING:
    from paretoboard.artifact import Candidate
    from paretoboard.techniques import Applied, Workbench


@dataclass(frozen=True, slots=True, kw_only=True)
class Replacement(TrainedAnew):
    """Put another network in the place of the task's, and train it as that one was, but for what is named here.

    Networks differ in what suits them: what was set for one of them is in its recipe.
    """

    source = "Dodge et al. 2019, arXiv:1909.03004, on comparing networks at equal budgets; each network names its own"

    model: Annotated[str, MinLen(1)]  # a name of `paretoboard list models`, or `module:function`

    def check(self) -> None:
        """Raises: UnknownNameError for a network that there is not; InputError as all that train anew."""
        TrainedAnew.check(self)
        if ":" not in self.model and self.model not in MODELS:
            raise UnknownNameError("model", self.model, MODELS)

    def apply(self, candidate: Candidate, bench: Workbench) -> Applied:
        """Train; an interrupted training is taken up at its last checkpoint.

        Raises:
            NotApplicableError: for an ONNX graph, for weights of fewer than 32 bits, for a model that the task did not
                train, for settings that don't go together, and for a network that takes no such images.
            DivergedError: for a loss that is not finite.
        """
        import torch

        from paretoboard.models import build

        own_float32_module(candidate, "architecture.replace")
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(bench.train_seed)
            network = build(self.model, candidate.classes)
        try:
            with torch.inference_mode():
                network(torch.zeros((1, *candidate.input_shape)))
        except RuntimeError as error:
            shape = "x".join(map(str, candidate.input_shape))
            raise NotApplicableError(f"{self.model} takes no images of {shape}: {error}") from error
        fresh = dataclasses.replace(candidate, architecture=self.model)
        return self.train_anew(network, fresh, bench, "architecture.replace", anew=True)
