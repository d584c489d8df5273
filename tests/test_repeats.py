"""An answer that was remembered is not an inference: repeated inputs are timed against inputs never seen."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

import small_models
from paretoboard import artifact
from paretoboard_runners import jobs, launch, repeats, timing

pytestmark = pytest.mark.alone


class BusyArm:
    """Works for a known time on every input."""

    def __init__(self, busy_s: float) -> None:
        self.busy_s, self.next = busy_s, 0
        self.asked: list[int] = []

    def call(self, native: int) -> int:
        self.asked.append(native)
        return self.work(native)

    def work(self, native: int) -> int:
        end = time.thread_time() + self.busy_s  # CPU time is what decides
        while time.thread_time() < end:
            pass
        return native

    def unseen(self, count: int) -> Sequence[int]:
        self.next += count
        return list(range(self.next - count, self.next))


class CachingArm(BusyArm):
    """Works only on inputs that it has not answered yet."""

    def __init__(self, busy_s: float) -> None:
        super().__init__(busy_s)
        self.answers: dict[int, int] = {}

    def call(self, native: int) -> int:
        if native not in self.answers:
            self.answers[native] = self.work(native)
        return self.answers[native]


def effects_of(arm: repeats.RepeatableArm, launches: int = 3) -> list[tuple[float, ...]]:
    return [repeats.measure(arm, timing.LaunchPlan(seconds=1.0, seed=number, threads=1)) for number in range(launches)]


def test_an_arm_that_remembers_its_answers_is_found() -> None:
    assert "answers are cached" in repeats.caching(effects_of(CachingArm(0.002)), 0.002)


def test_two_launches_of_slow_calls_are_enough_to_find_it() -> None:
    effects = effects_of(CachingArm(0.004), launches=2)
    assert "answers are cached" in repeats.caching([of_launch[: repeats.BLOCKS] for of_launch in effects], 0.004)


def test_an_arm_that_works_on_every_input_is_not_suspected() -> None:
    assert repeats.caching(effects_of(BusyArm(0.002)), 0.002) == ""


def test_no_input_that_counts_as_unseen_was_asked_before() -> None:
    arm = BusyArm(0.0005)
    repeats.measure(arm, timing.LaunchPlan(seconds=1.0, seed=1, threads=1))
    counts = {native: arm.asked.count(native) for native in set(arm.asked)}
    repeated = counts.pop(0)
    assert set(counts.values()) == {1}
    assert repeated == sum(counts.values()) + 2  # as many, and two to warm up


def test_a_speed_up_below_the_bound_is_left_to_the_processors_caches() -> None:
    assert repeats.caching([[-0.05] * 8] * 5, 0.01) == ""


def test_a_speed_up_that_may_be_chance_is_none() -> None:
    assert repeats.caching([[-0.9], [0.5], [-0.8], [0.4], [-0.7]], 0.01) == ""
    assert repeats.caching([], 0.01) == ""


@pytest.mark.parametrize(
    ("call_s", "factor", "found"),
    [(0.01, 1.09, False), (0.01, 1.12, True), (0.0001, 1.18, False), (0.0001, 1.22, True)],
)
def test_the_bound_is_ten_percent_and_twice_that_for_short_calls(call_s: float, factor: float, found: bool) -> None:
    steady = [0.0, 0.001, -0.001]
    effects = [[-math.log(factor) + noise + launch / 1e4 for noise in steady] for launch in range(5)]
    assert bool(repeats.caching(effects, call_s)) == found


def test_a_launch_of_a_real_model_says_how_repeated_inputs_fare(tmp_path: Path) -> None:
    artifact.save(small_models.candidate(), tmp_path / "model")
    np.save(tmp_path / "inputs.npy", np.random.default_rng(0).normal(size=(8, *small_models.SHAPE)).astype(np.float32))
    job = jobs.LaunchJob(
        artifacts=(tmp_path / "model", tmp_path / "model"),
        batch=1,
        plan=timing.LaunchPlan(seconds=0.5, seed=1, threads=1),
        input_file=tmp_path / "inputs.npy",
    )
    done = [launch.launch(job, tmp_path, lambda event: None) for _ in range(3)]
    assert all(len(each.repeat_effects) >= repeats.BLOCKS for each in done)
    assert repeats.caching([each.repeat_effects for each in done], 0.01) == ""
