"""The site's files on disk: each there as a whole, none left over from an older site."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from paretoboard import durable
from paretoboard_reports import links

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

# Names what an earlier call wrote, so that nothing else in the folder is ever removed.
MANIFEST: Final = ".paretoboard-site.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteFile:
    """One file of the site."""

    path: str  # below the site's root, with "/"
    content: bytes


def write(files: Iterable[SiteFile], folder: Path) -> Path:
    """Write the site into `folder`, which is made where it is missing.

    Files are written one by one as they come, the first page last, so that it never links to what is not there yet.
    What an earlier call wrote and this one does not is removed; other files are left alone.

    Returns: the first page's path.
    Raises: ValueError for a path that leads out of the folder or is given twice.
    """
    folder.mkdir(parents=True, exist_ok=True)
    before = _listed(folder)
    written: list[str] = []
    index: SiteFile | None = None
    for file in files:
        if file.path in written:
            raise ValueError(f"{file.path} is made twice")
        written.append(file.path)
        if file.path == links.INDEX:
            index = file
        else:
            _write(_inside(folder, file.path), file.content)
    if index is not None:
        _write(_inside(folder, index.path), index.content)
    # Old names stay listed until their files are gone: a kill in between leaves no old page behind for good.
    stale = sorted(before - set(written))
    for path in stale:
        _inside(folder, path).unlink(missing_ok=True)
    durable.write(folder / MANIFEST, (json.dumps(sorted(written), indent=0) + "\n").encode())
    return folder / links.INDEX


def _write(target: Path, content: bytes) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    # A nightly report changes few of its files; those that stay are not touched.
    if target.is_file() and target.stat().st_size == len(content) and target.read_bytes() == content:
        return
    durable.write(target, content)


def _listed(folder: Path) -> set[str]:
    try:
        found = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return set()
    return {path for path in found if isinstance(path, str)} if isinstance(found, list) else set()


def _inside(folder: Path, path: str) -> Path:
    target = (folder / path).resolve()
    if not target.is_relative_to(folder.resolve()) or target == folder.resolve():
        raise ValueError(f"'{path}' leads out of the site's folder")
    return target
