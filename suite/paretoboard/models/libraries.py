"""Networks that other libraries define: torchvision's for classification, and timm's."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from paretoboard.errors import InputError, UnknownNameError
from paretoboard.models.native import Native
from paretoboard.registry import model_library
from paretoboard.spec import Preprocess

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import ModuleType

    from torch import nn

# torchvision builds these otherwise once it is asked for weights; as published they scale images themselves, and drop
# the heads that only training uses.
_AS_PUBLISHED: Final[Mapping[str, Mapping[str, Any]]] = {
    "googlenet": {"transform_input": True, "aux_logits": False, "init_weights": False},
    "inception_v3": {"transform_input": True, "aux_logits": False, "init_weights": False},
}
# Tensors of those heads; published files hold them.
_TRAINING_ONLY: Final = ("aux1.", "aux2.", "AuxLogits.")
# DenseNet's files are older than the names of its layers; torchvision renames them by the same pattern.
_OLD_NAME: Final = re.compile(r"(denselayer\d+\.(?:norm|relu|conv))\.([12]\.)")


def build(library: str, name: str, classes: int) -> nn.Module:
    """The network, freshly initialized.

    Raises: UnknownNameError where the library has none of this name; InputError where it is not installed.
    """
    module: nn.Module
    if library == "timm":
        timm = _timm()
        if not timm.is_model(name):
            raise UnknownNameError("model of timm", name, timm.list_models())
        module = timm.create_model(name, pretrained=False, num_classes=classes)
        return module
    builder = torchvision_builder(name)
    module = builder(weights=None, num_classes=classes, **_AS_PUBLISHED.get(name, {}))
    return module


def native(library: str, name: str, weights: str) -> Native | None:
    """What torchvision says that a network, with the weights of this name or else its best, was made for."""
    if library == "timm":
        return None  # its weights are files of anybody's
    transforms = torchvision_weights(name, weights or "DEFAULT").transforms()
    side = int(transforms.crop_size[0])
    return Native(
        input_shape=(3, side, side),
        preprocess=Preprocess(
            mean=tuple(map(float, transforms.mean)),
            std=tuple(map(float, transforms.std)),
            resize=int(transforms.resize_size[0]),
            interpolation=transforms.interpolation.value,
            crop=side,
        ),
    )


def state_name(architecture: str, name: str) -> str | None:
    """What a tensor of a published file is called in a network; None for one of a head that only training uses."""
    if not model_library(architecture):
        return name
    return None if name.startswith(_TRAINING_ONLY) else _OLD_NAME.sub(r"\1\2", name)


def torchvision_builder(name: str) -> Any:
    """torchvision's function that builds a classification network; about 5 s, for the import.

    Raises: UnknownNameError where there is none of this name.
    """
    from torchvision import models

    known = models.list_models(module=models)
    if name not in known:
        raise UnknownNameError("model of torchvision", name, known)
    return models.get_model_builder(name)


def torchvision_weights(name: str, weights: str) -> Any:
    """The member of torchvision's enum of weights for a network.

    Raises: UnknownNameError where there is no such network, or none of such weights.
    """
    from torchvision import models

    enum = models.get_model_weights(torchvision_builder(name))
    if weights not in enum.__members__:
        raise UnknownNameError(f"weights of torchvision:{name}", weights, enum.__members__)
    return enum[weights]


def _timm() -> ModuleType:
    """timm, imported now.

    Raises: InputError where it is not installed.
    """
    try:
        import timm
    except ImportError as error:
        raise InputError("timm can't be imported: pip install 'paretoboard[timm]'") from error
    module: ModuleType = timm
    return module
