"""Files of weights: found by name, checked by digest, loaded without running anything they hold."""

from __future__ import annotations

import hashlib
import pickle
import struct
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Final

from paretoboard.errors import DataError

if TYPE_CHECKING:
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
            f"{_first_line(error)}"
        ) from error
    # What torch.load raises for bytes that are not a file of torch's depends on where it stumbles.
    except (OSError, RuntimeError, ValueError, LookupError, TypeError, AttributeError, EOFError, ImportError,
            AssertionError, ArithmeticError, MemoryError, struct.error) as error:  # fmt: skip
        raise DataError(f"{path}: not a file that torch.save wrote: {_first_line(error)}") from error
    if not isinstance(state, dict):
        raise DataError(f"{path}: a state dict expected, {type(state).__name__} found")
    strange = [key for key, value in state.items() if not (isinstance(key, str) and isinstance(value, torch.Tensor))]
    if strange:
        found = type(state[strange[0]]).__name__
        raise DataError(f"{path}: a dict of tensors by name expected, {found} found under {strange[0]!r}")
    return dict(state)


def load_into(module: nn.Module, weights: Weights, data_root: Path) -> None:
    """Load the weights named into `module`, every one of them and no other.

    Raises: DataError as `resolve` and `load_state` do, and where names or shapes do not fit.
    """
    path = resolve(weights, data_root)
    try:
        module.load_state_dict(load_state(path))
    except RuntimeError as error:
        raise DataError(f"{path}: weights of another network: {error}") from error


def sha256_of(path: Path) -> str:
    """SHA-256 of a file; about a second a gigabyte."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _first_line(error: BaseException) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]
