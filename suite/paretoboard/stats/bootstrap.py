"""Intervals by resampling images, for qualities that are no mean over images.

Images with the same label and the same guesses are interchangeable, so a resample is one draw of how often each
combination occurs: the same distribution as drawing image by image, at a cost that does not grow with their number.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from paretoboard.stats.interval import Interval, check_confidence

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

RESAMPLES: Final = 2000


def bootstrap_macro(
    labels: NDArray[Any],
    predicted: NDArray[Any],
    *,
    confidence: float = 0.95,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Mapping[str, Interval]:
    """Intervals of macro "precision", "recall" and "f1".

    Args:
        labels: (images,) the right class.
        predicted: (images,) the guessed one.
    Raises: ValueError for arrays of unlike length, or none.
    Source: percentile bootstrap: Efron & Tibshirani 1993, An Introduction to the Bootstrap, chapter 13.
    """
    scores = _resampled_scores(labels, (predicted,), resamples, seed)[0]
    return {name: _percentiles(values, confidence) for name, values in scores.items()}


def bootstrap_f1_difference(
    labels: NDArray[Any],
    predicted_a: NDArray[Any],
    predicted_b: NDArray[Any],
    *,
    confidence: float = 0.95,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Interval:
    """Interval of (macro F1 of a) - (macro F1 of b), both judged on the same resampled images.

    Args:
        labels: (images,) the right class.
        predicted_a, predicted_b: (images,) the guessed ones.
    Raises: ValueError for arrays of unlike length, or none.
    Source: as `bootstrap_macro`.
    """
    a, b = _resampled_scores(labels, (predicted_a, predicted_b), resamples, seed)
    return _percentiles(a["f1"] - b["f1"], confidence)


def _resampled_scores(
    labels: NDArray[Any], guesses: tuple[NDArray[Any], ...], resamples: int, seed: int
) -> list[dict[str, NDArray[np.float64]]]:
    """Per model the macro scores of each resample; classes are those that occur in `labels` or any guess."""
    columns = (labels, *guesses)
    if not len(labels) or any(column.shape != labels.shape for column in columns):
        shapes = " and ".join(str(column.shape) for column in columns)
        raise ValueError(f"labels and guesses of shapes {shapes}; one of each per image would be right")
    classes, codes = np.unique(np.stack(columns), return_inverse=True)
    kinds, counts = np.unique(codes.reshape(len(columns), -1), axis=1, return_counts=True)
    rng = np.random.default_rng(seed)
    weights = rng.multinomial(len(labels), counts / counts.sum(), size=resamples).astype(np.float64)
    is_class = [kind[:, None] == np.arange(len(classes)) for kind in kinds]
    support = weights @ is_class[0]
    scores = []
    for guessed in is_class[1:]:
        hits = weights @ (guessed & is_class[0])
        named = weights @ guessed
        scores.append(
            {
                "precision": _ratio(hits, named).mean(axis=1),
                "recall": _ratio(hits, support).mean(axis=1),
                "f1": _ratio(2 * hits, named + support).mean(axis=1),
            }
        )
    return scores


def _ratio(part: NDArray[np.float64], whole: NDArray[np.float64]) -> NDArray[np.float64]:
    """Zero where a resample has nothing to divide by, as in scikit-learn's zero_division=0."""
    return np.divide(part, whole, out=np.zeros_like(part), where=whole > 0)


def _percentiles(values: NDArray[np.float64], confidence: float) -> Interval:
    check_confidence(confidence)
    low, high = np.quantile(values, [(1 - confidence) / 2, (1 + confidence) / 2])
    return Interval(low=float(low), high=float(high))
