"""A network of depthwise-separable convolutions, at the cost of the CIFAR ResNet-20.

Each k x k convolution is one over space, channel by channel, and one over channels, pixel by pixel. Width and
depths were chosen so that parameters and multiply-accumulates both are within 2 % of ResNet-20's.

Source: Howard et al. 2017, MobileNets, arXiv:1704.04861, section 3; strides and stages are those of the CIFAR ResNets.
"""

from __future__ import annotations

from typing import Final

import torch.nn.functional as F  # noqa: N812 - the field's name for it
from torch import Tensor, nn

from paretoboard.models.native import IMAGES_OF_32

NATIVE: Final = IMAGES_OF_32


WIDTH = 56  # channels of the first stage, doubled in each further one
BLOCKS = (2, 6, 4)  # of each stage


class DepthwiseNetwork(nn.Module):
    """(n, 3, 32, 32) images to (n, classes) logits."""

    stages = ("layer1", "layer2", "layer3")  # whose outputs another network's can be compared with

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, WIDTH, 3, padding=1, bias=False), nn.BatchNorm2d(WIDTH), nn.ReLU())
        self.layer1 = _stage(BLOCKS[0], WIDTH, WIDTH, stride=1)
        self.layer2 = _stage(BLOCKS[1], WIDTH, 2 * WIDTH, stride=2)
        self.layer3 = _stage(BLOCKS[2], 2 * WIDTH, 4 * WIDTH, stride=2)
        self.linear = nn.Linear(4 * WIDTH, classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                nn.init.kaiming_normal_(module.weight)

    def forward(self, x: Tensor) -> Tensor:
        """Logits of a batch of images."""
        x = self.layer3(self.layer2(self.layer1(self.stem(x))))
        logits: Tensor = self.linear(F.adaptive_avg_pool2d(x, 1).flatten(1))
        return logits


def _stage(blocks: int, in_channels: int, out_channels: int, *, stride: int) -> nn.Sequential:
    first = _block(in_channels, out_channels, stride)
    return nn.Sequential(first, *(_block(out_channels, out_channels, 1) for _ in range(blocks - 1)))


def _block(in_channels: int, out_channels: int, stride: int) -> nn.Sequential:
    over_space = nn.Conv2d(in_channels, in_channels, 3, stride=stride, padding=1, groups=in_channels, bias=False)
    over_channels = nn.Conv2d(in_channels, out_channels, 1, bias=False)
    return nn.Sequential(
        over_space, nn.BatchNorm2d(in_channels), nn.ReLU(), over_channels, nn.BatchNorm2d(out_channels), nn.ReLU()
    )


def depthwise(classes: int = 10) -> nn.Module:
    """The network of 26 layers."""
    return DepthwiseNetwork(classes)
