"""Decoded images kept on disk, in few large files that are mapped into memory.

A pack holds the pixels of a list of images, in its order, under the digests of what they were made of: the content of
their files. So a subset that was read before is there as one array that nothing has to be copied for, and images of
another subset that overlaps it are copied, not decoded again. Packs are written once and never changed:

    magic, images, (channels, height, width), a SHA-256 for each image, padding to a page, pixels

One folder holds what is decoded, resized and cropped in one way. A pack appears under its name when it is whole, and
a writer holds the folder's lock, so that two processes that want the same images decode them once; the kernel lets go
of the lock however a process ends.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import struct
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from paretoboard import durable
from paretoboard.datasets import listing
from paretoboard.errors import DataError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

SUFFIX: Final = ".pixels"
_LOCK: Final = "lock"
_MAGIC: Final = b"PBPIXEL1"
_HEADER: Final = struct.Struct("<8sQ3I4x")
_KEY_BYTES: Final = 32
_PAGE_BYTES: Final = 4096
# Rows that are decoded before they are written: some 40 MB of pictures of 224 x 224.
_CHUNK: Final = 256

Shape = tuple[int, int, int]
Decode = Callable[[int], "NDArray[np.uint8]"]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Pack:
    """A pack that is whole, as far as its header and its size can tell."""

    path: Path
    keys: tuple[bytes, ...]
    shape: Shape

    def pixels(self) -> NDArray[np.uint8]:
        """(images, *shape), mapped, read-only."""
        import numpy as np

        mapped = np.memmap(self.path, np.uint8, mode="r", offset=_offset(len(self.keys)), shape=self._shape())
        return mapped.view(np.ndarray)

    def _shape(self) -> tuple[int, ...]:
        return (len(self.keys), *self.shape)


def read(keys: Sequence[bytes], shape: Shape, decode: Decode, folder: Path) -> NDArray[np.uint8]:
    """(images, *shape) pixels, read-only and mapped into memory; what no pack of `folder` holds is decoded.

    Args:
        keys: a SHA-256 of what each image is made of.
        decode: from an image's position to its pixels, called by several threads; raises DataError.
        folder: of one way of decoding; made where it is not there.
    Raises: DataError with every image that can't be decoded, and where `folder` can't be written to.
    """
    path = folder / f"{_name(keys, shape)}{SUFFIX}"
    wanted = tuple(keys)
    try:
        pack = _opened(path)
        if pack is None or (pack.keys, pack.shape) != (wanted, shape):
            folder.mkdir(parents=True, exist_ok=True)
            with _alone(folder):
                pack = _opened(path)  # another process may have written it meanwhile
                if pack is None or (pack.keys, pack.shape) != (wanted, shape):
                    _write(path, wanted, shape, _rows(wanted, shape, decode, folder))
                    pack = _Pack(path=path, keys=wanted, shape=shape)
        return pack.pixels()
    except OSError as error:
        raise DataError(
            f"{folder}: decoded images can't be kept there: {error.strerror or error}. The variable XDG_CACHE_HOME "
            "names another folder for what is kept."
        ) from error


def _rows(keys: Sequence[bytes], shape: Shape, decode: Decode, folder: Path) -> Iterator[NDArray[np.uint8]]:
    """The pixels of each image, in order.

    Raises: DataError behind the last, with every image that can't be decoded.
    """
    import numpy as np

    kept = _kept(frozenset(keys), shape, folder)
    reasons: dict[int, str] = {}

    def row(index: int) -> NDArray[np.uint8]:
        found = kept.get(keys[index])
        if found is not None:
            pixels, position = found
            kept_row: NDArray[np.uint8] = pixels[position]
            return kept_row
        try:
            return decode(index)
        except DataError as error:
            reasons[index] = str(error)
            return np.zeros(shape, np.uint8)

    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        for start in range(0, len(keys), _CHUNK):
            yield from pool.map(row, range(start, min(start + _CHUNK, len(keys))))
    if reasons:
        problems = [reasons[index] for index in sorted(reasons)]
        raise DataError(listing.told(problems, f"{len(reasons):,} of {len(keys):,} images can't be used"))


def _kept(wanted: frozenset[bytes], shape: Shape, folder: Path) -> dict[bytes, tuple[NDArray[np.uint8], int]]:
    """Of the images that are wanted those that some pack holds: its pixels, and the position in them."""
    found: dict[bytes, tuple[NDArray[np.uint8], int]] = {}
    for path in sorted(folder.glob(f"*{SUFFIX}")):
        pack = _opened(path)
        if pack is not None and pack.shape == shape:
            pixels = pack.pixels()
            found |= {key: (pixels, position) for position, key in enumerate(pack.keys) if key in wanted}
    return found


def _opened(path: Path) -> _Pack | None:
    """The pack in a file; None where there is none, or no whole one."""
    try:
        with path.open("rb") as stream:
            header = stream.read(_HEADER.size)
            if len(header) < _HEADER.size:
                return None
            magic, count, *shape = _HEADER.unpack(header)
            size_bytes = os.fstat(stream.fileno()).st_size
            if magic != _MAGIC or size_bytes != _offset(count) + count * shape[0] * shape[1] * shape[2]:
                return None
            table = stream.read(count * _KEY_BYTES)
    except FileNotFoundError:
        return None
    keys = tuple(table[start : start + _KEY_BYTES] for start in range(0, len(table), _KEY_BYTES))
    return _Pack(path=path, keys=keys, shape=(shape[0], shape[1], shape[2]))


def _write(path: Path, keys: Sequence[bytes], shape: Shape, rows: Iterator[Any]) -> None:
    """Write a pack, row by row: all of it may be larger than the memory."""
    durable.remove_leftovers(path.parent, before=time.time())  # the lock is ours: no other writer lives
    partial = path.with_name(f".{path.name}{durable.TEMPORARY_SUFFIX}")
    head = _HEADER.pack(_MAGIC, len(keys), *shape) + b"".join(keys)
    try:
        with partial.open("wb") as stream:
            stream.write(head.ljust(_offset(len(keys)), b"\0"))
            for row in rows:
                if row.shape != shape:
                    raise DataError(f"an image has the shape {row.shape}, {shape} expected")
                stream.write(row.tobytes())
            stream.flush()
            os.fsync(stream.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
    durable.sync_folder(path.parent)


def _offset(count: int) -> int:
    """Where the pixels begin."""
    head_bytes = _HEADER.size + count * _KEY_BYTES
    return -(-head_bytes // _PAGE_BYTES) * _PAGE_BYTES


def _name(keys: Sequence[bytes], shape: Shape) -> str:
    return hashlib.sha256(repr(shape).encode() + b"".join(keys)).hexdigest()[:32]


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Hold the folder's lock, once whoever holds it has ended."""
    descriptor = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
