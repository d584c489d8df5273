"""What is made of a classifier's outputs: scikit-learn's scores exactly, their intervals, and how sure it is."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import softmax
from sklearn.metrics import accuracy_score, f1_score, precision_score, recall_score, top_k_accuracy_score

from paretoboard import stats
from paretoboard.records import MetricValue, Predictions
from paretoboard_runners.scoring import Scored
from paretoboard_runners.scoring.classification import ClassScorer

SCORES = {"precision": precision_score, "recall": recall_score, "f1": f1_score}


def scored(labels: np.ndarray, *parts: np.ndarray) -> Scored:
    scorer = ClassScorer(labels)
    for part in parts:
        scorer.add(part.astype(np.float32))
    return scorer.result()


def by_name(found: Scored) -> dict[tuple[str, str], MetricValue]:
    return {(value.name, value.scope): value for value in found.metrics}


def calling(best: list[int], classes: int) -> np.ndarray:
    """Logits of a model that gives these answers."""
    return 9.0 * np.eye(classes)[best] - 1.0


def kept_scores(found: Scored) -> np.ndarray:
    assert isinstance(found.kept, Predictions)
    return found.kept.top_scores


def test_scores_are_scikit_learns_exactly() -> None:
    rng = np.random.default_rng(2)
    labels = rng.integers(0, 9, 500)  # of ten classes: the last is only named
    outputs = rng.normal(size=(500, 10)).astype(np.float32)
    outputs[np.arange(500), labels] += 1.5
    found, best = by_name(scored(labels, outputs[:200], outputs[200:])), outputs.argmax(axis=1)
    assert 9 in best
    assert found["top1", ""].value == accuracy_score(labels, best)
    assert found["top5", ""].value == top_k_accuracy_score(labels, outputs, k=5, labels=np.arange(10))
    for name, score in SCORES.items():
        assert found[name, ""].value == score(labels, best, average="macro", zero_division=0)
        by_class = score(labels, best, average=None, labels=np.arange(10), zero_division=0)
        assert [found[name, f"class={index}"].value for index in range(10)] == by_class.tolist()


def test_the_scores_of_each_class_have_intervals_around_them() -> None:
    found = by_name(scored(np.repeat(np.arange(4), 5), calling([3, *[0] * 4, *[1] * 5, *[2] * 5, *[3] * 5], 4)))
    of_classes = [value for (_, scope), value in found.items() if scope]
    assert len(of_classes) == 12
    for value in of_classes:
        assert value.low is not None
        assert value.high is not None
        assert value.low <= value.value <= value.high
        assert value.low < value.high
    recall, f1 = found["recall", "class=0"], found["f1", "class=0"]
    share = stats.wilson(4, 5)
    assert (recall.low, recall.high) == (share.low, share.high)
    assert f1.low == pytest.approx(2 * share.low / (1 + share.low))


def test_a_class_that_nothing_is_called_has_no_interval_of_its_precision() -> None:
    found = by_name(scored(np.array([0, 0, 1, 1]), calling([0, 0, 0, 0], 2)))
    precision, recall = found["precision", "class=1"], found["recall", "class=1"]
    assert (precision.value, precision.low, precision.high) == (0.0, None, None)
    assert (recall.value, recall.low) == (0.0, 0.0)
    assert recall.high is not None
    assert recall.high > 0.3


def test_a_model_that_ends_in_a_softmax_is_as_sure_as_it_says() -> None:
    rng = np.random.default_rng(0)
    labels, logits = rng.integers(0, 3, 60), rng.normal(0, 2, (60, 3))
    expected = kept_scores(scored(labels, logits))
    shares = softmax(logits, axis=1)
    np.testing.assert_allclose(kept_scores(scored(labels, shares)), expected, rtol=1e-5)
    rounded = np.round(shares * 256) / 256  # as INT8 has them
    np.testing.assert_allclose(kept_scores(scored(labels, rounded)), expected, atol=0.003)
    # Logits above zero are logits still.
    np.testing.assert_allclose(kept_scores(scored(labels, logits - logits.min())), expected, rtol=1e-4)
