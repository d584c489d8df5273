"""Our statistics against scipy, scikit-learn, published examples and brute force."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import optimize
from scipy import stats as reference
from sklearn.metrics import f1_score, precision_recall_fscore_support

from paretoboard import stats

counts = st.integers(1, 400).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))
confidences = st.sampled_from([0.8, 0.9, 0.95, 0.975, 0.99])
# Distinct absolute values, as of any two measured effects; scipy's exact test asks for it.
distinct_effects = st.lists(st.integers(-10_000, 10_000).filter(bool), min_size=6, max_size=20, unique_by=abs).map(
    lambda values: [value / 1e4 for value in values]
)


@given(counts, confidences)
def test_wilson_is_scipys(count: tuple[int, int], confidence: float) -> None:
    ours = stats.wilson(*count, confidence)
    theirs = reference.binomtest(*count).proportion_ci(confidence, method="wilson")
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=1e-12)


@given(st.integers(0, 300), st.integers(0, 300))
def test_mcnemar_is_the_binomial_test_of_the_images_that_differ(b: int, c: int) -> None:
    expected = reference.binomtest(b, b + c).pvalue if b + c else 1.0
    assert stats.mcnemar_exact(b, c) == pytest.approx(expected, rel=1e-9)


def test_the_paired_interval_is_that_of_a_published_example() -> None:
    # Airways of 21 children before and after a transplantation (Bentur 2009), in Fagerland et al. 2014.
    found = stats.paired_difference_interval(1, 7, 21)
    assert (found.low, found.high) == pytest.approx((-0.517, -0.026), abs=5e-4)


@pytest.mark.parametrize("n", [1, 20, 10_000])
def test_the_paired_interval_of_models_that_never_differ_has_a_closed_form(n: int) -> None:
    z_squared = reference.chi2.ppf(0.95, 1)
    found = stats.paired_difference_interval(0, 0, n)
    half = z_squared / (n + z_squared)
    assert (found.low, found.high) == pytest.approx((-half, half), rel=1e-9)


@pytest.mark.parametrize(("b", "c", "n"), [(12, 2, 50), (1, 7, 21), (30, 25, 1000), (3, 9, 40)])
def test_at_the_ends_of_the_paired_interval_the_score_is_the_normal_quantile(b: int, c: int, n: int) -> None:
    found = stats.paired_difference_interval(b, c, n)
    for end in (found.low, found.high):
        # The likeliest share q of images only the second gets right, were `end` the difference: by search.
        def unlikelihood(q: float, end: float = end) -> float:
            return -(b * math.log(q + end) + c * math.log(q) + (n - b - c) * math.log(1 - 2 * q - end))

        bounds = (max(0.0, -end) + 1e-12, (1 - end) / 2 - 1e-12)
        q = optimize.minimize_scalar(unlikelihood, bounds=bounds, method="bounded", options={"xatol": 1e-12}).x
        score = (b - c - n * end) / math.sqrt(n * (2 * q + end - end**2))
        assert abs(score) == pytest.approx(1.959964, abs=1e-4)


def test_holm_by_hand() -> None:
    assert stats.holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx((0.03, 0.06, 0.06, 0.02))
    assert stats.holm([0.6, 0.5]) == (1.0, 1.0)
    assert stats.holm([]) == ()


@given(st.lists(st.floats(0, 1), max_size=12))
def test_holm_is_never_below_the_p_value_nor_above_bonferroni(p_values: list[float]) -> None:
    for given_p, adjusted in zip(p_values, stats.holm(p_values), strict=True):
        assert given_p <= adjusted <= min(1.0, given_p * len(p_values))


@given(st.lists(st.lists(st.floats(-0.5, 0.5), min_size=1, max_size=6), min_size=5, max_size=12), confidences)
def test_over_launches_the_interval_and_the_p_value_are_students(effects: list[list[float]], confidence: float) -> None:
    medians = [float(np.median(launch)) for launch in effects]
    spread = float(np.std(medians, ddof=1))
    found = stats.estimate(effects, confidence)
    assert found.by_launch == tuple(medians)
    if spread < 1e-9:  # scipy warns of lost precision; ours is covered by a case of its own
        return
    test = reference.ttest_1samp(medians, 0)
    low, high = test.confidence_interval(confidence)
    assert (found.log_ratio, found.low, found.high) == pytest.approx((np.mean(medians), low, high), abs=1e-9)
    assert found.p_value == pytest.approx(test.pvalue, rel=1e-6, abs=1e-12)


@settings(max_examples=60)
@given(distinct_effects)
def test_over_windows_the_p_value_is_that_of_wilcoxons_exact_test(effects: list[float]) -> None:
    found = stats.estimate([effects], 0.95)
    assert found.p_value == pytest.approx(reference.wilcoxon(effects, method="exact").pvalue, rel=1e-9)


@settings(max_examples=25)
@given(distinct_effects, st.sampled_from([0.9, 0.95]))
def test_over_windows_the_interval_holds_exactly_the_effects_that_the_test_does_not_reject(
    effects: list[float], confidence: float
) -> None:
    found = stats.estimate([effects], confidence)
    walsh = np.unique([(a + b) / 2 for a, b in itertools.combinations_with_replacement(effects, 2)])
    for between in (walsh[1:] + walsh[:-1]) / 2:
        shifted = np.asarray(effects) - between
        if len(np.unique(np.abs(shifted).round(12))) < len(shifted):
            continue  # two values as far from this effect: no exact test
        rejected = reference.wilcoxon(shifted, method="exact").pvalue <= 1 - confidence
        assert rejected != (found.low < between < found.high)


def test_the_estimate_over_windows_is_the_median_of_all_pairwise_means() -> None:
    effects = [[0.01, 0.05], [0.02, 0.09]]
    pairs = [(a + b) / 2 for a, b in itertools.combinations_with_replacement([0.01, 0.05, 0.02, 0.09], 2)]
    assert stats.estimate(effects).log_ratio == pytest.approx(np.median(pairs))


@given(hnp.arrays(np.float64, st.integers(0, 200), elements=st.floats(0, 1)), st.sampled_from([0.5, 0.9, 0.99]))
def test_a_median_interval_is_the_narrowest_pair_of_ranks_that_is_sure_enough(
    samples: np.ndarray[Any, Any], q: float
) -> None:
    n = len(samples)
    found = stats.quantile_interval(samples, q)
    lows = [rank for rank in range(1, n + 1) if reference.binom.cdf(rank - 1, n, q) <= 0.025 + 1e-12]
    highs = [rank for rank in range(1, n + 1) if reference.binom.sf(rank - 1, n, q) <= 0.025 + 1e-12]
    ordered = np.sort(samples)
    if found is None:
        assert not lows or not highs
    else:
        # Ours may be a rank wider where a tail is hit to the last digit, never narrower.
        assert found.low in (ordered[max(lows) - 1], ordered[max(lows) - 2])
        assert found.high == ordered[min(highs) - 1]


def test_of_twenty_sorted_samples_the_median_lies_between_the_sixth_and_the_fifteenth() -> None:
    # Conover 1999, Practical Nonparametric Statistics, table of ranks for n = 20 at 95 %.
    found = stats.quantile_interval(np.arange(1, 21), 0.5)
    assert found == stats.Interval(low=6, high=15)


def guesses(images: int, right: float, rng: np.random.Generator) -> tuple[np.ndarray[Any, Any], ...]:
    labels = rng.integers(0, 4, images)
    wrong = rng.random(images) > right
    return labels, np.where(wrong, rng.integers(0, 4, images), labels)


def test_the_bootstrap_of_macro_scores_is_that_of_drawing_image_by_image() -> None:
    rng = np.random.default_rng(3)
    labels, predicted = guesses(300, 0.7, rng)
    found = stats.bootstrap_macro(labels, predicted, resamples=4000)
    drawn = []
    for _ in range(600):
        chosen = rng.integers(0, 300, 300)
        scores = precision_recall_fscore_support(labels[chosen], predicted[chosen], average="macro", zero_division=0)
        drawn.append(scores[:3])
    for name, values in zip(("precision", "recall", "f1"), zip(*drawn, strict=True), strict=True):
        low, high = np.quantile(values, [0.025, 0.975])
        assert (found[name].low, found[name].high) == pytest.approx((low, high), abs=0.012)


def test_the_bootstrap_of_an_f1_difference_is_paired() -> None:
    rng = np.random.default_rng(4)
    labels, a = guesses(2000, 0.8, rng)
    b = a.copy()
    b[:40] = labels[:40]  # b mends a few images and is a elsewhere
    true_difference = f1_score(labels, a, average="macro") - f1_score(labels, b, average="macro")
    found = stats.bootstrap_contrast(labels, (a, b), (1.0, -1.0), "f1")
    apart = stats.bootstrap_macro(labels, a)["f1"]
    assert found.low < true_difference < found.high < 0
    assert found.high - found.low < (apart.high - apart.low) / 4
