"""Subsets of a dataset: its own splits by name, and committed lists of image ids beside the task file.

A list is a text file with an id a line. Lines that begin with # say where it comes from; of these "# size: 610" and
"# sha256: ..." are checked, so that a list that was edited does not pass for the one that was drawn.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from paretoboard.errors import Problem, TaskFileError, suggestion
from paretoboard.spec import Subset
from paretoboard.taskfile.model import SUBSET_PATTERN

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

_HEADER: Final = re.compile(r"# (size|sha256): (\S+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A subset, and its ids where they are listed."""

    subset: Subset
    ids: frozenset[str] = frozenset()
    holds: Callable[[str], bool] | None = None  # of a split: whether an image with this id is one of it


def is_name(name: str) -> bool:
    """Whether `name` could be a subset's: a plain word, so that it never leads out of the folder."""
    return re.fullmatch(SUBSET_PATTERN, name) is not None


def find(name: str, folder: Path, dataset: Any, dataset_name: str) -> Found | str:
    """The list `<folder>/<name>.txt`, else the split `name`, else the message that says what would be right.

    Args:
        dataset: an instance of datasets.Dataset.
    Raises: TaskFileError with every mistake of the list; InputError for a folder of one's own that is no split,
        or has not all that a list names.
    """
    file = folder / f"{name}.txt"
    if file.exists():
        ids = read_ids(file)
        return Found(subset=Subset(name=name, digest=listed_digest(ids, dataset), file=file), ids=frozenset(ids))
    if name in dataset.splits:
        dataset.count(name)  # says what is wrong with a folder before anything is measured on it
        subset = Subset(name=name, digest=dataset.digest(name))
        return Found(subset=subset, holds=lambda image: dataset.holds(name, image))
    lists = [listed.stem for listed in folder.glob("*.txt")]
    hint = suggestion(name, {*dataset.splits, *lists})
    return f"no split '{name}' in dataset '{dataset_name}' and no list {file}.{hint}"


def read_ids(file: Path) -> tuple[str, ...]:
    """The image ids of a committed list, in its order.

    Raises: TaskFileError for ids that are given twice or hold blanks, for a list without any, and for one that is not
        what its first lines say.
    """
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise TaskFileError([Problem(file=file, line=1, key="", message=f"can't be read: {error}")]) from None
    first_lines: dict[str, int] = {}
    said: dict[str, tuple[int, str]] = {}
    problems = []
    for line, content in enumerate(text.splitlines(), start=1):
        name = content.strip()
        if not name or name.startswith("#"):
            if header := _HEADER.fullmatch(name):
                said[header[1]] = (line, header[2])
            continue
        if len(name.split()) > 1:
            problems.append(Problem(file=file, line=line, key="", message=f"'{name}': one id a line, without blanks"))
        elif name in first_lines:
            message = f"'{name}' was listed in line {first_lines[name]} already"
            problems.append(Problem(file=file, line=line, key="", message=message))
        else:
            first_lines[name] = line
    if not first_lines and not problems:
        problems.append(Problem(file=file, line=1, key="", message="lists no image ids, one a line is needed"))
    if not problems:
        problems += _untrue(file, tuple(first_lines), said)
    if problems:
        raise TaskFileError(problems)
    return tuple(first_lines)


def text_of(ids: Sequence[str], said: Mapping[str, str]) -> str:
    """The text of a list: what is `said` of it, its size and its digest, then the ids."""
    head = {**said, "size": str(len(ids)), "sha256": ids_digest(ids)}
    return "".join([*(f"# {key}: {value}\n" for key, value in head.items()), *(f"{name}\n" for name in ids)])


def ids_digest(ids: Sequence[str]) -> str:
    """SHA-256 over the ids, joined by newlines, as 64 hex digits."""
    return hashlib.sha256("\n".join(ids).encode()).hexdigest()


def listed_digest(ids: tuple[str, ...], dataset: Any) -> str:
    """The digest of a list: that of its ids and, where nobody published the images, of what tells them from others.

    Args:
        dataset: an instance of datasets.Dataset.
    Raises: InputError for images of a folder of one's own that are not there.
    """
    own = dataset.digest_of(ids)
    return ids_digest((*ids, own) if own else ids)


def overlap(first: Found, second: Found) -> str:
    """What two subsets share, in words; "" where nothing is known to be shared."""
    if first.subset == second.subset:
        return "is the same subset"
    if shared := _shared(first, second):
        return f"shares {len(shared):,} images, '{min(shared)}' among them,"
    return ""


def _shared(first: Found, second: Found) -> frozenset[str]:
    if first.holds is not None:
        return frozenset(name for name in second.ids if first.holds(name))
    if second.holds is not None:
        return frozenset(name for name in first.ids if second.holds(name))
    return first.ids & second.ids


def _untrue(file: Path, ids: tuple[str, ...], said: Mapping[str, tuple[int, str]]) -> Iterable[Problem]:
    """What the first lines of a list say of it and is not so."""
    found = {"size": str(len(ids)), "sha256": ids_digest(ids)}
    for key, (line, value) in said.items():
        if value != found[key]:
            message = f"{key} is {found[key]}: the list has changed since it was written, or was cut"
            yield Problem(file=file, line=line, key="", message=message)
