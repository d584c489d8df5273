"""Is there such a network, does it take these images, and does it give these classes?"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Final

from paretoboard import locations
from paretoboard.errors import InputError
from paretoboard.registry import MODELS, is_own, model_library
from paretoboard.spec import ModelFile, ModelUse
from paretoboard.taskfile import own_models

if TYPE_CHECKING:
    from paretoboard.models.native import Native

_FILES: Final = (".onnx", ".pt2")
_WEIGHTS: Final = (".pth", ".pt", ".bin", ".safetensors", ".ckpt")
CHANNELS: Final = 3  # of the images that a folder gives


def is_file(model: str) -> bool:
    """Whether `model` is the path of a file."""
    return Path(model).suffix in _FILES


def check(model: str, beside: Path) -> None:
    """Check that there is such a network.

    Args:
        model: a path, `module:function`, or a library's name.
        beside: the folder of the task file, where a module of one's own may lie.
    Raises: InputError that says what would be right.
    """
    if is_file(model):
        if not Path(model).is_file():
            raise InputError(f"{model}: there is no such file")
    elif Path(model).suffix in _WEIGHTS:
        raise InputError(
            f"{model}: holds weights, and no network that they belong to; a function that gives the network with its "
            "weights, as 'module:function', an ONNX file or one of torch.export.save would be right"
        )
    elif model in MODELS:
        raise InputError(f"'{model}' needs weights or training, which a task of yours is to say: copy one below tasks/")
    elif message := own_models.colon_problem(model):
        raise InputError(message)
    elif model_library(model) == "timm":
        raise InputError(f"'{model}' needs a file of weights, which a task of yours is to say: copy one below tasks/")
    elif is_own(model):
        module = model.partition(":")[0]
        if own_models.source_of(module, beside) is None and own_models.source_of(module) is None:
            raise InputError(f"can't import '{module}': there is no such module in {beside}, and none is installed")


def native(model: str, weights: str) -> tuple[Native | None, str]:
    """What a library's network was made for, and the exact name of its weights.

    Raises: UnknownNameError where the library has no such network or weights.
    """
    from paretoboard import models
    from paretoboard.models.libraries import torchvision_weights

    weights = torchvision_weights(model.partition(":")[2], weights or "DEFAULT").name
    return models.native_of(model, weights), weights


def side_of_file(model: str) -> int | None:
    """Side of the images that an ONNX file takes; None where it leaves that open, or is no ONNX file.

    Raises: DataError for a file that is no whole ONNX graph, InputError for images that are no squares.
    """
    from paretoboard.models import onnx_file

    if Path(model).suffix != ".onnx":
        return None
    shape = onnx_file.image_shape(onnx_file.read(Path(model)), model)
    if shape is None:
        return None
    if shape[1] != shape[2] != CHANNELS:  # channels that come last are told of when the network is tried
        raise InputError(f"{model}: takes images of {shape[2]}x{shape[1]}; only squares are cut from images so far")
    return shape[1]


def require_fit(model: str, weights: str, beside: Path, input_shape: tuple[int, int, int], classes: int) -> None:
    """Build the network, and check that it takes such images and gives a number for each class.

    Args:
        weights: of a library, "" for a network that has its own.

    Raises: InputError that says what it gives instead.
    """
    if is_file(model):
        from paretoboard.datasets.weights import sha256_of
        from paretoboard_runners import original

        path = Path(model).absolute()
        use = ModelUse(name=path.name, file=ModelFile(path=path, sha256=sha256_of(path)))
        original.from_file(use, input_shape, classes)
        return
    from paretoboard import models
    from paretoboard.models.libraries import torchvision_weights
    from paretoboard.models.own import require_fit

    if weights:
        known = len(torchvision_weights(model.partition(":")[2], weights).meta["categories"])
        if known != classes:
            raise InputError(f"{model}: {weights} know {known:,} classes, and the images are of {classes:,}")
    os.environ[locations.MODULES_VARIABLE] = os.pathsep.join([*locations.module_folders(), str(beside)])
    require_fit(models.build(model, classes), input_shape, classes, model)
