"""LeNet-5, the textbook's network for handwritten digits, with rectifiers and max pooling as it is trained today.

Source: LeCun et al. 1998, Gradient-Based Learning Applied to Document Recognition, section II.B. Other than there are
the rectifiers (hyperbolic tangents there), max pooling (averages with learned scales), a second layer that sees all
maps of the first (a hand-drawn table of some), logits without radial basis functions, and three input channels.
"""

from __future__ import annotations

from typing import Final

import torch.nn.functional as F  # noqa: N812 - the field's name for it
from torch import Tensor, nn

from paretoboard.models.native import IMAGES_OF_32

NATIVE: Final = IMAGES_OF_32


class LeNet5(nn.Module):
    """(n, 3, 32, 32) images to (n, classes) logits."""

    stages = ("conv1", "conv2")  # whose outputs another network's can be compared with

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 6, 5)
        self.conv2 = nn.Conv2d(6, 16, 5)
        self.fc1 = nn.Linear(16 * 5 * 5, 120)
        self.fc2 = nn.Linear(120, 84)
        self.linear = nn.Linear(84, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Logits of a batch of images."""
        x = F.max_pool2d(F.relu(self.conv1(x)), 2)
        x = F.max_pool2d(F.relu(self.conv2(x)), 2)
        x = F.relu(self.fc2(F.relu(self.fc1(x.flatten(1)))))
        logits: Tensor = self.linear(x)
        return logits


def lenet5(classes: int = 10) -> nn.Module:
    """The network of five layers that have weights."""
    return LeNet5(classes)
