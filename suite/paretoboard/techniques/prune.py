"""Fewer weights: single ones set to zero, or whole filters cut out."""

from __future__ import annotations

import copy
import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Final, Literal

from annotated_types import Gt, Lt

from paretoboard.errors import NotApplicableError
from paretoboard.techniques import Applied, Technique
from paretoboard.techniques.forms import own_float32_module

if TYPE_CHECKING:
    from torch import nn

    from paretoboard.artifact import Candidate
    from paretoboard.techniques import Workbench

# Channels come in whole numbers, so the share of parameters jumps; 2^-10 tells 1,024 channels apart.
_BISECTIONS: Final = 10
_TOLERANCE: Final = 0.05  # of the share of parameters: what is further off is not what was asked for
_NORMS: Final = {"l1": 1, "l2": 2}


@dataclass(frozen=True, slots=True, kw_only=True)
class MagnitudePruning(Technique):
    """Zero the weights that are smallest in absolute value; no runtime here gets faster by it."""

    source = "Han et al. 2015, arXiv:1506.02626, section 3, without the retraining; torch.nn.utils.prune"
    takes = ("torch",)

    sparsity: Annotated[float, Gt(0), Lt(1)] = 0.5  # share of the weights to zero, rounded to whole weights
    scope: Literal["layer", "global"] = "layer"  # the smallest of each layer, or of all layers together

    def apply(self, candidate: Candidate, bench: Workbench) -> Applied:  # noqa: ARG002
        """Zero weights of all convolutions and linear layers; biases and batch norm are left.

        Raises: NotApplicableError for an ONNX graph, and for a model with no such layer.
        """
        from torch import nn
        from torch.nn.utils import prune

        module = own_float32_module(candidate, "prune.magnitude")
        layers = [layer for layer in module.modules() if isinstance(layer, nn.Conv2d | nn.Linear)]
        if not layers:
            raise NotApplicableError("prune.magnitude: the model has no convolution and no linear layer")
        if self.scope == "global":
            prune.global_unstructured(
                [(layer, "weight") for layer in layers], pruning_method=prune.L1Unstructured, amount=self.sparsity
            )
        else:
            for layer in layers:
                prune.l1_unstructured(layer, "weight", amount=self.sparsity)  # type: ignore[no-untyped-call]
        for layer in layers:
            prune.remove(layer, "weight")  # type: ignore[no-untyped-call]
        zeros = sum(int((layer.weight == 0).sum()) for layer in layers)
        weights = sum(layer.weight.numel() for layer in layers)
        note = f"{zeros / weights:.1%} of the weights of {len(layers)} layers are zero"
        return Applied(candidate=dataclasses.replace(candidate, module=module), notes=(note,))


@dataclass(frozen=True, slots=True, kw_only=True)
class StructuredPruning(Technique):
    """Cut out whole filters, and all that depended on them, until a share of the parameters is gone."""

    source = "Fang et al. 2023, DepGraph, arXiv:2301.12900; filter norms: Li et al. 2017, arXiv:1608.08710"
    takes = ("torch",)

    parameters: Annotated[float, Gt(0), Lt(1)] = 0.3  # share of the parameters to remove
    importance: Literal["l1", "l2", "random"] = "l2"  # what decides which filters go

    def apply(self, candidate: Candidate, bench: Workbench) -> Applied:
        """Search the share of channels that comes nearest to the share of parameters asked for.

        Every layer gives the same share of its channels. A network may name, in `keep_channels`, layers whose
        output channels must stay; its classes always do. What was reached is in the notes.

        Raises: NotApplicableError for an ONNX graph, and for a network that can't be cut near to what was asked.
        """
        module = own_float32_module(candidate, "prune.structured").requires_grad_(True)
        whole = _parameters(module)
        best, reached = None, 0.0
        low, high = 0.0, 1.0
        for step in range(_BISECTIONS):
            bench.progress(step / _BISECTIONS, "searching how many channels to cut")
            ratio = (low + high) / 2
            pruned = _cut(copy.deepcopy(module), candidate, ratio, self.importance, bench.seed)
            removed = 1.0 if pruned is None else 1 - _parameters(pruned) / whole
            if pruned is not None and abs(removed - self.parameters) < abs(reached - self.parameters):
                best, reached = pruned, removed
            low, high = (ratio, high) if removed < self.parameters else (low, ratio)
        if best is None or abs(reached - self.parameters) > _TOLERANCE:
            raise NotApplicableError(
                f"prune.structured: asked to remove {self.parameters:.1%} of the parameters; "
                f"the nearest that cutting channels reaches is {reached:.1%}"
            )
        note = f"{reached:.1%} of the parameters removed, {self.parameters:.1%} asked for"
        return Applied(candidate=dataclasses.replace(candidate, module=best), notes=(note,))


def _cut(module: nn.Module, candidate: Candidate, ratio: float, importance: str, seed: int) -> nn.Module | None:
    """`module` without the least important `ratio` of the channels of each layer; None if it then doesn't run."""
    import torch
    import torch_pruning

    images = torch.rand((2, *candidate.input_shape), generator=torch.Generator().manual_seed(seed))
    ranking = torch_pruning.importance
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        pruner = torch_pruning.pruner.BasePruner(
            module,
            images,
            ranking.RandomImportance()
            if importance == "random"
            else ranking.GroupMagnitudeImportance(p=_NORMS[importance]),
            pruning_ratio=ratio,
            ignored_layers=_kept(module, candidate.classes),
            # The library's own defaults are shared dictionaries that would keep every network alive.
            in_channel_groups={},
            out_channel_groups={},
        )
        pruner.step()
    module.zero_grad(set_to_none=True)
    try:
        with torch.inference_mode():
            logits = module.eval()(images)
    except RuntimeError:  # a layer without a channel, or shapes that no longer fit
        return None
    return module if logits.shape == (2, candidate.classes) and bool(logits.isfinite().all()) else None


def _kept(module: nn.Module, classes: int) -> list[nn.Module]:
    """Layers whose output channels are not to be cut: those that the network names, and those that give classes."""
    from torch import nn

    named = [module.get_submodule(name) for name in getattr(module, "keep_channels", ())]
    outputs = [layer for layer in module.modules() if isinstance(layer, nn.Linear) and layer.out_features == classes]
    return named + outputs


def _parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())
