"""Network architectures, by name; their weights are files.

A name is one of registry.MODELS, `torchvision:NAME` or `timm:NAME` for what these libraries define, or
`module:function` for a network of one's own. Files of one's own, ONNX graphs and exported programs, are read by
`models.onnx_file` and `models.exported_program`.
"""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from paretoboard import locations
from paretoboard.errors import InputError
from paretoboard.registry import MODELS, load_object, model_library

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import nn

    from paretoboard.models.native import Native


def build(architecture: str, classes: int) -> nn.Module:
    """A network in evaluation mode, freshly initialized, or as the function of one's own gives it.

    Args:
        architecture: as this module says.
        classes: width of the output.
    Raises: UnknownNameError or InputError where there is no such network.
    """
    library = model_library(architecture)
    if library:
        from paretoboard.models import libraries

        return libraries.build(library, architecture.partition(":")[2], classes).eval()
    if ":" in architecture:
        from paretoboard.models.own import call

        return call(_own(architecture), classes, architecture).eval()
    module: nn.Module = MODELS.load(architecture)(classes=classes)
    return module.eval()


def import_definition(architecture: str) -> None:
    """Import what defines a network that is not ours, so that building it doesn't have to.

    Raises: InputError where it can't be imported.
    """
    library = model_library(architecture)
    if library:
        importlib.import_module(library)
    elif ":" in architecture:
        _own(architecture)


def native_of(architecture: str, weights: str = "") -> Native | None:
    """What a network was made for, and its published weights were trained with; None where nobody says.

    Args:
        architecture: as this module says.
        weights: a library's name of them.
    Raises: UnknownNameError or InputError where there is no such network, or none of such weights.
    """
    library = model_library(architecture)
    if library:
        from paretoboard.models import libraries

        return libraries.native(library, architecture.partition(":")[2], weights)
    if ":" in architecture:
        return None
    module = importlib.import_module(MODELS.target(architecture).partition(":")[0])
    found: Native | None = getattr(module, "NATIVE", None)
    return found


def _own(architecture: str) -> Callable[..., Any]:
    folders = locations.module_folders()
    # Last, so that no file beside a task can stand for an installed module.
    sys.path += [folder for folder in folders if folder not in sys.path]
    if architecture.partition(":")[0] not in sys.modules:
        _require_one(architecture, folders)
    try:
        factory: Callable[..., Any] = load_object(architecture, f"model '{architecture}'")
    except InputError:
        raise
    # Whatever the code of a person's own module raises: it is that person's to mend.
    except Exception as error:
        from paretoboard.models.own import told

        raise InputError(f"model '{architecture}': can't be imported: {told(error)}") from error
    return factory


def _require_one(architecture: str, folders: tuple[str, ...]) -> None:
    """Check that no other module of that name would be imported than the one beside a task file.

    Two tasks may each have a module of one name, and the folder in which the command is called another one.

    Raises: InputError that names both.
    """
    from paretoboard.taskfile.own_models import source_of

    module = architecture.partition(":")[0]
    found = source_of(module)
    for folder in folders:
        beside = source_of(module, Path(folder))
        if found is not None and beside is not None and found.resolve() != beside.resolve():
            raise InputError(
                f"model '{architecture}': {found} would be imported, and {beside} has the same name; rename one of "
                "them, or measure their tasks by separate commands, called from another folder"
            )
