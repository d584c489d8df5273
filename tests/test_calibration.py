"""The machine's self-check: its arithmetic, its file, and one small real one."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

import builders
from paretoboard.errors import StoreError
from paretoboard.records import Calibration
from paretoboard.store import calibrations
from paretoboard_runners import calibration, machine

pytestmark = pytest.mark.alone


def stored(**overrides: object) -> Calibration:
    given: dict[str, object] = {
        "profile": "cpu-1",
        "hardware_id": "a" * 64,
        "environment_id": "b" * 64,
        "measured_at": datetime(2026, 11, 21, 12, 0, tzinfo=UTC),
        "launches": 8,
        "launch_s": 0.6,
        "identical": 12,
        "false_alarms": 0,
        "planted": 12,
        "planted_extra": 0.03,
        "found": 11,
        "wrong_way": 0,
        "noise_floor": 0.012,
        "smallest_effect": 0.02,
        "load1": 1.5,
    }
    return Calibration(**{**given, **overrides})  # type: ignore[arg-type]


def test_the_noise_floor_is_what_nineteen_in_twenty_identical_pairs_stay_under() -> None:
    ratios = [1.0 + 0.001 * (-1) ** number * number for number in range(21)]
    pairs = [builders.comparison(ratio=ratio) for ratio in ratios]
    assert calibration.noise_floor(pairs) == pytest.approx(0.019)


def test_wider_intervals_hide_larger_effects() -> None:
    narrow = [builders.comparison(low=0.99, high=1.01, launches=8, confidence=0.95)]
    wide = [builders.comparison(low=0.97, high=1.03, launches=8, confidence=0.95)]
    small, large = calibration.smallest_effect(narrow), calibration.smallest_effect(wide)
    # t(0.975, 7) = 2.365 and t(0.8, 7) = 0.896: 0.01 * (1 + 0.896 / 2.365)
    assert small == pytest.approx(0.01388, abs=1e-4)
    assert large > 2.5 * small


def test_the_latest_calibration_of_the_same_hardware_and_profile_counts(tmp_path: Path) -> None:
    first = stored()
    later = stored(measured_at=datetime(2026, 11, 22, tzinfo=UTC), noise_floor=0.02)
    for found in (later, first, stored(profile="cpu-all"), stored(hardware_id="c" * 64)):
        calibrations.keep(tmp_path, found)
    assert calibrations.latest(tmp_path, hardware_id="a" * 64, profile="cpu-1") == later
    assert calibrations.latest(tmp_path, hardware_id="d" * 64, profile="cpu-1") is None
    # What was measured before stays.
    assert len(list((tmp_path / "calibrations").glob("*.json"))) == 4


def test_a_calibration_is_never_rewritten_and_a_damaged_one_is_named(tmp_path: Path) -> None:
    path = calibrations.keep(tmp_path, stored())
    with pytest.raises(StoreError, match="never rewritten"):
        calibrations.keep(tmp_path, stored())
    path.write_text("{}")
    with pytest.raises(StoreError, match=path.name):
        calibrations.latest(tmp_path, hardware_id="a" * 64, profile="cpu-1")


def test_doctor_calibrates_tells_how_far_it_is_prints_what_it_found_and_stores_it(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "paretoboard", "doctor", "--calibrate", "--comparisons", "4"]
    command += ["--results", str(tmp_path)]
    terminal = {**os.environ, "FORCE_COLOR": "1", "TERM": "xterm", "COLUMNS": "100"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=400, check=False, env=terminal)
    assert done.returncode in (0, 1), done.stderr
    assert len(re.findall(r"of 4, 95 % interval \d+\.\d% to \d+\.\d%", done.stdout)) == 2
    for what in ("called different   ", " slower twins found", "noise floor  ", "smallest effect found at 80 % power"):
        assert what in done.stdout
    here = machine.fingerprints().hardware_id
    kept = calibrations.latest(tmp_path, hardware_id=here, profile="cpu-1")
    assert kept is not None
    assert f"noise floor                           {kept.noise_floor:.2%}" in done.stdout
    assert (kept.identical, kept.planted) == (4, 4)
    assert kept.noise_floor > 0
    assert kept.smallest_effect > 0
    bars = re.sub(r"\x1b\[[\d;?]*[A-Za-z]", "", done.stderr)
    told = re.findall(r"(matrix product|memory pass), (identical|3% slower) .*? (\d+)%", bars)
    assert list(dict.fromkeys(told)) == [
        (kernel, twin, str(share))
        for kernel, twin, share in zip(
            ["matrix product", "matrix product", "memory pass", "memory pass"] * 2,
            ["identical", "3% slower"] * 4,
            (0, 12, 25, 38, 50, 62, 75, 88),
            strict=True,
        )
    ]
