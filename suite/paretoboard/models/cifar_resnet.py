"""The CIFAR ResNets of 6n+2 layers, with parameter-free (option A) shortcuts.

Source: He et al. 2015, arXiv:1512.03385, section 4.2. State-dict keys are those of
akamaster/pytorch_resnet_cifar10, so that its published weights load as they are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import torch.nn.functional as F  # noqa: N812 - the field's name for it
from torch import Tensor, nn

from paretoboard.models.native import Native
from paretoboard.spec import Preprocess

if TYPE_CHECKING:
    from collections.abc import Callable

# As akamaster's weights were trained: ImageNet's mean and standard deviation.
NATIVE: Final = Native(
    input_shape=(3, 32, 32),
    preprocess=Preprocess(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225)),
)


class _Shortcut(nn.Module):
    """Identity where shapes agree; else every second pixel, and zeros for new channels on either side."""

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        self.stride = stride
        self.padding = (out_channels - in_channels) // 2

    def forward(self, x: Tensor) -> Tensor:
        if self.stride == 1 and self.padding == 0:
            return x
        return F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, self.padding, self.padding))


class _Block(nn.Module):
    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(out_channels)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(out_channels)
        self.shortcut = _Shortcut(in_channels, out_channels, stride)

    def forward(self, x: Tensor) -> Tensor:
        inner = F.relu(self.bn1(self.conv1(x)))
        return F.relu(self.bn2(self.conv2(inner)) + self.shortcut(x))


class CifarResNet(nn.Module):
    """(n, 3, 32, 32) images to (n, classes) logits."""

    stages = ("layer1", "layer2", "layer3")  # whose outputs another network's can be compared with

    def __init__(self, blocks: int, classes: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 16, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.layer1 = _stage(blocks, 16, 16, stride=1)
        self.layer2 = _stage(blocks, 16, 32, stride=2)
        self.layer3 = _stage(blocks, 32, 64, stride=2)
        self.linear = nn.Linear(64, classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                nn.init.kaiming_normal_(module.weight)  # He et al. 2015, arXiv:1502.01852, as in the paper

    @property
    def keep_channels(self) -> tuple[str, ...]:
        """Layers whose output channels can't be cut: the shortcuts, without weights, fix the widths."""
        return ("conv1", *(name for name, _ in self.named_modules() if name.endswith(".conv2")))

    @property
    def residual_branches(self) -> tuple[tuple[str, ...], ...]:
        """Layers of each branch that is added to a shortcut, from first to last."""
        blocks = [name for name, module in self.named_modules() if isinstance(module, _Block)]
        return tuple((f"{name}.conv1", f"{name}.conv2") for name in blocks)

    def forward(self, x: Tensor) -> Tensor:
        """Logits of a batch of images."""
        x = F.relu(self.bn1(self.conv1(x)))
        x = self.layer3(self.layer2(self.layer1(x)))
        logits: Tensor = self.linear(F.adaptive_avg_pool2d(x, 1).flatten(1))
        return logits


def _stage(blocks: int, in_channels: int, out_channels: int, *, stride: int) -> nn.Sequential:
    first = _Block(in_channels, out_channels, stride)
    return nn.Sequential(first, *(_Block(out_channels, out_channels, 1) for _ in range(blocks - 1)))


def _factory(blocks: int) -> Callable[..., nn.Module]:
    def build(classes: int = 10) -> nn.Module:
        return CifarResNet(blocks, classes)

    build.__doc__ = f"The network of {6 * blocks + 2} layers."
    return build


resnet8 = _factory(1)
resnet20 = _factory(3)
resnet32 = _factory(5)
resnet56 = _factory(9)
resnet110 = _factory(18)
