"""MLPerf Tiny's image-classification reference network: a ResNet-8, batch norm folded into its convolutions.

Source: mlcommons/tiny, benchmark/training/image_classification/keras_model.py (`resnet_v1_eembc`). Input is
RGB 0..255 without scaling.
"""

from __future__ import annotations

from typing import Final

import torch.nn.functional as F  # noqa: N812 - the field's name for it
from torch import Tensor, nn

from paretoboard.models.native import Native
from paretoboard.spec import Preprocess

NATIVE: Final = Native(input_shape=(3, 32, 32), preprocess=Preprocess(range="byte"))


class _Stage(nn.Module):
    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        self.stride = stride
        # TensorFlow's SAME at stride 2 pads nothing left and top, one right and bottom: forward does that.
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, stride=stride, padding=1 if stride == 1 else 0)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1)
        self.skip = nn.Identity() if stride == 1 else nn.Conv2d(in_channels, out_channels, 1, stride=stride)

    def forward(self, x: Tensor) -> Tensor:
        padded = x if self.stride == 1 else F.pad(x, (0, 1, 0, 1))
        return F.relu(self.conv2(F.relu(self.conv1(padded))) + self.skip(x))


class TinyResNet8(nn.Module):
    """(n, 3, 32, 32) images to (n, classes) logits."""

    stages = ("s1", "s2", "s3")  # whose outputs another network's can be compared with

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 16, 3, padding=1)
        self.s1 = _Stage(16, 16, 1)
        self.s2 = _Stage(16, 32, 2)
        self.s3 = _Stage(32, 64, 2)
        self.fc = nn.Linear(64, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Logits of a batch of images."""
        x = self.s3(self.s2(self.s1(F.relu(self.stem(x)))))
        logits: Tensor = self.fc(F.adaptive_avg_pool2d(x, 1).flatten(1))
        return logits


def resnet8(classes: int = 10) -> nn.Module:
    """The network as the benchmark defines it."""
    return TinyResNet8(classes)
