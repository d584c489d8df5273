"""A small network that learns CIFAR-10 fast: a fixed layer that whitens, and three groups of two convolutions.

Source: Jordan 2024, 94% on CIFAR-10 in 3.29 Seconds on a Single GPU, arXiv:2404.00498, section 3 and its published
code (airbench94). Kept are the whitening layer, its groups, the identity at the beginning, GELU, scaled logits and
batch norm with a scale that is not learned. Other are the widths (64, 256, 256 there), and that all is one learning
rate; what is done in training beside (label smoothing, alternate flips, one cycle) is in the task files.
"""

from __future__ import annotations

from typing import Final

import torch
import torch.nn.functional as F  # noqa: N812 - the field's name for it
from torch import Tensor, nn

from paretoboard.models.native import IMAGES_OF_32

NATIVE: Final = IMAGES_OF_32
_PATCH: Final = 2  # side of the patches that are whitened
_WHITENED: Final = 2 * 3 * _PATCH**2  # each direction and its opposite
_AT_ONCE: Final = 250  # images
_EPSILON: Final = 5e-4  # added to the variances, as in the published code
_LOGIT_SCALE: Final = 1 / 9
_MOMENTUM: Final = 0.4  # of batch norm's statistics: few steps have to do


class _Group(nn.Module):
    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv1 = _convolution(in_channels, out_channels)
        self.bn1 = nn.BatchNorm2d(out_channels, momentum=_MOMENTUM)
        self.conv2 = _convolution(out_channels, out_channels)
        self.bn2 = nn.BatchNorm2d(out_channels, momentum=_MOMENTUM)

    def forward(self, x: Tensor) -> Tensor:
        x = F.gelu(self.bn1(F.max_pool2d(self.conv1(x), 2)))
        return F.gelu(self.bn2(self.conv2(x)))


class Airbench(nn.Module):
    """(n, 3, 32, 32) images to (n, classes) logits."""

    stages = ("group1", "group2", "group3")  # whose outputs another network's can be compared with
    whitened: Tensor

    def __init__(self, widths: tuple[int, int, int], classes: int) -> None:
        super().__init__()
        self.whiten = nn.Conv2d(3, _WHITENED, _PATCH)
        self.group1 = _Group(_WHITENED, widths[0])
        self.group2 = _Group(widths[0], widths[1])
        self.group3 = _Group(widths[1], widths[2])
        self.linear = nn.Linear(widths[2], classes, bias=False)
        self.register_buffer("whitened", torch.zeros((), dtype=torch.bool))  # whether the first layer was fitted

    @property
    def frozen(self) -> tuple[str, ...]:
        """Parameters that training leaves as they are."""
        scales = [f"{name}.weight" for name, layer in self.named_modules() if isinstance(layer, nn.BatchNorm2d)]
        return ("whiten.weight", *scales)

    def fit_images(self, images: Tensor) -> None:
        """Let the first layer whiten patches of these images, unless it was fitted before.

        Args:
            images: (n, 3, height, width), as the network gets them; a few hundred are enough.
        """
        if bool(self.whitened):
            return
        # In float64 and in parts: sums over millions of patches, and 12 numbers of each would be half a gigabyte.
        covariance = torch.zeros((_WHITENED // 2, _WHITENED // 2), dtype=torch.float64)
        for part in images.split(_AT_ONCE):  # type: ignore[no-untyped-call]
            patches = part.unfold(2, _PATCH, 1).unfold(3, _PATCH, 1).permute(0, 2, 3, 1, 4, 5)
            flat = patches.reshape(-1, _WHITENED // 2).double()
            covariance += flat.T @ flat / len(flat) * (len(part) / len(images))
        variances, directions = torch.linalg.eigh(covariance)
        rows = (directions / (variances + _EPSILON).sqrt()).T.flip(0)
        # An eigenvector's sign is anyone's guess; both are used, and the largest entry of the first is positive.
        largest = rows.gather(1, rows.abs().argmax(1, keepdim=True))
        rows = (rows * largest.sign()).float().view(-1, 3, _PATCH, _PATCH)
        self.whiten.weight.copy_(torch.cat([rows, -rows]))
        self.whitened.fill_(True)

    def forward(self, x: Tensor) -> Tensor:
        """Logits of a batch of images."""
        x = F.gelu(self.whiten(x))
        x = self.group3(self.group2(self.group1(x)))
        logits: Tensor = self.linear(F.adaptive_max_pool2d(x, 1).flatten(1)) * _LOGIT_SCALE
        return logits


def _convolution(in_channels: int, out_channels: int) -> nn.Conv2d:
    """As torch begins it, but for the first filters, which pass their input on."""
    layer = nn.Conv2d(in_channels, out_channels, 3, padding=1, bias=False)
    nn.init.dirac_(layer.weight.data[: min(in_channels, out_channels)])
    return layer


def airbench(classes: int = 10) -> nn.Module:
    """The network of 64, 128 and 256 channels."""
    return Airbench((64, 128, 256), classes)


def airbench_small(classes: int = 10) -> nn.Module:
    """The network of 32, 64 and 128 channels."""
    return Airbench((32, 64, 128), classes)
