"""How far the confidence of a classifier is from the share of its answers that are right.

Expected calibration error: answers are sorted into bins of equal width by their confidence, the softmax probability of
the best guess; the error is the mean, weighted by answers, of |share right - mean confidence| over the bins. Source:
Naeini, Cooper & Hauskrecht 2015, doi:10.1609/aaai.v29i1.9602; with 15 bins and half-open intervals ((m-1)/15, m/15] as
Guo et al. 2017, arXiv:1706.04599, section 2.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from paretoboard.stats.bootstrap import RESAMPLES, percentiles
from paretoboard.stats.interval import Estimate

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

BINS: Final = 15


def calibration_error(
    confidences: NDArray[Any], right: NDArray[np.bool_], *, confidence: float = 0.95, seed: int = 0
) -> Estimate:
    """The expected calibration error, with an interval over images.

    Args:
        confidences: (images,) from 0 to 1.
        right: (images,) whether the best guess is the right class.
    Returns: the interval reaches as far to either side as the bootstrap's percentiles do upwards: few images make the
        error seem larger, and resampling them makes it larger still, so its lower percentiles say nothing. It reaches
        zero where a model that is as right as it says shows as much on so many images in one of twenty trials.
    Raises: ValueError for arrays of unlike length, none, or a confidence that is no probability.
    Source: of the trials: Bröcker & Smith 2007, doi:10.1175/WAF993.1, consistency resampling.
    """
    errors = _errors([(confidences, right)], seed)[0]
    value, drawn = float(errors[0]), percentiles(errors[1:], confidence)
    arm = max(drawn.high - value, 0.0)
    by_chance = float(np.quantile(_errors_by_chance(confidences, seed), confidence))
    return Estimate(value=value, low=0.0 if value <= by_chance else max(0.0, value - arm), high=min(1.0, value + arm))


def calibration_error_difference(
    confidences: NDArray[Any],
    right: NDArray[np.bool_],
    other_confidences: NDArray[Any],
    other_right: NDArray[np.bool_],
    *,
    confidence: float = 0.95,
    seed: int = 0,
) -> Estimate:
    """The first one's expected calibration error minus the other's, on the same images; above zero is worse.

    Source of the interval: the basic bootstrap, Davison & Hinkley 1997, Bootstrap Methods and their Application,
        section 5.2.1; what few images add to both errors largely cancels.
    """
    ours, theirs = _errors([(confidences, right), (other_confidences, other_right)], seed)
    return _basic(ours - theirs, confidence)


def _errors(models: Sequence[tuple[NDArray[Any], NDArray[np.bool_]]], seed: int) -> list[NDArray[np.float64]]:
    """Each model's error as (1 + resamples,): first that of the images themselves, then that of each resample.

    Images that are in one bin and right alike, with every model, stand for each other at their mean confidence: a
    bin's width bounds what that leaves out of the spread, and a resample costs the same for any number of images.
    """
    images = len(models[0][1])
    keys = []
    for confidences, right in models:
        if not images or confidences.shape != (images,) or right.shape != (images,):
            found = f"{confidences.shape} and {right.shape}"
            raise ValueError(f"confidences and answers of shapes {found}; one of each per image would be right")
        if not np.all((confidences >= 0) & (confidences <= 1)):
            raise ValueError("a confidence that is no probability; softmax gives shares from 0 to 1")
        bins = _bins(confidences)
        keys.append(2 * bins + right)
    kinds, kind_of, counts = np.unique(np.stack(keys), axis=1, return_inverse=True, return_counts=True)
    kind_of = kind_of.reshape(-1)
    draws = np.random.default_rng(seed).multinomial(images, counts / images, size=RESAMPLES)
    weights = np.vstack([counts, draws]).astype(np.float64)
    errors = []
    for (confidences, right), kind in zip(models, kinds, strict=True):
        gap = np.bincount(kind_of, weights=right - confidences.astype(np.float64)) / counts
        in_bin = np.zeros((len(counts), BINS))
        in_bin[np.arange(len(counts)), kind // 2] = gap
        errors.append(np.abs(weights @ in_bin).sum(axis=1) / images)
    return errors


def _errors_by_chance(confidences: NDArray[Any], seed: int) -> NDArray[np.float64]:
    """(resamples,) errors of answers as right as their confidences say, by a normal draw for each bin."""
    sure = confidences.astype(np.float64)
    variance = np.bincount(_bins(sure), weights=sure * (1 - sure), minlength=BINS)
    draws = np.random.default_rng(seed).standard_normal((RESAMPLES, BINS)) * np.sqrt(variance)
    return np.asarray(np.abs(draws).sum(axis=1) / len(sure))


def _bins(confidences: NDArray[Any]) -> NDArray[np.int64]:
    return np.clip(np.ceil(confidences.astype(np.float64) * BINS).astype(np.int64) - 1, 0, BINS - 1)


def _basic(values: NDArray[np.float64], confidence: float) -> Estimate:
    value, drawn = float(values[0]), percentiles(values[1:], confidence)
    return Estimate(value=value, low=min(value, 2 * value - drawn.high), high=max(value, 2 * value - drawn.low))
