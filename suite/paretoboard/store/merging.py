"""Taking over the records of another folder of results: what is missing is copied, nothing is changed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from paretoboard import durable
from paretoboard.errors import InputError, StoreError
from paretoboard.store.alike import same_tables
from paretoboard.store.loading import load
from paretoboard.store.names import record_files_in, record_folders
from paretoboard.store.packs import names_of, packs_in, write_names
from paretoboard.store.reading import read_one, verify
from paretoboard.store.schema import SCHEMA
from paretoboard.store.writing import append, make_folder, publish

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Merged:
    """What merging found, in records."""

    copied: int
    there_already: int


def merge(folder: Path, other: Path) -> Merged:
    """Copy the records of `other` that `folder` has not; cut short, the same call goes on.

    Raises: InputError where `other` is `folder` or holds no records; StoreError where a file of `other` is damaged or
        holds something else than the file of its name in `folder`: nothing is copied then.
    """
    if other.resolve() == folder.resolve():
        raise InputError(f"{other} is the folder of results itself; another one would be right")
    groups = record_folders(other)
    if not groups:
        raise InputError(f"{other}: no folder of results: it has no 'records'")
    damaged = verify(other)
    if damaged:
        raise StoreError("\n".join(map(str, damaged)) + "\nNothing was copied.")
    _refuse_others(folder, other, groups)
    copied = there_already = 0
    for group in groups:
        target = folder / group.relative_to(other)
        there = _names(target)
        for pack in packs_in(group):
            names = names_of(pack)
            missing = [name for name in names if name not in there]
            if len(missing) == len(names):
                _copy(pack, target)
                write_names(target / pack.name, names)
            else:
                for name in missing:
                    append(folder, read_one(pack / name))
            there.update(missing)
            copied += len(missing)
            there_already += len(names) - len(missing)
        for path in record_files_in(group):
            if path.name in there:
                there_already += 1
            else:
                _copy(path, target)
                copied += 1
    return Merged(copied=copied, there_already=there_already)


def _names(group: Path) -> set[str]:
    return {path.name for path in record_files_in(group)} | {
        name for pack in packs_in(group) for name in names_of(pack)
    }


def _refuse_others(folder: Path, other: Path, groups: list[Path]) -> None:
    """Raises: StoreError where two files of one name hold different records."""
    for group in groups:
        for path in record_files_in(group):
            mine = folder / path.relative_to(other)
            if not mine.is_file() or mine.read_bytes() == path.read_bytes():
                continue
            if not same_tables(load(mine, SCHEMA.names), load(path, SCHEMA.names)):
                raise StoreError(f"{path} and {mine} hold different records under one name. Nothing was copied.")


def _copy(path: Path, folder: Path) -> None:
    """Raises: StoreError where the disk refuses; the file is there in whole or not at all."""
    target = folder / path.name
    try:
        make_folder(folder)
        with durable.written_beside(target, path.read_bytes()) as temporary:
            publish(temporary, target)
        durable.sync_folder(folder)
    except FileExistsError:  # another merge was faster
        return
    except OSError as error:
        raise StoreError(f"{target}: can't be stored: {error.strerror or error}. The same command goes on.") from error
