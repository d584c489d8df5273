"""Layers as products of thinner ones: fewer weights and MACs, and another network of the same shape."""

from __future__ import annotations

import dataclasses
import math
import warnings
from abc import abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

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
_CP_ITERATIONS: Final = 100  # of alternating least squares; what they end at is in the outputs, so more is only slower


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """A convolution or linear layer, and where it is used."""

    path: str
    module: Any  # nn.Conv2d | nn.Linear
    places: int  # outputs per channel and image: height x width, 1 for a linear layer
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
        layers = [layer for layer in _layers(module, candidate.input_shape) if self.fits(layer.module)]
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


@dataclass(frozen=True, slots=True, kw_only=True)
class SingularValues(Factorization):
    """A layer as two: the first to fewer channels, the second, 1x1, to all of them."""

    source = "Eckart and Young 1936, doi:10.1007/BF02288367; k x k: Zhang et al. 2016, arXiv:1505.06798, section 3.1"

    convolutions: Literal["1x1", "all"] = "1x1"  # beside linear layers; "all" cuts the output channels of k x k ones

    def fits(self, layer: nn.Module) -> bool:
        """A linear layer or a convolution without groups."""
        from torch import nn

        if not isinstance(layer, nn.Conv2d):
            return isinstance(layer, nn.Linear)
        return layer.groups == 1 and (self.convolutions == "all" or layer.kernel_size == (1, 1))

    def chooser(self, layer: Layer, seed: int) -> Callable[[float], Ranks]:  # noqa: ARG002
        """By the singular values of the weight as a matrix of outputs and inputs."""
        values = _singular_values(layer.module.weight.flatten(1))
        return lambda energy: (_rank_of(values, energy),)

    def weights(self, layer: Any, ranks: Ranks) -> int:
        """Of both layers."""
        outputs, inputs = layer.weight.flatten(1).shape
        return int(ranks[0] * (outputs + inputs))

    def factor_macs(self, layer: Layer, ranks: Ranks) -> int:
        """Both layers compute at the places of the output."""
        return self.weights(layer.module, ranks) * layer.places

    def factors(self, layer: Any, ranks: Ranks, seed: int) -> list[nn.Module]:  # noqa: ARG002
        """W = (U sqrt(S)) (sqrt(S) V^T), cut to the rank."""
        import torch
        from torch import nn

        (rank,) = ranks
        left, values, right = torch.linalg.svd(layer.weight.detach().double().flatten(1), full_matrices=False)
        root = values[:rank].sqrt()
        first, second = root[:, None] * right[:rank], left[:, :rank] * root
        if isinstance(layer, nn.Linear):
            return [_linear(first), _linear(second, layer.bias)]
        return [_convolution(first.view(rank, *layer.weight.shape[1:]), like=layer), _pointwise(second, layer.bias)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tucker2(Factorization):
    """A k x k convolution as three: 1x1 to fewer channels, k x k among those, 1x1 back to all of them."""

    source = (
        "Kim et al. 2016, arXiv:1511.06530, section 3.1, ranks by energy instead of VBMF; tensorly's partial_tucker"
    )

    def fits(self, layer: nn.Module) -> bool:
        """A convolution without groups, larger than 1x1."""
        return _spatial(layer)

    def chooser(self, layer: Layer, seed: int) -> Callable[[float], Ranks]:  # noqa: ARG002
        """By the singular values of both unfoldings; each keeps the share."""
        weight = layer.module.weight
        values = [_singular_values(weight.transpose(0, mode).flatten(1)) for mode in (0, 1)]
        return lambda energy: tuple(_rank_of(of_mode, energy) for of_mode in values)

    def weights(self, layer: Any, ranks: Ranks) -> int:
        """Of all three layers."""
        outputs, inputs, *kernel = layer.weight.shape
        return int(ranks[1] * inputs + math.prod(kernel) * ranks[0] * ranks[1] + ranks[0] * outputs)

    def factor_macs(self, layer: Layer, ranks: Ranks) -> int:
        """The first layer computes at the places of the input."""
        at_input = ranks[1] * layer.module.weight.shape[1]
        return int(at_input * layer.input_places + (self.weights(layer.module, ranks) - at_input) * layer.places)

    def factors(self, layer: Any, ranks: Ranks, seed: int) -> list[nn.Module]:
        """Core and two factor matrices by higher-order orthogonal iteration."""
        weight = layer.weight.detach().double()
        (core, (outputs, inputs)), _ = _decomposition().partial_tucker(
            weight, rank=list(ranks), modes=[0, 1], init="svd", random_state=seed
        )
        return [_pointwise(inputs.T), _convolution(core, like=layer), _pointwise(outputs, layer.bias)]


@dataclass(frozen=True, slots=True, kw_only=True)
class CanonicalPolyadic(Factorization):
    """A k x k convolution as four: 1x1 to the rank, k x 1 and 1 x k of each channel alone, 1x1 to the outputs."""

    source = "Lebedev et al. 2015, arXiv:1412.6553, section 3; tensorly's parafac"

    def fits(self, layer: nn.Module) -> bool:
        """A convolution without groups, larger than 1x1."""
        return _spatial(layer)

    def chooser(self, layer: Layer, seed: int) -> Callable[[float], Ranks]:
        """For an energy the smallest rank found that keeps it; for a budget, the same share of each layer's weights.

        What a rank keeps is known only after decomposing, so that searching an energy takes seconds a layer.
        """
        weight = layer.module.weight
        largest = max(1, (weight.numel() - 1) // sum(weight.shape))  # beyond it nothing is saved
        if self.energy is None:
            return lambda share: (max(1, round(share * largest)),)
        return lambda energy: (_cp_rank(weight.detach(), energy, largest, seed),)

    def weights(self, layer: Any, ranks: Ranks) -> int:
        """Of all four layers."""
        return int(ranks[0] * sum(layer.weight.shape))

    def factor_macs(self, layer: Layer, ranks: Ranks) -> int:
        """The first layer computes at the places of the input; the second counted as if it did not shrink the width."""
        outputs, inputs, height, width = layer.module.weight.shape
        between = math.isqrt(layer.input_places * layer.places)  # the height is strided already, the width not yet
        places = inputs * layer.input_places + height * between + (width + outputs) * layer.places
        return int(ranks[0] * places)

    def factors(self, layer: Any, ranks: Ranks, seed: int) -> list[nn.Module]:
        """Factors by alternating least squares.

        Raises: NotApplicableError where they don't end in finite numbers.
        """
        import torch

        (rank,) = ranks
        outputs, inputs, height, width = _cp(layer.weight.detach().double(), rank, seed)
        factors = (outputs, inputs, height, width)
        if not all(bool(torch.isfinite(factor).all()) for factor in factors):
            raise NotApplicableError(f"the CP decomposition at rank {rank} diverged")
        vertical = _convolution(height.T[:, None, :, None], like=layer, axis=0)
        horizontal = _convolution(width.T[:, None, None, :], like=layer, axis=1)
        return [_pointwise(inputs.T), vertical, horizontal, _pointwise(outputs, layer.bias)]


def _layers(module: nn.Module, input_shape: tuple[int, ...]) -> list[Layer]:
    """All convolutions and linear layers, each with the size of what it computes."""
    import torch
    from torch import nn

    paths: dict[nn.Module, str] = {
        layer: path for path, layer in module.named_modules() if isinstance(layer, nn.Conv2d | nn.Linear)
    }
    found: dict[str, Layer] = {}

    def note(layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        places = [math.prod(tensor.shape[2:]) for tensor in (output, inputs[0])]
        found[paths[layer]] = Layer(path=paths[layer], module=layer, places=places[0], input_places=places[1])

    handles = [layer.register_forward_hook(note) for layer in paths]
    with torch.inference_mode():
        module(torch.zeros((1, *input_shape)))
    for handle in handles:
        handle.remove()
    return [found[path] for path in paths.values() if path in found]


def _spatial(layer: nn.Module) -> bool:
    from torch import nn

    return isinstance(layer, nn.Conv2d) and layer.groups == 1 and math.prod(layer.kernel_size) > 1


def _singular_values(matrix: Tensor) -> Tensor:
    import torch

    values: Tensor = torch.linalg.svdvals(matrix.detach().double())
    return values


def _rank_of(values: Tensor, energy: float) -> int:
    """The smallest rank whose singular values, largest first, hold `energy` of the sum of all squares."""
    shares = values.square().cumsum(0) / values.square().sum()
    # The last share is 1 up to rounding; asked for all of it, all ranks are needed.
    return min(int((shares < energy).sum()) + 1, len(values))


def _decomposition() -> Any:
    try:
        import tensorly
        from tensorly import decomposition
    except ModuleNotFoundError as error:
        raise NotApplicableError("tensorly is missing: install the extra 'factorize'") from error
    tensorly.set_backend("pytorch")
    return decomposition


def _cp(weight: Tensor, rank: int, seed: int) -> list[Tensor]:
    """Factors (extent, rank) of the four modes whose columns' products add up to about `weight`.

    Raises: NotApplicableError where a step of the least squares is singular.
    """
    import torch

    decomposition = _decomposition()
    with warnings.catch_warnings():
        # Ranks above an extent are what is wanted; their factors begin with seeded random numbers.
        warnings.filterwarnings("ignore", "Trying to compute SVD", UserWarning)
        try:
            scale, factors = decomposition.parafac(
                weight, rank=rank, init="svd", n_iter_max=_CP_ITERATIONS, random_state=seed
            )
        except torch.linalg.LinAlgError as error:  # type: ignore[attr-defined]
            raise NotApplicableError(f"the CP decomposition at rank {rank} has no least-squares solution") from error
    # One mode takes the scale, so that the product is what was decomposed.
    return [factors[0] * scale, *factors[1:]]


def _cp_rank(weight: Tensor, energy: float, largest: int, seed: int) -> int:
    """The smallest rank found by bisection that keeps `energy`; one more than `largest` where that one does not."""
    import torch

    exact = weight.double()
    low, high = 0, largest + 1
    while high - low > 1:
        rank = (low + high) // 2
        found = torch.einsum("or,ir,hr,wr->oihw", *_cp(exact, rank, seed))
        kept = 1 - float((found - exact).square().sum() / exact.square().sum())
        low, high = (low, rank) if kept >= energy else (rank, high)
    return high


def _linear(matrix: Tensor, bias: Tensor | None = None) -> nn.Module:
    """A linear layer of `matrix` (outputs, inputs)."""
    from torch import nn

    outputs, inputs = matrix.shape
    return _filled(_bare(nn.Linear, inputs, outputs, bias=bias is not None), matrix, bias)


def _pointwise(matrix: Tensor, bias: Tensor | None = None) -> nn.Module:
    """A 1x1 convolution of `matrix` (outputs, inputs)."""
    from torch import nn

    outputs, inputs = matrix.shape
    layer = _bare(nn.Conv2d, inputs, outputs, 1, bias=bias is not None)
    return _filled(layer, matrix[:, :, None, None], bias)


def _convolution(weight: Tensor, *, like: Any, axis: int | None = None) -> nn.Module:
    """A convolution without bias, with the stride, padding and dilation of `like`.

    With `axis` it works along the height (0) or the width (1) of each channel alone, and leaves the other be.
    """
    from torch import nn

    def along(values: tuple[int, int] | str, neutral: int) -> Any:
        if axis is None or isinstance(values, str):
            return values
        return tuple(value if place == axis else neutral for place, value in enumerate(values))

    outputs, inputs, *kernel = weight.shape
    groups = 1 if axis is None else outputs
    layer = _bare(
        nn.Conv2d,
        inputs * groups,
        outputs,
        (kernel[0], kernel[1]),
        stride=along(like.stride, 1),
        padding=along(like.padding, 0),
        dilation=along(like.dilation, 1),
        groups=groups,
        bias=False,
        padding_mode=like.padding_mode,
    )
    return _filled(layer, weight, None)


def _bare(kind: type[nn.Module], *arguments: Any, **named: Any) -> nn.Module:
    """A layer whose weights are yet to be given: drawing them would take random numbers from others."""
    from torch.nn.utils import skip_init

    layer: nn.Module = skip_init(kind, *arguments, **named)  # type: ignore[no-untyped-call]
    return layer


def _filled(layer: Any, weight: Tensor, bias: Tensor | None) -> nn.Module:
    layer.weight.data = weight.float().contiguous()
    if bias is not None:
        layer.bias.data = bias.detach().clone()
    filled: nn.Module = layer
    return filled
