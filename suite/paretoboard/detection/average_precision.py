"""Mean average precision, of the images as they are and of images drawn again.

An average precision is a number of one sorting of all boxes, no mean over images; so its interval comes from drawing
images again. Boxes are matched once, and each draw only weighs images anew.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from paretoboard.detection.matching import AREAS, THRESHOLDS, Matches, match
from paretoboard.metrics import QUALITIES

if TYPE_CHECKING:
    from collections.abc import Mapping

    from paretoboard.records import Detections

RECALLS: Final = np.linspace(0.0, 1.0, 101)
DRAWS: Final = 1000
# The rows of what is drawn again, in this order: metrics that a task may be judged by.
DRAWN: Final = QUALITIES["detection"]
_SEED: Final = 20261122  # the same for all records: the n-th draw is about the same images in each
_AT: Final[Mapping[str, slice]] = {"mAP": slice(None), "AP50": slice(0, 1), "AP75": slice(5, 6)}
_LEAST: Final = np.spacing(1.0)  # as COCO adds it to what it divides by


@dataclass(frozen=True, slots=True, kw_only=True)
class Precisions:
    """Average precisions of weighted images, nan where there is nothing to find."""

    classes: tuple[int, ...]
    values: NDArray[np.float64]  # (weightings, areas, classes, thresholds)

    def mean(self, metric: str, area: str = "") -> NDArray[np.float64]:
        """(weightings,): over classes that there is something to find of, nan where there is none at all."""
        return _nanmean(self.values[:, list(AREAS).index(area), :, _AT[metric]].reshape(len(self.values), -1))

    def of_class(self, name: int) -> NDArray[np.float64]:
        """(weightings,): of one class over all sizes and thresholds."""
        return _nanmean(self.values[:, 0, self.classes.index(name)])


def precisions(detections: Detections, weights: NDArray[np.float64] | None = None) -> Precisions:
    """Average precisions of every class, by size and by threshold.

    Args:
        weights: (weightings, images), how often each image counts; None: each once.
    Source: Lin et al. 2014, arXiv:1405.0312; pycocotools' cocoeval.py, COCOeval.accumulate: precision at 101 recalls,
        each the best at this recall or a higher one.
    """
    images = len(detections.objects.sizes)
    used = np.ones((1, images)) if weights is None else weights
    matches = match(detections)
    values = np.full((len(used), len(AREAS), len(matches), len(THRESHOLDS)), np.nan)
    for place, found in enumerate(matches.values()):
        for area in range(len(AREAS)):
            for threshold in range(len(THRESHOLDS)):
                values[:, area, place, threshold] = _average(found, area, threshold, used)
    return Precisions(classes=tuple(matches), values=values)


def drawn_weights(images: int, draws: int = DRAWS) -> NDArray[np.float64]:
    """(draws, images): how often each image occurs when as many are drawn again; fewer draws are the first ones."""
    rng = np.random.default_rng(_SEED)
    return rng.multinomial(images, np.full(images, 1 / images), size=draws).astype(np.float64)


def _average(found: Matches, area: int, threshold: int, weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """(weightings,) average precision of one class."""
    from scipy import sparse

    wanted = weights @ found.objects[area]
    counted = np.flatnonzero(found.counted[area, threshold])
    hits = found.hit[area, threshold][counted]
    values = np.where(wanted > 0, 0.0, np.nan)
    ends = np.flatnonzero(hits)
    if not len(ends):
        return values
    # Precision only ever rises at a hit, so that only hits need be looked at; what lies between two of them is summed
    # by image first.
    last = int(ends[-1]) + 1
    image = found.image[counted[:last]]
    stretch = np.searchsorted(ends, np.arange(last))
    shape = (len(ends), weights.shape[1])
    between = sparse.coo_matrix((np.ones(last), (stretch, image)), shape=shape).tocsr()
    seen = np.cumsum(between @ weights.T, axis=0).T  # (weightings, hits)
    right = np.cumsum(weights[:, image[ends]], axis=1)
    envelope = np.maximum.accumulate((right / (seen + _LEAST))[:, ::-1], axis=1)[:, ::-1]
    share = np.divide(right, wanted[:, None], out=np.zeros_like(right), where=wanted[:, None] > 0)
    # How many of the recalls are reached at each hit: a precision counts for those that were not before.
    reached = np.searchsorted(RECALLS, share, side="right")
    gained = np.diff(reached, axis=1, prepend=0)
    return np.where(wanted > 0, (envelope * gained).sum(axis=1) / len(RECALLS), np.nan)


def _nanmean(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Over the last axis, nan where all are; numpy's own warns of that."""
    known = ~np.isnan(values)
    counts = known.sum(axis=-1)
    sums = np.where(known, values, 0.0).sum(axis=-1)
    return np.asarray(np.divide(sums, counts, out=np.full(counts.shape, np.nan), where=counts > 0))
