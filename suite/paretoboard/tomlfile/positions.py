"""The line of every key and array item of a TOML document.

`tomllib` gives values without positions, so this scanner walks the same text once more. It trusts that tomllib has
accepted the document and only finds its way: it decodes no value but quoted keys.
"""

from __future__ import annotations

import re
import tomllib
from typing import Final

# A task file nests four deep; the bound keeps recursion, here and in what reads the values, far from Python's limit.
MAX_DEPTH: Final = 24

_BLANK: Final = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_INLINE_BLANK: Final = re.compile(r"[ \t]*")
_BARE_KEY: Final = re.compile(r"[A-Za-z0-9_-]+")
# Up to two quotes may stand directly before the three that close a multi-line string.
_STRING: Final = re.compile(
    r'"""(?:\\.|[^\\])*?"{3,5}'
    r"|'''.*?'{3,5}"
    r'|"(?:\\.|[^"\\])*"'
    r"|'[^']*'",
    re.DOTALL,
)
_SCALAR: Final = re.compile(r"[^,\]}#\n]+")  # a date may hold a space


class TooDeepError(Exception):
    """The document nests deeper than MAX_DEPTH."""

    def __init__(self, line: int) -> None:
        super().__init__(line)
        self.line = line


def key_lines(text: str) -> dict[tuple[str | int, ...], int]:
    """1-based line of the first mention of every key path in `text`, a document that tomllib accepted.

    Array items stand under their index: `a = [1, {b = 2}]` gives ("a",), ("a", 0), ("a", 1) and ("a", 1, "b").
    Raises: TooDeepError where it nests deeper than MAX_DEPTH.
    """
    scanner = _Scanner(text)
    scanner.document()
    return scanner.lines


class _Scanner:
    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.line = 1
        self.lines: dict[tuple[str | int, ...], int] = {}
        self.items: dict[tuple[str | int, ...], int] = {}  # arrays of tables: how many so far

    def document(self) -> None:
        table: tuple[str | int, ...] = ()
        while True:
            self.skip(_BLANK)
            if self.at >= len(self.text):
                return
            if self.text.startswith("[[", self.at):
                table = self.header(2)
            elif self.text[self.at] == "[":
                table = self.header(1)
            else:
                self.pair(table, depth=0)

    def header(self, brackets: int) -> tuple[str | int, ...]:
        line = self.line
        self.at += brackets
        *parents, last = self.key()
        self.at += brackets
        path: tuple[str | int, ...] = ()
        for name in parents:
            path = self.enter((*path, name), line)
        path = (*path, last)
        if brackets == 1:
            return self.enter(path, line)
        index = self.items.get(path, 0)
        self.items[path] = index + 1
        self.note(path, line)
        self.note((*path, index), line)
        return (*path, index)

    def enter(self, path: tuple[str | int, ...], line: int) -> tuple[str | int, ...]:
        """The table at `path`, which is the last item so far where `path` is an array of tables."""
        self.note(path, line)
        return (*path, self.items[path] - 1) if path in self.items else path

    def pair(self, table: tuple[str | int, ...], depth: int) -> None:
        path = table
        line = self.line
        for name in self.key():
            path = (*path, name)
            self.note(path, line)
        self.at += 1  # the equals sign
        self.skip(_INLINE_BLANK)
        self.value(path, depth)

    def key(self) -> list[str]:
        names = []
        while True:
            self.skip(_INLINE_BLANK)
            if bare := _BARE_KEY.match(self.text, self.at):
                names.append(bare.group())
                self.at = bare.end()
            else:
                names.append(tomllib.loads(f"quoted = {self.skip(_STRING)}")["quoted"])
            self.skip(_INLINE_BLANK)
            if not self.text.startswith(".", self.at):
                return names
            self.at += 1

    def value(self, path: tuple[str | int, ...], depth: int) -> None:
        if depth > MAX_DEPTH:
            raise TooDeepError(self.line)
        first = self.text[self.at]
        if first == "[":
            self.array(path, depth + 1)
        elif first == "{":
            self.inline_table(path, depth + 1)
        elif first in "\"'":
            self.skip(_STRING)
        else:
            self.skip(_SCALAR)

    def array(self, path: tuple[str | int, ...], depth: int) -> None:
        self.at += 1
        index = 0
        while not self.closes("]"):
            self.note((*path, index), self.line)
            self.value((*path, index), depth)
            index += 1

    def inline_table(self, path: tuple[str | int, ...], depth: int) -> None:
        self.at += 1
        while not self.closes("}"):
            self.pair(path, depth)

    def closes(self, bracket: str) -> bool:
        """Step over blanks and a comma; True, and past it, when `bracket` comes next."""
        self.skip(_BLANK)
        if self.text[self.at] == ",":
            self.at += 1
            self.skip(_BLANK)
        if self.text[self.at] == bracket:
            self.at += 1
            return True
        return False

    def note(self, path: tuple[str | int, ...], line: int) -> None:
        if len(path) > MAX_DEPTH:
            raise TooDeepError(line)
        self.lines.setdefault(path, line)

    def skip(self, pattern: re.Pattern[str]) -> str:
        match = pattern.match(self.text, self.at)
        assert match is not None, "tomllib accepted what this scanner can't read"
        self.line += match.group().count("\n")
        self.at = match.end()
        return match.group()
