"""Where a record lies and what its file name says, so that much is known without opening a file."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Final, cast, get_args

from paretoboard.errors import StoreError
from paretoboard.records import Status

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from paretoboard.records import RunRecord

RECORDS: Final = "records"
SUFFIX: Final = ".parquet"
Key = tuple[str, str, str]  # run id, hardware id, environment id, each cut as in `key_of`

_RUN_DIGITS: Final = 16
FINGERPRINT_DIGITS: Final = 8
_STARTED: Final = "%Y%m%dT%H%M%S.%fZ"
_NAME: Final = re.compile(
    r"(?P<started>\d{8}T\d{6}\.\d{6}Z)-(?P<run>\w+)-(?P<hardware>\w+)-(?P<environment>\w+)"
    rf"-(?P<status>{'|'.join(get_args(Status))})\.parquet",
    re.ASCII,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What a file name says about the record in it."""

    status: Status
    started_at: datetime  # UTC
    path: Path


def key_of(run_id: str, hardware_id: str, environment_id: str) -> Key:
    """What `known` finds a run under: the same run on comparable hardware with the same software."""
    return run_id[:_RUN_DIGITS], hardware_id[:FINGERPRINT_DIGITS], environment_id[:FINGERPRINT_DIGITS]


def record_files(folder: Path, *, tasks: Iterable[str] | None = None) -> list[Path]:
    """Every file of a single record below `folder`, by task and then by time; all other files are passed over."""
    return [path for group in record_folders(folder, tasks=tasks) for path in record_files_in(group)]


def record_folders(folder: Path, *, tasks: Iterable[str] | None = None) -> list[Path]:
    """The folders that records lie in, by task; only those of `tasks`, if given, whether they exist or not."""
    if tasks is None:
        return sorted(Path(where) for where, _, _ in os.walk(folder / RECORDS))
    return sorted(task_folder(folder, task) for task in dict.fromkeys(tasks))


def file_name(record: RunRecord) -> str:
    """The name a record is stored under.

    Raises: StoreError where an id holds something else than letters and digits, or the time has no zone.
    """
    if record.started_at.tzinfo is None:
        raise StoreError(
            f"record of {record.task}: started_at {record.started_at} has no time zone, UTC would be right"
        )
    key = key_of(record.run_id, record.provenance.hardware_id, record.provenance.environment_id)
    name = name_of(record.started_at, key, record.status)
    if _NAME.fullmatch(name) is None:
        raise StoreError(f"record of {record.task}: can't be stored as '{name}'; ids are letters and digits")
    return name


def name_of(started_at: datetime, key: Key, status: str) -> str:
    """The file name of a record that began at a moment, which has a zone; names sort as their moments do."""
    return f"{'-'.join((started_at.astimezone(UTC).strftime(_STARTED), *key, status))}{SUFFIX}"


def task_folder(folder: Path, task: str) -> Path:
    """Where the records of one task lie.

    Raises: StoreError for a task name that would lead out of the folder.
    """
    parts = PurePosixPath(task).parts
    if not parts or task.startswith("/") or ".." in parts or "\\" in task or "\0" in task:
        raise StoreError(f"'{task}' can't be a task's name; a path below tasks/ such as 'cifar10/resnet20' can")
    return folder.joinpath(RECORDS, *parts)


def parse(path: Path) -> tuple[Key, Known] | None:
    """What a record file's name says, None for any other file."""
    match = _NAME.fullmatch(path.name)
    if match is None:
        return None
    try:
        started_at = datetime.fromisoformat(match["started"]).astimezone(UTC)
    except ValueError:  # the right digits, but no such day
        return None
    key = (match["run"], match["hardware"], match["environment"])
    return key, Known(status=cast("Status", match["status"]), started_at=started_at, path=path)


def record_files_in(group: Path) -> Iterator[Path]:
    """The files of single records that lie in one folder, by time."""
    try:
        names = sorted(entry.name for entry in os.scandir(group) if entry.is_file())
    except (FileNotFoundError, NotADirectoryError):
        return
    yield from (group / name for name in names if _NAME.fullmatch(name))
