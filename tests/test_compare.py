"""Verdicts from two sets of predictions on the same images."""

from __future__ import annotations

import math

import numpy as np
import pytest

from builders import failed_record, predictions, run_record
from paretoboard.compare import correct, quality_change, under_holm
from paretoboard.records import Predictions
from paretoboard.stats import images_to_resolve


def pair(gained: int, lost: int, images: int):
    """Two records that differ on exactly `gained` + `lost` images."""
    labels = np.zeros(images, dtype=np.int16)
    ours, theirs = labels.copy(), labels.copy()
    theirs[:gained] = 1
    ours[gained : gained + lost] = 1
    found = [
        Predictions(labels=labels, top_classes=best[:, None], top_scores=np.ones((images, 1), dtype=np.float32))
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
    assert quality_change(run_record("ort-int8"), baseline, "macs") is None


def test_top5_counts_an_image_as_right_when_any_guess_is():
    record = run_record(predictions=predictions(0.5))
    assert correct(record, "top1").mean() == pytest.approx(0.5, abs=0.01)
    assert correct(record, "top5").all()


def test_a_difference_that_stands_alone_may_not_stand_among_ten():
    change = quality_change(*pair(gained=3, lost=14, images=360))
    others = [quality_change(*pair(gained=5, lost=5, images=360)) for _ in range(9)]
    assert change.verdict == "worse"
    alone, *_ = under_holm([change])
    among, *_ = under_holm([change, *others])
    assert (alone.verdict, among.verdict) == ("worse", "undecided")
    assert among.reason == "alone it would be worse, but not as one of 10 comparisons"


def test_the_images_asked_for_do_resolve_the_difference():
    rng = np.random.default_rng(5)
    difference, discordant = 0.01, 0.05
    n = images_to_resolve(difference, discordant)
    gained, lost = (discordant + difference) / 2, (discordant - difference) / 2
    counts = rng.multinomial(n, [gained, lost, 1 - discordant], size=1500)
    z = (counts[:, 0] - counts[:, 1]) / np.sqrt(counts[:, 0] + counts[:, 1])
    assert (z > 1.96).mean() == pytest.approx(0.8, abs=0.03)
    assert math.isclose(images_to_resolve(-difference, discordant), n)
