"""Which files hold which records: single ones and packs, each record once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from paretoboard.errors import StoreError
from paretoboard.store.names import Key, Known, parse, record_files_in, record_folders
from paretoboard.store.packs import is_pack, names_of, packs_in, span

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path  # noqa: TC004 - nothing resolves these annotations


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A file that holds records."""

    path: Path
    rows: tuple[int, ...] | None = None  # of a pack that count, ascending; None for all


@dataclass(frozen=True, slots=True, kw_only=True)
class Damaged:
    """A record file that can't be read, and why."""

    path: Path
    reason: str

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}"


def sources(folder: Path, *, tasks: Iterable[str] | None = None) -> list[Source]:
    """Every file with records below `folder`, by task; a record that two files hold counts in one of them.

    While records are being packed, and after that was cut short, they lie in a pack and in a file of their own.
    """
    return [source for group in record_folders(folder, tasks=tasks) for source in _sources_in(group)]


def known(folder: Path, *, tasks: Iterable[str] | None = None) -> dict[Key, Known]:
    """The latest record of every run that `folder` holds, from file names and lists of them alone.

    {} where there is no such folder. The path of a record in a pack is its old name below the pack, which
    `read_one` takes.

    Args:
        folder: of results.
        tasks: look only at the records of these tasks.
    Raises: StoreError where a pack is damaged and so is its list of names.
    """
    latest: dict[Key, Known] = {}
    for group in record_folders(folder, tasks=tasks):
        # Files first: what is packed between the two looks is then seen in one of them.
        files = list(record_files_in(group))
        packed = [pack / name for pack in packs_in(group) for name in names_of(pack)]
        for path in (*packed, *files):
            parsed = parse(path)
            if parsed is None:
                continue
            key, entry = parsed
            if key not in latest or entry.started_at >= latest[key].started_at:
                latest[key] = entry
    return latest


def located(path: Path) -> Source:
    """Where the record of a path lies: in that file, or in a pack that it has gone into since or is named with.

    The file itself where no pack has it either.
    """
    if not path.is_file():
        group = path.parent.parent if is_pack(path.parent) else path.parent
        for pack in packs_in(group):
            if _covers(pack, path.name):
                names = names_of(pack)
                if path.name in names:
                    return Source(path=pack, rows=(names.index(path.name),))
    return Source(path=path)


def _sources_in(group: Path) -> list[Source]:
    files = list(record_files_in(group))
    found = []
    packed: set[str] = set()
    packs = packs_in(group)
    for pack in packs:
        if not _shares_time(pack, packs, files):
            found.append(Source(path=pack))
            continue
        try:
            names = names_of(pack)
        except StoreError:  # whoever reads it next says what is wrong with it
            found.append(Source(path=pack))
            continue
        rows = tuple(row for row, name in enumerate(names) if name not in packed)
        packed.update(names)
        if rows:
            found.append(Source(path=pack, rows=None if len(rows) == len(names) else rows))
    return [*found, *(Source(path=path) for path in files if path.name not in packed)]


def _shares_time(pack: Path, packs: Sequence[Path], files: Sequence[Path]) -> bool:
    """Whether anything else in a folder could hold a record of this pack."""
    first, last = span(pack)
    others = (span(other) for other in packs if other != pack)
    return any(begin <= last and first <= end for begin, end in others) or any(
        _covers(pack, path.name) for path in files
    )


def _covers(pack: Path, name: str) -> bool:
    first, last = span(pack)
    return first <= name.partition("-")[0] <= last
