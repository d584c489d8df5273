"""Other layers in a fresh network: another normalization or none, and dropout.

All that is put in are layers that models.structure describes, so that an artifact of such a network is stored, rebuilt
and compressed like any other.
"""

from __future__ import annotations

import copy
from collections import OrderedDict
from typing import TYPE_CHECKING, Any, Final, Literal

import torch
from torch import nn

from paretoboard.errors import InputError, NotApplicableError

if TYPE_CHECKING:
    from collections.abc import Callable

Normalization = Literal["group", "none"]

_BATCH_NORMS: Final = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
# Wu and He 2018, table 3: 8 and 16 channels in a group are best and within 0.1 % of each other; these networks are
# narrow, and a layer of 16 channels has more than one group with 8 only.
_GROUP_CHANNELS: Final = 8


def with_normalization(module: nn.Module, kind: Normalization) -> nn.Module:
    """A copy of a freshly initialized network with group normalization, or none, where it has batch normalization.

    "group" has groups of 8 channels; of fewer where 8 doesn't divide them, and one group where nothing does.

    "none" gives biases, zero at first, to the convolutions and linear layers that had none because batch normalization
    followed. Their weights, whose scale it had made irrelevant, are scaled to the standard deviation that suits a ReLU
    (He et al. 2015). A network that names its `residual_branches`, the layers of each from first to last, then begins
    as Fixup has it: the last layer of each branch and the network's last linear layer are zero, and the others of the
    branch are scaled down by how many branches there are; Fixup's scalar multipliers are left out, and its scalar
    biases are one for each channel. A network with residual branches that it doesn't name begins with outputs that
    grow with depth, and may not learn.

    No random number is drawn, so that the network begins as the same one with batch normalization, as far as it can.

    Args:
        module: not changed.
    Raises: NotApplicableError for a network without batch normalization.
    Source: Wu and He 2018, arXiv:1803.08494; Zhang et al. 2019, Fixup, arXiv:1901.09321, section 3.
    """
    if kind not in ("group", "none"):
        raise InputError(f"normalization '{kind}': 'group' or 'none' would be right")
    changed = copy.deepcopy(module)
    if kind == "none":
        _give_biases(changed)
    _replace(changed, _group_norm if kind == "group" else lambda layer: nn.Identity())
    if kind == "none":
        _fix_up(changed)
    return changed.train(module.training)  # new layers are in training mode


def with_dropout(module: nn.Module, rate: float) -> nn.Module:
    """A copy of `module` that forgets a share of what its last linear layer gets, while it is trained.

    Args:
        module: not changed.
        rate: share of the inputs to drop, 0 <= rate < 1; with 0 nothing is put in.
    Raises: NotApplicableError for a network without a linear layer.
    Source: Srivastava et al. 2014, Dropout, JMLR 15, with the scaling at training time.
    """
    if not 0 <= rate < 1:
        raise InputError(f"dropout = {rate}: a share from 0 to below 1 would be right")
    changed = copy.deepcopy(module)
    if rate > 0:
        path, linear = last_linear(changed)
        changed.set_submodule(path, nn.Sequential(OrderedDict(dropout=nn.Dropout(rate), linear=linear)))
    return changed.train(module.training)  # new layers are in training mode


def _replace(module: nn.Module, other: Callable[[Any], nn.Module]) -> None:
    """Put `other` in the place of each batch normalization; one that stands at two places is still one.

    Raises: NotApplicableError where there is none.
    """
    found = {
        path: layer for path, layer in module.named_modules(remove_duplicate=False) if isinstance(layer, _BATCH_NORMS)
    }
    if not found:
        raise NotApplicableError(f"normalization: a {type(module).__name__} has no batch normalization to replace")
    replacements = {layer: other(layer) for layer in found.values()}
    for path, layer in found.items():
        module.set_submodule(path, replacements[layer])


@torch.no_grad()
def _group_norm(layer: Any) -> nn.Module:
    """Of the same channels, and of the same scale and shift where they are learned."""
    size = max(size for size in range(1, _GROUP_CHANNELS + 1) if layer.num_features % size == 0)
    groups = layer.num_features // size if size > 1 else 1
    group = nn.GroupNorm(groups, layer.num_features, eps=layer.eps, affine=layer.affine)
    if layer.affine:
        group.weight.copy_(layer.weight)
        group.bias.copy_(layer.bias)
    return group


@torch.no_grad()
def _give_biases(module: nn.Module) -> None:
    """Biases to the layers without, and to their weights the standard deviation of He et al. 2015, arXiv:1502.01852."""
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear) and layer.bias is None:
            layer.bias = nn.Parameter(layer.weight.new_zeros(len(layer.weight)))
            found = float(layer.weight.square().mean().sqrt())
            if found > 0:
                layer.weight.mul_((2 / layer.weight[0].numel()) ** 0.5 / found)


@torch.no_grad()
def _fix_up(module: nn.Module) -> None:
    """Begin with residual branches that add nothing, and learn at a rate that doesn't grow with their number."""
    branches: tuple[tuple[str, ...], ...] = getattr(module, "residual_branches", ())
    for branch in branches:
        *inner, last = (_parameters(module, path) for path in branch)
        for layer in inner:
            layer.weight.mul_(len(branches) ** (-1 / (2 * len(branch) - 2)))
        last.weight.zero_()
    if branches:
        _, head = last_linear(module)
        head.weight.zero_()
        if head.bias is not None:
            head.bias.zero_()


def _parameters(module: nn.Module, path: str) -> Any:
    layer = module.get_submodule(path)
    if not isinstance(layer, nn.Conv2d | nn.Linear):
        raise NotApplicableError(
            f"normalization: '{path}' of a residual branch is a {type(layer).__name__}, "
            "where a convolution or a linear layer would be right: change the normalization of a fresh network"
        )
    return layer


def last_linear(module: nn.Module) -> tuple[str, nn.Linear]:
    """The linear layer that was defined last, which gives the classes, and its path.

    Raises: NotApplicableError where there is none.
    """
    found = [(path, layer) for path, layer in module.named_modules() if path and isinstance(layer, nn.Linear)]
    if not found:
        raise NotApplicableError(f"a {type(module).__name__} has no linear layer")
    return found[-1]
