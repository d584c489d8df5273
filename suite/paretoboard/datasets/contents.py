"""The digests of files, remembered for as long as the files stay as they are.

As in git's index, a file is taken for the one it was while its size, its times of change and its inode are: reading
every image of an evaluation again only to hash it would cost more than a fast model does. The time of the last change
of the inode is one of them, which no program can set back.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from paretoboard import durable
from paretoboard.datasets import listing
from paretoboard.datasets.decoding import MOST_BYTES
from paretoboard.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

# A file may be written twice within one tick of its file system's clock, some 10 ms; FAT's ticks are 2 s.
_SETTLED_S: Final = 3.0
_FIELDS: Final = 5

State = tuple[int, int, int, int]  # size, time of change, the inode's time of change, inode
Known = dict[str, tuple[State, bytes]]  # by id


@dataclass(frozen=True, slots=True, kw_only=True)
class Contents:
    """Files below one folder, and the book of their digests."""

    root: Path  # of the dataset that the ids are of
    book: Path  # a line for each file: digest, size, times, inode, id
    clock: Callable[[], float] = time.time

    def digests(self, names: Sequence[str]) -> list[bytes]:
        """The SHA-256 of each file; `names` are ids, as `listing` gives them.

        Raises: DataError with every file that is not there, can't be read or is too large.
        """
        known = self._read()
        found: Known = {}
        problems: list[str] = []
        with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
            changed = [name for name in names if not self._is_known(name, known)]
            for name, result in zip(changed, pool.map(self._read_file, changed), strict=True):
                if isinstance(result, str):
                    problems.append(result)
                else:
                    found[name] = result
        if problems:
            raise DataError(listing.told(problems, f"{len(problems):,} of {len(names):,} images can't be read"))
        settled = {name: entry for name, entry in found.items() if self._is_settled(entry[0])}
        if settled:
            self._write({**known, **settled})
        return [(found.get(name) or known[name])[1] for name in names]

    def _is_known(self, name: str, known: Known) -> bool:
        try:
            return name in known and known[name][0] == _state(os.stat(self._path(name)))  # noqa: PTH116 - twice as fast
        except OSError:
            return False  # reading it says why

    def _is_settled(self, state: State) -> bool:
        """Whether nothing can have been written to the file since without leaving a trace in its times."""
        return max(state[1:3]) / 1e9 < self.clock() - _SETTLED_S

    def _read_file(self, name: str) -> tuple[State, bytes] | str:
        """The state and digest of a file, or why there is none."""
        path = self._path(name)
        try:
            with open(path, "rb") as stream:  # noqa: PTH123
                size_bytes = os.fstat(stream.fileno()).st_size
                if size_bytes > MOST_BYTES:
                    return f"{listing.shown(path)}: {size_bytes:,} bytes, {MOST_BYTES:,} at most are read"
                digest = hashlib.file_digest(stream, "sha256").digest()
                return _state(os.fstat(stream.fileno())), digest
        except OSError as error:
            return f"{listing.shown(path)}: {error.strerror}"

    def _path(self, name: str) -> str:
        return f"{self.root}/{listing.path_of(name)}"

    def _read(self) -> Known:
        try:
            lines = self.book.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError):  # not there, or no use: every file is read again
            return {}
        known: Known = {}
        for line in lines:
            try:
                digest, *numbers, name = line.split(" ", _FIELDS)
                size, changed, inode_changed, inode = map(int, numbers)
                known[name] = ((size, changed, inode_changed, inode), bytes.fromhex(digest))
            except ValueError:
                continue
        return known

    def _write(self, known: Mapping[str, tuple[State, bytes]]) -> None:
        lines = [f"{digest.hex()} {' '.join(map(str, state))} {name}\n" for name, (state, digest) in known.items()]
        try:
            self.book.parent.mkdir(parents=True, exist_ok=True)
            durable.write(self.book, "".join(lines).encode("utf-8"))
        except OSError as error:
            raise DataError(
                f"{self.book}: can't be written: {error.strerror}. The variable XDG_CACHE_HOME names another folder "
                "for what is kept."
            ) from error


def _state(found: os.stat_result) -> State:
    return found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino
