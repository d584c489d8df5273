"""FastestDet, a detector of one box for each cell of a grid, with batch normalization folded into its convolutions.

For each of 22 x 22 cells (of 352 x 352 pixels) it gives 85 numbers, which `detection.heads` reads: objectness, four of
a box, and the shares of 80 classes. Published as an ONNX graph, which its weights are read from; layers are defined in
the order in which that graph computes them.

Source: github.com/dog-qiuqiu/FastestDet (BSD-3), module/detector.py, shufflenetv2.py and custom_layers.py there;
backbone: Ma et al. 2018, ShuffleNet V2, arXiv:1807.11164.
"""

from __future__ import annotations

from typing import Final

import torch
import torch.nn.functional as F  # noqa: N812 - the field's name for it
from torch import Tensor, nn

from paretoboard.models.native import Native
from paretoboard.spec import Preprocess

NATIVE: Final = Native(input_shape=(3, 352, 352), preprocess=Preprocess(resize=352, squash=True, order="bgr"))
_STEM: Final = 24
_STAGES: Final = ((48, 4), (96, 8), (192, 4))  # channels and blocks
_NECK: Final = 96


def _pointwise(inputs: int, outputs: int) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 1)


def _depthwise(channels: int, kernel: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(channels, channels, kernel, stride, kernel // 2, groups=channels)


class Down(nn.Module):
    """Halves height and width: all channels go through both branches."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        middle = outputs // 2
        self.side = nn.Sequential(_depthwise(inputs, 3, 2), _pointwise(inputs, inputs), nn.ReLU())
        self.main = nn.Sequential(
            _pointwise(inputs, middle),
            nn.ReLU(),
            _depthwise(middle, 3, 2),
            _pointwise(middle, outputs - inputs),
            nn.ReLU(),
        )

    def forward(self, x: Tensor) -> Tensor:
        """(n, inputs, height, width) to (n, outputs, height / 2, width / 2)."""
        return torch.cat((self.side(x), self.main(x)), 1)


class Shuffle(nn.Module):
    """Every second channel passes by, the others go through a branch."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        half = channels // 2
        self.main = nn.Sequential(
            _pointwise(half, half), nn.ReLU(), _depthwise(half, 3), _pointwise(half, half), nn.ReLU()
        )

    def forward(self, x: Tensor) -> Tensor:
        """The same shape."""
        return torch.cat((x[:, 0::2], self.main(x[:, 1::2])), 1)


class Pyramid(nn.Module):
    """Neighbourhoods of three sizes beside each other."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.inlet = _pointwise(inputs, outputs)
        self.near, self.far, self.farthest = (self._chain(outputs, length) for length in (1, 2, 3))
        self.outlet = _pointwise(3 * outputs, outputs)

    def forward(self, x: Tensor) -> Tensor:
        """(n, inputs, height, width) to (n, outputs, height, width)."""
        x = F.relu(self.inlet(x))
        return F.relu(x + self.outlet(torch.cat((self.near(x), self.far(x), self.farthest(x)), 1)))

    @staticmethod
    def _chain(channels: int, length: int) -> nn.Sequential:
        return nn.Sequential(*(layer for _ in range(length) for layer in (_depthwise(channels, 5), nn.ReLU())))


class Branch(nn.Module):
    """One of the three kinds of numbers that a cell has."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.depthwise, self.pointwise = _depthwise(inputs, 5), _pointwise(inputs, outputs)

    def forward(self, x: Tensor) -> Tensor:
        """(n, inputs, height, width) to (n, outputs, height, width)."""
        found: Tensor = self.pointwise(F.relu(self.depthwise(x)))
        return found


class FastestDet(nn.Module):
    """(n, 3, height, width) BGR images, both sides multiples of 32, to (n, 5 + classes, height / 16, width / 16)."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, _STEM, 3, 2, 1)
        inputs = _STEM
        stages = []
        for channels, blocks in _STAGES:
            stages.append(nn.Sequential(Down(inputs, channels), *(Shuffle(channels) for _ in range(blocks - 1))))
            inputs = channels
        self.stage2, self.stage3, self.stage4 = stages
        self.pyramid = Pyramid(sum(channels for channels, _ in _STAGES), _NECK)
        self.neck = _pointwise(_NECK, _NECK)
        self.objectness, self.box, self.names = Branch(_NECK, 1), Branch(_NECK, 4), Branch(_NECK, classes)
        # What is concatenated, shuffled, added or reported: cutting these would cut what their neighbours read.
        self.keep_channels = tuple(
            name for name, layer in self.named_modules() if isinstance(layer, nn.Conv2d) and _is_outer(name)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Objectness (0 to 1), a box's four numbers, and the shares of classes (which sum to 1)."""
        x = F.max_pool2d(F.relu(self.stem(x)), 3, 2, 1)
        fine = self.stage2(x)
        middle = self.stage3(fine)
        coarse = F.interpolate(self.stage4(middle), scale_factor=2.0, mode="nearest")
        x = self.pyramid(torch.cat((F.avg_pool2d(fine, 3, 2, 1), middle, coarse), 1))
        x = F.relu(self.neck(x))
        return torch.cat((torch.sigmoid(self.objectness(x)), self.box(x), torch.softmax(self.names(x), dim=1)), 1)


def _is_outer(name: str) -> bool:
    """Whether a convolution's outputs leave the block that it is in; inside `main` the first two's stay."""
    return not name.endswith(("main.0", "main.2"))


def fastestdet(classes: int = 80) -> nn.Module:
    """The published network."""
    return FastestDet(classes)
