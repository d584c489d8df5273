"""Intervals by resampling images, for qualities that are no mean over images.

Images with the same label and the same guesses are interchangeable, so a resample is one draw of how often each
combination occurs: the same distribution as drawing image by image, at a cost that does not grow with their number.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np
from scipy import sparse

from paretoboard.stats.interval import Interval, check_confidence

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

RESAMPLES: Final = 2000
Score = Literal["top1", "precision", "recall", "f1"]
MACRO: Final[tuple[Score, ...]] = ("precision", "recall", "f1")  # means over classes
SCORES: Final[tuple[Score, ...]] = ("top1", *MACRO)


@dataclass(frozen=True, slots=True, kw_only=True)
class Contrast:
    """A weighted sum of scores on the same images, such as the difference of two models, with its interval."""

    value: float
    low: float
    high: float
    p_value: float  # two-sided, of the sum being zero


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
    scores = _scores(labels, (predicted,), resamples, seed)[0]
    return {name: percentiles(scores[name][1:], confidence) for name in MACRO}


def bootstrap_contrast(
    labels: NDArray[Any],
    guesses: Sequence[NDArray[Any]],
    weights: Sequence[float],
    score: Score,
    *,
    confidence: float = 0.95,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Contrast:
    """The sum of `weights` times the score of each of `guesses`, all judged on the same resampled images.

    (1, -1) is the difference of two models; (1, -1, -1, 1) how much more the first loses from its first guesses to its
    second than the other loses from the third to the fourth.

    Args:
        labels: (images,) the right class.
        guesses: each (images,), the guessed classes.
        score: "top1" is the share of right guesses; the others are means over the classes that occur in the labels or
            in the guesses that are scored, as scikit-learn's macro average with zero_division=0.
    Returns: the p value is the level at which the percentile interval would end at zero, at least 2 / (resamples + 1).
    Raises: ValueError for arrays of unlike length, none, or not one weight for each of `guesses`.
    Source: as `bootstrap_macro`; pairing as Koehn 2004, "Statistical Significance Tests for Machine Translation
        Evaluation", section 4.
    """
    sums = _sums(labels, guesses, weights, score, resamples, seed)
    interval = percentiles(sums[1:], confidence)
    return Contrast(value=float(sums[0]), low=interval.low, high=interval.high, p_value=p_value_of_zero(sums[1:]))


def contrast_of(labels: NDArray[Any], guesses: Sequence[NDArray[Any]], weights: Sequence[float], score: Score) -> float:
    """The value of `bootstrap_contrast` alone, where nobody asks for its interval."""
    return float(_sums(labels, guesses, weights, score, resamples=0, seed=0)[0])


def p_value_of_zero(draws: NDArray[Any]) -> float:
    """Twice the smaller share of `draws` on one side of zero, zeros counted on both.

    One draw is added to each side, so that no p value is smaller than the draws can show.

    Source: Efron & Tibshirani 1993, section 15.4; Davison & Hinkley 1997, Bootstrap Methods and their Application,
        section 4.2.
    """
    smaller = min(int((draws <= 0).sum()), int((draws >= 0).sum()))
    return min(1.0, 2 * (smaller + 1) / (len(draws) + 1))


def percentiles(values: NDArray[np.float64], confidence: float = 0.95) -> Interval:
    """The interval that holds the middle `confidence` of `values`."""
    check_confidence(confidence)
    low, high = np.quantile(values, [(1 - confidence) / 2, (1 + confidence) / 2])
    return Interval(low=float(low), high=float(high))


def _sums(
    labels: NDArray[Any],
    guesses: Sequence[NDArray[Any]],
    weights: Sequence[float],
    score: Score,
    resamples: int,
    seed: int,
) -> NDArray[np.float64]:
    """(1 + resamples,) weighted sums of scores: of the images themselves, then of each resample."""
    if len(guesses) != len(weights):
        raise ValueError(f"{len(weights)} weights for {len(guesses)} sets of guesses; one for each would be right")
    if score == "top1":
        # Only which models are right counts: a few kinds of images, however many classes there are.
        guesses, labels = [guessed == labels for guessed in guesses], np.ones(len(labels), dtype=np.bool_)
    scores = _scores(labels, guesses, resamples, seed)
    # Of equal models the sums of unlike order differ in the last digits: that is no difference.
    return np.round(sum(weight * found[score] for weight, found in zip(weights, scores, strict=True)), 12)


def _scores(
    labels: NDArray[Any], guesses: Sequence[NDArray[Any]], resamples: int, seed: int
) -> list[dict[Score, NDArray[np.float64]]]:
    """Per model each score as (1 + resamples,): first that of the images themselves, then that of each resample."""
    columns = (labels, *guesses)
    if not len(labels) or any(column.shape != labels.shape for column in columns):
        shapes = " and ".join(str(column.shape) for column in columns)
        raise ValueError(f"labels and guesses of shapes {shapes}; one of each per image would be right")
    classes, codes = np.unique(np.stack(columns), return_inverse=True)
    kinds, counts = np.unique(codes.reshape(len(columns), -1), axis=1, return_counts=True)
    rng = np.random.default_rng(seed)
    draws = rng.multinomial(len(labels), counts / counts.sum(), size=resamples)
    weights = np.vstack([counts, draws]).astype(np.float64)
    right, *guessed = (_indicator(kind, len(classes)) for kind in kinds)
    support = weights @ right
    scores: list[dict[Score, NDArray[np.float64]]] = []
    for named_class, kind in zip(guessed, kinds[1:], strict=True):
        hits = (weights * (kind == kinds[0])) @ right
        named = weights @ named_class
        # A class that only another model names is none of this one's; resamples keep the classes of all images.
        own = (support[0] > 0) | (named[0] > 0)
        scores.append(
            {
                "top1": hits.sum(axis=1) / len(labels),
                "precision": _ratio(hits, named)[:, own].mean(axis=1),
                "recall": _ratio(hits, support)[:, own].mean(axis=1),
                "f1": _ratio(2 * hits, named + support)[:, own].mean(axis=1),
            }
        )
    return scores


def _indicator(kind: NDArray[Any], classes: int) -> Any:
    """(kinds, classes), one where a kind is of a class; sparse, since of 1,000 classes 999 are not it."""
    return sparse.csr_array((np.ones(len(kind)), (np.arange(len(kind)), kind)), shape=(len(kind), classes))


def _ratio(part: NDArray[np.float64], whole: NDArray[np.float64]) -> NDArray[np.float64]:
    """Zero where a resample has nothing to divide by, as in scikit-learn's zero_division=0."""
    return np.divide(part, whole, out=np.zeros_like(part), where=whole > 0)
