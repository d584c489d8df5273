"""Folders of image files, one folder for each class, as a stranger may have laid them out.

An image's id is its path below the dataset's folder, parts joined by "/". Bytes that could not stand in a list of ids,
which is plain text with an id a line, are percent-encoded: blanks, %, # and all that is not printable ASCII. So every
name that a file system allows has one id, and each id leads to one file.

A link is followed only to what lies in the dataset's folder, so that no folder that came from elsewhere can make images
of this machine's other files part of a board. Hidden files, and those whose names end otherwise than images' do, are
left out and counted.
"""

from __future__ import annotations

import os
import string
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Final
from urllib.parse import quote, unquote_to_bytes

from paretoboard.datasets.decoding import SUFFIXES
from paretoboard.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Iterator

_PLAIN: Final = "/" + "".join(sorted(set(string.punctuation) - set("%#")))
_JUNK: Final = frozenset({"__MACOSX"})  # what macOS lays beside the files of a zip archive
_SHOWN: Final = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """The images of one class's folder, sorted by id."""

    sizes: dict[str, int]  # id -> bytes of its file
    others: tuple[str, ...]  # paths of files that are no images, by their names
    problems: tuple[str, ...]  # links that lead out of the dataset, and the like


@dataclass(slots=True)
class _Walk:
    """What a walk through a class's folder has met."""

    root: Path
    sizes: dict[str, int] = field(default_factory=dict)
    others: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def folder(self, folder: Path) -> None:
        with os.scandir(folder) as entries:
            for entry in sorted(entries, key=lambda found: os.fsencode(found.name)):
                self.entry(entry)

    def entry(self, entry: os.DirEntry[str]) -> None:
        if entry.is_symlink() and (reason := _astray(Path(entry.path), self.root)):
            self.problems.append(reason)
        elif entry.is_dir():
            if entry.is_symlink():
                self.problems.append(f"{shown(entry.path)}: a link to a folder; the folder itself would be right")
            elif not _is_hidden(entry.name):
                self.folder(Path(entry.path))
        elif is_image(entry.name) and entry.is_file():
            self.sizes[image_id(Path(entry.path).relative_to(self.root))] = entry.stat().st_size
        else:
            self.others.append(entry.path)


def folders_in(folder: Path) -> tuple[str, ...]:
    """The names of the folders in `folder`, sorted as torchvision's ImageFolder does; hidden ones left out.

    Raises: DataError where it is not there or can't be read.
    """
    try:
        with os.scandir(folder) as entries:
            return tuple(sorted(entry.name for entry in entries if not _is_hidden(entry.name) and entry.is_dir()))
    except OSError as error:
        raise DataError(f"{shown(error.filename or folder)}: {_reason(error)}") from error


def images_in(root: Path, folder: Path) -> Listed:
    """The images in `folder` and the folders below it; `root` is the dataset's own, which nothing may lead out of.

    Raises: DataError where a folder can't be read.
    """
    walk = _Walk(root=root)
    try:
        if reason := _astray(folder, root):
            walk.problems.append(reason)
        else:
            walk.folder(folder)
    except OSError as error:
        raise DataError(f"{shown(error.filename or folder)}: {_reason(error)}") from error
    return Listed(sizes=dict(sorted(walk.sizes.items())), others=tuple(walk.others), problems=tuple(walk.problems))


def image_id(relative: PurePath) -> str:
    """The id of the image at a path below its dataset's folder."""
    return quote(os.fsencode(relative.as_posix()), safe=_PLAIN)


def path_of(name: str) -> str:
    """The path below the dataset's folder of the image with an id.

    Raises: DataError for what is no id: it leads out of the folder, or another id leads to the same file.
    """
    relative = os.fsdecode(unquote_to_bytes(name))
    parts = relative.split("/")
    if "\0" in relative or not all(parts) or {".", ".."} & set(parts):
        raise DataError(f"'{name}' is no image's id: a path below the dataset's folder would be right")
    right = image_id(PurePath(relative))
    if right != name:
        raise DataError(f"'{name}' is no image's id: '{right}' would be right")
    return relative


def locate(root: Path, names: tuple[str, ...]) -> None:
    """Check that each id leads to a file in the dataset's folder.

    Raises: DataError with all that are missing, or lead out of it.
    """
    problems = list(_missing(root, names))
    if problems:
        raise DataError(told(problems, f"{len(problems):,} of {len(names):,} images are not there"))


def is_image(name: str) -> bool:
    """Whether a file is taken for an image, by its name."""
    return not _is_hidden(name) and os.path.splitext(name)[1].lower() in SUFFIXES  # noqa: PTH122 - a million names


def told(problems: list[str], summary: str) -> str:
    """`summary`, and the first of what is wrong, one a line."""
    first = "".join(f"\n    {text}" for text in problems[:_SHOWN])
    more = f"\n    and {len(problems) - _SHOWN:,} more" if len(problems) > _SHOWN else ""
    return f"{summary}:{first}{more}"


def _missing(root: Path, names: tuple[str, ...]) -> Iterator[str]:
    home = root.resolve()
    astray: dict[str, str] = {}  # of the folders that were met
    for name in names:
        path = root / path_of(name)
        folder = os.path.dirname(path)  # noqa: PTH120 - for each of many names
        if folder not in astray:
            astray[folder] = _astray(Path(folder), home)
        if not os.path.isfile(path):  # noqa: PTH113 - no name is too long for it
            yield f"{shown(path)}: there is no such file"
        elif reason := astray[folder] or (path.is_symlink() and _astray(path, home)):
            yield reason


def _astray(path: Path, root: Path) -> str:
    """What is wrong with where a path leads, "" where that lies in the dataset's folder."""
    try:
        target = path.resolve(strict=True)
    except (OSError, RuntimeError):  # nothing is there, or links in a circle
        return f"{shown(path)}: leads to nothing"
    if not target.is_relative_to(root.resolve()):
        return f"{shown(path)}: leads out of {shown(root)}, to {shown(target)}"
    return ""


def _is_hidden(name: str) -> bool:
    return name.startswith(".") or name in _JUNK


def shown(path: object) -> str:
    """A path as it can be printed: names need not be text, and may hold what a terminal obeys."""
    text = str(path)
    return text if text.isprintable() else text.encode("unicode_escape").decode("ascii")


def _reason(error: OSError) -> str:
    return f"can't be read: {error.strerror or error}"
