"""Verdicts from two sets of predictions on the same images."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from builders import failed_record, predictions, run_record
from paretoboard.compare import correct, images_to_resolve, paired_interval, quality_change
from paretoboard.records import Predictions


def pair(gained: int, lost: int, images: int):
    """Two records that differ on exactly `gained` + `lost` images."""
    labels = np.zeros(images, dtype=np.int16)
    ours, theirs = labels.copy(), labels.copy()
    theirs[:gained] = 1
    ours[gained : gained + lost] = 1
    found = [
        Predictions(
            labels=labels, top_classes=best[:, None], top_scores=np.ones((images, 1), dtype=np.float32)
        )
        for best in (ours, theirs)
    ]
    return run_record("ort-int8", predictions=found[0]), run_record(predictions=found[1])


def test_a_difference_that_chance_explains_is_undecided_and_says_how_many_images_it_takes():
    change = quality_change(*pair(gained=4, lost=6, images=360))
    assert change.verdict == "undecided"
    assert change.difference == pytest.approx(-2 / 360)
    assert change.p_value == pytest.approx(0.7539, abs=1e-4)  # 2 * P(Binomial(10, 1/2) <= 4)
    assert "images; there are 360" in change.reason


@pytest.mark.parametrize(("gained", "lost", "verdict"), [(30, 5, "better"), (5, 30, "worse")])
def test_a_difference_beyond_chance_gets_its_direction(gained, lost, verdict):
    change = quality_change(*pair(gained, lost, 2000))
    assert (change.verdict, change.reason) == (verdict, "")
    assert change.low <= change.difference <= change.high


def test_equal_predictions_are_the_same_on_many_images_and_undecided_on_few():
    assert quality_change(*pair(0, 0, 10_000)).verdict == "same"
    assert quality_change(*pair(0, 0, 360)).verdict == "undecided"


def test_without_predictions_or_on_other_images_nothing_is_compared():
    baseline = run_record()
    assert quality_change(failed_record(), baseline) is None
    assert quality_change(run_record("ort-int8", images=100), baseline) is None
    assert quality_change(run_record("ort-int8", subset="train"), baseline) is None
    assert quality_change(run_record("ort-int8"), baseline, "f1") is None


def test_top5_counts_an_image_as_right_when_any_guess_is():
    record = run_record(predictions=predictions(0.5))
    assert correct(record, "top1").mean() == pytest.approx(0.5, abs=0.01)
    assert correct(record, "top5").all()


def test_without_an_image_that_tells_the_two_apart_the_interval_still_has_its_width():
    z2 = 3.841459
    for n in (14, 360, 10_000):  # here the score equation has a closed solution
        assert paired_interval(0, 0, n) == pytest.approx((-z2 / (n + z2), z2 / (n + z2)), rel=1e-6)


@pytest.mark.parametrize(("gained", "lost", "n"), [(4, 6, 360), (1, 0, 14), (30, 5, 2000), (0, 9, 50)])
def test_the_ends_of_the_interval_are_where_the_score_test_just_rejects(gained, lost, n):
    for end in paired_interval(gained, lost, n):
        # The likeliest share of lost images under that difference, by search instead of by formula.
        shares = np.linspace(max(-end, 0) + 1e-9, (1 - abs(end)) / 2 + max(-end, 0) - 1e-9, 2_000_001)
        rest = n - gained - lost
        likelihood = gained * np.log(shares + end) + rest * np.log(1 - end - 2 * shares)
        likelihood += lost * np.log(shares)
        share = shares[np.argmax(likelihood)]
        z = (gained - lost - n * end) / math.sqrt(n * (2 * share + end - end**2))
        assert abs(z) == pytest.approx(1.959964, abs=1e-3)


@given(st.integers(0, 40), st.integers(0, 40), st.integers(0, 2000))
def test_intervals_hold_the_estimate_and_mirror_when_the_two_change_places(gained, lost, rest):
    n = max(gained + lost + rest, 1)
    low, high = paired_interval(gained, lost, n)
    assert -1 <= low <= (gained - lost) / n <= high <= 1
    assert paired_interval(lost, gained, n) == pytest.approx((-high, -low), abs=1e-9)


def test_the_interval_holds_the_truth_as_often_as_it_says():
    rng = np.random.default_rng(3)
    only_ours, only_theirs, n, draws = 0.04, 0.02, 400, 2000
    counts = rng.multinomial(n, [only_ours, only_theirs, 1 - only_ours - only_theirs], size=draws)
    held = sum(
        low <= only_ours - only_theirs <= high
        for low, high in (paired_interval(g, l_, n) for g, l_, _ in counts)
    )
    assert held / draws == pytest.approx(0.95, abs=0.015)


def test_the_images_asked_for_do_resolve_the_difference():
    rng = np.random.default_rng(5)
    difference, discordant = 0.01, 0.05
    n = images_to_resolve(difference, discordant)
    gained, lost = (discordant + difference) / 2, (discordant - difference) / 2
    counts = rng.multinomial(n, [gained, lost, 1 - discordant], size=1500)
    z = (counts[:, 0] - counts[:, 1]) / np.sqrt(counts[:, 0] + counts[:, 1])
    assert (z > 1.96).mean() == pytest.approx(0.8, abs=0.03)
    assert math.isclose(images_to_resolve(-difference, discordant), n)
