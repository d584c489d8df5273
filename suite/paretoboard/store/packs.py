"""Many records in one file, so that a hundred thousand of them are not a hundred thousand files.

    records/<task>/pack-<first start>-<last start>-<digest>.parquet    the records, a row each
    records/<task>/pack-<first start>-<last start>-<digest>.names.gz   the file names they had, a line each

Both are in the order of the names, and the digest is that of the names: the second file tells what is in a pack without
opening it, and can be checked and, where it is missing, made again.
"""

from __future__ import annotations

import gzip
import hashlib
import os
import re
import zlib
from typing import TYPE_CHECKING, Final

from paretoboard import durable
from paretoboard.store.names import SUFFIX, record_folders

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

_START: Final = r"\d{8}T\d{6}\.\d{6}Z"
_PACK: Final = re.compile(rf"pack-(?P<first>{_START})-(?P<last>{_START})-(?P<digest>[0-9a-f]{{16}})\.parquet", re.ASCII)
_NAMES_SUFFIX: Final = ".names.gz"


def pack_name(names: Sequence[str]) -> str:
    """The name of the pack that holds the records of these names, which are sorted and at least one."""
    first, last = (name.partition("-")[0] for name in (names[0], names[-1]))
    return f"pack-{first}-{last}-{_digest(names)}{SUFFIX}"


def is_pack(path: Path) -> bool:
    """Whether a file is named as a pack is."""
    return _PACK.fullmatch(path.name) is not None


def packs_in(group: Path) -> list[Path]:
    """The packs that lie in one folder, by time."""
    try:
        names = sorted(entry.name for entry in os.scandir(group) if entry.is_file())
    except (FileNotFoundError, NotADirectoryError):
        return []
    return [group / name for name in names if _PACK.fullmatch(name)]


def pack_files(folder: Path) -> list[Path]:
    """Every pack below a folder of results, by task and then by time."""
    return [pack for group in record_folders(folder) for pack in packs_in(group)]


def span(pack: Path) -> tuple[str, str]:
    """The first and the last start of a pack's records, as their names begin.

    Raises: ValueError for any other file.
    """
    match = _PACK.fullmatch(pack.name)
    if match is None:
        raise ValueError(f"{pack} is no pack")
    return match["first"], match["last"]


def names_file(pack: Path) -> Path:
    """The file that lists a pack's names."""
    return pack.with_name(pack.name.removesuffix(SUFFIX) + _NAMES_SUFFIX)


def write_names(pack: Path, names: Sequence[str]) -> None:
    """Write the list of a pack's names."""
    durable.write(names_file(pack), gzip.compress("\n".join(names).encode(), mtime=0))


def listed_names(pack: Path) -> tuple[str, ...] | None:
    """The names that a pack's list holds, None where there is no list or it is not this pack's."""
    try:
        text = gzip.decompress(names_file(pack).read_bytes()).decode()
    except (OSError, EOFError, zlib.error, UnicodeDecodeError):
        return None
    names = tuple(text.split("\n"))
    return names if pack_name(names) == pack.name else None


def names_of(pack: Path) -> tuple[str, ...]:
    """The file names that the records of a pack had, in the order of its rows.

    Opens the pack only where its list of names is missing or damaged.

    Raises: StoreError where the pack is damaged too.
    """
    names = listed_names(pack)
    if names is not None:
        return names
    from paretoboard.store.loading import stored_names

    return stored_names(pack)


def _digest(names: Sequence[str]) -> str:
    return hashlib.sha256("\n".join(names).encode()).hexdigest()[:16]
