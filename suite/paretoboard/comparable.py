"""Whether two results may stand in one table, and if not, which conditions keep them apart.

One rule for Python and for the pages: they get the fields by name (`rule`) and apply the same comparison to the same
texts. Results of different machines are never made comparable by scaling.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping

    from paretoboard.records import RunRecord

Level = Literal["same", "compatible", "different"]

# What decides the question that a number answers: field -> the field in words. `board_id` is the digest of the whole
# definition - protocol, subset's images, batches, threads, metrics' versions - and so comes last: it speaks where none
# of the fields that a person would name differs.
KEY: Final[Mapping[str, str]] = {
    "task": "task",
    "task_version": "version of the task",
    "dataset": "dataset",
    "subset": "subset of images",
    "model": "model",
    "quality_metric": "metric of quality",
    "profile": "hardware profile",
    "hardware_id": "machine (hardware fingerprint)",
    "board_id": "definition of the measurement (images, batches, threads, protocol)",
}
# What may differ between comparable results, and has to be said.
ENVIRONMENT: Final[Mapping[str, str]] = {"environment_id": "environment (software, drivers)"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One condition in which two results differ."""

    field: str
    words: str
    first: str
    second: str

    def __str__(self) -> str:
        return f"{self.words}: {self.first} and {self.second}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Guard:
    """How far two results can be compared.

    same: ranked together. compatible: the same question on the same hardware, with other software; ranked together
    and said so, and no regression is claimed between them. different: never in one table, rank, difference or line.
    """

    level: Level
    differences: tuple[Difference, ...]  # what differs, in the order of `KEY`, then `ENVIRONMENT`

    @property
    def comparable(self) -> bool:
        """Whether a difference of the two may be shown."""
        return self.level != "different"


def conditions(record: RunRecord) -> Mapping[str, str]:
    """What of a record the guard looks at, as text."""
    return {
        "task": record.task,
        "task_version": str(record.task_version),
        "dataset": record.dataset,
        "subset": record.subset,
        "model": record.model,
        "quality_metric": str(record.spec["quality"]),
        "profile": record.profile,
        "hardware_id": record.provenance.hardware_id,
        "board_id": record.board_id,
        "environment_id": record.provenance.environment_id,
    }


def conditions_of(row: Mapping[str, Any]) -> Mapping[str, str]:
    """The same of a row of `store.history`."""
    return {field: str(row[field]) for field in (*KEY, *ENVIRONMENT)}


def guard(first: Mapping[str, str], second: Mapping[str, str]) -> Guard:
    """How far two results can be compared, by their `conditions`.

    Raises: KeyError where a condition is missing from either.
    """
    key = _differing(KEY, first, second)
    environment = _differing(ENVIRONMENT, first, second)
    # The definition differs wherever a field that is part of it does; said alone only where nothing else is.
    if len(key) > 1 and any(found.field != "hardware_id" and found.field != "board_id" for found in key):
        key = [found for found in key if found.field != "board_id"]
    level: Level = "different" if key else "compatible" if environment else "same"
    return Guard(level=level, differences=(*key, *environment))


def rule() -> Mapping[str, Mapping[str, str]]:
    """The rule as data, for programs that apply it elsewhere: the fields of each kind with their words."""
    return {"key": dict(KEY), "environment": dict(ENVIRONMENT)}


def _differing(fields: Mapping[str, str], first: Mapping[str, str], second: Mapping[str, str]) -> list[Difference]:
    return [
        Difference(field=field, words=words, first=first[field], second=second[field])
        for field, words in fields.items()
        if first[field] != second[field]
    ]
