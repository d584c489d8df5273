"""Training that begins with what another network learned elsewhere."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

from annotated_types import Ge

from paretoboard.errors import InputError, NotApplicableError
from paretoboard.spec import Weights
from paretoboard.techniques.forms import own_float32_module
from paretoboard.techniques.train.anew import TrainedAnew, initial

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor, nn

    from paretoboard.artifact import Candidate
    from paretoboard.techniques import Applied, Workbench


@dataclass(frozen=True, slots=True, kw_only=True)
class Transfer(TrainedAnew):
    """Train the task's network as the task did, but from the weights of the same architecture trained elsewhere.

    The head, the network's last linear layer, begins anew, unless it is `kept`. Everything is trained, or the head
    alone, or the last `stages` of the network with it. What is frozen keeps its batch norm's statistics, too.
    """

    source = (
        "Yosinski et al. 2014, How transferable are features in deep neural networks?, arXiv:1411.1792, section 3; "
        "Kornblith et al. 2019, arXiv:1805.08974, section 3: fixed features and fine-tuning"
    )

    weights: str  # a file below `<data root>/weights`
    sha256: str
    trainable: Literal["all", "head", "partial"] = "all"
    stages: Annotated[int, Ge(1)] | None = None  # of "partial": how many of the network's last
    head: Literal["new", "kept"] = "new"

    def check(self) -> None:
        """As always, and stages go with "partial"."""
        TrainedAnew.check(self)
        if (self.trainable == "partial") != (self.stages is not None):
            raise InputError("trainable = 'partial' and 'stages', how many of the last are trained, need each other")

    def apply(self, candidate: Candidate, bench: Workbench) -> Applied:
        """Train; an interrupted training is taken up at its last checkpoint.

        Raises:
            NotApplicableError: for an ONNX graph, for weights of fewer than 32 bits or of another architecture, for a
                head of other classes that is to be kept, for a network that names no stages where some are to be
                trained, for a model that the task did not train, and for settings that don't go together.
            DataError: for a file of weights that is missing or another one.
            DivergedError: for a loss that is not finite.
        """
        from paretoboard.models.surgery import last_linear

        module = own_float32_module(candidate, "train.transfer")
        network, anew = initial(module, candidate, bench.train_seed)
        head, _ = last_linear(network)
        self._load(network, bench.weights(Weights(file=self.weights, sha256=self.sha256)), head)
        kept = self._freeze(network, head)
        applied = self.train_anew(network, candidate, bench, "train.transfer", anew=anew)
        network.requires_grad_(True)
        total = sum(parameter.numel() for parameter in network.parameters())
        note = f"{total - kept:,} of {total:,} weights were trained, the others are those of {self.weights}"
        return dataclasses.replace(applied, notes=(*applied.notes, note))

    def _load(self, network: nn.Module, state: Mapping[str, Tensor], head: str) -> None:
        """Give `network` the tensors of `state`, all but a new head's."""
        own = network.state_dict()
        of_head = {name for name in own if name.startswith(f"{head}.")}
        # What counts batches is no weight, and files from before torch 0.4.1 lack it.
        uncounted = {name for name in own.keys() - state.keys() if name.endswith(".num_batches_tracked")}
        wanted = own.keys() - uncounted - (of_head if self.head == "new" else set())
        strange = sorted(wanted - state.keys()) + sorted(state.keys() - own.keys())
        if strange:
            raise NotApplicableError(
                f"train.transfer: {self.weights} is of another network: '{strange[0]}' is in one alone"
            )
        for name in sorted(wanted):
            if state[name].shape != own[name].shape:
                found, right = tuple(state[name].shape), tuple(own[name].shape)
                hint = '; head = "new" begins with another' if name in of_head else ""
                raise NotApplicableError(
                    f"train.transfer: '{name}' of {self.weights} has shape {found}, the task's network {right}{hint}"
                )
        network.load_state_dict({name: state[name] if name in wanted else own[name] for name in own})

    def _freeze(self, network: nn.Module, head: str) -> int:
        """Mark what is not to be trained; how many weights that are."""
        trained: tuple[str, ...] = ("",)
        if self.trainable != "all":
            trained = (f"{head}.", *(f"{stage}." for stage in self._stages(network)))
        frozen = [parameter for name, parameter in network.named_parameters() if not name.startswith(trained)]
        network.requires_grad_(True)
        for parameter in frozen:
            parameter.requires_grad_(False)
        return sum(parameter.numel() for parameter in frozen)

    def _stages(self, network: nn.Module) -> tuple[str, ...]:
        """Those that are trained beside the head."""
        if self.stages is None:
            return ()
        known: tuple[str, ...] = getattr(network, "stages", ())
        if self.stages > len(known):
            raise NotApplicableError(
                f"train.transfer: {self.stages} stages are to be trained, and a {type(network).__name__} "
                f"names {len(known)}"
            )
        return known[-self.stages :]
