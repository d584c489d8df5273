"""Making good what a cut did: the weights that are left are solved to give what the layer gave before.

No training and no labels: one linear least-squares problem for each layer that lost inputs, from the first to the last.
Source: He et al. 2017, Channel pruning, arXiv:1707.06168, section 3.1, step (ii), layer by layer as in section 3.2;
which channels to keep is decided before, by importance.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - the field's name for it

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    Batches = Callable[[], Iterator[Tensor]]  # the same inputs of the network at every call

# Of each input's own mean square, so that inputs which say the same share the change; and of the mean over all inputs,
# so that the weight of an input that never comes stays what it was.
_RIDGE: Final = 1e-4
_FLOOR: Final = 1e-9


def solve_for_outputs(cut: nn.Module, whole: nn.Module, kept: Mapping[str, Sequence[int]], batches: Batches) -> int:
    """Solve the convolutions and linear layers of `cut` that lost inputs for the outputs they have in `whole`.

    Args:
        cut: `whole` without some of its channels; changed in place. Both are in evaluation mode.
        kept: layer's name -> which output channels of `whole` it still has.
        batches: (n, channels, height, width) each.
    Returns: how many layers were solved; grouped convolutions stay as they are.
    """
    with torch.no_grad():
        lost = [name for name in _in_order(cut, next(batches())) if _lost_inputs(cut, whole, name)]
        for name in lost:
            _solve(cut, whole, name, kept[name], batches)
    return len(lost)


def _in_order(module: nn.Module, images: Tensor) -> list[str]:
    """Names of convolutions and linear layers as they are first called."""
    called: dict[str, None] = {}
    layers = [(name, layer) for name, layer in module.named_modules() if isinstance(layer, nn.Conv2d | nn.Linear)]
    handles = [
        layer.register_forward_pre_hook(lambda layer, inputs, name=name: called.setdefault(name))
        for name, layer in layers
    ]
    try:
        module(images[:1])
    finally:
        for handle in handles:
            handle.remove()
    return list(called)


def _lost_inputs(cut: nn.Module, whole: nn.Module, name: str) -> bool:
    layer, before = cut.get_submodule(name), whole.get_submodule(name)
    if isinstance(layer, nn.Conv2d) and isinstance(before, nn.Conv2d):
        padded_plainly = layer.padding_mode == "zeros" and not isinstance(layer.padding, str)
        return layer.groups == 1 and padded_plainly and layer.in_channels < before.in_channels
    return isinstance(layer, nn.Linear) and isinstance(before, nn.Linear) and layer.in_features < before.in_features


def _solve(cut: nn.Module, whole: nn.Module, name: str, kept: Sequence[int], batches: Batches) -> None:
    """Least squares by the normal equations, for the change of the weights at hand."""
    layer, before = cut.get_submodule(name), whole.get_submodule(name)
    assert isinstance(layer, nn.Conv2d | nn.Linear)
    width = layer.weight[0].numel() + (layer.bias is not None)
    squares = torch.zeros(width, width, dtype=torch.float64)
    products = torch.zeros(width, len(layer.weight), dtype=torch.float64)
    for images in batches():
        inputs, outputs = _through(cut, layer, images)
        wanted = _rows(before, _through(whole, before, images)[1])[:, list(kept)]
        columns = _columns(layer, inputs)
        squares += (columns.T @ columns).double()
        products += (columns.T @ (wanted - _rows(layer, outputs))).double()
    squares.diagonal().mul_(1 + _RIDGE).add_(_FLOOR * float(squares.diagonal().mean()))
    change = torch.linalg.solve(squares, products).T.float()  # (outputs, inputs)
    if layer.bias is not None:
        layer.bias += change[:, -1]
        change = change[:, :-1]
    layer.weight += change.reshape(layer.weight.shape)


def _through(module: nn.Module, layer: nn.Module, images: Tensor) -> tuple[Tensor, Tensor]:
    """What goes into `layer` of `module` and what comes out, for `images`."""
    seen: list[tuple[Tensor, Tensor]] = []
    handle = layer.register_forward_hook(lambda layer, inputs, output: seen.append((inputs[0], output)))
    try:
        module(images)
    finally:
        handle.remove()
    return seen[0]


def _columns(layer: nn.Conv2d | nn.Linear, inputs: Tensor) -> Tensor:
    """What each output place of `layer` is a linear function of: (places, inputs), a last column of ones for a bias."""
    if isinstance(layer, nn.Conv2d):
        assert not isinstance(layer.padding, str)
        patches = F.unfold(inputs, layer.kernel_size, layer.dilation, layer.padding, layer.stride)
        columns = patches.transpose(1, 2).flatten(0, 1)
    else:
        columns = inputs.flatten(0, -2)
    if layer.bias is None:
        return columns
    return torch.cat([columns, torch.ones(len(columns), 1)], 1)


def _rows(layer: nn.Module, outputs: Tensor) -> Tensor:
    """(places, outputs), in the order of `_columns`."""
    return (outputs.movedim(1, -1) if isinstance(layer, nn.Conv2d) else outputs).flatten(0, -2)
