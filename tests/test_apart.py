"""Sides of a launch in processes of their own: timed like others, one active at a time, lost with a reason."""

from __future__ import annotations

import faulthandler
import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil
import pytest

import small_models
from paretoboard import artifact, profiles
from paretoboard.locations import profiles_folder
from paretoboard_runners import apart, controls, jobs, repeats, timing
from paretoboard_runners.client import JobLimits, Worker
from paretoboard_runners.launch import launch

pytestmark = pytest.mark.alone


class BusyArm:
    """A call that keeps its thread busy for a known time."""

    def __init__(self, busy_s: float = 0.001) -> None:
        self.busy_s = busy_s

    def refresh(self) -> None:
        pass

    def inputs(self) -> Sequence[int]:
        return [0, 1, 2]

    def call(self, native: int) -> int:
        end = time.thread_time() + self.busy_s
        while time.thread_time() < end:
            pass
        return native

    def classes_of(self, output: int) -> Sequence[int]:
        return [10 + output]


class SpinningArm(BusyArm):
    """One whose runtime has a thread that waits by spinning."""

    def __init__(self, busy_s: float = 0.001) -> None:
        super().__init__(busy_s)
        threading.Thread(target=self._spin, daemon=True).start()

    def _spin(self) -> None:
        while True:
            pass


class FailingArm(BusyArm):
    def call(self, native: int) -> int:
        raise CodedError(7, "no more")


class CodedError(Exception):
    """One that can't be made from what it says."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(f"{code}: {text}")


class DyingArm(BusyArm):
    def call(self, native: int) -> int:
        faulthandler.disable()  # pytest's, which would print where
        os.kill(os.getpid(), signal.SIGSEGV)
        time.sleep(10)
        return 0


@contextmanager
def sides(*arms: type[BusyArm] | BusyArm) -> Iterator[list[apart.Apart]]:
    made: list[apart.Apart] = []
    try:
        for number, arm in enumerate(arms):
            made.append(
                apart.Apart(lambda arm=arm: timing.Here(arm() if isinstance(arm, type) else arm), name=f"side {number}")
            )
        yield made
    finally:
        for side in made:
            side.close()


def plan(seconds: float = 0.6) -> timing.LaunchPlan:
    return timing.LaunchPlan(seconds=seconds, seed=1, threads=2)


def test_the_times_are_those_of_the_calls_in_both_processes() -> None:
    with sides(BusyArm(0.003), BusyArm(0.006)) as made:
        assert len({os.getpid(), *(side.pid for side in made)}) == 3
        done = timing.drive(made, plan())
    columns = done.calls.arrays()
    cpu_ms = [np.median(columns["cpu_ns"][columns["arm"] == arm]) / 1e6 for arm in (0, 1)]
    assert cpu_ms == pytest.approx([3, 6], rel=0.1)
    assert set(Counter(done.calls.window)) == set(range(len(done.windows)))
    in_order = np.diff(columns["start_ns"])
    assert bool((in_order >= columns["wall_ns"][:-1]).all())  # one at a time, by one clock


def test_answers_that_were_kept_are_those_of_their_inputs() -> None:
    with sides(BusyArm(0.001), BusyArm(0.001)) as made:
        outputs = timing.drive(made, plan(1.5)).outputs
    assert {kept.arm for kept in outputs} == {0, 1}
    assert all(kept.classes == (10 + kept.position,) for kept in outputs)


def test_a_side_that_nobody_asks_takes_no_time_even_if_its_threads_spin() -> None:
    with sides(SpinningArm, BusyArm(0.002)) as (spinning, other):
        spinning.fresh(64)
        before = psutil.Process(spinning.pid)
        assert before.status() == psutil.STATUS_STOPPED
        used_s = sum(before.cpu_times()[:2])
        other.fresh(64)
        for leg in range(10):
            other.leg(leg, 5, 2, time.perf_counter_ns(), keep=False)
        assert sum(psutil.Process(spinning.pid).cpu_times()[:2]) == used_s


def test_a_side_that_is_lost_is_named_with_what_ended_it() -> None:
    with sides(BusyArm(0.001), DyingArm) as (_, dying):
        dying.fresh(64)
        with pytest.raises(apart.SideLostError, match="side 1 was lost while it was timed: killed by SIGSEGV"):
            dying.warm_up(1)


def test_a_side_killed_while_it_is_stopped_is_lost_too() -> None:
    with sides(BusyArm(0.001)) as (side,):
        os.kill(side.pid, signal.SIGKILL)
        with pytest.raises(apart.SideLostError, match="killed by SIGKILL"):
            side.fresh(64)


def test_what_a_side_raises_is_raised_here() -> None:
    def unable() -> timing.Here:
        raise MemoryError("no room")

    with pytest.raises(MemoryError, match="no room"):
        apart.Apart(unable, name="side")
    with sides(FailingArm(0.001)) as (side,):
        side.fresh(64)
        with pytest.raises(RuntimeError, match="CodedError: 7: no more"):
            side.warm_up(1)
        side.fresh(64)  # it answers on


def test_no_process_is_left() -> None:
    before = {child.pid for child in psutil.Process().children(recursive=True)}
    with sides(BusyArm(0.001), SpinningArm) as made:
        pids = {side.pid for side in made}
        assert pids <= {child.pid for child in psutil.Process().children()}
    assert {child.pid for child in psutil.Process().children(recursive=True)} == before


def test_with_several_threads_each_artifact_of_a_launch_has_a_process_of_its_own(tmp_path: Path) -> None:
    for name in ("a", "b"):
        artifact.save(small_models.candidate(), tmp_path / name)
    np.save(tmp_path / "inputs.npy", np.random.default_rng(0).normal(size=(8, *small_models.SHAPE)).astype(np.float32))
    job = jobs.LaunchJob(
        artifacts=(tmp_path / "a", tmp_path / "b"),
        batch=1,
        plan=plan(),
        input_file=tmp_path / "inputs.npy",
        apart=True,
    )
    profile = profiles.load("cpu-all", profiles_folder())
    cores = tuple(sorted(os.sched_getaffinity(0)))
    with Worker(profile, cores=cores, environment=controls.session_environment(profile, cores)) as worker:
        done, folder = worker.do(
            "paretoboard_runners.launch:launch", job, jobs.LaunchResult, limits=JobLimits(timeout_s=120)
        )
        with np.load(folder / "calls.npz", allow_pickle=False) as calls:
            assert set(calls["arm"]) == {0, 1}
            assert bool((calls["cpu_ns"] > 0).all())
    assert len(done.repeat_effects) >= repeats.BLOCKS
    answers = {(kept.position, kept.classes) for kept in done.outputs}
    assert len(answers) == len({position for position, _ in answers})  # the same network answers the same in both


def test_a_model_that_can_not_be_opened_apart_fails_as_it_does_in_one_process(tmp_path: Path) -> None:
    np.save(tmp_path / "inputs.npy", np.zeros((8, *small_models.SHAPE), dtype=np.float32))
    job = jobs.LaunchJob(
        artifacts=(tmp_path / "none", tmp_path / "none"), batch=1, plan=plan(), input_file=tmp_path / "inputs.npy"
    )
    seen = []
    for own in (False, True):
        with pytest.raises(Exception) as raised:  # noqa: PT011 - which one, the first says
            launch(replace(job, apart=own), tmp_path, lambda event: None)
        seen.append((type(raised.value), str(raised.value)))
    assert seen[0] == seen[1]
