"""What `make bench-rigor` counts: on recorded samples, without a clock."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("asv", reason="bench-rigor needs the extra 'bench'")
pytest.importorskip("pyperf", reason="bench-rigor needs the extra 'bench'")

from bench.rigor import judging, kernels, ours, plan, recordings, table
from bench.rigor.judging import Judgement
from bench.rigor.others import Times
from bench.rigor.plan import Item
from paretoboard.records import Calls


def an_item(*, kind: plan.Kind = "ours", planted: int = 0, index: int = 0) -> Item:
    return Item(
        index=index,
        kind=kind,
        kernel="matmul",
        load=0,
        planted=planted,
        seconds=2.5,
        launches=plan.LAUNCHES,
        looks=2,
        seed=1,
    )


def a_judgement(
    *, planted: int = 0, called: judging.Called = "same", error: float = 0.0, half: float = 0.01
) -> Judgement:
    truth = math.log1p(planted / 100)
    estimate = truth + error
    return Judgement(
        rule="rule",
        item=an_item(planted=planted),
        truth=truth,
        called=called,
        estimate=estimate,
        low=estimate - half,
        high=estimate + half,
        needed=0.02 + error,
    )


def some_calls(*, slowdown: float, launches: int = 8, windows: int = 6, noise: float = 0.005, seed: int = 1) -> Calls:
    """Calls of 3 ms, ten per arm and window; each launch has a small effect of its own."""
    rng = np.random.default_rng(seed)
    shape = (launches, windows, 10, 2)
    launch, window, block, arm = (index.ravel() for index in np.indices(shape))
    own = rng.normal(0, noise, launches)[launch] * arm
    times = 3e6 * np.exp(own + np.log1p(slowdown) * arm + rng.exponential(0.01, len(arm)))
    return Calls(
        batch=np.ones(len(arm), dtype=np.int32),
        launch=launch.astype(np.int16),
        window=window.astype(np.int16),
        block=block.astype(np.int32),
        arm=arm.astype(np.int8),
        start_ns=(window * 400_000_000 + block * 6_000_000 + arm * 3_000_000).astype(np.int64),
        wall_ns=np.rint(times / 100).astype(np.int64) * 100,
        cpu_ns=np.rint(times / 100).astype(np.int64) * 100,
        switches=np.zeros(len(arm), dtype=np.int32),
        reference=np.zeros(len(arm), dtype=np.int8),
    )


def some_times(seed: int, *, slowdown: float = 0.0, sequence: float = 0.002) -> Times:
    rng = np.random.default_rng(seed)

    def draw(count: int, mean_ns: float) -> np.ndarray:
        return np.rint(mean_ns * (1 + slowdown) * np.exp(rng.normal(0, sequence, count)))

    return Times(rounds=draw(500, 3e6), processes=[draw(132, 3e6) for _ in range(20)], loops=33, commands=draw(10, 1e9))


def test_false_alarms_are_counted_among_equal_programs_and_finds_among_slower_ones() -> None:
    judged = [a_judgement() for _ in range(8)] + [a_judgement(called="slower"), a_judgement(called="faster")]
    judged += [a_judgement(planted=3, called="slower") for _ in range(3)] + [a_judgement(planted=3)]
    judged += [a_judgement(planted=5, called="faster")]
    row = table.row("rule", judged)
    assert (row.false_alarms.hits, row.false_alarms.of) == (2, 10)
    assert (row.found[3].hits, row.found[3].of) == (3, 4)
    assert (row.found[5].hits, row.found[5].of) == (0, 1)
    assert row.found[1].of == 0
    assert (row.wrong_way.hits, row.wrong_way.of) == (1, 5)


def test_the_error_of_the_effect_is_a_root_mean_square() -> None:
    row = table.row("rule", [a_judgement(error=math.log(1.03)), a_judgement(planted=5, error=math.log(0.96))])
    assert row.rmse == pytest.approx(math.sqrt((0.03**2 + 0.04**2) / 2))


def test_coverage_counts_intervals_that_hold_the_truth_and_none_of_rules_without() -> None:
    judged = [a_judgement(error=0.005), a_judgement(error=0.02), a_judgement(planted=3, error=-0.009)]
    assert str(table.row("rule", judged).coverage).split() == ["67%", "2/3"]
    assert table.row("pyperf", list(_judged_by_others()["pyperf compare_to"])).coverage.of == 0


def test_the_smallest_effect_is_what_four_in_five_would_have_found() -> None:
    judged = [a_judgement(error=error) for error in np.linspace(-0.01, 0.01, 11)]
    assert table.row("rule", judged).smallest == pytest.approx(math.expm1(0.02 + 0.006))


@pytest.mark.parametrize(("slowdown", "called"), [(0.0, "same"), (0.03, "slower"), (-0.03, "faster")])
def test_ab1_calls_recorded_samples_what_they_are(slowdown: float, called: str) -> None:
    part = recordings.Part(item=an_item(planted=3), facts={"looks": 2}, calls=some_calls(slowdown=slowdown), times=None)
    judged = {found.rule: found for found in judging.judge(part, math.log1p(slowdown))}
    assert judged[judging.AB1].called == judged[judging.AB1_LOOKS].called == called
    assert judged[judging.AB1].estimate == pytest.approx(math.log1p(slowdown), abs=0.01)


def test_a_slowdown_just_above_the_one_needed_is_found_and_one_just_below_is_not() -> None:
    part = recordings.Part(item=an_item(), facts={"looks": 2}, calls=some_calls(slowdown=0.0, noise=0.01), times=None)
    assert part.calls is not None
    needed = next(found.needed for found in judging.judge(part, 0.0) if found.rule == judging.AB1)
    for shift, verdict in ((needed + 1e-4, True), (needed - 1e-4, False)):
        stretched = judging._stretched(part.calls, shift)
        assert (ours.compare(stretched).verdict == "worse") is verdict


def test_the_noise_floor_of_one_half_of_the_comparisons_comes_from_the_other_half() -> None:
    parts = [
        recordings.Part(item=an_item(index=index), facts={"looks": 2}, calls=some_calls(slowdown=slowdown), times=None)
        for index, slowdown in ((0, 0.0), (1, 0.04))
    ]
    even, odd = judging.noise_floors(parts)
    assert even == pytest.approx(0.04, abs=0.01)
    assert odd == pytest.approx(0.0, abs=0.01)
    judged = {found.rule: found.called for found in judging.judge(parts[1], 0.0, floor=0.05)}
    assert (judged[judging.AB1], judged[judging.AB1_FLOOR]) == ("slower", "same")


def _judged_by_others(slowdown: float = 0.0) -> dict[str, list[Judgement]]:
    times = some_times(1), some_times(2, slowdown=slowdown)
    part = recordings.Part(item=an_item(kind="others"), facts={"looks": 2}, calls=None, times=times)
    return {found.rule: [found] for found in judging.judge(part, math.log1p(slowdown))}


def test_every_other_rule_finds_a_large_slowdown_in_quiet_samples_and_says_what_it_needed() -> None:
    judged = _judged_by_others(0.2)
    assert set(judged) == set(judging.RULES)
    for rule, (found,) in judged.items():
        assert found.called == "slower", rule
        assert found.estimate == pytest.approx(math.log(1.2), abs=0.01)
        assert found.needed < math.log(1.2)
    assert judged["asv compare"][0].needed == pytest.approx(math.log(1.1), abs=0.005)
    assert judged["pytest-benchmark median:5%"][0].needed == pytest.approx(math.log(1.05), abs=0.005)


def test_pyperf_judges_sides_of_unequal_length_by_what_both_have() -> None:
    a, b = some_times(1), some_times(2)
    short = Times(rounds=b.rounds, processes=b.processes[:12], loops=b.loops, commands=b.commands)
    assert judging.RULES["pyperf compare_to"](a, short)[0] in ("same", "slower", "faster")


def test_hyperfine_is_left_out_where_it_was_not_installed() -> None:
    empty = [Times(rounds=t.rounds, processes=t.processes, loops=t.loops, commands=t.commands[:0]) for t in
             (some_times(1), some_times(2))]  # fmt: skip
    part = recordings.Part(item=an_item(kind="others"), facts={"looks": 2}, calls=None, times=(empty[0], empty[1]))
    assert {found.rule for found in judging.judge(part, 0.0)} == set(judging.RULES) - {"hyperfine + Welch"}


def test_shorter_launches_keep_the_windows_that_began_in_time_and_at_least_two() -> None:
    calls = some_calls(slowdown=0.0)
    assert set(judging.truncated(calls, 8, 1.0).window) == {0, 1, 2}  # they begin every 0.4 s
    assert set(judging.truncated(calls, 8, 0.1).window) == {0, 1}
    assert set(judging.truncated(calls, 3, math.inf).launch) == {0, 1, 2}


def test_what_was_recorded_comes_back(tmp_path: Path) -> None:
    parts, out = tmp_path / "parts", tmp_path / "out"
    parts.mkdir()
    calls, times = some_calls(slowdown=0.01), (some_times(1), some_times(2))
    recorded = ours.Recorded(calls=calls, wall_s=(2.6,) * 8, elapsed_s=(2.5,) * 8, timed_s=(2.1,) * 8)
    recordings.write_ours(parts, an_item(index=0), recorded, {"load1_after": 1.0})
    recordings.write_others(parts, an_item(index=1, kind="others"), times, {"load1_after": 2.0})
    recordings.publish(parts, out)
    first, second = recordings.read(out)
    assert first.item == an_item(index=0)
    assert first.facts["wall_s"] == [2.6] * 8
    assert first.calls is not None
    assert second.times is not None
    for name in Calls.__dataclass_fields__:
        np.testing.assert_array_equal(getattr(first.calls, name), getattr(calls, name), err_msg=name)
    for found, given in zip(second.times, times, strict=True):
        np.testing.assert_allclose(found.rounds, given.rounds, atol=recordings.TICK_NS)
        np.testing.assert_allclose(found.commands, given.commands, atol=recordings.TICK_NS)
        assert len(found.processes) == 20
        assert found.loops == 33


def test_a_part_without_its_facts_is_recorded_anew(tmp_path: Path) -> None:
    recorded = ours.Recorded(calls=some_calls(slowdown=0.0), wall_s=(1.0,), elapsed_s=(1.0,), timed_s=(1.0,))
    recordings.write_ours(tmp_path, an_item(), recorded, {})
    assert recordings.is_recorded(tmp_path, an_item())
    (tmp_path / "0000.json").unlink()
    assert not recordings.is_recorded(tmp_path, an_item())


def test_the_full_plan_holds_a_hundred_of_each_in_every_cell_and_any_first_half_covers_all_cells() -> None:
    items = plan.items(plan.EXTENTS["full"])
    compared = [item for item in items if item.kind == "ours"]
    assert sum(item.planted == 0 for item in compared) >= 100
    assert sum(item.planted > 0 for item in compared) >= 100
    half = compared[: len(compared) // 2]
    cells = {(item.kernel, item.load, item.planted) for item in half}
    assert cells == {
        (kernel, load, planted) for kernel in plan.KERNELS for load in plan.LOADS for planted in (0, *plan.PLANTED)
    }
    assert len({item.index for item in items}) == len(items)
    assert plan.digest(items) != plan.digest(plan.items(plan.EXTENTS["quick"]))


@pytest.mark.parametrize("kernel", plan.KERNELS)
@pytest.mark.parametrize("planted", [0, *plan.PLANTED])
def test_planted_units_make_the_slowdown_they_are_named_after(kernel: str, planted: int) -> None:
    a, b = kernels.UNITS[kernel][planted]
    assert b / a - 1 == pytest.approx(planted / 100, abs=0.0005)


def test_a_memory_pass_goes_on_where_the_last_call_ended() -> None:
    ring = kernels.MemoryPass()
    ring.work(15)
    assert ring._next == 10
    np.testing.assert_array_equal(ring._written, ring._read)
