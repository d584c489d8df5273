"""Tensor parallel: the weights of linear layers are spread over ranks, each of which sees every image."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Final

import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import Replicate
from torch.distributed.tensor.parallel import ColwiseParallel, RowwiseParallel, parallelize_module

from paretoboard.errors import NotApplicableError
from paretoboard.training.parallel.data import whole_tensor
from paretoboard.training.parallel.sharing import Share, Work

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from torch.distributed.tensor.parallel import ParallelStyle

# Between two linear layers of a Sequential these work on each feature by itself.
_ELEMENTWISE: Final = (
    nn.ReLU,
    nn.GELU,
    nn.SiLU,
    nn.Tanh,
    nn.Sigmoid,
    nn.LeakyReLU,
    nn.Hardswish,
    nn.Dropout,
    nn.Identity,
)
_PAIR: Final = ("linear1", "linear2")  # of a transformer's block, as nn.TransformerEncoderLayer calls them


class TensorParallel(Share):
    """Linear layers are spread, all else is computed by every rank alike.

    A pair of them, as in a transformer's perceptron, is spread by outputs and then by inputs, with one sum over ranks
    behind the second; any other by outputs, which are gathered. Convolutions are not: torch's DTensor (2.14) computes
    them wrongly when their output channels are spread, and says nothing.

    Source: Shoeybi et al. 2019, Megatron-LM, arXiv:1909.08053, section 3; torch.distributed.tensor.parallel.
    """

    def __init__(self, module: nn.Module, work: Work) -> None:
        """`module` itself becomes this rank's part.

        Raises: NotApplicableError where there is no linear layer to spread.
        """
        ranks = dist.get_world_size()
        pairs, singles = linear_layers(module, ranks)
        names = [*(name for pair in pairs for name in pair), *singles]
        held = sum(module.get_parameter(f"{name}.weight").numel() for name in names)
        total = sum(each.numel() for each in module.parameters())
        self._work = work
        mesh = init_device_mesh(work.device.type, (ranks,))
        self.module = parallelize_module(work.formatted(module), mesh, _plan(pairs, singles))
        self.layout = (
            f"the weights of {len(names)} linear layers, {held / total:.1%} of the parameters, are "
            f"spread over the ranks; every rank sees every image and computes all else"
        )

    def gradients(self, indices: Tensor, variants: Tensor) -> float:
        """Of the whole batch."""
        loss = self._work.loss(self.module, self._work.batch(indices, variants))
        loss.backward()  # type: ignore[no-untyped-call]
        return float(loss.detach()) / dist.get_world_size()

    def whole(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Put together what is spread."""
        return {name: whole_tensor(each) for name, each in tensors.items()}


def linear_layers(module: nn.Module, ranks: int) -> tuple[list[tuple[str, str]], list[str]]:
    """Names of the linear layers of `module` that can be spread: pairs, and others.

    Raises: NotApplicableError where there is none.
    """
    pairs = [
        (f"{path}.{first}".lstrip("."), f"{path}.{second}".lstrip("."))
        for path, layer in module.named_modules()
        for first, second in _pairs_in(layer, ranks)
    ]
    paired = {name for pair in pairs for name in pair}
    # Exactly nn.Linear: subclasses, such as the one in nn.MultiheadAttention, are used as weights rather than called.
    singles = [
        name
        for name, layer in module.named_modules()
        if type(layer) is nn.Linear and name and name not in paired and layer.out_features >= ranks
    ]
    if not pairs and not singles:
        raise NotApplicableError(
            f"parallel.tensor spreads linear layers of {ranks} outputs or more, and {type(module).__name__} has none"
        )
    return pairs, singles


def _pairs_in(layer: nn.Module, ranks: int) -> Iterator[tuple[str, str]]:
    """Names of children of `layer` that are two linear layers with nothing but elementwise functions between them."""
    children = dict(layer.named_children())
    if isinstance(layer, nn.Sequential):
        names = [name for name, child in children.items() if not isinstance(child, _ELEMENTWISE)]
        taken = ""
        for first, second in pairwise(names):
            if first != taken and _fit(children[first], children[second], ranks):
                taken = second
                yield first, second
    elif all(name in children for name in _PAIR) and _fit(children[_PAIR[0]], children[_PAIR[1]], ranks):
        yield _PAIR


def _fit(first: nn.Module, second: nn.Module, ranks: int) -> bool:
    """Whether the second takes what the first gives, which can be split evenly."""
    if type(first) is not nn.Linear or type(second) is not nn.Linear:
        return False
    return first.out_features == second.in_features and first.out_features % ranks == 0


def _plan(pairs: list[tuple[str, str]], singles: list[str]) -> dict[str, ParallelStyle]:
    plan: dict[str, ParallelStyle] = {name: ColwiseParallel(output_layouts=Replicate()) for name in singles}
    for first, second in pairs:
        plan |= {first: ColwiseParallel(), second: RowwiseParallel()}
    return plan
