"""When a training is ended early: planted curves, and what must hold of every curve."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paretoboard.training.stopping import Judgement, judge

NAN = math.nan
CURVES = st.lists(st.floats(-10, 10) | st.just(NAN), min_size=1, max_size=30)
STEPS = st.lists(st.integers(0, 100), min_size=1, max_size=30).map(lambda values: [value / 4 for value in values])


@pytest.mark.parametrize(
    ("curve", "patience", "min_delta", "best", "stop"),
    [
        ([0.5], 1, 0.0, 0, False),
        ([0.5, 0.6, 0.7, 0.8], 1, 0.0, 3, False),  # always better
        ([0.5, 0.6, 0.6], 1, 0.0, 1, True),  # an equal value is not better
        ([0.5, 0.7, 0.6, 0.6], 3, 0.0, 1, False),
        ([0.5, 0.7, 0.6, 0.6, 0.6], 3, 0.0, 1, True),
        ([0.5, 0.7, 0.6, 0.6, 0.71], 3, 0.0, 4, False),  # better just in time
        ([0.50, 0.51, 0.52, 0.53], 2, 0.25, 0, True),  # better, but not by enough
        ([0.50, 0.625, 0.75, 0.875], 3, 0.25, 3, False),  # a slow rise adds up: 0.875 is 0.375 above the first
        ([0.5, NAN, NAN], 2, 0.0, 0, True),
        ([NAN, 0.1, 0.2], 2, 0.0, 2, False),
        ([NAN, NAN], 1, 0.0, 0, True),
    ],
)
def test_planted_curves(curve: list[float], patience: int, min_delta: float, best: int, stop: bool) -> None:
    assert judge(curve, patience=patience, min_delta=min_delta) == Judgement(best=best, stop=stop)
    losses = [-value for value in curve]
    found = judge(losses, patience=patience, min_delta=min_delta, higher_is_better=False)
    assert found == Judgement(best=best, stop=stop)


def test_a_training_that_looks_after_each_epoch_ends_where_patience_says() -> None:
    """Rises to epoch 7, then falls: with a patience of 3 epoch 10 is the last."""
    curve = [0.1 * epoch for epoch in range(8)] + [0.69, 0.68, 0.67, 0.9, 0.9]
    ends = next(last for last in range(len(curve)) if judge(curve[: last + 1], patience=3).stop)
    assert ends == 10
    assert judge(curve[: ends + 1], patience=3).best == 7


@given(curve=STEPS, patience=st.integers(1, 10))
def test_the_best_is_the_first_of_the_largest_where_every_rise_counts(curve: list[float], patience: int) -> None:
    found = judge(curve, patience=patience)
    assert found.best == curve.index(max(curve))
    assert found.stop == (len(curve) - 1 - found.best >= patience)


@given(curve=CURVES, patience=st.integers(1, 10), min_delta=st.floats(0, 5))
def test_more_patience_never_stops_earlier(curve: list[float], patience: int, min_delta: float) -> None:
    less = judge(curve, patience=patience, min_delta=min_delta)
    more = judge(curve, patience=patience + 1, min_delta=min_delta)
    assert less.best == more.best
    assert less.stop or not more.stop


@given(curve=STEPS, patience=st.integers(1, 10), min_delta=st.integers(0, 20))
def test_only_differences_count(curve: list[float], patience: int, min_delta: int) -> None:
    """Quarters, which floats hold exactly."""
    moved = [value + 8 for value in curve]
    delta = min_delta / 4
    assert judge(curve, patience=patience, min_delta=delta) == judge(moved, patience=patience, min_delta=delta)


@pytest.mark.parametrize("wrong", [{"patience": 0}, {"min_delta": -0.1}, {"min_delta": NAN}, {"curve": []}])
def test_numbers_out_of_range_are_refused(wrong: dict[str, object]) -> None:
    arguments: dict[str, object] = {"curve": [1.0], "patience": 1, **wrong}
    with pytest.raises(ValueError, match=r"patience|empty"):
        judge(arguments.pop("curve"), **arguments)  # type: ignore[arg-type]
