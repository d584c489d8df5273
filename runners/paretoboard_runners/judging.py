"""This machine's runner as a folder of results knows the machine: judging by its last calibration and rooflines."""

from __future__ import annotations

from typing import TYPE_CHECKING

from paretoboard.store import calibrations, rooflines
from paretoboard_runners.diagnose import Rooflines
from paretoboard_runners.local import LocalRunner

if TYPE_CHECKING:
    from pathlib import Path

    from paretoboard_runners.machine import Fingerprints


def local_runner(
    results: Path, data_root: Path, prints: Fingerprints, *, artifacts: Path | None = None, fresh_seeds: bool = False
) -> LocalRunner:
    """A runner for a folder of results, to be used as a context manager.

    Args:
        artifacts: where they are kept, by default with the results.
        fresh_seeds: as `LocalRunner` has it.
    """

    def noise_floor(profile: str) -> float:
        found = calibrations.latest(results, hardware_id=prints.hardware_id, profile=profile)
        return found.noise_floor if found else 0.0

    known = Rooflines(
        find=lambda profile: rooflines.find(
            results, hardware_id=prints.hardware_id, environment_id=prints.environment_id, profile=profile
        ),
        keep=lambda found: rooflines.keep(results, found),
    )
    return LocalRunner(
        data_root=data_root,
        artifacts=results / "artifacts" if artifacts is None else artifacts,
        noise_floor=noise_floor,
        rooflines=known,
        fresh_seeds=fresh_seeds,
    )
