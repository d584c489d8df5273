"""Normalization inside a network: (pixel * scale - mean) / std as a part of the convolution that takes the pixels.

Folding is exact in the interior, with the weights divided and the bias moved. At a border that is padded with zeros it
is not: there a zero means a pixel of the mean, and no bias can say so, since every output has the same. What can is one
more input channel that is constant inside the image and zero, like the others, where it is padded: what the means take
away is taken away by its weights, at each place as much as is inside.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import torch
from torch import Tensor, nn

from paretoboard.datasets.preprocess import channel_values, pixel_scale
from paretoboard.errors import NotApplicableError

if TYPE_CHECKING:
    from paretoboard.spec import Preprocess

# Of the added channel. As bright as the brightest pixel, so that its weights are as large as those of pixels and one
# scale fits them all when they are quantized.
CONSTANT: Final = 255.0


def first_convolution(module: nn.Module, input_shape: tuple[int, ...]) -> tuple[str, nn.Conv2d]:
    """The layer that takes the images as they come, with its path.

    Raises: NotApplicableError where that is no convolution, or not one alone.
    """
    images = torch.zeros((1, *input_shape))
    taking: list[tuple[str, nn.Module]] = []
    handles = []
    for path, layer in module.named_modules():
        if path and next(layer.children(), None) is None:

            def note(_: nn.Module, inputs: tuple[Tensor, ...], path: str = path, layer: nn.Module = layer) -> None:
                if inputs and inputs[0] is images:
                    taking.append((path, layer))

            handles.append(layer.register_forward_pre_hook(note))
    with torch.no_grad():
        module(images)
    for handle in handles:
        handle.remove()
    if len(taking) == 1 and type(taking[0][1]) is nn.Conv2d:
        return taking[0][0], taking[0][1]
    found = ", ".join(f"'{path}', a {type(layer).__name__}" for path, layer in taking) or "none of its layers"
    raise NotApplicableError(
        f"data.normalize: images as they come must go into one convolution and nowhere else, here it is {found}"
    )


def folded(convolution: nn.Conv2d, preprocess: Preprocess) -> nn.Module:
    """A layer that does to pixels what `convolution` does to normalized images.

    Args:
        convolution: over (images, channels, height, width), any arguments; not changed.
        preprocess: how its images are made of pixels.
    Returns: a convolution; with one more input channel, and the padding that adds it, where zeros are padded and a mean
        is not zero.
    Raises: NotApplicableError for grouped channels that would need such a channel each.
    """
    factor, offset = _affine(preprocess, convolution.in_channels)
    groups, kernel = convolution.groups, convolution.weight.shape[2:]
    # (groups, outputs of each, inputs of each, height, width), the same for all outputs of a group
    weight = convolution.weight.detach().double().view(groups, -1, convolution.in_channels // groups, *kernel)
    taken = weight * offset.view(groups, 1, -1, 1, 1)
    scaled = (weight * factor.view(groups, 1, -1, 1, 1)).view(convolution.weight.shape)
    bias = torch.zeros(convolution.out_channels).double()
    if convolution.bias is not None:
        bias = convolution.bias.detach().double()
    if not bool((offset != 0).any()):
        return _like(convolution, scaled, None if convolution.bias is None else bias)
    if not _pads_zeros(convolution):
        return _like(convolution, scaled, bias + taken.sum((2, 3, 4)).view(-1))
    if groups != 1:
        raise NotApplicableError(
            "data.normalize: the first convolution is grouped, pads zeros and can't be folded into"
        )
    added = taken.sum(2) / CONSTANT  # (1, outputs, height, width)
    whole = torch.cat([scaled, added.movedim(0, 1)], dim=1)
    widened = _like(convolution, whole, None if convolution.bias is None else bias)
    # Padding in three dimensions, of which the first is that of channels: what else has a place for each pixel.
    return nn.Sequential(nn.ConstantPad3d((0, 0, 0, 0, 0, 1), CONSTANT), widened)


def preceded(convolution: nn.Conv2d, preprocess: Preprocess) -> nn.Module:
    """`convolution` behind a layer that normalizes pixels: a batch norm whose statistics are the mean and std."""
    factor, offset = _affine(preprocess, convolution.in_channels)
    layer = nn.BatchNorm2d(convolution.in_channels, eps=0.0, affine=False)
    layer.running_mean = (-offset / factor).float()
    layer.running_var = factor.pow(-2).float()
    return nn.Sequential(layer, convolution).eval()


def _affine(preprocess: Preprocess, channels: int) -> tuple[Tensor, Tensor]:
    """What a pixel of each channel is multiplied by, and what is added then; both (channels,) in float64."""
    mean = torch.from_numpy(channel_values(preprocess.mean, channels, "mean")).double().view(-1)
    std = torch.from_numpy(channel_values(preprocess.std, channels, "std")).double().view(-1)
    return pixel_scale(preprocess) / std, -mean / std


def _pads_zeros(convolution: nn.Conv2d) -> bool:
    """Whether zeros are added at the border; what other modes add is made of pixels, and normalized like them."""
    padding = convolution.padding
    none = padding == "valid" if isinstance(padding, str) else not any(padding)
    return convolution.padding_mode == "zeros" and not none


def _like(convolution: nn.Conv2d, weight: Tensor, bias: Tensor | None) -> nn.Conv2d:
    """A convolution with other weights and else the arguments of `convolution`."""
    made = nn.Conv2d(
        weight.shape[1] * convolution.groups,
        convolution.out_channels,
        convolution.kernel_size,  # type: ignore[arg-type]
        stride=convolution.stride,  # type: ignore[arg-type]
        padding=convolution.padding,  # type: ignore[arg-type]
        dilation=convolution.dilation,  # type: ignore[arg-type]
        groups=convolution.groups,
        bias=bias is not None,
        padding_mode=convolution.padding_mode,
    )
    made.weight.data = weight.float().contiguous()
    if bias is not None:
        made.bias.data = bias.float()  # type: ignore[union-attr]
    return made.eval()
