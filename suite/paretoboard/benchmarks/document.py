"""One JSON file of pytest-benchmark, of its versions 4 and 5: checked, and kept as it is with all that it says.

The form is that of `pytest_benchmark.plugin.pytest_benchmark_generate_json` (5.3.1); version 4 has the same fields, a
date without a zone, and fewer options. Seconds all through. Fields that are not known here are kept.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any, Final, NoReturn

from pydantic import AfterValidator, BaseModel, ConfigDict, FailFast, Field, ValidationError
from pydantic_core import PydanticCustomError

from paretoboard.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pydantic_core import ErrorDetails

VERSIONS: Final = ("4.", "5.")
MOST_BYTES: Final = 512 * 2**20
_FIRST_YEAR: Final = 1970  # a clock that was never set begins here; files are named by dates of four digits
_SHOWN_CHARACTERS: Final = 60
_WANTED: Final = {
    "dict_type": "an object",
    "model_type": "an object",
    "list_type": "a list",
    "float_type": "a number",
    "finite_number": "a number",
    "int_type": "a whole number",
    "greater_than": "a number above zero",
    "string_type": "text",
    "string_too_short": "text",
    "string_unicode": "text",  # JSON can write one half of a character
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """What one session of pytest-benchmark left."""

    content: dict[str, Any]  # as JSON has it

    @property
    def measured_at(self) -> datetime:
        """When the session ended, UTC; version 4 writes no zone and means UTC."""
        found = datetime.fromisoformat(self.content["datetime"])
        return found.astimezone(UTC) if found.tzinfo else found.replace(tzinfo=UTC)

    @property
    def benchmarks(self) -> list[dict[str, Any]]:
        """One entry for each benchmark."""
        found: list[dict[str, Any]] = self.content["benchmarks"]
        return found

    @property
    def commit(self) -> str:
        """Of the project that was measured; "" where that is not known."""
        found = str(self.content["commit_info"].get("id", ""))
        known = found not in ("", "unknown")
        return f"{found}{'+dirty' if self.content['commit_info'].get('dirty') else ''}" if known else ""

    @property
    def digest(self) -> str:
        """The same for the same content, whatever the order of its fields."""
        canonical = json.dumps(self.content, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()

    def to_json(self) -> bytes:
        """As pytest-benchmark would write it."""
        return (json.dumps(self.content, ensure_ascii=True, indent=4) + "\n").encode()


def read(path: Path) -> Document:
    """Read a file of pytest-benchmark.

    Raises: InputError that says where in the file what was found, and what would be right.
    """
    try:
        content = json.loads(_bytes(path), parse_constant=_no_number)
        json.dumps(content, allow_nan=False)  # 1e999 is JSON, and too large to be written back
    except OSError as error:
        raise InputError(f"{path}: can't be read: {error.strerror}; a JSON file of pytest-benchmark can") from error
    except (ValueError, RecursionError) as error:
        raise InputError(
            f"{path}: not JSON: {error}; a file that pytest --benchmark-json wrote would be right"
        ) from None
    mistakes = list(_mistakes(content))
    if mistakes:
        raise InputError("\n".join(f"{path}: {mistake}" for mistake in mistakes[:20]))
    return Document(content=content)


def _bytes(path: Path) -> bytes:
    with path.open("rb") as stream:
        content = stream.read(MOST_BYTES + 1)  # a device has no size, and no end
    if len(content) > MOST_BYTES:
        raise InputError(f"{path}: found more than {MOST_BYTES} bytes; at most so many would be right")
    return content


def _no_number(name: str) -> NoReturn:
    raise ValueError(f"found {name}, which is no number of seconds")


def _dated(found: str) -> str:
    try:
        known = datetime.fromisoformat(found).year >= _FIRST_YEAR
    except ValueError:
        known = False
    if not known:
        raise PydanticCustomError("date", "a date as '2026-11-21T03:14:15+00:00'")
    return found


def _of_known_version(found: str) -> str:
    if not found.startswith(VERSIONS):
        raise PydanticCustomError("version", "a file of pytest-benchmark 4 or 5")
    return found


class _Part(BaseModel):
    """What is not known here may be there. Lists end at their first mistake: a file may hold millions."""

    model_config = ConfigDict(strict=True, allow_inf_nan=False)


class _Stats(_Part):
    min: float
    max: float
    mean: float
    stddev: float
    median: float
    iqr: float
    q1: float
    q3: float
    ld15iqr: float
    hd15iqr: float
    ops: float
    total: float
    rounds: Annotated[int, Field(gt=0)]
    # The rounds, which pytest-benchmark leaves out without --benchmark-save-data.
    data: Annotated[list[float], FailFast()] = []


class _Benchmark(_Part):
    name: Annotated[str, Field(min_length=1)]
    fullname: Annotated[str, Field(min_length=1)]
    stats: _Stats


class _Session(_Part):
    version: Annotated[str, AfterValidator(_of_known_version)]
    datetime: Annotated[str, AfterValidator(_dated)]
    machine_info: dict[str, Any]
    commit_info: dict[str, Any]
    benchmarks: Annotated[list[_Benchmark], FailFast()]


def _mistakes(content: Any) -> Iterator[str]:
    try:
        session = _Session.model_validate(content)
    except ValidationError as error:
        yield from map(_said, error.errors(include_url=False))
        return
    places: dict[str, int] = {}
    for place, benchmark in enumerate(session.benchmarks):
        if places.setdefault(benchmark.fullname, place) != place:
            yield (
                f"benchmarks[{place}].fullname: found {benchmark.fullname!r} twice; "
                "one entry for each benchmark would be right"
            )


def _said(mistake: ErrorDetails) -> str:
    where = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in mistake["loc"]).lstrip(".")
    at = f"{where}: " if where else ""
    if mistake["type"] == "missing":
        return f"{at}is missing"
    return f"{at}found {_kind(mistake['input'])}; {_WANTED.get(mistake['type'], mistake['msg'])} would be right"


def _kind(value: Any) -> str:
    match value:
        case None:
            return "nothing"
        case dict():
            return "an object"
        case list():
            return "a list"
        case int():
            # Python refuses to write a whole number of thousands of digits.
            return str(value) if abs(value) < 2**64 else f"a whole number of {value.bit_length()} bits"
        case _:
            shown = repr(value)
            return shown if len(shown) <= _SHOWN_CHARACTERS else shown[:_SHOWN_CHARACTERS] + "…"
