"""What each nightly did: one JSON file beside the records, written anew after every run, so that a kill loses nothing.

    <results>/nightly/<started>-<hardware id>.json

Whether a nightly can be trusted is said here and not in its records: those are measurements, and stay what they are.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from paretoboard import durable
from paretoboard.errors import StoreError
from paretoboard.store.names import FINGERPRINT_DIGITS

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    import pandas as pd

FOLDER: Final = "nightly"
LONG: Final = "long"  # below it, records of long runs
VERSION: Final = 1
_STARTED: Final = "%Y%m%dT%H%M%SZ"


@dataclass(frozen=True, slots=True, kw_only=True)
class SelfCheck:
    """Programs of known difference, compared before anything else that night."""

    identical: int  # comparisons of a program with itself
    false_alarms: int  # of those, how many were called better or worse
    planted: int  # comparisons with a twin that does `planted_extra` more
    planted_extra: float
    found: int  # of those, how many were called worse
    wrong_way: int  # of those, how many were called better

    @property
    def passed(self) -> bool:
        """At most one false alarm, one planted slowdown found at least, and none the wrong way round.

        Of a machine that is fit, four identical pairs have two false alarms in about one night of 500, and two planted
        slowdowns of 3 % are both missed in about one of 25.
        """
        return self.false_alarms <= 1 and self.wrong_way == 0 and (self.found > 0 or self.planted == 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class NightlyRun:
    """One measured run, by what finds its record."""

    run_id: str
    task: str
    recipe: str
    profile: str
    seed: int
    started_at: datetime  # UTC
    duration_s: float
    status: str
    reason: str
    repeat: int  # 0 for the first time, n where it was measured again at once
    broke: bool = False  # failed, and was ok the time before


@dataclass(frozen=True, slots=True, kw_only=True)
class LongRun:
    """A run with the budget `release`, which decides about a drift that nights can't confirm."""

    series: str  # regressions.Key.name
    board_id: str
    started_at: datetime  # UTC
    ratio: float  # time over the baseline's
    low: float
    high: float
    launches: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Nightly:
    """One call of `paretoboard nightly`, continued after an interruption where there was one."""

    version: int = VERSION
    started_at: datetime  # UTC
    ended_at: datetime | None = None  # None while it goes on, and where it was interrupted
    hardware_id: str
    environment_id: str
    commit: str
    tasks: tuple[str, ...]
    planned: int  # runs
    self_check: SelfCheck | None = None
    distrust: str = ""  # why nothing is to be concluded from this night; "" where it can be trusted
    runs: tuple[NightlyRun, ...] = ()
    long_runs: tuple[LongRun, ...] = ()  # their records lie apart, in nightly/long: they are of no board
    notes: tuple[str, ...] = ()

    @property
    def measured(self) -> int:
        """How many runs were measured, however often."""
        return len({run.run_id for run in self.runs})

    @property
    def file_name(self) -> str:
        """Where it is kept."""
        return f"{self.started_at.strftime(_STARTED)}-{self.hardware_id[:FINGERPRINT_DIGITS]}.json"


def write(results: Path, nightly: Nightly) -> Path:
    """Keep a nightly, in place of what was kept of it before; its file.

    Raises: StoreError where the disk refuses; what was kept before is still there then.
    """
    path = results / FOLDER / nightly.file_name
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        durable.write(path, _adapter().dump_json(nightly, indent=1) + b"\n")
    except OSError as error:
        raise StoreError(f"{path}: can't be stored: {error.strerror or error}") from error
    return path


def as_plain(nightly: Nightly) -> dict[str, Any]:
    """As JSON has it."""
    found: dict[str, Any] = _adapter().dump_python(nightly, mode="json")
    return found


def read_all(results: Path) -> tuple[tuple[Nightly, ...], tuple[str, ...]]:
    """All nightlies, oldest first, and in words those that can't be read, which cost nothing of the others."""
    found: list[Nightly] = []
    damaged: list[str] = []
    for path in sorted((results / FOLDER).glob("[0-9]*.json")):
        try:
            nightly = _adapter().validate_json(path.read_bytes())
        except (OSError, ValueError) as error:
            damaged.append(f"{path}: not a nightly: {str(error).splitlines()[0]}")
            continue
        if nightly.version != VERSION:
            damaged.append(f"{path}: of version {nightly.version}; this one reads version {VERSION}")
            continue
        found.append(nightly)
    return tuple(sorted(found, key=lambda nightly: nightly.started_at)), tuple(damaged)


def trusted(history: pd.DataFrame, nightlies: Iterable[Nightly]) -> pd.DataFrame:
    """The rows of `store.history` without those of nights that are not to be trusted."""
    left_out = {
        (run.run_id, run.started_at, nightly.hardware_id)
        for nightly in nightlies
        if nightly.distrust
        for run in nightly.runs
    }
    if not left_out:
        return history
    keys = zip(history["run_id"], history["started_at"], history["hardware_id"], strict=True)
    kept: pd.DataFrame = history[[key not in left_out for key in keys]]
    return kept


def long_runs(nightlies: Iterable[Nightly]) -> tuple[LongRun, ...]:
    """The long runs of nights that can be trusted, oldest first."""
    return tuple(run for nightly in nightlies if not nightly.distrust for run in nightly.long_runs)


@functools.cache
def _adapter() -> Any:
    from pydantic import TypeAdapter

    return TypeAdapter(Nightly)
