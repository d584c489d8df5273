"""The line of every key, checked against tomllib on documents that hypothesis writes."""

from __future__ import annotations

import json
import tomllib
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from paretoboard.tomlfile.positions import MAX_DEPTH, TooDeepError, key_lines

KEYS = st.one_of(
    st.from_regex(r"[A-Za-z0-9_-]{1,6}", fullmatch=True),
    st.text(st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"]), max_size=4),
    st.sampled_from(['quo"te', "ha#sh", "do.t", "=", "[x]", "]]", "back\\slash", "tab\tbed", "new\nline"]),
)
BLANKS = st.sampled_from(["", " ", "\t", "  "])
LINE_ENDS = st.sampled_from(["\n", " # [not] = a 'key'\n", "\n\n", "\n# \"\"\" ''' {\n", "\t\n"])
SCALARS = st.sampled_from(
    [
        *("1", "-2.5e3", "0xff", "true", "inf", "-nan", "1979-05-27 07:32:00", "1979-05-27", "07:32:00.5"),
        *('""', '"a # b"', r'"quo\"te ]"', "''", "'c:\\'", "'} ]'"),
        *('""""""', '"""a\nb"""', '"""\n\\"" two quotes ""\n"""', '"""ends in two"""""', "'''x\n'y'\n'''", "''''q''''"),
    ]
)


@dataclass
class Written:
    """A document being written, with the line of every key noted as it is put down."""

    text: str = ""
    lines: dict[tuple[str | int, ...], int] = field(default_factory=dict)

    def put(self, text: str) -> None:
        self.text += text

    def note(self, path: tuple[str | int, ...]) -> None:
        for length in range(1, len(path) + 1):
            self.lines.setdefault(path[:length], self.text.count("\n") + 1)


def spelled(draw: st.DrawFn, key: str) -> str:
    """One of the ways to write a key."""
    ways = [json.dumps(key, ensure_ascii=False)]
    if key and all(character.isascii() and (character.isalnum() or character in "-_") for character in key):
        ways.append(key)
    if not any(character in "'\n" or (ord(character) < 32 and character != "\t") for character in key):
        ways.append(f"'{key}'")
    return draw(st.sampled_from(ways))


def put_value(draw: st.DrawFn, document: Written, path: tuple[str | int, ...], depth: int) -> None:
    kind = draw(st.sampled_from(["scalar", "scalar", "array", "inline"])) if depth < 3 else "scalar"
    if kind == "scalar":
        document.put(draw(SCALARS))
    elif kind == "array":
        document.put("[")
        count = draw(st.integers(0, 3))
        for index in range(count):
            document.put(draw(st.one_of(BLANKS, LINE_ENDS)))
            document.note((*path, index))
            put_value(draw, document, (*path, index), depth + 1)
            document.put(draw(st.one_of(BLANKS, LINE_ENDS)))
            if index + 1 < count or draw(st.booleans()):
                document.put(",")
        document.put(draw(st.one_of(BLANKS, LINE_ENDS)) + "]")
    else:
        document.put("{" + draw(BLANKS))
        keys = draw(st.lists(KEYS, max_size=3, unique=True))
        for index, key in enumerate(keys):
            document.put(", " if index else "")
            put_pair(draw, document, path, key, depth + 1)
        document.put(draw(BLANKS) + "}")


def put_pair(draw: st.DrawFn, document: Written, path: tuple[str | int, ...], key: str, depth: int) -> None:
    dotted = [key, *draw(st.lists(KEYS, max_size=2))]
    document.note((*path, *dotted))
    document.put((draw(BLANKS) + "." + draw(BLANKS)).join(spelled(draw, part) for part in dotted))
    document.put(draw(BLANKS) + "=" + draw(BLANKS))
    put_value(draw, document, (*path, *dotted), depth)


def put_pairs(draw: st.DrawFn, document: Written, path: tuple[str | int, ...], prefix: str) -> None:
    for key in draw(st.lists(KEYS, max_size=3, unique=True)):
        document.put(draw(BLANKS))
        put_pair(draw, document, path, prefix + key, 0)
        document.put(draw(LINE_ENDS))


@st.composite
def documents(draw: st.DrawFn) -> Written:
    """A valid document: top-level pairs, then tables, arrays of tables and tables below their items."""
    document = Written()
    document.put(draw(st.sampled_from(["", "\n", "# first\n"])))
    put_pairs(draw, document, (), "pair ")
    for name in draw(st.lists(KEYS, max_size=3, unique=True)):
        if draw(st.booleans()):
            path: tuple[str | int, ...] = (f"table {name}", draw(KEYS))
            document.note(path)
            document.put(
                "[" + draw(BLANKS) + ".".join(spelled(draw, str(part)) for part in path) + "]" + draw(LINE_ENDS)
            )
            put_pairs(draw, document, path, "")
            continue
        for index in range(draw(st.integers(1, 3))):
            document.note((f"array {name}", index))
            document.put(f"[[{spelled(draw, f'array {name}')}]]" + draw(LINE_ENDS))
            put_pairs(draw, document, (f"array {name}", index), "pair ")
            if draw(st.booleans()):
                document.note((f"array {name}", index, "below"))
                document.put(f"[ {spelled(draw, f'array {name}')} . below ]" + draw(LINE_ENDS))
                put_pairs(draw, document, (f"array {name}", index, "below"), "")
    if draw(st.booleans()):
        document.text = document.text.rstrip("\n")
    return document


def paths_of(value: Any, at: tuple[str | int, ...] = ()) -> set[tuple[str | int, ...]]:
    """Every key path and array item of what tomllib read."""
    paths = {at} if at else set()
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return paths.union(*(paths_of(item, (*at, key)) for key, item in pairs))


@settings(max_examples=200)
@given(documents())
def test_every_path_that_tomllib_reads_has_the_line_it_was_written_on(document: Written) -> None:
    values = tomllib.loads(document.text)
    lines = key_lines(document.text)
    assert set(lines) == paths_of(values)
    assert lines == document.lines


def test_a_key_inside_a_multi_line_array_of_tables_has_its_own_line() -> None:
    text = 'a = 1\nsteps = [\n  # why\n  { technique = "x" },\n  { technique = "y",\tn = """\n\n""" },\n]\nb.c = 2\n'
    lines = key_lines(text)
    assert lines["steps", 1] == 5
    assert lines["steps", 1, "n"] == 5
    assert lines["b", "c"] == 9


@pytest.mark.parametrize(
    "text", ["a = " + "[" * 30 + "]" * 30, "\n" + ".".join("a" * 30) + " = 1", "[" + ".".join("a" * 30) + "]"]
)
def test_nesting_beyond_the_bound_is_refused_with_its_line(text: str) -> None:
    tomllib.loads(text)
    with pytest.raises(TooDeepError) as caught:
        key_lines(text)
    assert caught.value.line == text.count("\n") + 1
    assert MAX_DEPTH < 30
