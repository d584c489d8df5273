"""Check values with pydantic and say each mistake in the reader's words, with its line."""

from __future__ import annotations

import datetime
import re
import types
from typing import TYPE_CHECKING, Annotated, Any, Final, TypeVar, Union, get_args, get_origin, get_type_hints

from pydantic import BaseModel, ConfigDict, ValidationError
from typing_extensions import is_typeddict

from paretoboard.errors import suggestion

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from pydantic_core import ErrorDetails

    from paretoboard.errors import Problem
    from paretoboard.tomlfile.document import Document, KeyPath

_Model = TypeVar("_Model", bound=BaseModel)

_WANTED: Final = {
    "string_type": "a string",
    "int_type": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "list_type": "an array",
    "tuple_type": "an array",
    "dict_type": "a table",
    "model_type": "a table",
    "finite_number": "a finite number",
}
_BOUNDS: Final = {
    "greater_than": ("gt", "more than {}"),
    "greater_than_equal": ("ge", "at least {}"),
    "less_than": ("lt", "less than {}"),
    "less_than_equal": ("le", "at most {}"),
}
_UNKNOWN_KEY: Final = ("extra_forbidden", "unexpected_keyword_argument")
_SHOWN_CHARACTERS: Final = 60


class Table(BaseModel):
    """A TOML table with known keys and strict types."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


def check(model: type[_Model], document: Document) -> tuple[_Model | None, list[Problem]]:
    """`document` as a `model`, or None and everything that is wrong with it."""
    try:
        return model.model_validate(document.values), []
    except ValidationError as error:
        return None, explain(error, document, (), lambda path: keys_at(model, path))


def explain(
    error: ValidationError, document: Document, at: KeyPath, keys_at: Callable[[KeyPath], Iterable[str]]
) -> list[Problem]:
    """`error`, which is about the table at `at` of `document`, as one problem for each key.

    Args:
        keys_at: the known keys of the table at a path; called with paths below `at`.
    """
    grouped: dict[KeyPath, list[ErrorDetails]] = {}
    for details in error.errors(include_url=False):
        path = (*at, *details["loc"])
        # A union's error ends with the name of the branch, which is not in the document.
        place = path if details["type"] == "missing" else _written_part(document.values, path)
        grouped.setdefault(place, []).append(details)
    meant: set[KeyPath] = set()
    problems = []
    for path, group in grouped.items():
        if group[0]["type"] in _UNKNOWN_KEY:
            hint = suggestion(str(path[-1]), keys_at(path[len(at) : -1]))
            meant.update((*path[:-1], name) for name in re.findall(r"Did you mean '(.*)'", hint))
            problems.append(document.problem(path, f"no such key.{hint}"))
        elif group[0]["type"] != "missing":
            problems.append(document.problem(path, _message(group, value_at(document.values, path))))
    # A misspelt key is one mistake, not an unknown one and a missing one.
    missing = [path for path, group in grouped.items() if group[0]["type"] == "missing" and path not in meant]
    return problems + [document.problem(path, "is missing") for path in missing]


def value_at(values: Any, path: KeyPath) -> Any:
    """What stands at `path`, None where nothing does (TOML has no null)."""
    for part in path:
        if isinstance(values, dict) and isinstance(part, str):
            values = values.get(part)
        elif isinstance(values, list) and isinstance(part, int) and part < len(values):
            values = values[part]
        else:
            return None
    return values


def describe(value: Any) -> str:
    """A TOML value and its type, as in "'abc' (a string)"."""
    match value:
        case bool():
            return "true" if value else "false"
        case int():
            return f"{value} (a whole number)"
        case float():
            return f"{value} (a number)"
        case str():
            shown = value if len(value) <= _SHOWN_CHARACTERS else value[:_SHOWN_CHARACTERS] + "…"
            return f"{shown!r} (a string)"
        case list():
            return "an array" if value else "an empty array"
        case dict():
            return "a table"
        case datetime.date() | datetime.time():
            return f"{value} (a date or time)"
        case _:
            return "nothing"


def either(choices: Sequence[str]) -> str:
    """`a`, `a or b`, `a, b or c`."""
    return " or ".join(filter(None, [", ".join(choices[:-1]), choices[-1]]))


def _message(group: list[ErrorDetails], value: Any) -> str:
    kinds = {details["type"] for details in group}
    context = group[0].get("ctx", {})
    if kinds == {"value_error"}:
        return str(context["error"])
    if kinds <= {"too_short", "string_too_short"}:
        return "must not be empty" if context["min_length"] == 1 else f"needs at least {context['min_length']} items"
    wanted = either(list(dict.fromkeys(_wanted(details) for details in group)))
    near = ""
    if isinstance(value, str):
        choices = [
            name for details in group for name in re.findall(r"'([^']*)'", details.get("ctx", {}).get("expected", ""))
        ]
        near = suggestion(value, choices) if choices else ""
        near = near if "Did you mean" in near else ""
    return f"found {describe(value)}; {wanted} would be right.{near}"


def _wanted(details: ErrorDetails) -> str:
    kind, context = details["type"], details.get("ctx", {})
    if kind in _WANTED:
        return _WANTED[kind]
    if kind in _BOUNDS:
        name, phrase = _BOUNDS[kind]
        return phrase.format(context[name])
    if kind == "literal_error":
        return str(context["expected"])
    if kind == "string_pattern_mismatch":
        return f"a string that matches {context['pattern']}"
    return details["msg"].removeprefix("Input should be ")


def _written_part(values: Any, path: KeyPath) -> KeyPath:
    length = len(path)
    while length and value_at(values, path[:length]) is None:
        length -= 1
    return path[:length]


def keys_at(annotation: Any, path: KeyPath) -> list[str]:
    """The keys of the table that `path` leads to from an annotation, which may be a model; none where to no table."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        if not path:
            return list(annotation.model_fields)
        field = annotation.model_fields.get(str(path[0]))
        return keys_at(field.annotation, path[1:]) if field else []
    if is_typeddict(annotation):
        fields = get_type_hints(annotation)
        return keys_at(fields.get(str(path[0])), path[1:]) if path else list(fields)
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return keys_at(arguments[0], path)
    if origin in (Union, types.UnionType):
        return [key for argument in arguments for key in keys_at(argument, path)]
    if origin in (list, dict) and path:
        return keys_at(arguments[-1], path[1:])
    return []
