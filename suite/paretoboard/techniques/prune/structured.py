"""Whole filters cut out, and all that depended on them: the network that is left is a smaller one."""

from __future__ import annotations

import copy
import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

from annotated_types import Ge, Gt, Lt

from paretoboard.errors import InputError, NotApplicableError
from paretoboard.techniques import Applied, Need, Technique
from paretoboard.techniques.forms import own_float32_module

if TYPE_CHECKING:
    from torch import Tensor, nn

    from paretoboard.artifact import Candidate
    from paretoboard.techniques import Workbench

# Channels come in whole numbers, so the share of what is removed jumps; 2^-10 tells 1,024 channels apart.
_BISECTIONS: Final = 10
_TOLERANCE: Final = 0.05  # of the budget's share: what is further off is not what was asked for
_GRADIENT_BATCH: Final = 64  # images whose gradients are averaged before they are squared
# A layer that lost all its channels is no network; the library would let a global ranking empty one.
_GLOBAL_LIMIT: Final = 0.9
_UNITS: Final = {"parameters": "parameters", "macs": "MACs"}
Budget = Literal["parameters", "macs"]


@dataclass(frozen=True, slots=True, kw_only=True)
class StructuredPruning(Technique):
    """Cut out whole filters, and all that depended on them, until a share of the parameters or MACs is gone."""

    source = (
        "Fang et al. 2023, DepGraph, arXiv:2301.12900; filter norms: Li et al. 2017, arXiv:1608.08710; "
        "Taylor: Molchanov et al. 2019, arXiv:1906.10771, section 3.1; "
        "geometric median: He et al. 2019, arXiv:1811.00250"
    )
    takes = ("torch",)

    parameters: Annotated[float, Gt(0), Lt(1)] | None = None  # share of the parameters to remove; this
    macs: Annotated[float, Gt(0), Lt(1)] | None = None  # or the share of the MACs, not both
    importance: Literal["l1", "l2", "taylor", "geometric_median", "random"] = "l2"  # what decides which filters go
    scope: Literal["layer", "global"] = "layer"  # the same share of each layer, or the least important of all layers
    images: Annotated[int, Ge(1)] = 512  # training images that importance "taylor" takes gradients on

    def __post_init__(self) -> None:
        if (self.parameters is None) == (self.macs is None):
            found = "neither" if self.parameters is None else "both"
            raise InputError(f"needs exactly one budget, 'parameters' or 'macs', found {found}")

    def needs_now(self) -> tuple[Need, ...]:
        """Training images for importance "taylor"."""
        return ("train",) if self.importance == "taylor" else ()

    def apply(self, candidate: Candidate, bench: Workbench) -> Applied:
        """Search the share of channels that comes nearest to the budget asked for.

        A network may name, in `keep_channels`, layers whose output channels must stay; its classes always do. What was
        reached is in the notes.

        Raises: NotApplicableError for an ONNX graph, and for a network that can't be cut near to what was asked.
        """
        module = own_float32_module(candidate, "prune.structured").requires_grad_(True)
        budget, wanted = self._budget()
        gradients, seen = self._gradients(module, bench)
        whole = _count(module, candidate, budget)
        best, reached = None, 0.0
        low, high = 0.0, 1.0
        for step in range(_BISECTIONS):
            bench.progress(step / _BISECTIONS, "searching how many channels to cut")
            ratio = (low + high) / 2
            pruned = self._cut(_copy(module, gradients), candidate, ratio, bench.seed)
            removed = 1.0 if pruned is None else 1 - _count(pruned, candidate, budget) / whole
            if pruned is not None and abs(removed - wanted) < abs(reached - wanted):
                best, reached = pruned, removed
            low, high = (ratio, high) if removed < wanted else (low, ratio)
        if best is None or abs(reached - wanted) > _TOLERANCE:
            raise NotApplicableError(
                f"prune.structured: asked to remove {wanted:.1%} of the {_UNITS[budget]}; "
                f"the nearest that cutting channels reaches is {reached:.1%}"
            )
        note = f"{reached:.1%} of the {_UNITS[budget]} removed, {wanted:.1%} asked for"
        return Applied(candidate=dataclasses.replace(candidate, module=best), images_seen=seen, notes=(note,))

    def _budget(self) -> tuple[Budget, float]:
        if self.parameters is not None:
            return "parameters", self.parameters
        assert self.macs is not None
        return "macs", self.macs

    def _gradients(self, module: nn.Module, bench: Workbench) -> tuple[list[Tensor | None], int]:
        """How large each parameter's gradient is on training images, where it decides, and how many images those are.

        The root of the mean square over batches: the mean itself is next to nothing in a network that was trained.
        """
        import numpy as np
        import torch

        from paretoboard.datasets.preprocess import preprocess_images

        parameters = list(module.parameters())
        if self.importance != "taylor":
            return [None for _ in parameters], 0
        images = bench.train_images()
        count = min(self.images, len(images))
        order = np.random.default_rng(bench.seed).permutation(len(images))[:count]
        squares = [torch.zeros_like(parameter) for parameter in parameters]
        for start in range(0, count, _GRADIENT_BATCH):
            chosen = order[start : start + _GRADIENT_BATCH]
            logits = module(torch.from_numpy(preprocess_images(images.pixels[chosen], bench.preprocess)))
            loss = torch.nn.functional.cross_entropy(logits, torch.from_numpy(images.labels[chosen]))
            for square, gradient in zip(squares, torch.autograd.grad(loss, parameters), strict=True):
                square.add_(gradient.square())
        steps = -(-count // _GRADIENT_BATCH)
        return [(square / steps).sqrt() for square in squares], count

    def _cut(self, module: nn.Module, candidate: Candidate, ratio: float, seed: int) -> nn.Module | None:
        """`module` without the least important `ratio` of its channels; None if it then doesn't run."""
        import torch
        import torch_pruning

        images = torch.rand((2, *candidate.input_shape), generator=torch.Generator().manual_seed(seed))
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            pruner = torch_pruning.pruner.BasePruner(
                module,
                images,
                self._ranking(),
                pruning_ratio=ratio,
                global_pruning=self.scope == "global",
                max_pruning_ratio=_GLOBAL_LIMIT if self.scope == "global" else 1.0,
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

    def _ranking(self) -> Any:
        from torch_pruning import importance

        match self.importance:
            case "l1":
                return importance.GroupMagnitudeImportance(p=1)
            case "l2":
                return importance.GroupMagnitudeImportance(p=2)
            case "taylor":
                return importance.GroupTaylorImportance()
            case "geometric_median":
                return importance.FPGMImportance()
            case "random":
                return importance.RandomImportance()


def _copy(module: nn.Module, gradients: list[Tensor | None]) -> nn.Module:
    """A copy of `module` whose parameters have `gradients`."""
    own = copy.deepcopy(module)
    for parameter, gradient in zip(own.parameters(), gradients, strict=True):
        parameter.grad = None if gradient is None else gradient.clone()
    return own


def _kept(module: nn.Module, classes: int) -> list[nn.Module]:
    """Layers whose output channels are not to be cut: those that the network names, and those that give classes."""
    from torch import nn

    named = [module.get_submodule(name) for name in getattr(module, "keep_channels", ())]
    outputs = [layer for layer in module.modules() if isinstance(layer, nn.Linear) and layer.out_features == classes]
    return named + outputs


def _count(module: nn.Module, candidate: Candidate, budget: Budget) -> int:
    from paretoboard.runtimes.statistics import statistics

    counts = statistics(dataclasses.replace(candidate, module=module))
    return counts.parameters if budget == "parameters" else counts.macs
