"""Network architectures, by name; their weights are files."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import nn


def build(architecture: str, classes: int) -> nn.Module:
    """A freshly initialized network in evaluation mode.

    Args:
        architecture: a name in registry.MODELS, or `module:function` of a factory that takes `classes`.
        classes: width of the output.
    Raises: UnknownNameError or InputError where there is no such network.
    """
    from paretoboard.registry import MODELS, load_object

    own = ":" in architecture
    factory = load_object(architecture, f"model '{architecture}'") if own else MODELS.load(architecture)
    module: nn.Module = factory(classes=classes)
    return module.eval()
