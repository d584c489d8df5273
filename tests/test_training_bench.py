"""What `make bench-train` counts: on recorded rates and a clock of its own, so that no machine's speed matters."""

from __future__ import annotations

import pytest

from bench.train import measuring, table
from bench.train.measuring import Case, EnoughError, Extent, Timed, Turns


class Clock:
    """Stands still but for what is done by it."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def take_turns(*, trainer_s: float, bare_s: float, extent: Extent) -> tuple[Turns, int]:
    """A trainer and a bare loop whose steps take so long, until enough; and how many steps the trainer did."""
    clock = Clock()

    def bare() -> None:
        clock.now += bare_s

    turns = Turns(bare, extent, clock)
    turns(0.0, "asking the teacher")
    for step in range(1, 1000):
        clock.now += trainer_s
        try:
            turns(step / 1000, "epoch 1")
        except EnoughError:
            return turns, step
    raise AssertionError("never enough")


def test_the_two_loops_take_turns_of_equally_many_steps() -> None:
    turns, steps = take_turns(trainer_s=0.25, bare_s=0.2, extent=Extent(turns=4, seconds=1.0, enough_s=99.0))
    assert turns.trainer == pytest.approx([measuring.BATCH / 0.25] * 4)
    assert turns.bare == pytest.approx([measuring.BATCH / 0.2] * 4)
    assert steps == measuring.WARM_UP + 4 * 5


def test_a_step_longer_than_a_turn_is_a_turn() -> None:
    turns, steps = take_turns(trainer_s=4.0, bare_s=3.0, extent=Extent(turns=2, seconds=1.0, enough_s=99.0))
    assert turns.trainer == pytest.approx([measuring.BATCH / 4.0] * 2)
    assert steps == measuring.WARM_UP + 2


def test_slow_loops_end_early_but_not_before_there_are_turns_for_an_interval() -> None:
    turns, _ = take_turns(trainer_s=1.0, bare_s=1.0, extent=Extent(turns=50, seconds=1.0, enough_s=30.0))
    assert len(turns.trainer) == len(turns.bare) == 15
    turns, _ = take_turns(trainer_s=1.0, bare_s=1.0, extent=Extent(turns=50, seconds=1.0, enough_s=3.0))
    assert len(turns.trainer) == measuring.FEWEST


def test_a_machine_that_slows_down_favours_neither_loop() -> None:
    trainer = tuple(90.0 * 0.98 ** (2 * turn) for turn in range(9))
    bare = tuple(100.0 * 0.98 ** (2 * turn + 1) for turn in range(9))
    found = table.ratio(Timed(trainer=trainer, bare=bare))
    assert found.value == pytest.approx(0.9)
    assert found.low == pytest.approx(0.9)
    assert found.high == pytest.approx(0.9)


def test_the_interval_holds_most_turns_and_few_turns_give_their_range() -> None:
    shares = [0.80, 0.95, 0.96, 0.97, 0.98, 0.99, 1.20]
    found = table.ratio(Timed(trainer=(1.0, *(100 * share for share in shares)), bare=(100.0,) * 8))
    assert found.value == pytest.approx(0.97)
    assert (found.low, found.high) == pytest.approx((0.80, 1.20))
    few = table.ratio(Timed(trainer=(1.0, 90.0, 95.0), bare=(100.0,) * 3))
    assert (few.low, few.high) == pytest.approx((0.90, 0.95))


@pytest.mark.parametrize(("rate", "mark"), [(95.0, "met"), (80.0, "MISSED")])
def test_a_row_says_whether_the_bar_is_met(rate: float, mark: str) -> None:
    case = Case(
        network="cifar-resnet8", precision="bfloat16", kind="kept", memory_format="channels_last", extent="quick"
    )
    row = table.line(case, Timed(trainer=(rate,) * 8, bare=(100.0,) * 8))
    assert row.split()[0] == mark
    assert "teacher's answers kept" in row
    assert f"{rate:.1f}%" in row


def test_ways_to_compute_are_compared_with_the_first_turn_by_turn() -> None:
    steps = measuring.Steps(of_arm=((2.0, 4.0, 2.0), (2.0, 4.0, 2.0), (1.0, 1.0, 1.0), (0.5, 1.0, 0.5)))
    lines = table.arm_lines("cifar-airbench", steps)
    assert [line.split()[1:3] for line in lines] == [[arm.precision, arm.memory_format] for arm in measuring.ARMS]
    assert "1.00x  (1.00 to 1.00)" in lines[0]
    assert "2.00x  (2.00 to 4.00)" in lines[2]
    assert "4.00x  (4.00 to 4.00)" in lines[3]


def test_all_networks_precisions_and_kinds_are_compared() -> None:
    cases = measuring.cases("quick")
    assert len({(case.network, case.precision, case.kind) for case in cases}) == len(cases) == 2 * 2 * 3
