"""Files that are there as a whole or not at all, also after a kill or a power cut."""

from __future__ import annotations

import contextlib
import os
import secrets
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

TEMPORARY_SUFFIX: Final = ".partial"
# How much work a kill may cost. A checkpoint of a small network takes some 20 ms, most of it for the disk: less than a
# thousandth of the time.
CHECKPOINT_EVERY_S: Final = 30.0


def write(path: Path, content: bytes | memoryview) -> None:
    """Write `path` in one step: a reader sees the old content or the new one, never a part."""
    with written_beside(path, content) as partial:
        partial.replace(path)
    sync_folder(path.parent)


@contextlib.contextmanager
def written_beside(path: Path, content: bytes | memoryview) -> Iterator[Path]:
    """A complete, synced file in the folder of `path`, to be given its name; removed afterwards if it was not."""
    partial = path.with_name(f".{path.name}.{secrets.token_hex(8)}{TEMPORARY_SUFFIX}")
    try:
        write_new(partial, content)
        yield partial
    finally:
        partial.unlink(missing_ok=True)


def write_new(path: Path, content: bytes | memoryview) -> None:
    """Write a file that is not there yet, down to the disk."""
    with path.open("xb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())


def sync_folder(folder: Path) -> None:
    """Bring the names in a folder down to the disk: without it a new name may be lost with the power."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def remove_leftovers(folder: Path, *, before: float) -> None:
    """Remove what writers that were killed left in `folder` and that was last changed before a moment (Unix time)."""
    for path in folder.glob(f".*{TEMPORARY_SUFFIX}"):
        with contextlib.suppress(FileNotFoundError):  # another writer was faster
            if path.stat().st_mtime < before:
                path.unlink()
