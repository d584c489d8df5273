"""What images can tell apart, and how many a difference takes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from builders import board_records
from paretoboard import stats, store

TASK = "quick/digits"


@given(st.integers(1, 3000), st.data())
def test_whatever_is_below_the_decided_difference_is_no_mcnemar_difference(n: int, data: st.DataObject) -> None:
    discordant = data.draw(st.integers(0, n))
    found = stats.mcnemar_resolution(discordant, n)
    assert 0 < found.decided <= found.found <= 1
    gained = data.draw(st.integers(0, discordant))
    difference = abs(2 * gained - discordant) / n
    decided = stats.mcnemar_exact(gained, discordant - gained) < 0.05
    # Exactly: the parity of discordant images is that of their difference, so no value lies between.
    assert decided == (difference >= found.decided - 1e-12 and discordant >= 6)


@given(st.floats(0.002, 0.3), st.floats(0.001, 0.5))
def test_the_difference_that_some_images_find_takes_so_many_images(difference: float, discordant: float) -> None:
    discordant = max(discordant, difference)
    n = stats.images_to_resolve(difference, discordant)
    found = stats.mcnemar_resolution(min(round(discordant * n), n), n)
    if discordant * n > 6:
        assert found.found == pytest.approx(difference, rel=0.1) or found.found == found.decided


def test_more_images_and_less_disagreement_show_smaller_differences() -> None:
    by_images = [stats.mcnemar_resolution(n // 50, n).decided for n in (500, 1000, 5000, 10_000)]
    assert by_images == sorted(by_images, reverse=True)
    by_share = [stats.mcnemar_resolution(discordant, 10_000).found for discordant in (10, 100, 1000)]
    assert by_share == sorted(by_share)


def test_ten_thousand_images_of_which_two_percent_differ() -> None:
    found = stats.mcnemar_resolution(200, 10_000)
    # 114 of 200 one way: p is 0.056; 115: 0.040, so 30 of 10,000.
    assert found.decided == pytest.approx(30 / 10_000)
    assert found.found == pytest.approx(2.8 * np.sqrt(0.02 / 10_000), rel=0.02)


def test_an_interval_of_two_points_finds_three() -> None:
    found = stats.interval_resolution(0.02)
    assert (found.decided, found.found) == (0.02, pytest.approx(0.02 * 2.8016 / 1.96, rel=1e-3))


@pytest.mark.parametrize(("discordant", "n"), [(0, 0), (3, 2), (-1, 5)])
def test_counts_that_can_not_be_are_refused(discordant: int, n: int) -> None:
    with pytest.raises(ValueError, match="would be right"):
        stats.mcnemar_resolution(discordant, n)


@pytest.mark.parametrize("difference", [0.0, 1.5])
def test_a_difference_that_can_not_be_resolved_is_refused(difference: float) -> None:
    with pytest.raises(ValueError, match="would be right"):
        stats.images_to_resolve(difference, 0.5)


def planned(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "paretoboard", "plan", TASK, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_plan_says_how_many_images_a_wished_difference_takes(tmp_path: Path) -> None:
    before = planned("--results", tmp_path, "--resolve", "0.5")
    assert before.returncode == 0, before.stderr
    assert "takes" in before.stdout
    assert "assumed: nothing is measured yet" in before.stdout
    far = planned("--results", tmp_path, "--resolve", "20").stdout
    assert far.count("% differ") == far.count("20 % differ") == 1
    for record in board_records():
        store.append(tmp_path, record)
    found: dict[str, Any] = json.loads(planned("--results", tmp_path, "--resolve", "0.5", "--json").stdout)
    (need,) = found["resolution"]
    assert (need["task"], need["points"], need["seen"], need["measured_images"]) == (TASK, 0.5, True, 360)
    assert need["images"] == stats.images_to_resolve(0.005, max(need["discordant"], 0.005))
    assert "resolution" not in json.loads(planned("--results", tmp_path, "--json").stdout)


def test_a_wished_difference_of_nothing_is_refused(tmp_path: Path) -> None:
    done = planned("--results", tmp_path, "--resolve", "0")
    assert done.returncode == 2
    assert "--resolve" in done.stderr
