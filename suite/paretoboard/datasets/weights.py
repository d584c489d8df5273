"""Files of weights: found by name, checked by digest, loaded without running anything they hold."""

from __future__ import annotations

import hashlib
import pickle
import struct
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Final

from paretoboard.errors import DataError, first_line

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from torch import Tensor, nn

    from paretoboard.spec import Weights

FOLDER: Final = "weights"


def resolve(weights: Weights, data_root: Path) -> Path:
    """The file that `weights` names below `<data_root>/weights`, its SHA-256 checked.

    Raises: DataError for a name that leads out of that folder, and for a missing or another file.
    """
    folder = data_root / FOLDER
    name = PurePosixPath(weights.file)
    if name.is_absolute() or ".." in name.parts or not name.parts or "\0" in weights.file:
        raise DataError(f"weights '{weights.file}': a name below {folder} expected, one that does not lead out of it")
    path = folder / name
    try:
        found = sha256_of(path)
    except FileNotFoundError:
        raise DataError(
            f"{path}: there is no such file. Put the file of weights with SHA-256 {weights.sha256} there."
        ) from None
    except OSError as error:
        raise DataError(f"{path}: can't be read: {error.strerror}") from error
    if found != weights.sha256.lower():
        raise DataError(f"{path}: SHA-256 {found} found, {weights.sha256} expected")
    return path


def resolve_published(path: Path, digest: str, get: str = "") -> Path:
    """`path`, where a file lies that begins with `digest` in its SHA-256.

    Args:
        digest: hex digits, as many as its publisher tells.
        get: the command that brings the file, where there is one.
    Raises: DataError for a missing or another file.
    """
    try:
        found = sha256_of(path)
    except FileNotFoundError:
        raise DataError(f"{path}: there is no such file." + (f" `{get}` brings it." if get else "")) from None
    except OSError as error:
        raise DataError(f"{path}: can't be read: {error.strerror}") from error
    if not found.startswith(digest):
        raise DataError(f"{path}: SHA-256 {found} found, one that begins with {digest} expected")
    return path


def load_state(path: Path) -> dict[str, Tensor]:
    """The tensors of a saved state dict, on the CPU; see `torch.load`'s `weights_only`.

    Raises: DataError for every other content, a pickle that names a function among them; none is called.
    """
    import torch

    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise DataError(
            f"{path}: not a plain state dict, and nothing else is loaded, since it could run anything: "
            f"{first_line(error)}"
        ) from error
    # What torch.load raises for bytes that are not a file of torch's depends on where it stumbles.
    except (OSError, RuntimeError, ValueError, LookupError, TypeError, AttributeError, EOFError, ImportError,
            AssertionError, ArithmeticError, MemoryError, struct.error) as error:  # fmt: skip
        raise DataError(f"{path}: not a file that torch.save wrote: {first_line(error)}") from error
    if not isinstance(state, dict):
        raise DataError(f"{path}: a state dict expected, {type(state).__name__} found")
    strange = [key for key, value in state.items() if not (isinstance(key, str) and isinstance(value, torch.Tensor))]
    if strange:
        found = type(state[strange[0]]).__name__
        raise DataError(f"{path}: a dict of tensors by name expected, {found} found under {strange[0]!r}")
    return dict(state)


def load_into(module: nn.Module, path: Path, name_of: Callable[[str], str | None] = str) -> None:
    """Load the weights in `path` into `module`, every one of them and no other; of an ONNX file its convolutions'.

    Args:
        name_of: what a tensor of the file is called in the network, None for one to leave out.
    Raises: DataError as `load_state` and `load_convolutions` do, and where names or shapes do not fit.
    """
    stored = load_convolutions(path, module) if path.suffix == ".onnx" else load_state(path)
    named = ((name_of(name), tensor) for name, tensor in stored.items())
    state = {name: tensor for name, tensor in named if name is not None}
    try:
        module.load_state_dict(state)
    except RuntimeError as error:
        raise DataError(f"{path}: weights of another network: {error}") from error


def load_convolutions(path: Path, module: nn.Module) -> dict[str, Tensor]:
    """The state of a network that is made of convolutions with biases, from an ONNX graph of the same network.

    The graph's convolutions, in the order in which it computes them, are the module's in the order in which it defines
    them. Names of exported graphs are numbers and say nothing; shapes must fit.

    Raises: DataError for another content, and for a graph of other convolutions.
    """
    import onnx
    import torch
    from google.protobuf.message import DecodeError
    from onnx import numpy_helper
    from torch import nn

    try:
        graph = onnx.load_model(str(path), load_external_data=False).graph
        stored = {
            tensor.name: torch.from_numpy(numpy_helper.to_array(tensor).copy())
            for tensor in graph.initializer
            if tensor.data_location != onnx.TensorProto.EXTERNAL
        }
        found = [node.input for node in graph.node if node.op_type == "Conv"]
    except (DecodeError, OSError, ValueError, TypeError) as error:
        raise DataError(f"{path}: not a whole ONNX file: {first_line(error)}") from error
    names = [name for name, layer in module.named_modules() if isinstance(layer, nn.Conv2d)]
    if len(names) != len(found):
        raise DataError(f"{path}: {len(found)} convolutions, the network has {len(names)}")
    state: dict[str, Tensor] = {}
    for name, inputs in zip(names, found, strict=True):
        for part, place in (("weight", 1), ("bias", 2)):
            if place >= len(inputs) or inputs[place] not in stored:
                raise DataError(f"{path}: the convolution that is to become '{name}' has no stored {part}")
            state[f"{name}.{part}"] = stored[inputs[place]]
    return state


def sha256_of(path: Path) -> str:
    """SHA-256 of a file; about a second a gigabyte."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
