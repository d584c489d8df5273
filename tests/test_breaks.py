"""What a recipe breaks, from hand-made predictions and against scikit-learn and scipy."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import stats as scipy_stats
from sklearn.metrics import f1_score, precision_score, recall_score

from builders import board_records, failed_record, run_record
from paretoboard import breaks
from paretoboard.compare import judged, quality_change, widened
from paretoboard.records import CorruptedGuesses, Predictions, RunRecord
from paretoboard.stats import Contrast, bootstrap_contrast

SCORERS = {"f1": f1_score, "precision": precision_score, "recall": recall_score}


def answering(
    labels: list[int] | np.ndarray,
    best: list[int] | np.ndarray,
    *,
    scores: np.ndarray | None = None,
    ids: tuple[str, ...] = (),
    corrupted: dict[str, np.ndarray] | None = None,
    recipe: str = "ort-int8",
) -> RunRecord:
    """A record whose best guesses are `best`."""
    found = Predictions(
        labels=np.array(labels, dtype=np.int16),
        top_classes=np.array(best, dtype=np.int16)[:, None],
        top_scores=(np.full(len(best), 0.9) if scores is None else scores).astype(np.float32)[:, None],
        ids=ids,
        corrupted=tuple(
            CorruptedGuesses(corruption=name, best=guesses.astype(np.int16))
            for name, guesses in (corrupted or {}).items()
        ),
    )
    return run_record(recipe, predictions=found)


def pair_of(gained: int, lost: int, images: int, classes: int = 4) -> tuple[RunRecord, RunRecord]:
    """A recipe and a baseline that differ on the first images of each class in turn."""
    labels = np.arange(images) % classes
    ours, theirs = labels.copy(), labels.copy()
    theirs[:gained] = (labels[:gained] + 1) % classes
    ours[gained : gained + lost] = (labels[gained : gained + lost] + 1) % classes
    return answering(labels, ours), answering(labels, theirs, recipe="baseline")


# Agreement and flips


def test_every_direction_of_a_flip_is_told_with_its_image() -> None:
    labels, before, after = [0, 1, 2, 3, 4], [0, 1, 0, 0, 4], [0, 2, 2, 1, 4]
    ids = tuple(f"test/{number}" for number in range(5))
    found = breaks.agreement(answering(labels, after, ids=ids), answering(labels, before, ids=ids, recipe="baseline"))
    assert found is not None
    assert (found.n, found.share.value) == (5, pytest.approx(0.4))
    assert [(flip.image, flip.label, flip.before, flip.after, flip.direction) for flip in found.flips] == [
        ("test/1", 1, 1, 2, "right to wrong"),
        ("test/2", 2, 0, 2, "wrong to right"),
        ("test/3", 3, 0, 1, "wrong to other wrong"),
    ]
    assert [len(found.flipped(direction)) for direction in breaks.DIRECTIONS] == [1, 1, 1]


def test_in_records_without_ids_images_are_told_by_their_place() -> None:
    found = breaks.agreement(answering([0, 0], [0, 1]), answering([0, 0], [0, 0], recipe="baseline"))
    assert found is not None
    assert [flip.image for flip in found.flips] == ["number 2 of the subset"]


LABELS = hnp.arrays(np.int16, st.integers(1, 40), elements=st.integers(0, 4))


@given(LABELS, st.integers(0, 2**32 - 1))
def test_flips_make_up_the_difference_of_the_scores(labels: np.ndarray, seed: int) -> None:
    rng = np.random.default_rng(seed)
    before, after = rng.integers(0, 5, len(labels)), rng.integers(0, 5, len(labels))
    record, baseline = answering(labels, after), answering(labels, before, recipe="baseline")
    found = breaks.agreement(record, baseline)
    assert found is not None
    worse, better, _ = (len(found.flipped(direction)) for direction in breaks.DIRECTIONS)
    assert better - worse == int((after == labels).sum()) - int((before == labels).sum())
    assert found.share.value == (after == before).mean()
    assert found.share.low <= found.share.value <= found.share.high
    changes = breaks.class_changes(record, baseline)
    assert sum(change.images for change in changes) == len(labels)
    assert sum(change.lost for change in changes) == worse
    assert sum(change.gained for change in changes) == better


@pytest.mark.parametrize(
    "other",
    [
        failed_record("baseline"),
        run_record(predictions=None),
        run_record(subset="train"),
        run_record(images=12),
        run_record(predictions=dataclasses.replace(run_record().predictions, ids=tuple(map(str, range(360))))),
    ],
    ids=["failed", "without predictions", "another subset", "fewer images", "other ids"],
)
def test_nothing_is_said_where_the_images_are_not_the_same(other: RunRecord) -> None:
    record = run_record("ort-int8")
    record = dataclasses.replace(
        record, predictions=dataclasses.replace(record.predictions, ids=tuple(f"a{n}" for n in range(360)))
    )
    assert breaks.agreement(record, other) is None
    assert breaks.class_changes(record, other) == ()
    assert breaks.calibration_change(record, other) is None


# Classes


def test_the_class_that_loses_most_comes_first_and_stands_among_all() -> None:
    labels = np.repeat(np.arange(10), 100)
    before, after = labels.copy(), labels.copy()
    after[300:340] = 0  # 40 of class 3
    after[500:503] = 0  # 3 of class 5: chance explains those
    found = breaks.class_changes(answering(labels, after), answering(labels, before, recipe="baseline"))
    worst, second, *rest = found
    assert (worst.index, worst.images, worst.lost, worst.gained, worst.verdict) == (3, 100, 40, 0, "worse")
    assert worst.change.low < worst.change.value == pytest.approx(-0.4)
    assert worst.change.high < 0
    assert (second.index, second.change.value, second.verdict) == (5, pytest.approx(-0.03), "undecided")
    assert all(change.lost == 0 for change in rest)


def test_p_values_and_intervals_of_classes_are_those_of_all_together() -> None:
    labels = np.repeat(np.arange(20), 50)
    before, after = labels.copy(), labels.copy()
    after[:7] = 1
    (worst, *_) = breaks.class_changes(answering(labels, after), answering(labels, before, recipe="baseline"))
    alone = float(scipy_stats.binomtest(0, 7).pvalue)
    assert alone < 0.05
    assert worst.p_value == pytest.approx(20 * alone)
    assert worst.verdict == "undecided"


# Paired differences of scores that are no mean over images


@pytest.mark.parametrize("metric", list(SCORERS))
def test_a_difference_of_macro_scores_is_scikit_learns(metric: str) -> None:
    rng = np.random.default_rng(8)
    labels = rng.integers(0, 6, 400)
    ours = np.where(rng.random(400) < 0.8, labels, rng.integers(0, 9, 400))  # classes 6 to 8 are in no label
    theirs = np.where(rng.random(400) < 0.6, labels, rng.integers(0, 6, 400))
    change = quality_change(answering(labels, ours), answering(labels, theirs, recipe="baseline"), metric)
    assert change is not None
    score = SCORERS[metric]
    expected = score(labels, ours, average="macro", zero_division=0) - score(
        labels, theirs, average="macro", zero_division=0
    )
    assert change.difference == pytest.approx(expected, abs=1e-12)
    assert change.low < change.difference < change.high
    # A class that only wrong guesses name counts as one that was never found: more right answers may be a lower score.
    assert change.verdict == ("better" if expected > 0 else "worse")
    assert change.test == "paired bootstrap"
    assert change.gained - change.lost == int((ours == labels).sum() - (theirs == labels).sum())


def test_an_f1_that_no_image_changes_is_the_same_on_many_images_and_undecided_on_few() -> None:
    for images, verdict in ((10_000, "same"), (360, "undecided")):
        change = quality_change(*pair_of(0, 0, images), "f1")
        assert change is not None
        assert (change.difference, change.verdict, change.p_value) == (0.0, verdict, 1.0)
        assert change.low < 0 < change.high


def test_f1_and_top1_agree_where_classes_are_balanced() -> None:
    for gained, lost in ((40, 8), (8, 40), (12, 10)):
        record, baseline = pair_of(gained, lost, 2000)
        changes = [quality_change(record, baseline, metric) for metric in ("top1", "f1")]
        first, second = (change for change in changes if change is not None)
        assert first.verdict == second.verdict
        assert second.difference == pytest.approx(first.difference, abs=0.004)


def test_an_undecided_difference_of_f1_says_how_many_images_it_takes() -> None:
    change = quality_change(*pair_of(6, 9, 360), "f1")
    assert change is not None
    assert change.verdict == "undecided"
    assert "images; there are 360" in change.reason
    assert abs(change.difference) < change.decided_from < change.found_from


@pytest.mark.parametrize("metric", ["top1", "f1"])
def test_a_difference_below_what_the_images_decide_is_never_better_or_worse(metric: str) -> None:
    for gained in range(0, 40, 4):
        change = quality_change(*pair_of(gained, 15, 1000), metric)
        assert change is not None
        if abs(change.difference) < 0.9 * change.decided_from:
            assert change.verdict in ("undecided", "same")


def test_a_paired_bootstrap_makes_few_false_alarms() -> None:
    rng = np.random.default_rng(11)
    alarms = 0
    for _ in range(150):
        labels = rng.integers(0, 5, 300)
        ours, theirs = (np.where(rng.random(300) < 0.8, labels, rng.integers(0, 5, 300)) for _ in range(2))
        found = bootstrap_contrast(labels, (ours, theirs), (1.0, -1.0), "f1", resamples=400)
        alarms += found.p_value < 0.05
    assert alarms <= 16  # 7.5 are expected, 16 or more come once in 500


def test_a_contrast_of_contrasts_is_the_sum_of_its_scores() -> None:
    rng = np.random.default_rng(12)
    labels = rng.integers(0, 3, 200)
    guesses = [np.where(rng.random(200) < share, labels, 0) for share in (0.9, 0.7, 0.8, 0.75)]
    found = bootstrap_contrast(labels, guesses, (1.0, -1.0, -1.0, 1.0), "top1")
    right = [float((guess == labels).mean()) for guess in guesses]
    assert found.value == pytest.approx(right[0] - right[1] - right[2] + right[3])
    assert found.low < found.value < found.high


def test_weights_that_do_not_fit_their_guesses_are_refused() -> None:
    with pytest.raises(ValueError, match="2 weights for 1 sets"):
        bootstrap_contrast(np.zeros(3, int), [np.zeros(3, int)], (1.0, -1.0), "f1")


def test_judging_and_widening() -> None:
    assert [judged(0.01, 0.02, 0.01), judged(-0.02, -0.01, 0.01), judged(0.01, 0.02, 0.2)] == [
        "better",
        "worse",
        "undecided",
    ]
    assert judged(-0.001, 0.001, 1.0) == "same"
    narrow = Contrast(value=0.0, low=0.0, high=0.0, p_value=1.0)
    few, many = widened(narrow, 50), widened(narrow, 50_000)
    assert few.low < many.low < 0 < many.high < few.high


# Calibration


def test_a_recipe_that_is_surer_of_the_same_answers_is_worse_calibrated() -> None:
    rng = np.random.default_rng(5)
    labels = rng.integers(0, 2, 3000)
    scores = rng.uniform(0.55, 0.95, 3000)
    best = np.where(rng.random(3000) < scores, labels, 1 - labels)
    baseline = answering(labels, best, scores=scores, recipe="baseline")
    surer = answering(labels, best, scores=np.minimum(scores + 0.1, 1.0))
    error, change = breaks.calibration_error(surer), breaks.calibration_change(surer, baseline)
    assert error is not None
    assert change is not None
    assert error.value > 0.05
    assert change.low > 0
    assert breaks.calibration_error(failed_record()) is None


def test_scores_that_differ_by_rounding_alone_are_no_change_of_calibration() -> None:
    labels = np.zeros(3000, dtype=np.int64)
    best = np.where(np.arange(3000) % 10 == 0, 1, 0)
    scores = np.linspace(0.55, 0.95, 3000)
    baseline = answering(labels, best, scores=scores, recipe="baseline")
    change = breaks.calibration_change(answering(labels, best, scores=scores + 1e-7), baseline)
    assert change is not None
    assert change.low < change.value < change.high
    assert change.low < 0 < change.high


# Corruptions


def test_a_recipe_that_loses_more_than_the_baseline_under_noise_is_worse_there() -> None:
    rng = np.random.default_rng(6)
    labels = rng.integers(0, 10, 2000)

    def losing(share: float) -> np.ndarray:
        # The same images are hard for both, as they are in life.
        return np.where(np.random.default_rng(7).random(2000) < share, (labels + 1) % 10, labels)

    fragile = answering(labels, labels, corrupted={"noise:3": losing(0.3), "blur:1": losing(0.02)})
    baseline = answering(labels, labels, corrupted={"noise:3": losing(0.1)}, recipe="baseline")
    noise, blur = breaks.corruption_losses(fragile, baseline)
    assert (noise.corruption, noise.score, noise.verdict) == ("noise:3", "top1", "worse")
    assert noise.value == pytest.approx(1 - noise.drop.value)
    assert noise.drop.value == pytest.approx(0.3, abs=0.03)
    assert noise.baseline_drop == pytest.approx(0.1, abs=0.02)
    assert noise.further is not None
    assert noise.further.value == pytest.approx(noise.drop.value - (noise.baseline_drop or 0))
    assert (blur.baseline_drop, blur.further, blur.verdict) == (None, None, None)
    assert [loss.further for loss in breaks.corruption_losses(baseline, baseline)] == [None]
    assert [loss.score for loss in breaks.corruption_losses(fragile, baseline, "f1")] == ["f1", "f1"]
    assert [loss.score for loss in breaks.corruption_losses(fragile, None, "top5")] == ["top1", "top1"]


def test_a_recipe_that_answers_as_the_baseline_does_is_the_same_under_corruptions() -> None:
    labels = np.arange(10_000) % 10
    noisy = np.where(np.arange(10_000) % 4 == 0, 0, labels)
    both = [answering(labels, labels, corrupted={"noise:1": noisy}, recipe=name) for name in ("ort-fp32", "baseline")]
    (loss,) = breaks.corruption_losses(*both)
    assert loss.further is not None
    assert (loss.further.value, loss.verdict) == (0.0, "same")


def test_records_without_corruptions_have_no_losses() -> None:
    first, second, *_ = board_records()
    assert breaks.corruption_losses(second, first) == ()
    assert breaks.corruption_losses(failed_record(), first) == ()
