"""A class for each image."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from paretoboard import stats
from paretoboard.errors import DivergedError
from paretoboard.records import MetricValue, Predictions
from paretoboard_runners.measured import measured
from paretoboard_runners.scoring import Scored

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

TOP: Final = 5
_NEAR: Final = 0.1  # of one: what the outputs for an image sum to where they are probabilities


class ClassScorer:
    """Keeps the best guesses for every image."""

    def __init__(self, labels: NDArray[np.int64], ids: tuple[str, ...] = ()) -> None:
        """Args:
        labels: (images,) the right class of each.
        ids: of the images.
        """
        self._labels, self._ids = labels, ids
        self._parts: list[NDArray[np.float32]] = []

    def add(self, outputs: NDArray[np.float32]) -> None:
        """(images, classes) logits, or probabilities where the model ends in a softmax."""
        self._parts.append(outputs)

    def result(self) -> Scored:
        """Raises: DivergedError when an output is not a finite number, saying for how many images."""
        outputs = np.concatenate(self._parts)
        broken = int((~np.isfinite(outputs)).any(axis=1).sum())
        if broken:
            raise DivergedError(f"outputs are not finite numbers for {broken} of {len(outputs)} images")
        scores = _probabilities(outputs)
        top = np.argsort(-scores, axis=1, kind="stable")[:, :TOP]
        top_scores = np.take_along_axis(scores, top, axis=1).astype(np.float32)
        metrics = classification_metrics(self._labels, top)
        metrics.append(_calibration_error(self._labels, top[:, 0], top_scores[:, 0]))
        return Scored(
            metrics=tuple(metrics),
            kept=Predictions(
                labels=self._labels.astype(np.int16),
                top_classes=top.astype(np.int16),
                top_scores=top_scores,
                ids=self._ids,
            ),
            answers=top[:, 0].astype(np.int64),
        )


def classification_metrics(labels: NDArray[Any], top: NDArray[Any]) -> list[MetricValue]:
    """Top-1, top-5, and precision, recall and F1, macro and per class, with 95 % intervals.

    Args:
        labels: (images,) the right class.
        top: (images, k) classes, best first.
    """
    from sklearn.metrics import precision_recall_fscore_support

    images = len(labels)
    hits = top == labels[:, None]
    values = [_share("top1", int(hits[:, 0].sum()), images)]
    if top.shape[1] == TOP:
        values.append(_share("top5", int(hits.any(axis=1).sum()), images))
    classes = np.unique(np.concatenate([labels, top[:, 0]]))
    support = {int(name): int((labels == name).sum()) for name in classes}
    of_class = {int(name): _class_intervals(labels == name, top[:, 0] == name) for name in classes}
    per_class = precision_recall_fscore_support(labels, top[:, 0], labels=classes, zero_division=0)[:3]
    intervals = stats.bootstrap_macro(labels, top[:, 0])
    for name, by_class in zip(("precision", "recall", "f1"), per_class, strict=True):
        values.append(measured(name, float(by_class.mean()), images, interval=intervals[name]))
        values += [
            measured(name, float(value), support[label], scope=f"class={label}", interval=of_class[label][name])
            for label, value in zip(classes.tolist(), by_class, strict=True)
        ]
    return values


def _class_intervals(is_class: NDArray[np.bool_], named: NDArray[np.bool_]) -> Mapping[str, stats.Interval | None]:
    """Wilson's intervals of the scores of one class; None for a score that no image counts in.

    Args:
        is_class: (images,) whether each is of the class.
        named: (images,) whether each was called it.
    """
    hits = int((is_class & named).sum())

    def share_of(counted: NDArray[np.bool_]) -> stats.Interval | None:
        images = int(counted.sum())
        return stats.wilson(hits, images) if images else None

    either = share_of(is_class | named)
    return {"precision": share_of(named), "recall": share_of(is_class), "f1": None if either is None else _f1(either)}


def _f1(share: stats.Interval) -> stats.Interval:
    """From the share s of hits among the images that are of a class or were called it, 2 s / (1 + s)."""
    return stats.Interval(low=2 * share.low / (1 + share.low), high=2 * share.high / (1 + share.high))


def _calibration_error(labels: NDArray[Any], best: NDArray[Any], scores: NDArray[np.float32]) -> MetricValue:
    found = stats.calibration_error(np.minimum(scores.astype(np.float64), 1.0), best == labels)
    return measured("calibration_error", found.value, len(labels), interval=found)


def _probabilities(outputs: NDArray[np.float32]) -> NDArray[np.float64]:
    """(images, classes) how likely each class is: the softmax of logits, or what a softmax in the model gave."""
    # A softmax of a softmax would be sure of nothing. Rounded to INT8, a row of one need not sum to one exactly.
    if outputs.min() >= 0 and abs(np.median(outputs.sum(axis=1)) - 1) < _NEAR:
        return np.asarray(np.minimum(outputs.astype(np.float64), 1.0))
    shifted = np.exp(outputs.astype(np.float64) - outputs.max(axis=1, keepdims=True))
    return np.asarray(shifted / shifted.sum(axis=1, keepdims=True))


def _share(name: str, right: int, images: int) -> MetricValue:
    return measured(name, right / images, images, interval=stats.wilson(right, images))
