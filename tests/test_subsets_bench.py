"""What `make bench-subsets` counts, on models whose order is known, and on the published answers where they are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bench.subsets import studying, table
from bench.subsets.studying import Answers


def answers(shares: list[float], images: int = 20_000, classes: int = 100) -> Answers:
    """Models that find about the same images hard."""
    rng = np.random.default_rng(1)
    difficulty = rng.random(images)
    right = np.array([difficulty + 0.15 * rng.standard_normal(images) < share for share in shares])
    labels = np.repeat(np.arange(classes), images // classes).astype(np.int16)
    return Answers(models=tuple(f"m{number}" for number in range(len(shares))), right=right, labels=labels)


@pytest.mark.parametrize("rule", studying.RULES)
@pytest.mark.parametrize("images", [30, 100, 250])
def test_a_subset_has_so_many_different_images(rule: studying.Rule, images: int) -> None:
    labels = np.random.default_rng(0).permutation(np.repeat(np.arange(100), 20)).astype(np.int16)
    chosen = studying.draw(labels, images, rule, np.random.default_rng(5))
    assert len(chosen) == len(set(chosen.tolist())) == images
    counts = np.bincount(labels[chosen], minlength=100)
    if rule == "balanced":
        assert counts.max() - counts.min() <= 1


def test_models_far_apart_are_never_turned_round_and_near_ones_often_are_but_not_by_our_verdict() -> None:
    far = studying.study(answers([0.3, 0.6, 0.9]), 500, "random", subsets=60)
    assert (far.wrong_order, far.decided, far.decided_wrongly) == (0.0, 1.0, 0.0)
    assert far.tau_b == (1.0, 1.0, 1.0)
    near = studying.study(answers([0.600, 0.603, 0.606]), 200, "random", subsets=200)
    assert near.wrong_order > 0.2
    assert near.decided_wrongly < 0.05
    assert near.covered == pytest.approx(0.95, abs=0.03)
    assert near.holm_wrong < 0.08


def test_a_difference_that_is_said_to_be_found_is_found_four_times_in_five() -> None:
    found = studying.study(answers([0.55, 0.60, 0.65]), 1000, "random", subsets=200)
    assert found.found >= 0.78


def test_a_row_names_its_size_and_its_rule() -> None:
    outcome = studying.study(answers([0.5, 0.6]), 100, "balanced", subsets=5)
    assert table.line(outcome).split()[:2] == ["100", "balanced"]
    assert len(table.HEAD.split()) > 10
    assert "2 models on 20,000 images, 1 pairs" in table.report(answers([0.5, 0.6]), [outcome], 5)


def test_on_the_published_answers_our_verdict_is_seldom_wrong(data_root: Path) -> None:
    path = data_root / "imagenet-predictions" / "val50k_top5.npz"
    if not path.is_file():
        pytest.skip(f"{path} is not there")
    published = studying.read(path)
    shares = dict(zip(published.models, published.full, strict=True))
    assert shares["resnet50"] == pytest.approx(0.7613, abs=5e-5)
    assert shares["resnet18"] == pytest.approx(0.6976, abs=5e-5)
    found = studying.study(published, 500, "balanced", subsets=40)
    assert found.wrong_order > 0.01
    assert found.decided_wrongly < 0.005
    assert found.covered > 0.93
