"""Single weights set to zero: the network keeps its shape, and only its compressed file gets smaller."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

from annotated_types import Ge, Gt, Le, Lt

from paretoboard.errors import InputError, NotApplicableError
from paretoboard.techniques import Applied, Technique
from paretoboard.techniques.forms import own_float32_module
from paretoboard.techniques.train import TrainingTechnique, trained

if TYPE_CHECKING:
    from torch import Tensor, nn

    from paretoboard.artifact import Candidate
    from paretoboard.techniques import Workbench


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
        from torch.nn.utils import prune

        module = own_float32_module(candidate, "prune.magnitude")
        layers = _layers(module, "prune.magnitude")
        if self.scope == "global":
            prune.global_unstructured(
                [(layer, "weight") for layer in layers], pruning_method=prune.L1Unstructured, amount=self.sparsity
            )
        else:
            for layer in layers:
                prune.l1_unstructured(layer, "weight", amount=self.sparsity)  # type: ignore[no-untyped-call]
        for layer in layers:
            prune.remove(layer, "weight")  # type: ignore[no-untyped-call]
        return Applied(candidate=dataclasses.replace(candidate, module=module), notes=_zeros_notes(layers))


@dataclass(frozen=True, slots=True, kw_only=True)
class NMPruning(Technique):
    """Of every `m` consecutive input channels keep the `n` largest weights, the pattern that sparse tensor cores take.

    No runtime on a CPU gets faster by it.
    """

    source = "Mishra et al. 2021, arXiv:2104.08378, sections 3 and 4, without the retraining"
    takes = ("torch",)

    n: Annotated[int, Ge(1)] = 2  # weights kept
    m: Annotated[int, Ge(2)] = 4  # of so many

    def __post_init__(self) -> None:
        if self.n >= self.m:
            raise InputError(f"keeps n of every m weights: n = {self.n} must be less than m = {self.m}")

    def apply(self, candidate: Candidate, bench: Workbench) -> Applied:  # noqa: ARG002
        """Zero weights along the input channels of convolutions and the inputs of linear layers.

        Layers whose inputs are no multiple of `m` are left as they are, as the hardware leaves them.

        Raises: NotApplicableError for an ONNX graph, and for a model with no layer that fits.
        """
        module = own_float32_module(candidate, "prune.n_m")
        layers = _layers(module, "prune.n_m")
        fitting = [layer for layer in layers if layer.weight.shape[1] % self.m == 0]
        if not fitting:
            raise NotApplicableError(f"prune.n_m: no layer has a multiple of {self.m} inputs")
        for layer in fitting:
            layer.weight.data = self._pruned(layer.weight.data)
        note = f"{len(fitting)} of {len(layers)} layers have {self.n} of every {self.m} weights"
        return Applied(candidate=dataclasses.replace(candidate, module=module), notes=(note, *_zeros_notes(layers)))

    def _pruned(self, weight: Tensor) -> Tensor:
        """(out, in, ...) with the m - n smallest of every m along `in` at zero; of equal ones the first go."""
        import torch

        rows = weight.movedim(1, -1)
        groups = rows.reshape(-1, self.m)
        smallest = groups.abs().sort(stable=True, dim=1).indices[:, : self.m - self.n]
        kept = torch.ones_like(groups, dtype=torch.bool).scatter_(1, smallest, value=False)
        return (groups * kept).view(rows.shape).movedim(-1, 1).contiguous()


@dataclass(frozen=True, slots=True, kw_only=True)
class GradualPruning(TrainingTechnique):
    """Zero more and more of each layer's smallest weights while training goes on, quickly at first."""

    source = "Zhu and Gupta 2017, arXiv:1710.01878, section 3, equation 1"
    detects = True

    epochs: Annotated[int, Ge(1)]
    sparsity: Annotated[float, Gt(0), Lt(1)] = 0.8  # share of each layer's weights that are zero in the end
    initial: Annotated[float, Ge(0), Lt(1)] = 0.0  # and at the beginning
    until: Annotated[float, Gt(0), Le(1)] = 0.75  # share of the steps after which the zeros are fixed
    every: Annotated[int, Ge(1)] = 10  # steps between two cuts

    def __post_init__(self) -> None:
        if self.initial >= self.sparsity:
            raise InputError(f"initial = {self.initial} must be less than the sparsity in the end, {self.sparsity}")

    def apply(self, candidate: Candidate, bench: Workbench) -> Applied:
        """Train and prune; an interrupted training is taken up at its last checkpoint.

        Weights that are zero at the start stay zero.

        Raises:
            NotApplicableError: for an ONNX graph, for weights of fewer than 32 bits, and for a model without a
                convolution or a linear layer.
            DivergedError: for a loss that is not finite.
        """
        from paretoboard.training import train

        module = own_float32_module(candidate, "prune.gradual").requires_grad_(True)
        layers = _layers(module, "prune.gradual")
        result = train(
            module,
            bench.train_images(),
            self.settings(self.epochs, bench.train_settings),
            preprocess=bench.preprocess,
            seed=bench.seed,
            checkpoint=bench.scratch / "gradual.pt",
            checkpoint_every_s=bench.checkpoint_every_s,
            loss=bench.loss(),
            keep_zeros=True,
            sparsity=CubicSparsity(initial=self.initial, final=self.sparsity, until=self.until, every=self.every),
            progress=bench.progress,
        )
        applied = trained(candidate, module, result)
        return dataclasses.replace(applied, notes=(*applied.notes, *_zeros_notes(layers)))


@dataclass(frozen=True, slots=True, kw_only=True)
class CubicSparsity:
    """A training.Sparsity: final + (initial - final) (1 - t)^3, with t from 0 to 1 over the steps of pruning.

    Source: Zhu and Gupta 2017, arXiv:1710.01878, equation 1.
    """

    initial: float
    final: float
    until: float  # share of all steps
    every: int  # steps

    @property
    def identity(self) -> str:
        """All four."""
        return repr(self)

    def __call__(self, step: int, steps: int) -> float | None:
        """The share of zeros after `step` (from 1) of `steps`; None between two cuts and after the last."""
        last = max(1, round(self.until * steps))
        if step > last or (step % self.every and step != last):
            return None
        return self.final + (self.initial - self.final) * (1 - step / last) ** 3


def _layers(module: nn.Module, technique: str) -> list[nn.Conv2d | nn.Linear]:
    from torch import nn

    layers = [layer for layer in module.modules() if isinstance(layer, nn.Conv2d | nn.Linear)]
    if not layers:
        raise NotApplicableError(f"{technique}: the model has no convolution and no linear layer")
    return layers


def _zeros_notes(layers: list[nn.Conv2d | nn.Linear]) -> tuple[str, ...]:
    zeros = sum(int((layer.weight == 0).sum()) for layer in layers)
    weights = sum(layer.weight.numel() for layer in layers)
    return (
        f"{zeros / weights:.1%} of the weights of {len(layers)} layers are zero",
        "not faster: no runtime here leaves zeros out of convolutions; what they save is in the compressed size",
    )
