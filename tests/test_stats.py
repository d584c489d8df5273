"""What the protocol's arithmetic promises: symmetry, coverage, and no verdict that the calls don't carry."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from paretoboard import stats
from paretoboard.records import Calls, Comparison

TOLERANCE = 0.015

times = st.lists(st.floats(1e-6, 1e3), min_size=1, max_size=30).map(np.array)
launches_of_effects = st.lists(st.lists(st.floats(-0.3, 0.3), min_size=1, max_size=5), min_size=1, max_size=10)


def some_calls(
    *,
    ratio: float = 1.0,
    launches: int = 8,
    windows: int = 6,
    blocks: int = 5,
    threads: int = 1,
    wall_ratio: float | None = None,
    held_up: float = 0.0,
    layout_sd: float = 0.006,
    noise: float = 0.01,
    seed: int = 0,
) -> Calls:
    """Calls of 3 ms in ABBA blocks, arm 1 taking `ratio` times as long.

    Args:
        wall_ratio: by how much longer arm 1 waits on the wall clock; as `ratio` where not given.
        held_up: share of calls that wait three times as long and are switched out meanwhile.
        layout_sd: by how much a launch's memory layout moves its ratio; the same in both arms' clocks.
    """
    rng = np.random.default_rng(seed)
    shape = (launches, windows, blocks, 4)
    launch, window, block, position = (index.ravel() for index in np.indices(shape))
    arm = np.isin(position, (1, 2)).astype(np.int8)
    layout = rng.normal(0, layout_sd, launches)[launch]
    drift = rng.normal(0, 0.05, (launches, windows))[launch, window]
    base_ns = 3e6 * np.exp(drift + arm * layout + noise * rng.exponential(1, len(arm)))
    cpu_ns = base_ns * np.where(arm == 1, ratio, 1.0)
    wall_ns = base_ns * np.where(arm == 1, wall_ratio or ratio, 1.0) * 1.001
    switched = rng.random(len(arm)) < held_up
    wall_ns = np.where(switched, wall_ns * 3, wall_ns)
    return Calls(
        batch=np.ones(len(arm), np.int32),
        launch=launch.astype(np.int16),
        window=window.astype(np.int16),
        block=block.astype(np.int32),
        arm=arm,
        start_ns=np.cumsum(wall_ns).astype(np.int64),
        wall_ns=wall_ns.astype(np.int64),
        cpu_ns=(cpu_ns * threads).astype(np.int64),
        switches=switched.astype(np.int32),
        reference=np.zeros(len(arm), np.int8),
    )


def compared(calls: Calls, **changes: Any) -> Comparison:
    options: dict[str, Any] = {"batch": 1, "threads": 1, "against": "baseline", "tolerance": TOLERANCE}
    return stats.compare_calls(calls, **(options | changes))


def an_effect(log_ratio: float, half: float, **changes: Any) -> stats.Effect:
    fields: dict[str, Any] = {
        "log_ratio": log_ratio,
        "low": log_ratio - half,
        "high": log_ratio + half,
        "confidence": 0.95,
        "by_launch": (log_ratio,) * 8,
        "windows": 40,
        "method": "t over launches",
        "p_value": 0.5,
    }
    return stats.Effect(**(fields | changes))


# ---- effects


@given(times, times, st.floats(1e-3, 1e3))
def test_a_window_effect_has_no_unit_and_is_negated_by_swapping(a: Any, b: Any, scale: float) -> None:
    effect = stats.window_effect(a, b)
    assert stats.window_effect(b, a) == -effect
    assert stats.window_effect(a * scale, b * scale) == pytest.approx(effect, abs=1e-9)
    assert stats.window_effect(a, b * scale) == pytest.approx(effect + math.log(scale), abs=1e-9)
    assert stats.window_effect(a[::-1], b[::-1]) == pytest.approx(effect, abs=1e-12)


@given(times)
def test_the_upper_half_of_a_windows_times_does_not_matter(a: Any) -> None:
    disturbed = np.sort(a)
    disturbed[(len(a) + 1) // 2 :] += 1e6
    assert stats.window_effect(a, disturbed) == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize(
    ("values", "mean"), [([4.0], 4.0), ([1.0, 9.0], 1.0), ([9.0, 1.0, 2.0], 1.5), ([4.0, 3.0, 2.0, 1.0], 1.5)]
)
def test_the_lower_half_of_an_odd_number_includes_the_middle_one(values: list[float], mean: float) -> None:
    assert stats.window_effect(np.ones(1), np.array(values)) == pytest.approx(math.log(mean))


def test_a_window_without_times_or_with_times_of_zero_has_no_effect() -> None:
    with pytest.raises(ValueError, match="no times"):
        stats.window_effect(np.array([]), np.ones(3))
    with pytest.raises(ValueError, match="above zero"):
        stats.window_effect(np.ones(3), np.zeros(3))
    with pytest.raises(ValueError, match="no window"):
        stats.estimate([[], []])


@given(launches_of_effects)
def test_swapping_the_arms_negates_the_estimate_its_interval_and_its_verdict(
    effects: list[list[float]],
) -> None:
    ours = stats.estimate(effects)
    swapped = stats.estimate([[-effect for effect in launch] for launch in effects])
    assert (swapped.log_ratio, swapped.low, swapped.high) == pytest.approx(
        (-ours.log_ratio, -ours.high, -ours.low), abs=1e-12
    )
    assert swapped.p_value == pytest.approx(ours.p_value) if ours.p_value is not None else swapped.p_value is None
    opposite = {"better": "worse", "worse": "better"}
    verdict = stats.judge(ours, TOLERANCE)
    assert stats.judge(swapped, TOLERANCE) == opposite.get(verdict, verdict)


@given(launches_of_effects, st.floats(-0.2, 0.2), st.randoms())
def test_the_estimate_moves_with_its_effects_and_does_not_ask_for_their_order(
    effects: list[list[float]], shift: float, order: Any
) -> None:
    ours = stats.estimate(effects)
    moved = [[effect + shift for effect in launch] for launch in effects]
    order.shuffle(moved)
    for launch in moved:
        order.shuffle(launch)
    theirs = stats.estimate(moved)
    assert (theirs.log_ratio, theirs.low, theirs.high) == pytest.approx(
        (ours.log_ratio + shift, ours.low + shift, ours.high + shift), abs=1e-12
    )
    assert theirs.low <= theirs.log_ratio <= theirs.high


def test_launches_that_agree_to_the_last_digit_leave_no_doubt() -> None:
    assert stats.estimate([[0.02]] * 6).p_value == 0.0
    assert stats.estimate([[0.0]] * 6).p_value == 1.0


def test_five_windows_of_one_launch_have_no_95_percent_interval() -> None:
    few = stats.estimate([[0.1, 0.11, 0.12, 0.13, 0.14]])
    assert (few.low, few.high, few.p_value) == (-math.inf, math.inf, None)
    assert stats.judge(few, TOLERANCE) == "undecided"
    enough = stats.estimate([[0.1, 0.11, 0.12, 0.13, 0.14, 0.15]])
    assert (enough.low, enough.high) == (0.1, 0.15)


def test_intervals_over_launches_hold_the_truth_as_often_as_they_say() -> None:
    rng = np.random.default_rng(11)
    truth, trials = 0.01, 2000
    held = 0
    for _ in range(trials):
        launches = truth + rng.normal(0, 0.006, 8)[:, None] + rng.normal(0, 0.01, (8, 5))
        found = stats.estimate(launches.tolist())
        held += found.low <= truth <= found.high
    assert 0.93 <= held / trials <= 0.97


def test_intervals_over_independent_windows_hold_the_truth_as_often_as_they_say() -> None:
    rng = np.random.default_rng(12)
    trials = 1000
    held = sum(
        found.low <= 0 <= found.high
        for found in (stats.estimate(rng.normal(0, 0.01, (2, 8)).tolist()) for _ in range(trials))
    )
    assert 0.93 <= held / trials <= 0.975


# ---- verdicts


@pytest.mark.parametrize(
    ("log_ratio", "half", "verdict"),
    [
        (0.020, 0.005, "worse"),
        (-0.020, 0.005, "better"),
        (0.020, 0.021, "undecided"),  # the interval holds zero
        (0.014, 0.001, "same"),  # real, and below what counts
        (0.014, 0.017, "undecided"),  # could be twice what counts
        (0.000, 0.029, "same"),
        (0.000, 0.030, "undecided"),
        (0.0148, 0.001, "same"),
        (0.0150, 0.001, "worse"),  # ln 1.015 is 0.01489
    ],
)
def test_verdicts_follow_the_interval_and_the_tolerance(log_ratio: float, half: float, verdict: str) -> None:
    assert stats.judge(an_effect(log_ratio, half), TOLERANCE) == verdict


def test_with_too_few_launches_for_an_interval_over_them_each_has_to_say_so() -> None:
    split = an_effect(0.05, 0.01, by_launch=(0.001, 0.1), method="Wilcoxon over windows")
    assert stats.judge(split, TOLERANCE) == "undecided"
    agreed = dataclasses.replace(split, by_launch=(0.04, 0.06))
    assert stats.judge(agreed, TOLERANCE) == "worse"


# ---- comparisons from raw calls


@pytest.mark.parametrize(("ratio", "verdict"), [(1.05, "worse"), (1 / 1.05, "better"), (1.0, "same"), (0.25, "better")])
def test_a_comparison_finds_the_ratio_that_was_planted(ratio: float, verdict: str) -> None:
    found = compared(some_calls(ratio=ratio))
    assert (found.verdict, found.reason, found.clock) == (verdict, "", "cpu")
    assert found.low <= ratio <= found.high
    assert found.ratio == pytest.approx(ratio, rel=0.01)
    assert (found.launches, found.windows, found.batch, found.against) == (8, 48, 1, "baseline")


def test_in_a_hundred_trials_each_no_false_alarm_and_three_percent_found() -> None:
    same = [compared(some_calls(seed=seed), look=1).verdict for seed in range(100)]
    slower = [compared(some_calls(ratio=1.03, seed=seed), look=1).verdict for seed in range(100, 200)]
    assert {"better", "worse"}.isdisjoint(same)
    assert same.count("same") >= 90
    assert slower.count("worse") >= 90
    assert "better" not in slower


def test_calls_after_one_of_the_other_arm_do_not_count() -> None:
    # Caches full of the other arm's data cost every such call a millisecond, and hide a part of the difference.
    rng = np.random.default_rng(0)
    launch, window, block = (np.repeat(index.ravel(), 8) for index in np.indices((8, 10, 12)))
    coins = rng.integers(0, 2, len(launch) // 8)
    arm = np.repeat(np.column_stack([coins, 1 - coins, 1 - coins, coins]).ravel(), 2).astype(np.int8)
    switched = (np.diff(arm, prepend=-1) != 0) | (np.diff(window, prepend=-1) != 0)
    base_ns = 3e6 * np.where(arm == 1, 1.03, 1.0) * np.exp(rng.exponential(0.01, len(arm)))
    cpu_ns = (base_ns + 1e6 * switched).astype(np.int64)
    calls = Calls(
        batch=np.ones(len(arm), np.int32),
        launch=launch.astype(np.int16),
        window=window.astype(np.int16),
        block=block.astype(np.int32),
        arm=arm,
        start_ns=np.cumsum(cpu_ns),
        wall_ns=cpu_ns,
        cpu_ns=cpu_ns,
        switches=np.zeros(len(arm), np.int32),
        reference=np.zeros(len(arm), np.int8),
    )
    found = compared(calls)
    assert found.verdict == "worse"
    assert found.low <= 1.03 <= found.high
    assert found.high - found.low < 0.002


def test_calls_in_any_order_and_of_other_batches_change_nothing() -> None:
    calls = some_calls(ratio=1.04)
    other = dataclasses.replace(some_calls(ratio=3.0), batch=np.full(len(calls.arm), 32, np.int32))
    order = np.random.default_rng(0).permutation(2 * len(calls.arm))
    mixed = Calls(
        **{
            field.name: np.concatenate([getattr(calls, field.name), getattr(other, field.name)])[order]
            for field in dataclasses.fields(Calls)
        }
    )
    assert compared(mixed) == compared(calls)


def test_calls_timed_with_a_reference_are_judged_apart_from_those_timed_with_the_baseline() -> None:
    with_baseline, twin = some_calls(ratio=1.04), some_calls(ratio=0.5)
    with_reference = dataclasses.replace(twin, reference=np.full(len(twin.arm), 2, np.int8), launch=twin.launch + 8)
    both = Calls(
        **{
            field.name: np.concatenate([getattr(with_reference, field.name), getattr(with_baseline, field.name)])
            for field in dataclasses.fields(Calls)
        }
    )
    assert compared(both) == compared(with_baseline)
    assert compared(both, reference=2, against="ort-fp32") == compared(twin, against="ort-fp32")
    assert compared(both, reference=1).windows == 0


def test_swapping_the_arms_of_the_calls_turns_the_comparison_over() -> None:
    calls = some_calls(ratio=1.04)
    swapped = dataclasses.replace(calls, arm=1 - calls.arm)
    ours, theirs = compared(calls), compared(swapped)
    assert (theirs.ratio, theirs.low, theirs.high) == pytest.approx((1 / ours.ratio, 1 / ours.high, 1 / ours.low))
    assert (ours.verdict, theirs.verdict) == ("worse", "better")


def test_where_a_second_look_is_allowed_both_looks_are_at_97_and_a_half_percent() -> None:
    calls = some_calls()
    once, first, second = compared(calls), compared(calls, look=1), compared(calls, look=2)
    assert (once.confidence, first.confidence, second.confidence) == (0.95, 0.975, 0.975)
    assert first.low < once.low < once.high < first.high


def test_what_is_undecided_says_why_and_asks_for_a_second_look() -> None:
    wide = compared(some_calls(layout_sd=0.08))
    assert wide.verdict == "undecided"
    assert wide.reason.startswith("the interval is too wide: -")
    assert stats.wants_second_look(wide)
    assert not stats.wants_second_look(compared(some_calls(ratio=1.05)))
    assert not stats.wants_second_look(compared(some_calls()))


def test_one_thread_that_only_waits_longer_is_wall_only() -> None:
    found = compared(some_calls(ratio=1.0, wall_ratio=1.2))
    assert (found.verdict, found.reason, found.clock) == ("same", "wall only", "cpu")
    assert found.ratio == pytest.approx(1.0, abs=0.01)


def test_less_cpu_time_and_more_wall_time_is_no_gain() -> None:
    found = compared(some_calls(ratio=0.5, wall_ratio=1.2))
    assert (found.verdict, found.reason) == ("undecided", "CPU and wall time disagree")
    assert not stats.wants_second_look(found)


def test_one_threads_verdict_stands_beside_disturbed_wall_time() -> None:
    found = compared(some_calls(ratio=1.05, held_up=0.3))
    assert (found.verdict, found.reason) == ("worse", "")


def test_several_threads_are_judged_by_the_wall_time_of_calls_that_nothing_held_up() -> None:
    # Nearly two thirds of the calls held up: in most windows they reach into the lower half.
    calls = some_calls(ratio=1.05, threads=2, held_up=0.6, blocks=12)
    found = compared(calls, threads=2)
    assert (found.verdict, found.clock, found.launches) == ("worse", "wall", 8)
    assert found.ratio == pytest.approx(1.05, rel=0.01)
    assert compared(calls, threads=2).high < compared(calls, threads=1, clock="wall").high


def test_several_threads_that_are_always_held_up_are_judged_by_all_their_calls() -> None:
    found = compared(some_calls(ratio=1.1, threads=2, held_up=1.0), threads=2)
    assert (found.windows, found.verdict) == (48, "worse")


def test_the_time_of_another_device_is_taken_as_it_is() -> None:
    calls = some_calls(ratio=0.5, wall_ratio=1.2)
    found = compared(calls, clock="wall")
    assert (found.verdict, found.clock) == ("worse", "wall")


@pytest.mark.parametrize(("launches", "windows"), [(8, 1), (6, 1)])
def test_too_few_windows_of_a_full_budget_are_an_overloaded_machine(launches: int, windows: int) -> None:
    found = compared(some_calls(ratio=2.0, launches=launches, windows=windows))
    assert found.verdict == "undecided"
    assert found.reason.startswith(f"machine overloaded: {launches} launches with {launches * windows} windows left")
    assert stats.wants_second_look(found)


def test_launches_without_a_full_window_are_an_overloaded_machine() -> None:
    calls = some_calls(ratio=2.0, launches=8, windows=6)
    # All but the first call of four launches are lost.
    kept = (calls.launch < 4) | ((calls.block == 0) & (calls.arm == 0))
    partial = Calls(**{field.name: getattr(calls, field.name)[kept] for field in dataclasses.fields(Calls)})
    found = compared(partial)
    assert (found.verdict, found.launches) == ("undecided", 4)
    assert found.reason == "machine overloaded: 4 launches with 24 windows left, 5 with 12 are needed"


def test_no_call_at_all_is_undecided_and_not_a_crash() -> None:
    found = compared(some_calls(), batch=7)
    assert (found.verdict, found.reason) == ("undecided", "machine overloaded: no window left")
    assert math.isnan(found.ratio)
    assert (found.low, found.high, found.launches, found.p_value) == (0.0, math.inf, 0, None)


def test_calls_too_short_for_the_clock_carry_no_effect() -> None:
    calls = some_calls()
    found = compared(dataclasses.replace(calls, cpu_ns=np.zeros_like(calls.cpu_ns)))
    assert found.reason == "machine overloaded: no window left"


def test_a_smoke_budget_of_two_launches_can_decide_a_large_effect() -> None:
    found = compared(some_calls(ratio=0.5, launches=2, windows=8), look=1)
    assert (found.verdict, found.launches, found.windows) == ("better", 2, 16)


def test_a_smoke_budget_with_too_few_windows_says_so() -> None:
    found = compared(some_calls(ratio=0.5, launches=2, windows=3), look=1)
    assert (found.verdict, found.reason) == ("undecided", "6 windows are too few for an interval of 97.5%")
    assert found.high == math.inf


def test_two_launches_that_disagree_decide_nothing() -> None:
    one, other = some_calls(ratio=1.2, launches=1, windows=8), some_calls(ratio=1.0, launches=1, windows=6)
    other = dataclasses.replace(other, launch=np.ones_like(other.launch))
    both = Calls(
        **{
            field.name: np.concatenate([getattr(one, field.name), getattr(other, field.name)])
            for field in dataclasses.fields(Calls)
        }
    )
    found = compared(both, tolerance=0.015)
    assert found.verdict == "undecided"
    assert "launches disagree" in found.reason or "too wide" in found.reason


def test_a_short_budget_of_five_launches_with_two_windows_each_is_enough() -> None:
    assert compared(some_calls(ratio=1.1, launches=5, windows=2)).verdict == "worse"


def test_an_effect_that_stands_alone_may_not_stand_among_many() -> None:
    weak = dataclasses.replace(compared(some_calls(ratio=1.05)), p_value=0.02)
    strong = dataclasses.replace(weak, p_value=1e-6)
    unknown = dataclasses.replace(weak, p_value=None, verdict="undecided", reason="too few")
    same = dataclasses.replace(weak, p_value=0.5, verdict="same")
    assert stats.under_holm([weak]) == (weak,)
    held = stats.under_holm([weak, strong, unknown, same, same])
    assert (held[1:], held[0].verdict) == ((strong, unknown, same, same), "undecided")
    assert held[0].reason == "does not stand among 4 comparisons: p is 0.06 by Holm"


# ---- shares and quantiles


@given(st.integers(1, 300).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_holds_the_share_and_mirrors(count: tuple[int, int]) -> None:
    right, n = count
    found, mirrored = stats.wilson(right, n), stats.wilson(n - right, n)
    assert 0 <= found.low <= right / n <= found.high <= 1
    assert (mirrored.low, mirrored.high) == pytest.approx((1 - found.high, 1 - found.low), abs=1e-12)


@settings(max_examples=200)
@given(
    st.integers(1, 2000).flatmap(
        lambda n: st.integers(0, n).flatmap(lambda b: st.tuples(st.just(b), st.integers(0, n - b), st.just(n)))
    )
)
def test_the_paired_interval_holds_the_difference_and_is_negated_by_swapping(case: tuple[int, int, int]) -> None:
    b, c, n = case
    found, swapped = stats.paired_difference_interval(b, c, n), stats.paired_difference_interval(c, b, n)
    assert -1 <= found.low <= (b - c) / n <= found.high <= 1
    assert found.low < found.high
    assert (swapped.low, swapped.high) == pytest.approx((-found.high, -found.low), abs=1e-12)
    assert stats.mcnemar_exact(b, c) == stats.mcnemar_exact(c, b)


def test_the_paired_interval_holds_the_truth_as_often_as_it_says() -> None:
    rng = np.random.default_rng(5)
    n, only_a, only_b = 500, 0.06, 0.03
    drawn = rng.multinomial(n, [only_a, only_b, 1 - only_a - only_b], size=1000)
    held = sum(only_a - only_b in stats.paired_difference_interval(int(b), int(c), n) for b, c, _ in drawn)
    assert 0.93 <= held / 1000 <= 0.97


@pytest.mark.parametrize(
    ("call", "named"),
    [
        (lambda: stats.wilson(3, 2), "3 successes of 2"),
        (lambda: stats.wilson(0, 0), "0 successes of 0"),
        (lambda: stats.wilson(1, 2, 95), "confidence 95"),
        (lambda: stats.mcnemar_exact(-1, 2), "can't be negative"),
        (lambda: stats.paired_difference_interval(5, 6, 10), "5 and 6 of 10 images"),
        (lambda: stats.quantile_interval(np.ones(5), 50), "quantile 50"),
        (lambda: stats.holm([0.1, 1.2]), "shares from 0 to 1"),
        (lambda: stats.quantile_over_launches(np.ones(5), np.zeros(5), 0.5), "1 launches"),
        (lambda: stats.quantile_over_launches(np.zeros(5), np.arange(5), 0.5), "not above zero"),
        (lambda: stats.bootstrap_macro(np.ones(5), np.ones(4)), r"\(5,\) and \(4,\)"),
    ],
)
def test_what_can_not_be_counted_is_refused_with_what_was_found(call: Any, named: str) -> None:
    with pytest.raises(ValueError, match=named):
        call()


def test_a_99th_percentile_of_a_hundred_samples_has_no_upper_bound() -> None:
    samples = np.arange(100)
    assert stats.quantile_interval(samples, 0.99) is None
    assert stats.quantile_interval(samples, 0.5) is not None


def test_a_quantile_over_launches_knows_that_launches_differ() -> None:
    rng = np.random.default_rng(7)
    launch = np.repeat(np.arange(8), 400)
    held = 0
    for _ in range(200):
        samples = np.exp(rng.normal(0, 0.05, 8)[launch] + rng.normal(0, 0.02, len(launch)))
        found = stats.quantile_over_launches(samples, launch, 0.5)
        assert found.low < found.value < found.high
        held += found.low <= 1.0 <= found.high
    assert held >= 180
    naive = stats.quantile_interval(samples, 0.5)
    assert naive is not None
    assert found.high - found.low > 5 * (naive.high - naive.low)


def test_resampling_is_repeatable_and_its_seed_matters() -> None:
    rng = np.random.default_rng(1)
    labels = rng.integers(0, 3, 90)
    predicted = np.where(rng.random(90) < 0.7, labels, 0)
    first = stats.bootstrap_macro(labels, predicted)
    assert first == stats.bootstrap_macro(labels, predicted)
    assert first != stats.bootstrap_macro(labels, predicted, seed=1)
    same = stats.bootstrap_contrast(labels, (predicted, predicted), (1.0, -1.0), "f1")
    assert (same.low, same.high) == (0.0, 0.0)
