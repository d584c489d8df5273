"""A plain convolutional network: the CIFAR ResNet-20 without its shortcuts, layer for layer.

The shortcuts have no parameters and no multiplications, so that both counts are those of ResNet-20 to the last one:
whatever differs between the two is what shortcuts do.

Source: He et al. 2015, arXiv:1512.03385, section 4.2, the plain networks.
"""

from __future__ import annotations

from typing import Final

import torch.nn.functional as F  # noqa: N812 - the field's name for it
from torch import Tensor, nn

from paretoboard.models.native import IMAGES_OF_32

NATIVE: Final = IMAGES_OF_32


_LAYERS = 6  # of a stage


class PlainNetwork(nn.Module):
    """(n, 3, 32, 32) images to (n, classes) logits."""

    stages = ("layer1", "layer2", "layer3")  # whose outputs another network's can be compared with

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.stem = _layer(3, 16, stride=1)
        self.layer1 = _stage(16, 16, stride=1)
        self.layer2 = _stage(16, 32, stride=2)
        self.layer3 = _stage(32, 64, stride=2)
        self.linear = nn.Linear(64, classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                nn.init.kaiming_normal_(module.weight)  # He et al. 2015, arXiv:1502.01852, as in the paper

    def forward(self, x: Tensor) -> Tensor:
        """Logits of a batch of images."""
        x = self.layer3(self.layer2(self.layer1(self.stem(x))))
        logits: Tensor = self.linear(F.adaptive_avg_pool2d(x, 1).flatten(1))
        return logits


def _stage(in_channels: int, out_channels: int, *, stride: int) -> nn.Sequential:
    first = _layer(in_channels, out_channels, stride)
    return nn.Sequential(first, *(_layer(out_channels, out_channels, 1) for _ in range(_LAYERS - 1)))


def _layer(in_channels: int, out_channels: int, stride: int) -> nn.Sequential:
    convolution = nn.Conv2d(in_channels, out_channels, 3, stride=stride, padding=1, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(out_channels), nn.ReLU())


def plain20(classes: int = 10) -> nn.Module:
    """The network of 20 layers."""
    return PlainNetwork(classes)
