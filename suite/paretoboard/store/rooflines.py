"""Rooflines of machines, one JSON file for each hardware, software and profile."""

from __future__ import annotations

import dataclasses
import json
from datetime import datetime
from typing import TYPE_CHECKING, Final

from paretoboard import durable
from paretoboard.errors import StoreError
from paretoboard.records import Bandwidth, Peak, Roofline
from paretoboard.store.names import FINGERPRINT_DIGITS

if TYPE_CHECKING:
    from pathlib import Path

FOLDER: Final = "rooflines"


def keep(results: Path, roofline: Roofline) -> Path:
    """Store a roofline in place of an older one of the same machine, software and profile; the file."""
    path = _path(results, roofline.hardware_id, roofline.environment_id, roofline.profile)
    path.parent.mkdir(parents=True, exist_ok=True)
    plain = {**dataclasses.asdict(roofline), "measured_at": roofline.measured_at.isoformat()}
    durable.write(path, json.dumps(plain, indent=2).encode() + b"\n")
    return path


def find(results: Path, *, hardware_id: str, environment_id: str, profile: str) -> Roofline | None:
    """The roofline of this hardware with this software under this profile, None where there is none.

    Raises: StoreError for a file that is not one.
    """
    path = _path(results, hardware_id, environment_id, profile)
    try:
        raw = json.loads(path.read_text())
        return Roofline(
            **{
                **raw,
                "measured_at": datetime.fromisoformat(raw["measured_at"]),
                "peaks": tuple(Peak(**peak) for peak in raw["peaks"]),
                "bandwidths": tuple(Bandwidth(**found) for found in raw["bandwidths"]),
            }
        )
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError) as error:
        raise StoreError(f"{path}: not a roofline: {error}") from error


def _path(results: Path, hardware_id: str, environment_id: str, profile: str) -> Path:
    name = f"{hardware_id[:FINGERPRINT_DIGITS]}-{environment_id[:FINGERPRINT_DIGITS]}-{profile}.json"
    return results / FOLDER / name
