"""One launch of timed calls: what is interleaved how, and that nothing is lost."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from itertools import groupby

import pytest

from paretoboard_runners import timing

pytestmark = pytest.mark.alone


class SleepingArm:
    """A call that keeps the thread busy for a known time, and remembers what it was asked."""

    def __init__(self, busy_s: float, answers: Sequence[int] = (0, 1, 2)) -> None:
        self.busy_s, self.answers = busy_s, answers
        self.refreshed = self.called = 0

    def refresh(self) -> None:
        self.refreshed += 1

    def inputs(self) -> Sequence[int]:
        return list(range(len(self.answers)))

    def call(self, native: int) -> int:
        self.called += 1
        end = time.perf_counter() + self.busy_s
        while time.perf_counter() < end:
            pass
        return native

    def classes_of(self, output: int) -> Sequence[int]:
        return [self.answers[output]]


def launch(*arms: SleepingArm, seconds: float = 0.6, seed: int = 1, threads: int = 1) -> timing.Launch:
    return timing.run_launch(arms, timing.LaunchPlan(seconds=seconds, seed=seed, threads=threads))


def legs_of(log: timing.CallLog) -> dict[tuple[int, int], list[int]]:
    """Order of the arms in each (window, block), for calls so long that each is a leg."""
    rows = zip(log.window, log.block, log.arm, strict=True)
    return {key: [arm for _, _, arm in group] for key, group in groupby(rows, key=lambda row: row[:2])}


def test_every_block_of_two_arms_is_abba_or_baab_and_both_occur() -> None:
    log = launch(SleepingArm(0.004), SleepingArm(0.004)).calls
    orders = Counter(tuple(legs) for legs in legs_of(log).values())
    assert set(orders) == {(0, 1, 1, 0), (1, 0, 0, 1)}


def test_a_window_never_begins_with_the_arm_that_was_warmed_up_last() -> None:
    called: list[int] = []

    class Remembering(SleepingArm):
        def __init__(self, number: int) -> None:
            super().__init__(0.004)
            self.number = number

        def refresh(self) -> None:
            called.append(-1)

        def call(self, native: int) -> int:
            called.append(self.number)
            return super().call(native)

    log = launch(Remembering(0), Remembering(1), seconds=3.0).calls
    # Both are refreshed, then warmed up (three times in the first window, once in all others), then timed.
    starts = [at + 1 for at, number in enumerate(called) if number == -1 and called[at + 1] != -1]
    warmed = [called[at + (5 if window == 0 else 1)] for window, at in enumerate(starts)]
    first = [called[at + (6 if window == 0 else 2)] for window, at in enumerate(starts)]
    assert len(starts) == len(set(log.window)) >= 3
    assert all(last != begun for last, begun in zip(warmed, first, strict=True))
    assert set(first) == {0, 1}


def test_three_arms_run_in_a_random_order_and_its_mirror() -> None:
    log = launch(*[SleepingArm(0.004) for _ in range(3)]).calls
    for legs in legs_of(log).values():
        assert sorted(legs[:3]) == [0, 1, 2]
        assert legs[3:] == legs[:3][::-1]


def test_a_leg_of_short_calls_lasts_about_two_milliseconds_and_has_two_at_least() -> None:
    assert [timing.leg_of(round(ms * 1e6)) for ms in (0.0001, 0.01, 0.2, 1.0, 2.9, 3.0, 500)] == [
        20_000,
        200,
        10,
        2,
        2,
        1,
        1,
    ]


def test_a_call_that_was_held_up_while_warming_up_does_not_shorten_the_legs() -> None:
    class HeldUpOnce(SleepingArm):
        def call(self, native: int) -> int:
            answer = super().call(native)
            if self.called == 2:
                time.sleep(0.05)
            return answer

    log = launch(HeldUpOnce(0.0015), HeldUpOnce(0.0015)).calls
    assert Counter(log.arm)[0] == 2 * 2 * len(set(zip(log.window, log.block, strict=True)))


def test_all_legs_of_an_arm_in_a_window_have_equally_many_calls_and_short_ones_more() -> None:
    log = launch(SleepingArm(0.0002), SleepingArm(0.004)).calls
    rows = zip(log.window, log.block, log.arm, strict=True)
    sizes: dict[tuple[int, int], set[float]] = {}
    for (window, _), block in groupby(rows, key=lambda row: row[:2]):
        (outer, first), (inner, middle), (_, last) = [
            (arm, len(list(leg))) for arm, leg in groupby(arm for _, _, arm in block)
        ]
        sizes.setdefault((window, outer), set()).update((first, last))
        sizes.setdefault((window, inner), set()).add(middle / 2)  # two legs of one arm in a row
    assert all(len(of_arm) == 1 for of_arm in sizes.values())
    assert all(min(sizes[window, 0]) > min(sizes[window, 1]) == 1 for window in set(log.window))


def test_arms_of_like_speed_get_legs_of_equally_many_calls_in_every_window() -> None:
    # Alone, a call of 0.75 ms would get legs of three and one of 0.85 ms legs of two.
    log = launch(SleepingArm(0.00075), SleepingArm(0.00085), seconds=1.2).calls
    calls = Counter(zip(log.window, log.arm, strict=True))
    assert all(calls[window, 0] == calls[window, 1] for window in set(log.window))


def test_a_launch_fills_two_windows_of_four_blocks_however_slow_the_calls() -> None:
    log = launch(SleepingArm(0.02), SleepingArm(0.02), seconds=0.01).calls
    blocks = Counter(window for window, _ in legs_of(log))
    assert set(blocks) == {0, 1}
    assert all(count >= timing.WINDOW_BLOCKS for count in blocks.values())


def test_weights_are_put_into_fresh_buffers_once_a_window_and_warm_up_calls_are_not_recorded() -> None:
    arms = SleepingArm(0.004), SleepingArm(0.004)
    done = launch(*arms)
    windows = len(done.windows)
    assert [arm.refreshed for arm in arms] == [windows, windows]
    recorded = Counter(done.calls.arm)
    assert [arm.called - recorded[index] for index, arm in enumerate(arms)] == [3 + windows - 1] * 2


def test_the_times_are_those_of_the_calls() -> None:
    done = launch(SleepingArm(0.002), SleepingArm(0.006))
    arrays = done.calls.arrays()
    for arm, busy_ns in ((0, 2_000_000), (1, 6_000_000)):
        walls = arrays["wall_ns"][arrays["arm"] == arm]
        assert walls.min() >= busy_ns
        cpus = arrays["cpu_ns"][arrays["arm"] == arm]
        assert 0 < cpus.min() <= busy_ns * 1.2
    starts = arrays["start_ns"]
    assert (starts[1:] >= starts[:-1] + arrays["wall_ns"][:-1]).all()


def test_the_same_seed_gives_the_same_order() -> None:
    def first_blocks(seed: int) -> list[list[int]]:
        log = launch(SleepingArm(0.004), SleepingArm(0.004), seed=seed).calls
        return [legs for (window, block), legs in legs_of(log).items() if window == 0 and block < timing.WINDOW_BLOCKS]

    assert first_blocks(5) == first_blocks(5)
    assert first_blocks(5) != first_blocks(7)


def test_kept_outputs_are_what_the_call_answered_for_that_input() -> None:
    answers = (7, 8, 9)
    done = launch(SleepingArm(0.0005, answers), SleepingArm(0.0005, answers), seconds=1.0)
    assert done.outputs
    assert all(kept.classes == (answers[kept.position],) for kept in done.outputs)
    assert len(done.outputs) < len(done.calls.arm) / 4


@pytest.mark.parametrize("threads", [1, 2])
def test_all_columns_have_one_entry_per_call(threads: int) -> None:
    arrays = launch(SleepingArm(0.004), SleepingArm(0.004), threads=threads).calls.arrays()
    assert len({len(column) for column in arrays.values()}) == 1
