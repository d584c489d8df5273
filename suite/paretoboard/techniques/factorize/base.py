"""What factorizations share: which layers gain, and ranks for an energy or a budget of MACs."""

from __future__ import annotations

import dataclasses
import math
from abc import abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Final

from annotated_types import Gt, Le, Lt

from paretoboard.errors import InputError, NotApplicableError
from paretoboard.techniques import Applied, Technique
from paretoboard.techniques.forms import own_float32_module

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from torch import Tensor, nn

    from paretoboard.artifact import Candidate
    from paretoboard.techniques import Workbench

Ranks = tuple[int, ...]  # one of SVD and CP; of the outputs and of the inputs for Tucker-2

_BISECTIONS: Final = 20  # of a share between 0 and 1: finer than any rank
_TOLERANCE: Final = 0.05  # of the share of MACs: what is further off is not what was asked for


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """A convolution or linear layer, and where it is used."""

    path: str
    module: Any  # nn.Conv2d | nn.Linear
    places: int  # outputs per channel and image: height x width; of a linear layer, tokens
    input_places: int  # and of the input

    @property
    def macs(self) -> int:
        """Multiply-accumulates for one image."""
        return int(self.module.weight.numel()) * self.places


@dataclass(frozen=True, slots=True, kw_only=True)
class Factorization(Technique):
    """Replace layers by thinner ones in a row, to an energy that is kept or a share of the MACs that goes.

    A layer whose factors would not have fewer MACs and weights than it has is left alone.
    """

    takes = ("torch",)

    energy: Annotated[float, Gt(0), Le(1)] | None = None  # share of each layer's squared weights to keep; this
    macs: Annotated[float, Gt(0), Lt(1)] | None = None  # or the share of the network's MACs to remove, not both

    def __post_init__(self) -> None:
        if (self.energy is None) == (self.macs is None):
            found = "neither" if self.energy is None else "both"
            raise InputError(f"needs exactly one of 'energy' and 'macs', found {found}")

    def apply(self, candidate: Candidate, bench: Workbench) -> Applied:
        """Factorize every layer that it saves something on.

        Raises: NotApplicableError for an ONNX graph, for a missing library, for a network without a layer that gains,
            and for a budget that can't be reached.
        """
        from torch import nn

        from paretoboard.runtimes.statistics import statistics

        module = own_float32_module(candidate, "factorizing")
        layers = [layer for layer in layers_of(module, candidate.input_shape) if self.fits(layer.module)]
        before = statistics(candidate)
        ranks = self._ranks(layers, before.macs, bench)
        for number, (layer, rank) in enumerate(ranks):
            bench.progress(number / len(ranks), f"factorizing {layer.path} at rank {' x '.join(map(str, rank))}")
            module.set_submodule(layer.path, nn.Sequential(*self.factors(layer.module, rank, bench.seed)))
        after = dataclasses.replace(candidate, module=module.eval())
        found = statistics(after)
        notes = (
            f"{len(ranks)} of {len(layers)} layers of the kind factorized: {1 - found.macs / before.macs:.1%} of the "
            f"MACs and {1 - found.parameters / before.parameters:.1%} of the parameters removed",
        )
        return Applied(candidate=after, notes=notes)

    @abstractmethod
    def fits(self, layer: nn.Module) -> bool:
        """Whether `layer` is of the kind that is factorized."""

    @abstractmethod
    def chooser(self, layer: Layer, seed: int) -> Callable[[float], Ranks]:
        """The ranks that keep a share of the energy of `layer`, or that stand for it; more for a larger share."""

    @abstractmethod
    def weights(self, layer: nn.Module, ranks: Ranks) -> int:
        """How many weights the factors have."""

    @abstractmethod
    def factor_macs(self, layer: Layer, ranks: Ranks) -> int:
        """Multiply-accumulates of the factors for one image."""

    @abstractmethod
    def factors(self, layer: Any, ranks: Ranks, seed: int) -> list[nn.Module]:
        """The layers that stand for `layer`, first to last; the last has its bias."""

    def _ranks(self, layers: list[Layer], macs: int, bench: Workbench) -> list[tuple[Layer, Ranks]]:
        bench.progress(0.0, "searching ranks")
        choosers = [(layer, self.chooser(layer, bench.seed)) for layer in layers]
        if self.energy is not None:
            chosen = self._gaining((layer, choose(self.energy)) for layer, choose in choosers)
        else:
            assert self.macs is not None
            chosen = self._within(choosers, macs, self.macs)
        if not chosen:
            raise NotApplicableError(
                f"no layer of the {len(layers)} that could be factorized would have fewer weights and MACs by it"
            )
        return chosen

    def _within(
        self, choosers: list[tuple[Layer, Callable[[float], Ranks]]], macs: int, wanted: float
    ) -> list[tuple[Layer, Ranks]]:
        """One energy for all layers, so that each gives what it can spare most easily."""
        best: list[tuple[Layer, Ranks]] = []
        reached = 0.0
        low, high = 0.0, 1.0
        for _ in range(_BISECTIONS):
            energy = (low + high) / 2
            chosen = self._gaining((layer, choose(energy)) for layer, choose in choosers)
            removed = sum(layer.macs - self.factor_macs(layer, ranks) for layer, ranks in chosen) / macs
            if abs(removed - wanted) < abs(reached - wanted):
                best, reached = chosen, removed
            low, high = (low, energy) if removed < wanted else (energy, high)
        if abs(reached - wanted) > _TOLERANCE:
            raise NotApplicableError(
                f"asked to remove {wanted:.1%} of the MACs; the nearest that factorizing reaches is {reached:.1%}"
            )
        return best

    def _gaining(self, chosen: Iterable[tuple[Layer, Ranks]]) -> list[tuple[Layer, Ranks]]:
        return [
            (layer, ranks)
            for layer, ranks in chosen
            if self.factor_macs(layer, ranks) < layer.macs
            and self.weights(layer.module, ranks) < layer.module.weight.numel()
        ]


def layers_of(module: nn.Module, input_shape: tuple[int, ...]) -> list[Layer]:
    """All convolutions and linear layers, each with the size of what it computes."""
    import torch
    from torch import nn

    paths: dict[nn.Module, str] = {
        layer: path for path, layer in module.named_modules() if isinstance(layer, nn.Conv2d | nn.Linear)
    }
    found: dict[str, Layer] = {}

    def note(layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        # A linear layer is used once for each token, wherever images are sequences of them.
        inner = slice(1, -1) if isinstance(layer, nn.Linear) else slice(2, None)
        places = [math.prod(tensor.shape[inner]) for tensor in (output, inputs[0])]
        found[paths[layer]] = Layer(path=paths[layer], module=layer, places=places[0], input_places=places[1])

    handles = [layer.register_forward_hook(note) for layer in paths]
    with torch.inference_mode():
        module(torch.zeros((1, *input_shape)))
    for handle in handles:
        handle.remove()
    return [found[path] for path in paths.values() if path in found]


def spatial(layer: nn.Module) -> bool:
    """Whether `layer` is a convolution without groups, larger than 1x1."""
    from torch import nn

    return isinstance(layer, nn.Conv2d) and layer.groups == 1 and math.prod(layer.kernel_size) > 1
