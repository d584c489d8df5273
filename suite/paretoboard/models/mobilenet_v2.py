"""MobileNetV2 as TensorFlow computes it: what a convolution of stride 2 pads, it pads right and bottom.

Source: Sandler et al. 2018, arXiv:1801.04381, table 2. State-dict keys are those of torchvision's mobilenet_v2, so that
weights converted to it load as they are.
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
# expansion, channels, repeats, stride of the first: table 2 of the paper
_STAGES: Final = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)
_STEM: Final = 32
_HEAD: Final = 1280
_DROPOUT: Final = 0.2


class _Convolution(nn.Sequential):
    """A convolution, batch norm and ReLU6."""

    def __init__(self, in_channels: int, out_channels: int, kernel: int, *, stride: int = 1, groups: int = 1) -> None:
        padding = 0 if stride == 2 else kernel // 2
        super().__init__(
            nn.Conv2d(in_channels, out_channels, kernel, stride, padding, groups=groups, bias=False),
            nn.BatchNorm2d(out_channels),
            nn.ReLU6(inplace=True),
        )
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        # TensorFlow's SAME of a 3x3 kernel at stride 2, where sides are even.
        output: Tensor = super().forward(F.pad(x, (0, 1, 0, 1)) if self.stride == 2 else x)  # type: ignore[no-untyped-call]
        return output


class _Block(nn.Module):
    """Wider, one kernel for each channel, narrower; added to the input where shapes agree."""

    def __init__(self, in_channels: int, out_channels: int, *, expansion: int, stride: int) -> None:
        super().__init__()
        inner = in_channels * expansion
        wider = [_Convolution(in_channels, inner, 1)] if expansion > 1 else []
        self.conv = nn.Sequential(
            *wider,
            _Convolution(inner, inner, 3, stride=stride, groups=inner),
            nn.Conv2d(inner, out_channels, 1, bias=False),
            nn.BatchNorm2d(out_channels),
        )
        self.adds = stride == 1 and in_channels == out_channels

    def forward(self, x: Tensor) -> Tensor:
        output: Tensor = self.conv(x)
        return x + output if self.adds else output


class MobileNetV2(nn.Module):
    """(n, 3, height, width) images of even sides, at native size 224, to (n, classes) logits."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        layers: list[nn.Module] = [_Convolution(3, _STEM, 3, stride=2)]
        channels = _STEM
        for expansion, out_channels, repeats, stride in _STAGES:
            for repeat in range(repeats):
                own_stride = stride if repeat == 0 else 1
                layers.append(_Block(channels, out_channels, expansion=expansion, stride=own_stride))
                channels = out_channels
        self.features = nn.Sequential(*layers, _Convolution(channels, _HEAD, 1))
        self.classifier = nn.Sequential(nn.Dropout(_DROPOUT), nn.Linear(_HEAD, classes))
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out")

    def forward(self, x: Tensor) -> Tensor:
        """Logits of a batch of images."""
        logits: Tensor = self.classifier(F.adaptive_avg_pool2d(self.features(x), 1).flatten(1))
        return logits


def mobilenet_v2(classes: int = 1000) -> nn.Module:
    """The network of width 1."""
    return MobileNetV2(classes)
