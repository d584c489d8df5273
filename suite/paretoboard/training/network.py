"""What is done to a network that is to be trained."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Final, Protocol, runtime_checkable

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

if TYPE_CHECKING:
    from paretoboard.spec import TrainSettings
    from paretoboard.training.feed import Feed

_FITTED_IMAGES: Final = 5000  # Jordan 2024, arXiv:2404.00498, section 3.1


@runtime_checkable
class FitsImages(Protocol):
    """A network of which something follows from the training images, such as a first layer that whitens them."""

    def fit_images(self, images: Tensor) -> None:
        """Set it, where that was not done yet; (n, channels, height, width), preprocessed."""


def prepare(module: nn.Module, feed: Feed) -> None:
    """What a network asks for before its training begins."""
    if isinstance(module, FitsImages):
        with torch.no_grad():
            module.fit_images(feed.first(_FITTED_IMAGES))
    known = dict(module.named_parameters())
    for name in getattr(module, "frozen", ()):
        if name in known:  # not where another technique replaced the layer
            known[name].requires_grad_(False)


def train_mode(module: nn.Module) -> None:
    """As `module.train()`, but for frozen batch normalization: its statistics go with what was frozen."""
    module.train()
    for layer in module.modules():
        own = list(layer.parameters(recurse=False))
        if isinstance(layer, _BatchNorm) and own and not any(parameter.requires_grad for parameter in own):
            layer.eval()


def optimizer(module: nn.Module, settings: TrainSettings) -> torch.optim.Optimizer:
    """The optimizer of `settings` over all parameters that need a gradient."""
    trained = [parameter for parameter in module.parameters() if parameter.requires_grad]
    if settings.optimizer == "adamw":
        return torch.optim.AdamW(trained, settings.lr, weight_decay=settings.weight_decay)
    return torch.optim.SGD(
        trained,
        settings.lr,
        momentum=settings.momentum,
        weight_decay=settings.weight_decay,
        nesterov=settings.momentum > 0,
    )


def weights_digest(module: nn.Module) -> str:
    """64 hex digits over the names and the bits of all weights and running statistics."""
    content = hashlib.sha256()
    for name, tensor in module.state_dict().items():
        content.update(name.encode())
        content.update(tensor.detach().contiguous().reshape(-1).view(torch.uint8).numpy())
    return content.hexdigest()
