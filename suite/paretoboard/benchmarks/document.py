"""One JSON file of pytest-benchmark, of its versions 4 and 5: checked, and kept as it is with all that it says.

The form is that of `pytest_benchmark.plugin.pytest_benchmark_generate_json` (5.3.1); version 4 has the same fields, a
date without a zone, and fewer options. Seconds all through. Fields that are not known here are kept.
"""

from __future__ import annotations

import functools
import hashlib
import json
import math
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, NoReturn

from paretoboard.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

VERSIONS: Final = ("4.", "5.")
MOST_BYTES: Final = 512 * 2**20
_FIRST_YEAR: Final = 1970  # a clock that was never set begins here; files are named by dates of four digits
_NUMBERS: Final = ("min", "max", "mean", "stddev", "median", "iqr", "q1", "q3", "ld15iqr", "hd15iqr", "ops", "total")


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


def _mistakes(content: Any) -> Iterator[str]:
    if not isinstance(content, dict):
        yield f"found {_kind(content)}; an object with benchmarks would be right"
        return
    version = content.get("version")
    if not isinstance(version, str) or not version.startswith(VERSIONS):
        yield f"version: found {version!r}; a file of pytest-benchmark 4 or 5 would be right"
    if not _is_date(content.get("datetime")):
        yield f"datetime: found {content.get('datetime')!r}; a date as '2026-11-21T03:14:15+00:00' would be right"
    for name in ("machine_info", "commit_info"):
        if not isinstance(content.get(name), dict):
            yield f"{name}: found {_kind(content.get(name))}; an object would be right"
    benchmarks = content.get("benchmarks")
    if not isinstance(benchmarks, list):
        yield f"benchmarks: found {_kind(benchmarks)}; a list would be right"
        return
    seen: set[str] = set()
    for number, benchmark in enumerate(benchmarks):
        for mistake in _in_benchmark(benchmark, seen):
            yield f"benchmarks[{number}]{mistake}"


def _in_benchmark(benchmark: Any, seen: set[str]) -> Iterator[str]:
    if not isinstance(benchmark, dict):
        yield f": found {_kind(benchmark)}; an object would be right"
        return
    for name in ("name", "fullname"):
        if not _is_text(benchmark.get(name)):
            yield f".{name}: found {_kind(benchmark.get(name))}; text would be right"
    full = benchmark.get("fullname")
    if isinstance(full, str):
        if full in seen:
            yield f".fullname: found {full!r} twice; one entry for each benchmark would be right"
        seen.add(full)
    stats = benchmark.get("stats")
    if not isinstance(stats, dict):
        yield f".stats: found {_kind(stats)}; an object would be right"
        return
    for name in _NUMBERS:
        if not _is_number(stats.get(name)):
            yield f".stats.{name}: found {_kind(stats.get(name))}; a number would be right"
    if not _is_count(stats.get("rounds")):
        yield f".stats.rounds: found {stats.get('rounds')!r}; a whole number above zero would be right"
    yield from _in_data(stats)


def _in_data(stats: dict[str, Any]) -> Iterator[str]:
    if "data" not in stats:  # pytest-benchmark leaves them out without --benchmark-save-data
        return
    data = stats["data"]
    if not isinstance(data, list):
        yield f".stats.data: found {_kind(data)}; a list of seconds would be right"
        return
    wrong = next((place for place, value in enumerate(data) if not _is_number(value)), None)
    if wrong is not None:
        yield f".stats.data[{wrong}]: found {_kind(data[wrong])}; a number of seconds would be right"


def _is_text(value: Any) -> bool:
    try:
        return isinstance(value, str) and bool(value.encode())
    except UnicodeEncodeError:  # JSON can write one half of a character
        return False


def _is_number(value: Any) -> bool:
    try:
        return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
    except OverflowError:  # JSON's whole numbers have no end
        return False


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def _is_date(value: Any) -> bool:
    try:
        return datetime.fromisoformat(value).year >= _FIRST_YEAR
    except (TypeError, ValueError):
        return False


@functools.singledispatch
def _kind(value: Any) -> str:
    return f"{type(value).__name__} {str(value)[:40]!r}"


@_kind.register
def _(value: None) -> str:  # noqa: ARG001
    return "nothing"


@_kind.register
def _(value: dict) -> str:  # type: ignore[type-arg]  # noqa: ARG001
    return "an object"


@_kind.register
def _(value: list) -> str:  # type: ignore[type-arg]  # noqa: ARG001
    return "a list"
