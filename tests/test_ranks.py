"""Whether a subset ranks models as the full set does."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats as scipy_stats

from paretoboard import stats

VALUES = st.lists(st.integers(0, 6), min_size=2, max_size=12)
PAIRS = VALUES.flatmap(lambda a: st.tuples(st.just(a), st.lists(st.integers(0, 6), min_size=len(a), max_size=len(a))))


def same(ours: float, theirs: float) -> bool:
    return math.isnan(ours) if math.isnan(theirs) else math.isclose(ours, theirs, abs_tol=1e-12)


@given(PAIRS)
@pytest.mark.filterwarnings("ignore::scipy.stats.ConstantInputWarning")
def test_both_coefficients_are_scipys_with_any_ties(pair: tuple[list[int], list[int]]) -> None:
    a, b = (np.array(values, dtype=float) for values in pair)
    assert same(float(stats.kendall_tau_b(a, b)), float(scipy_stats.kendalltau(a, b, variant="b").statistic))
    assert same(float(stats.spearman(a, b)), float(scipy_stats.spearmanr(a, b).statistic))


def test_they_work_along_the_last_axis() -> None:
    rng = np.random.default_rng(2)
    a, b = rng.integers(0, 4, (5, 7)), rng.integers(0, 4, (5, 7))
    for measure in (stats.kendall_tau_b, stats.spearman):
        assert measure(a, b) == pytest.approx([float(measure(x, y)) for x, y in zip(a, b, strict=True)])


def answers(shares: list[float], images: int, seed: int = 0) -> np.ndarray:
    """(models, images) whether each is right; all find the same images hard."""
    rng = np.random.default_rng(seed)
    difficulty = rng.random(images)
    return np.array([difficulty + 0.1 * rng.standard_normal(images) < share for share in shares])


def test_models_that_lie_far_apart_keep_their_order_and_near_ones_need_not() -> None:
    far, near = [0.2, 0.4, 0.6, 0.8], [0.600, 0.601, 0.602, 0.603]
    found = stats.subset_rank_correlation(answers(far, 300), np.array(far))
    assert (found.tau_b.value, found.tau_b.low, found.tau_b.high, found.models) == (1.0, 1.0, 1.0, 4)
    assert found.rho.value == 1.0
    unsure = stats.subset_rank_correlation(answers(near, 300), np.array(near))
    assert unsure.tau_b.low < 0.5
    assert unsure.tau_b.low <= unsure.tau_b.value <= unsure.tau_b.high <= 1


def test_the_interval_holds_what_other_subsets_of_that_size_give() -> None:
    shares = [0.50, 0.53, 0.56, 0.59, 0.62]
    whole = answers(shares, 40_000, seed=3)
    full = whole.mean(axis=1)
    rng = np.random.default_rng(4)
    found = stats.subset_rank_correlation(whole[:, rng.choice(40_000, 400, replace=False)], full)
    others = [
        float(stats.kendall_tau_b(whole[:, rng.choice(40_000, 400, replace=False)].mean(axis=1), full))
        for _ in range(300)
    ]
    inside = np.mean([found.tau_b.low <= value <= found.tau_b.high for value in others])
    assert inside >= 0.85


def test_models_that_answer_alike_have_no_order() -> None:
    right = np.ones((3, 10), dtype=bool)
    found = stats.subset_rank_correlation(right, np.array([0.1, 0.2, 0.3]))
    assert all(math.isnan(value) for value in (found.tau_b.value, found.tau_b.low, found.rho.value))


@pytest.mark.parametrize(
    ("right", "full"),
    [
        (np.ones((1, 5)), np.ones(1)),
        (np.ones((2, 0)), np.ones(2)),
        (np.ones((2, 5)), np.ones(3)),
    ],
)
def test_what_can_not_be_ranked_is_refused(right: np.ndarray, full: np.ndarray) -> None:
    with pytest.raises(ValueError, match="would be right"):
        stats.subset_rank_correlation(right, full)
