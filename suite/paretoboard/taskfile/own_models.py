"""Networks of one's own that a task file names: what identifies them, without importing or reading them as networks."""

from __future__ import annotations

import hashlib
import importlib.util
import re
from dataclasses import dataclass
from importlib.machinery import PathFinder
from pathlib import Path
from typing import TYPE_CHECKING

from paretoboard.registry import MODEL_LIBRARIES, is_own
from paretoboard.spec import ModelFile
from paretoboard.taskfile.model import FILE_PATTERN
from paretoboard.tomlfile.checking import value_at

if TYPE_CHECKING:
    from paretoboard.errors import Problem
    from paretoboard.tomlfile.document import Document, KeyPath


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnModel:
    """What a run's id knows of a network of one's own."""

    file: ModelFile | None = None
    code: str = ""  # SHA-256 of the source of its module; of what that imports nothing is known
    folder: Path | None = None  # with the module, where it lies beside the task file


def look_up(document: Document, table: str) -> tuple[OwnModel, list[Problem]]:
    """The file or the module that `table`, "model" or "teacher", names.

    Nothing is said of a wrong type or form, which others report.
    """
    file, name = (value_at(document.values, (table, key)) for key in ("file", "name"))
    if isinstance(file, str) and re.search(FILE_PATTERN, file):
        return _file(document, (table, "file"), file)
    if isinstance(name, str) and is_own(name) and not colon_problem(name):
        return _module(document, (table, "name"), name)
    return OwnModel(), []


def colon_problem(name: str) -> str:
    """What is wrong with a name that has a colon; "" where nothing is."""
    prefix, _, rest = name.partition(":")
    words = [rest] if prefix in MODEL_LIBRARIES else [*prefix.split("."), rest]
    if not all(words) or (is_own(name) and not all(word.isidentifier() for word in words)):
        libraries = " or ".join(f"'{library}:NAME'" for library in MODEL_LIBRARIES)
        return f"'{name}': 'module:function', {libraries} would be right"
    return ""


def source_of(module: str, folder: Path | None = None) -> Path | None:
    """The source file of `module`, or the file of its package, found without running any of it; None where it isn't.

    Args:
        folder: the only one to look in; None for where modules are installed.
    """
    first, *rest = module.split(".")
    try:
        spec = importlib.util.find_spec(first) if folder is None else PathFinder.find_spec(first, [str(folder)])
    except ValueError:  # a module of this process that says nothing of itself, as __main__
        return None
    for part in rest:
        spec = PathFinder.find_spec(part, list(spec.submodule_search_locations or ())) if spec else None
    return Path(spec.origin) if spec is not None and spec.has_location and spec.origin else None


def _file(document: Document, path: KeyPath, name: str) -> tuple[OwnModel, list[Problem]]:
    file = document.place(path)[0].parent / name
    try:
        with file.open("rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
    except FileNotFoundError:
        return OwnModel(), [document.problem(path, f"'{name}': no such file, looked at {file}")]
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        reason = error.strerror if isinstance(error, OSError) else error
        return OwnModel(), [document.problem(path, f"'{name}': can't be read: {reason}")]
    return OwnModel(file=ModelFile(path=file.absolute(), sha256=digest)), []


def _module(document: Document, path: KeyPath, name: str) -> tuple[OwnModel, list[Problem]]:
    folder = document.place(path)[0].parent.absolute()
    module = name.partition(":")[0]
    beside, installed = source_of(module, folder), source_of(module)
    source = installed or beside
    if source is None:
        message = f"can't import '{module}': there is no such module beside this file, and none is installed"
        return OwnModel(), [document.problem(path, message)]
    try:
        code = hashlib.sha256(source.read_bytes()).hexdigest()
    except OSError as error:
        return OwnModel(), [document.problem(path, f"{source}: can't be read: {error.strerror}")]
    # What lies beside the task file may be in the path of this process only, which began in that folder.
    own = beside is not None and beside.resolve() == source.resolve()
    return OwnModel(code=code, folder=folder if own else None), []
