"""Expected calibration error, against its definition written out and against models whose error is known."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from paretoboard import stats

BINS = 15
CONFIDENCES = hnp.arrays(np.float64, st.integers(1, 60), elements=st.floats(0, 1))


def by_definition(confidences: np.ndarray, right: np.ndarray) -> float:
    """Guo et al. 2017, equations 1 to 3, image by image."""
    error = 0.0
    for number in range(BINS):
        inside = [
            place
            for place, value in enumerate(confidences)
            if number / BINS < value <= (number + 1) / BINS or (number == 0 and value == 0)
        ]
        if inside:
            accuracy = sum(bool(right[place]) for place in inside) / len(inside)
            confidence = sum(confidences[place] for place in inside) / len(inside)
            error += len(inside) / len(confidences) * abs(accuracy - confidence)
    return error


@given(CONFIDENCES, st.integers(0, 2**32 - 1))
def test_it_is_what_the_definition_says(confidences: np.ndarray, seed: int) -> None:
    # Not on the edges of bins, where the last digit of a product decides which side a value is on.
    confidences = np.where(np.abs(confidences * BINS - np.rint(confidences * BINS)) < 1e-9, 0.99, confidences)
    right = np.random.default_rng(seed).random(len(confidences)) < 0.7
    found = stats.calibration_error(confidences, right)
    assert found.value == pytest.approx(by_definition(confidences, right), abs=1e-12)
    assert 0 <= found.low <= found.value <= found.high <= 1


def test_by_hand() -> None:
    # Bin of 0.95: mean 0.95, half right, so 0.45; bin of 0.5: one image, right, so 0.5. (4 * 0.45 + 1 * 0.5) / 5
    confidences = np.array([0.94, 0.96, 0.95, 0.95, 0.5])
    right = np.array([True, False, True, False, True])
    assert stats.calibration_error(confidences, right).value == pytest.approx((4 * 0.45 + 0.5) / 5)


def drawn(images: int, overconfidence: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """A model whose answers are right less often than it says by `overconfidence`."""
    rng = np.random.default_rng(seed)
    confidences = rng.uniform(0.5, 1.0, images)
    return confidences, rng.random(images) < confidences - overconfidence


@pytest.mark.parametrize("overconfidence", [0.05, 0.2])
def test_the_interval_holds_the_true_error(overconfidence: float) -> None:
    held = 0
    for seed in range(100):
        found = stats.calibration_error(*drawn(1000, overconfidence, seed))
        held += found.low <= overconfidence <= found.high
    assert held >= 88


def test_a_model_that_is_as_right_as_it_says_may_have_no_error_at_all() -> None:
    reaches_zero = sum(stats.calibration_error(*drawn(500, 0.0, seed)).low <= 0.005 for seed in range(40))
    assert reaches_zero >= 34


def test_a_difference_is_paired() -> None:
    confidences, right = drawn(2000, 0.1, 1)
    sharper = np.clip(confidences + 0.03, 0, 1)
    found = stats.calibration_error_difference(sharper, right, confidences, right)
    assert 0 < found.low < found.value < found.high
    assert found.value == pytest.approx(0.03, abs=0.01)
    apart = stats.calibration_error(sharper, right)
    assert found.high - found.low < apart.high - apart.low
    none = stats.calibration_error_difference(confidences, right, confidences, right)
    assert (none.value, none.low, none.high) == (0.0, 0.0, 0.0)


@pytest.mark.parametrize(
    ("confidences", "right", "named"),
    [
        (np.array([]), np.array([], dtype=bool), "one of each per image"),
        (np.array([0.5]), np.array([True, False]), "one of each per image"),
        (np.array([1.5]), np.array([True]), "no probability"),
        (np.array([np.nan]), np.array([True]), "no probability"),
    ],
)
def test_what_is_no_confidence_is_refused(confidences: np.ndarray, right: np.ndarray, named: str) -> None:
    with pytest.raises(ValueError, match=named):
        stats.calibration_error(confidences, right)


@pytest.mark.parametrize("seed", range(3))
def test_the_same_answers_give_the_same_interval(seed: int) -> None:
    assert stats.calibration_error(*drawn(100, 0.1, seed)) == stats.calibration_error(*drawn(100, 0.1, seed))
