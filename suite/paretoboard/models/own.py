"""A network of one's own: called as its function wants to be called, and checked to fit the images and the classes."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any, Final

import torch
from torch import Tensor, nn

from paretoboard.detection.heads import numbers_of
from paretoboard.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable

    from paretoboard.spec import Head

_IMAGES: Final = 2  # a network that takes one image only can't be measured at other batches
_ANY: Final = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


def call(factory: Callable[..., Any], classes: int, name: str) -> nn.Module:
    """What `factory` gives; it is called with `classes` where it takes that.

    Raises: InputError where it can't be called so, raises anything, or gives something else than a torch module.
    """
    try:
        named = list(inspect.signature(factory).parameters.values())
    except (TypeError, ValueError) as error:
        raise InputError(f"model '{name}': not a function that gives a network: {error}") from error
    takes = any(found.name == "classes" or found.kind is found.VAR_KEYWORD for found in named)
    required = [found.name for found in named if found.default is found.empty and found.kind not in _ANY]
    if others := [found for found in required if found != "classes"]:
        raise InputError(
            f"model '{name}': needs {', '.join(others)}; a function of nothing, or of 'classes', is called"
        )
    try:
        module = factory(classes=classes) if takes else factory()
    # Whatever the code of a person's own network raises: it is that person's to mend.
    except Exception as error:
        raise InputError(f"model '{name}': gives no network: {told(error)}") from error
    if not isinstance(module, nn.Module):
        raise InputError(f"model '{name}': gives a {type(module).__name__}; a torch.nn.Module would be right")
    return module


def require_fit(
    module: nn.Module, input_shape: tuple[int, ...], classes: int, name: str, head: Head | None = None
) -> None:
    """Check that `module` takes such images and gives a number for each class, or what a detector's head gives.

    Args:
        module: in evaluation mode.
        input_shape: of one image: (channels, height, width).
        head: of a detector: what the numbers of a cell mean.
    Raises: InputError that says what it gives instead.
    """
    shape = "x".join(map(str, input_shape))
    images = torch.zeros((_IMAGES, *input_shape))
    try:
        with torch.no_grad():  # not inference_mode, whose tensors a network could keep and then not be trained with
            logits = module(images)
    except Exception as error:  # as above
        raise InputError(f"model '{name}': takes no images of {shape}: {told(error)}") from error
    if head is None:
        require_logits(logits, classes, name)
    else:
        _require_cells(logits, classes, name, head)


def require_logits(logits: object, classes: int, name: str) -> None:
    """Check what a network gave for `_IMAGES` images.

    Raises: InputError that says what it gives instead.
    """
    wanted = f"a tensor of ({_IMAGES}, {classes}), a number for each class of each of {_IMAGES} images,"
    if not isinstance(logits, Tensor):
        raise InputError(f"model '{name}': gives a {type(logits).__name__}; {wanted} would be right")
    if tuple(logits.shape) != (_IMAGES, classes):
        raise InputError(f"model '{name}': gives {tuple(logits.shape)} for {_IMAGES} images; {wanted} would be right")
    if not logits.is_floating_point():
        raise InputError(f"model '{name}': gives {logits.dtype}; {wanted} in floating point would be right")


def _require_cells(found: object, classes: int, name: str, head: Head) -> None:
    numbers = numbers_of(head, classes)
    wanted = f"with the head '{head}' and {classes} classes ({_IMAGES}, {numbers}, rows, columns) would be right"
    if not isinstance(found, Tensor):
        raise InputError(f"model '{name}': gives a {type(found).__name__}; {wanted}")
    if found.ndim != len(("images", "numbers", "rows", "columns")) or tuple(found.shape[:2]) != (_IMAGES, numbers):
        raise InputError(f"model '{name}': gives {tuple(found.shape)} for {_IMAGES} images; {wanted}")


def told(error: Exception) -> str:
    """What somebody's own code raised, in a line."""
    reason = str(error).strip().partition("\n")[0]
    return f"{type(error).__name__}: {reason}" if reason else type(error).__name__
