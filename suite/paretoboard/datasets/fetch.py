"""Bringing a dataset's files: from sources that need not be trusted, since every file's digest is known."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from paretoboard import durable
from paretoboard.datasets.download import Address, BytesProgress, download
from paretoboard.datasets.integrity import DataFile, Layout, inspect, require_md5
from paretoboard.datasets.unpack import read_members
from paretoboard.datasets.weights import resolve_published
from paretoboard.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

DOWNLOADS: Final = "downloads"  # below the data root; empty but for a fetch that was not finished


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """An archive that the files of a layout can be made from."""

    name: str  # what `--source` calls it
    archive: str  # the file that it is downloaded to
    most_bytes: int  # of the archive
    address: Callable[[], Address]  # asks whoever knows it; raises DataError where nobody does
    members: Mapping[str, int]  # path in the archive -> the bytes it may have
    rebuild: Callable[[Mapping[str, bytes]], Iterator[tuple[str, bytes]]]  # members -> (part, its file's content)


@dataclass(frozen=True, slots=True, kw_only=True)
class Listener:
    """Who is told how a fetch goes on."""

    say: Callable[[str], None]
    progress: BytesProgress


def fetch(layout: Layout, sources: Sequence[Source], root: Path, listener: Listener) -> None:
    """Make every file of `layout` lie below `root` with its official digest; what does so already stays.

    The sources are tried in turn. After any interruption a second call goes on where the first one stopped.

    Raises: DataError when no source brought the files, with each one's reason, or `root` can't be written to.
    """
    try:
        (root / DOWNLOADS).mkdir(parents=True, exist_ok=True)
        with _only_one(root / DOWNLOADS / "lock"):
            _from_first(layout, sources, root, listener)
    except OSError as error:  # the network's are DataErrors by now
        raise DataError(f"{error.filename or root}: can't be written: {error.strerror}") from error


def fetch_file(url: str, root: Path, file: str, digest: str, most_bytes: int, listener: Listener) -> Path:
    """Make `file` lie below `root` with a SHA-256 that begins with `digest`; one that does so already stays.

    Raises: DataError when it can't be downloaded, is another file, or `root` can't be written to.
    """
    path, arrived = root / file, root / DOWNLOADS / file.rpartition("/")[2]
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        arrived.parent.mkdir(parents=True, exist_ok=True)
        if path.exists():
            return resolve_published(path, digest)
        with _only_one(arrived.parent / "lock"):
            if not arrived.exists():
                listener.say(url)
                download(Address(url=url), arrived, most_bytes=most_bytes, progress=listener.progress)
            try:
                resolve_published(arrived, digest)
            except DataError:
                arrived.unlink()  # no good; after an interruption, though, it is there for the next call
                raise
            arrived.replace(path)
        return path
    except OSError as error:  # the network's are DataErrors by now
        raise DataError(f"{error.filename or root}: can't be written: {error.strerror}") from error


def _from_first(layout: Layout, sources: Sequence[Source], root: Path, listener: Listener) -> None:
    reasons: list[str] = []
    for source in sources:
        wanted = {part: file for part, file in layout.files.items() if inspect(root, file).state != "verified"}
        if not wanted:
            return
        try:
            _from_source(source, wanted, root, listener)
        except DataError as error:
            reasons.append(f"{source.name}: {error}")
            listener.say(reasons[-1])
        else:
            return
    raise DataError("no source brought the files:\n" + "\n".join(f"    {reason}" for reason in reasons))


def _from_source(source: Source, wanted: Mapping[str, DataFile], root: Path, listener: Listener) -> None:
    archive = root / DOWNLOADS / source.archive
    if not archive.exists():
        address = source.address()
        listener.say(f"{source.name}: {address.url}")
        download(address, archive, most_bytes=source.most_bytes, progress=listener.progress)
    listener.say(f"{source.name}: unpacking and checking")
    try:
        _rebuild(source, archive, wanted, root, listener)
    except DataError:
        archive.unlink()  # no good; after an interruption, though, it is there for the next call
        raise
    archive.unlink()


def _rebuild(source: Source, archive: Path, wanted: Mapping[str, DataFile], root: Path, listener: Listener) -> None:
    missing = dict(wanted)
    for part, content in source.rebuild(read_members(archive, source.members)):
        if part in missing:
            file = missing.pop(part)
            require_md5(content, file.md5, f"{part} as rebuilt from {source.archive}")
            (root / file.path).parent.mkdir(parents=True, exist_ok=True)
            target = root / file.path
            durable.write(target, content)
            durable.remove_leftovers(target.parent, before=time.time())  # the lock is ours: no other writer lives
            listener.say(f"{root / file.path}: MD5 {file.md5}, as published")
    if missing:
        raise DataError(f"{source.archive} has no {', '.join(missing)}")


@contextmanager
def _only_one(lock: Path) -> Iterator[None]:
    """Hold `lock`; the kernel lets go of it when this process ends, however it ends."""
    descriptor = os.open(lock, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise DataError(f"{lock.parent}: another fetch is under way there") from None
        yield
    finally:
        os.close(descriptor)
