"""A small detector of one stage and one scale, for scenes of digits: five convolutions and a head without anchors."""

from __future__ import annotations

import math
from typing import Final

from torch import Tensor, nn

from paretoboard.models.native import Native

NATIVE: Final = Native(input_shape=(3, 96, 96))
STRIDE: Final = 8
_RARE: Final = 0.01  # share of cells that hold an object, which the head begins with (Lin et al. 2017, section 4.1)
_SIDE: Final = 1.5  # cells: how far the sides of a box are from a cell's centre at the beginning


class SceneDetector(nn.Module):
    """(n, 3, height, width) images, sides multiples of 8, to (n, 4 + classes, height / 8, width / 8).

    Of each cell the logarithms of how many cells the left, upper, right and lower side of its box are from its centre,
    and a logit of each class; see `detection.heads`.

    Source: Tian et al. 2019, FCOS, arXiv:1904.01355, section 3.1, on one level and without centre-ness.
    """

    keep_channels = ("head",)

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            *_block(3, 16, 2), *_block(16, 32, 2), *_block(32, 64, 2), *_block(64, 64, 1), *_block(64, 64, 1)
        )
        self.head = nn.Conv2d(64, 4 + classes, 1)
        bias = self.head.bias
        assert bias is not None
        nn.init.normal_(self.head.weight, std=0.01)
        nn.init.constant_(bias[:4], math.log(_SIDE))
        nn.init.constant_(bias[4:], math.log(_RARE / (1 - _RARE)))

    def forward(self, x: Tensor) -> Tensor:
        """What each cell says."""
        found: Tensor = self.head(self.body(x))
        return found


def _block(inputs: int, outputs: int, stride: int) -> tuple[nn.Module, ...]:
    return nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()


def scene_detector(classes: int = 10) -> nn.Module:
    """The network for the classes of a dataset."""
    return SceneDetector(classes)
