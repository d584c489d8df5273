"""Taking named members out of an archive that a stranger may have written.

Nothing is extracted to disk: members come as bytes in memory, under names that the caller already knows, so
that an archive has no say in where anything goes. One with a member that would lead out of its folder is not
what it should be, and refused.
"""

from __future__ import annotations

import gzip
import io
import tarfile
import zlib
from typing import TYPE_CHECKING, Final

from paretoboard.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from _typeshed import WriteableBuffer

OVERHEAD_BYTES: Final = 64 << 20  # for members that are not asked for, such as a readme


def read_members(archive: Path, most_bytes: Mapping[str, int]) -> dict[str, bytes]:
    """The members of a .tar.gz that are keys of `most_bytes`.

    Args:
        most_bytes: member -> the bytes it may have; decompressing stops 64 MiB past their sum.
    Raises: DataError for a damaged archive, a missing member, one that is no plain file, one too large, and for any
        up to the last one asked for that would lead out of a folder.
    """
    found: dict[str, bytes] = {}
    try:
        with gzip.open(archive) as compressed:
            stream = io.BufferedReader(_Bounded(compressed, sum(most_bytes.values()) + OVERHEAD_BYTES, archive))
            with tarfile.open(fileobj=stream, mode="r|") as tar:
                for member in tar:
                    _require_inside(archive, member.name)
                    if member.name in most_bytes:
                        found[member.name] = _content(archive, tar, member, most_bytes[member.name])
                    if len(found) == len(most_bytes):
                        break
    except (tarfile.TarError, gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise DataError(f"{archive}: not a whole .tar.gz archive: {error}") from error
    if missing := sorted(most_bytes.keys() - found.keys()):
        raise DataError(f"{archive}: no member {', '.join(missing)}")
    return found


def _require_inside(archive: Path, name: str) -> None:
    if name.startswith("/") or ".." in name.split("/"):
        raise DataError(f"{archive}: member '{name}' would lead out of its folder, refused")


def _content(archive: Path, tar: tarfile.TarFile, member: tarfile.TarInfo, most_bytes: int) -> bytes:
    if not member.isreg():
        raise DataError(f"{archive}: member {member.name} is not a plain file")
    if member.size > most_bytes:
        raise DataError(f"{archive}: member {member.name} has {member.size} bytes, {most_bytes} at most expected")
    stream = tar.extractfile(member)
    assert stream is not None
    return stream.read()


class _Bounded(io.RawIOBase):
    """A reader that gives up past a number of bytes: a small archive can unpack to a day's work."""

    def __init__(self, stream: gzip.GzipFile, most_bytes: int, archive: Path) -> None:
        self.stream, self.archive = stream, archive
        self.most_bytes, self.left_bytes = most_bytes, most_bytes

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        view = memoryview(buffer)
        content = self.stream.read(len(view))
        self.left_bytes -= len(content)
        if self.left_bytes < 0:
            raise DataError(f"{self.archive}: unpacks to more than {self.most_bytes} bytes, refused")
        view[: len(content)] = content
        return len(content)
