"""Files with known digests: reading them only when they are right, writing them whole or not at all."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from paretoboard.errors import DataError

if TYPE_CHECKING:
    from pathlib import Path

State = Literal["verified", "of the right size", "missing", "wrong"]


@dataclass(frozen=True, slots=True, kw_only=True)
class DataFile:
    """A file that is known by its digest, or at least by its size."""

    path: str  # below the data root, parts joined by "/"
    md5: str  # "" where none is published: then the size is checked
    most_bytes: int  # a larger file is wrong, and is not read any further; without a digest a smaller one, too


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """One of the forms a dataset is published in."""

    title: str
    files: Mapping[str, DataFile]  # by the name of the part that the file holds


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What lies where a file should be."""

    file: DataFile
    state: State
    size_bytes: int | None = None  # None where nothing is
    message: str = ""  # what is wrong, naming the path


def read_checked(root: Path, file: DataFile) -> bytes:
    """The content of `file` below `root`: the very bytes whose digest was checked.

    Raises: DataError if it is missing, can't be read, or is not the file it should be, with both digests.
    """
    path = root / file.path
    try:
        with path.open("rb") as stream:
            content = stream.read(file.most_bytes + 1)
    except FileNotFoundError:
        raise DataError(f"{path}: there is no such file") from None
    except OSError as error:
        raise DataError(f"{path}: can't be read: {error.strerror}") from error
    if len(content) > file.most_bytes:
        raise DataError(f"{path}: larger than the {file.most_bytes} bytes it may have; its MD5 should be {file.md5}")
    require_md5(content, file.md5, str(path))
    return content


def require_md5(content: bytes, md5: str, what: str) -> None:
    """Raise DataError with both digests unless `content` has this MD5."""
    found = hashlib.md5(content, usedforsecurity=False).hexdigest()
    if found != md5:
        raise DataError(f"{what}: truncated or altered: MD5 {found} found in {len(content)} bytes, {md5} expected")


def inspect(root: Path, file: DataFile) -> Finding:
    """What lies where `file` should be; reads it, about 50 ms for 30 MB."""
    path = root / file.path
    try:
        size_bytes = path.stat().st_size
        if not file.md5:
            return _by_size(path, file, size_bytes)
        read_checked(root, file)
    except (FileNotFoundError, NotADirectoryError):
        return Finding(file=file, state="missing", message=f"{path}: there is no such file")
    except OSError as error:
        return Finding(file=file, state="wrong", message=f"{path}: can't be read: {error.strerror}")
    except DataError as error:
        return Finding(file=file, state="wrong", size_bytes=size_bytes, message=str(error))
    return Finding(file=file, state="verified", size_bytes=size_bytes)


def _by_size(path: Path, file: DataFile, size_bytes: int) -> Finding:
    if size_bytes == file.most_bytes:
        return Finding(file=file, state="of the right size", size_bytes=size_bytes)
    message = f"{path}: {size_bytes} bytes found, {file.most_bytes} expected"
    return Finding(file=file, state="wrong", size_bytes=size_bytes, message=message)
