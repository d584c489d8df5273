"""The thin layers that stand for a thick one, each made of the matrix or the kernel that it multiplies by."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor, nn


def linear(matrix: Tensor, bias: Tensor | None = None) -> nn.Module:
    """A linear layer of `matrix` (outputs, inputs)."""
    from torch import nn

    outputs, inputs = matrix.shape
    return _filled(_bare(nn.Linear, inputs, outputs, bias=bias is not None), matrix, bias)


def pointwise(matrix: Tensor, bias: Tensor | None = None) -> nn.Module:
    """A 1x1 convolution of `matrix` (outputs, inputs)."""
    from torch import nn

    outputs, inputs = matrix.shape
    layer = _bare(nn.Conv2d, inputs, outputs, 1, bias=bias is not None)
    return _filled(layer, matrix[:, :, None, None], bias)


def convolution(weight: Tensor, *, like: Any, axis: int | None = None) -> nn.Module:
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
