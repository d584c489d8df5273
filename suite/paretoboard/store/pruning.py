"""Letting go of old records where somebody asked for it: the newest of every run stay, however old they are."""

from __future__ import annotations

from typing import TYPE_CHECKING

from paretoboard import durable
from paretoboard.errors import StoreError
from paretoboard.store.names import key_of, parse, record_files_in, record_folders
from paretoboard.store.packs import names_file, names_of, packs_in

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime
    from pathlib import Path

    from paretoboard.store.names import Key


def prune(folder: Path, *, before: datetime, hardware_id: str, tasks: Iterable[str]) -> int:
    """Remove records of one machine that began before a moment; how many.

    Of each run with each software the newest record stays, and the newest that is ok. A pack goes once none of its
    records is to stay; until then all of them do. The caller holds the folder, so that nobody writes meanwhile.

    Raises: StoreError where a file can't be removed, or a pack can't be read; nothing else was lost then.
    """
    hardware = key_of("", hardware_id, "")[1]
    removed = 0
    for group in record_folders(folder, tasks=tasks):
        packs = {pack: names_of(pack) for pack in packs_in(group)}
        files = [path.name for path in record_files_in(group)]
        stays = _staying([*files, *(name for names in packs.values() for name in names)], group, before, hardware)
        try:
            for name in files:
                if name not in stays:
                    (group / name).unlink()
                    removed += 1
            for pack, names in packs.items():
                if stays.isdisjoint(names):
                    pack.unlink()
                    names_file(pack).unlink(missing_ok=True)
                    removed += len(names)
            if group.is_dir():
                durable.sync_folder(group)
        except OSError as error:
            raise StoreError(f"{group}: old records can't be removed: {error.strerror or error}") from error
    return removed


def _staying(names: Iterable[str], group: Path, before: datetime, hardware: str) -> set[str]:
    stays: set[str] = set()
    newest: dict[tuple[Key, bool], str] = {}
    for name in sorted(names):  # by time
        parsed = parse(group / name)
        if parsed is None:
            stays.add(name)
            continue
        key, known = parsed
        newest[key, True] = name
        if known.status == "ok":
            newest[key, False] = name
        if key[1] != hardware or known.started_at >= before:
            stays.add(name)
    return stays | set(newest.values())
