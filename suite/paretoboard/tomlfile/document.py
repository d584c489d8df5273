"""Read one TOML file, with the place of every key; what another one `extends` is merged into it."""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from paretoboard.errors import Problem, TaskFileError
from paretoboard.tomlfile.positions import MAX_DEPTH, TooDeepError, key_lines

KeyPath = tuple[str | int, ...]
Place = tuple[Path, int]  # file and 1-based line

# The longest task file so far has 60 lines; anything of this size is another kind of file.
_MAX_BYTES: Final = 1_000_000
_INT64: Final = range(-(2**63), 2**63)
# Keys of one table that stand for each other: a file that gives one of them leaves out the others of its base.
_ALTERNATIVES: Final[dict[KeyPath, frozenset[str]]] = {
    ("model",): frozenset({"weights", "train", "file"}),
    ("model", "weights"): frozenset({"file", "sha256", "enum"}),
    ("teacher",): frozenset({"weights", "train"}),
    ("teacher", "weights"): frozenset({"file", "sha256", "enum"}),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """A TOML file's values, and where each of them was written."""

    file: Path
    values: dict[str, Any]
    places: dict[KeyPath, Place]

    def place(self, path: KeyPath) -> Place:
        """Where `path`, or the nearest of its parents that is written down, stands."""
        for length in range(len(path), 0, -1):
            if path[:length] in self.places:
                return self.places[path[:length]]
        return self.file, 1

    def problem(self, path: KeyPath, message: str) -> Problem:
        """A mistake at `path`."""
        file, line = self.place(path)
        return Problem(file=file, line=line, key=dotted(path), message=message)


def read(file: Path) -> Document:
    """The values of `file`; where it has `extends`, those it names on top of those of that file.

    Tables are merged key by key, everything else is replaced.
    Raises: TaskFileError if a file can't be read, is not TOML, or extends itself.
    """
    return _read(file, ())


def dotted(path: KeyPath) -> str:
    """`recipes.int8.steps[0].technique` for ("recipes", "int8", "steps", 0, "technique")."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            name = part if re.fullmatch(r"[A-Za-z0-9_-]+", part) else repr(part)
            text += f".{name}" if text else name
    return text


def _read(file: Path, extended_by: tuple[Path, ...]) -> Document:
    own = _parse(file)
    if "extends" not in own.values:
        return own
    wanted = own.values["extends"]
    if not isinstance(wanted, str) or not wanted or "\0" in wanted:
        raise TaskFileError([own.problem(("extends",), "must be the path of a task file, relative to this one")])
    base_file = file.parent / wanted
    chain = (*extended_by, file)
    if not _exists(base_file):
        raise TaskFileError([own.problem(("extends",), f"'{wanted}': no such file, looked at {base_file}")])
    if base_file.resolve() in {earlier.resolve() for earlier in chain}:
        raise TaskFileError([own.problem(("extends",), f"'{wanted}' leads back to this file")])
    return _merge(_read(base_file, chain), own)


def _exists(file: Path) -> bool:
    try:
        return file.exists()
    except OSError:  # a name too long, a folder that may not be entered
        return False


def _parse(file: Path) -> Document:
    text = _text(file)
    try:
        values = tomllib.loads(text)
        lines = key_lines(text)
    except tomllib.TOMLDecodeError as error:
        raise TaskFileError([_syntax_problem(file, text, str(error))]) from None
    except (RecursionError, TooDeepError) as error:
        raise TaskFileError([_depth_problem(file, text, error)]) from None
    except ValueError:  # tomllib lets int()'s refusal of more than 4,300 digits through
        raise TaskFileError([_problem(file, _line_of_long_number(text), "a number of thousands of digits")]) from None
    document = Document(file=file, values=values, places={path: (file, line) for path, line in lines.items()})
    if too_large := [path for path, value in _leaves(values) if type(value) is int and value not in _INT64]:
        raise TaskFileError([document.problem(path, "a whole number of more than 64 bits") for path in too_large])
    return document


def _text(file: Path) -> str:
    try:
        if file.is_dir():
            raise TaskFileError([_problem(file, 1, "is a folder; a TOML file is needed")])
        if not file.exists():
            raise TaskFileError([_problem(file, 1, "no such file")])
        if not file.is_file():
            raise TaskFileError([_problem(file, 1, "is not a regular file")])
        with file.open("rb") as stream:
            content = stream.read(_MAX_BYTES + 1)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise TaskFileError([_problem(file, 1, f"can't be read: {reason}")]) from None
    if len(content) > _MAX_BYTES:
        raise TaskFileError([_problem(file, 1, f"is larger than {_MAX_BYTES:,} bytes: not a task file")])
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        message = f"byte 0x{content[error.start]:02x} is not UTF-8; save the file as UTF-8"
        raise TaskFileError([_problem(file, line, message)]) from None
    if not text.strip():
        raise TaskFileError([_problem(file, 1, "is empty")])
    return text.replace("\r\n", "\n")


def _merge(base: Document, own: Document) -> Document:
    """`own` on top of `base`."""
    values, places = dict(base.values), dict(base.places)
    _overlay(values, places, (), own.values)
    places.update(own.places)
    return Document(file=own.file, values=values, places=places)


def _overlay(target: dict[str, Any], places: dict[KeyPath, Place], at: KeyPath, values: dict[str, Any]) -> None:
    given = _ALTERNATIVES.get(at, frozenset()) & values.keys()
    for name in _ALTERNATIVES.get(at, frozenset()) - values.keys() if given else ():
        target.pop(name, None)
    for name, value in values.items():
        path = (*at, name)
        if isinstance(value, dict) and isinstance(target.get(name), dict):
            target[name] = dict(target[name])
            _overlay(target[name], places, path, value)
            continue
        target[name] = value
        for replaced in [known for known in places if known[: len(path)] == path]:
            del places[replaced]


def _leaves(values: dict[str, Any]) -> list[tuple[KeyPath, Any]]:
    leaves: list[tuple[KeyPath, Any]] = []
    open_ends: list[tuple[KeyPath, Any]] = [((), values)]
    while open_ends:
        path, value = open_ends.pop()
        if isinstance(value, dict):
            open_ends += [((*path, name), item) for name, item in value.items()]
        elif isinstance(value, list):
            open_ends += [((*path, index), item) for index, item in enumerate(value)]
        else:
            leaves.append((path, value))
    return leaves


def _syntax_problem(file: Path, text: str, message: str) -> Problem:
    found = re.fullmatch(
        r"(?P<what>.*) \(at (?:line (?P<line>\d+), column (?P<column>\d+)|end of document)\)", message, re.DOTALL
    )
    if found is None:
        return _problem(file, 1, f"not TOML: {message}")
    line = int(found["line"]) if found["line"] else text.rstrip("\n").count("\n") + 1
    what = found["what"]
    if "overwrite a value" in what or "twice" in what:
        # tomllib notices at the end of the value, which is another line where the value spans several.
        return _problem(file, line, f"a key or table is given for the second time ({what.lower()})")
    where = f" at column {found['column']}" if found["column"] else " at the end of the file"
    return _problem(file, line, f"not TOML{where}: {what[:1].lower()}{what[1:]}")


def _depth_problem(file: Path, text: str, error: Exception) -> Problem:
    if not isinstance(error, TooDeepError):
        # tomllib gave up inside the nesting, so all before it was valid and the scanner meets its own bound first.
        try:
            key_lines(text)
        except TooDeepError as deep:
            error = deep
    return _problem(file, getattr(error, "line", 1), f"nested more than {MAX_DEPTH} levels deep")


def _line_of_long_number(text: str) -> int:
    found = re.search(r"[0-9_]{4300,}", text)
    return text.count("\n", 0, found.start()) + 1 if found else 1


def _problem(file: Path, line: int, message: str) -> Problem:
    return Problem(file=file, line=line, key="", message=message)
