"""Subsets of a dataset: its own splits by name, and committed lists of image ids beside the task file."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from paretoboard.errors import Problem, TaskFileError, suggestion
from paretoboard.spec import Subset
from paretoboard.taskfile.model import SUBSET_PATTERN

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A subset, and its ids where they are listed."""

    subset: Subset
    ids: frozenset[str] = frozenset()


def is_name(name: str) -> bool:
    """Whether `name` could be a subset's: a plain word, so that it never leads out of the folder."""
    return re.fullmatch(SUBSET_PATTERN, name) is not None


def find(name: str, folder: Path, splits: Sequence[str], dataset: str) -> Found | str:
    """The list `<folder>/<name>.txt`, else the split `name`, else the message that says what would be right.

    Raises: TaskFileError with every mistake of the list.
    """
    file = folder / f"{name}.txt"
    if file.exists():
        ids = read_ids(file)
        return Found(subset=Subset(name=name, digest=ids_digest(ids), file=file), ids=frozenset(ids))
    if name in splits:
        return Found(subset=Subset(name=name))
    lists = [listed.stem for listed in folder.glob("*.txt")]
    hint = suggestion(name, {*splits, *lists})
    return f"no split '{name}' in dataset '{dataset}' and no list {file}.{hint}"


def read_ids(file: Path) -> tuple[str, ...]:
    """The image ids of a committed list, one a line in order; lines that begin with # say where it comes from.

    Raises: TaskFileError for ids that are given twice or hold blanks, and for a list without any.
    """
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise TaskFileError([Problem(file=file, line=1, key="", message=f"can't be read: {error}")]) from None
    first_lines: dict[str, int] = {}
    problems = []
    for line, content in enumerate(text.splitlines(), start=1):
        name = content.strip()
        if not name or name.startswith("#"):
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
    if problems:
        raise TaskFileError(problems)
    return tuple(first_lines)


def ids_digest(ids: Sequence[str]) -> str:
    """SHA-256 over the ids, joined by newlines, as 64 hex digits."""
    return hashlib.sha256("\n".join(ids).encode()).hexdigest()


def overlap(first: Found, second: Found) -> str:
    """What two subsets share, in words; "" where nothing is known to be shared."""
    if first.subset == second.subset:
        return "is the same subset"
    if shared := first.ids & second.ids:
        return f"shares {len(shared):,} images, '{min(shared)}' among them,"
    return ""
