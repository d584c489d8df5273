"""Calibrations of machines, one JSON file each beside the records, written once."""

from __future__ import annotations

import dataclasses
import json
from datetime import datetime
from typing import TYPE_CHECKING, Final

from paretoboard.errors import StoreError
from paretoboard.records import Calibration
from paretoboard.store.names import FINGERPRINT_DIGITS

if TYPE_CHECKING:
    from pathlib import Path

FOLDER: Final = "calibrations"


def keep(results: Path, calibration: Calibration) -> Path:
    """Store a calibration; the file.

    Raises: StoreError where the very same moment is stored already.
    """
    folder = results / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    stamp = calibration.measured_at.strftime("%Y%m%dT%H%M%S.%fZ")
    path = folder / f"{stamp}-{_machine(calibration.hardware_id, calibration.profile)}.json"
    text = json.dumps({**dataclasses.asdict(calibration), "measured_at": calibration.measured_at.isoformat()}, indent=2)
    try:
        with path.open("x") as stream:
            stream.write(text + "\n")
    except FileExistsError:
        raise StoreError(f"{path}: already there. Calibrations are never rewritten.") from None
    return path


def latest(results: Path, *, hardware_id: str, profile: str) -> Calibration | None:
    """The last calibration of this hardware under this profile, None where there is none.

    Raises: StoreError for a file that is not one.
    """
    paths = sorted((results / FOLDER).glob(f"*-{_machine(hardware_id, profile)}.json"))
    return _read(paths[-1]) if paths else None


def all_latest(results: Path) -> tuple[Calibration, ...]:
    """The last calibration of every machine and profile, by machine and then by profile.

    Raises: StoreError for a file that is not one.
    """
    newest = {path.name.partition("-")[2]: path for path in sorted((results / FOLDER).glob("*.json"))}
    return tuple(_read(path) for _, path in sorted(newest.items()))


def _read(path: Path) -> Calibration:
    try:
        raw = json.loads(path.read_text())
        return Calibration(**{**raw, "measured_at": datetime.fromisoformat(raw["measured_at"])})
    except (ValueError, KeyError, TypeError) as error:
        raise StoreError(f"{path}: not a calibration: {error}") from error


def _machine(hardware_id: str, profile: str) -> str:
    return f"{hardware_id[:FINGERPRINT_DIGITS]}-{profile}"
