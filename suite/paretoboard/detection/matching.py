"""Which found box is which object, as COCO decides it: image by image, class by class, best box first.

Source: pycocotools' cocoeval.py, COCOeval.evaluateImg, whose results these are to the last bit.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from paretoboard.detection.boxes import coco_overlaps

if TYPE_CHECKING:
    from collections.abc import Mapping

    from paretoboard.records import Detections, Objects

THRESHOLDS: Final = np.linspace(0.5, 0.95, 10)  # of the overlap from which on a box is the object
# Objects count in a range of sizes when their areas, in square pixels, lie in it; both ends included.
AREAS: Final[Mapping[str, tuple[float, float]]] = {
    "": (0.0, 1e10),
    "small": (0.0, 32.0**2),
    "medium": (32.0**2, 96.0**2),
    "large": (96.0**2, 1e10),
}
MOST: Final = 100  # boxes of one class in one image that count
_RANGES: Final = np.array(list(AREAS.values()))
_NEARLY_ALL: Final = 1 - 1e-10


@dataclass(frozen=True, slots=True, kw_only=True)
class Matches:
    """All boxes of one class, best first, and what they are; `areas` are those of AREAS."""

    image: NDArray[np.int64]  # (boxes,)
    hit: NDArray[np.bool_]  # (areas, thresholds, boxes), whether it is an object that counts
    counted: NDArray[np.bool_]  # (areas, thresholds, boxes); a box may be neither right nor wrong
    objects: NDArray[np.int64]  # (areas, images), that there are to find


def match(detections: Detections) -> dict[int, Matches]:
    """The matches of every class that there is something to find of."""
    objects = detections.objects
    classes = sorted({int(name) for name in np.unique(objects.classes)})
    return {name: _match_class(detections, name) for name in classes}


def _match_class(detections: Detections, name: int) -> Matches:
    objects = detections.objects
    images = len(objects.sizes)
    counts = np.zeros((len(AREAS), images), dtype=np.int64)
    boxes_of = _by_image(detections.image, detections.classes == name, images)
    objects_of = _by_image(objects.image, objects.classes == name, images)
    parts = []
    for image in range(images):
        found, wanted = boxes_of[image], objects_of[image]
        # Stable: of equal scores the first stays first, in an image as among all of them.
        found = found[np.argsort(-detections.scores[found], kind="stable")][:MOST]
        ignored = _ignored(objects, wanted)
        counts[:, image] = (~ignored).sum(axis=1)
        if len(found):
            parts.append((found, *_match_image(detections, found, wanted, ignored)))
    if not parts:
        empty = np.zeros((len(AREAS), len(THRESHOLDS), 0), dtype=bool)
        return Matches(image=np.zeros(0, np.int64), hit=empty, counted=empty, objects=counts)
    every = np.concatenate([part[0] for part in parts])
    order = np.argsort(-detections.scores[every], kind="stable")
    return Matches(
        image=detections.image[every[order]].astype(np.int64),
        hit=np.concatenate([part[1] for part in parts], axis=2)[:, :, order],
        counted=np.concatenate([part[2] for part in parts], axis=2)[:, :, order],
        objects=counts,
    )


def _match_image(
    detections: Detections, found: NDArray[np.int64], wanted: NDArray[np.int64], ignored: NDArray[np.bool_]
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """`hit` and `counted` of the boxes of one image, (areas, thresholds, boxes) each."""
    objects = detections.objects
    boxes = detections.boxes[found].astype(np.float64)
    crowd = objects.crowd[wanted]
    overlap = coco_overlaps(boxes, objects.boxes[wanted], crowd)
    hit = np.zeros((len(AREAS), len(THRESHOLDS), len(found)), dtype=bool)
    matched_ignored = np.zeros_like(hit)
    taken = np.zeros((len(AREAS), len(THRESHOLDS), len(wanted)), dtype=bool)
    least = np.minimum(THRESHOLDS, _NEARLY_ALL)
    for place in np.flatnonzero((overlap >= least[0]).any(axis=1)) if len(wanted) else ():
        near = overlap[place] >= least[:, None]  # (thresholds, objects)
        free = near[None] & (~taken | crowd)
        real, aside = free & ~ignored[:, None], free & ignored[:, None]
        # What counts comes before what does not, however much more that overlaps.
        chosen = np.where(real.any(axis=2, keepdims=True), real, aside)
        best = _last_best(np.where(chosen, overlap[place], -1.0))
        any_chosen = chosen.any(axis=2)
        areas, thresholds = np.nonzero(any_chosen)
        taken[areas, thresholds, best[areas, thresholds]] = True
        is_ignored = ignored[areas, best[areas, thresholds]]
        hit[areas, thresholds, place] = ~is_ignored
        matched_ignored[areas, thresholds, place] = is_ignored
    area = boxes[:, 2] * boxes[:, 3]
    outside = (area < _RANGES[:, :1]) | (area > _RANGES[:, 1:])
    counted = hit | ~(matched_ignored | outside[:, None])
    return hit, counted


def _last_best(values: NDArray[np.float64]) -> NDArray[np.int64]:
    """Place of the largest along the last axis; of equal ones the last, as COCO's loop leaves it."""
    return np.asarray(values.shape[-1] - 1 - values[..., ::-1].argmax(axis=-1))


def _ignored(objects: Objects, wanted: NDArray[np.int64]) -> NDArray[np.bool_]:
    """(areas, wanted): crowds, and objects of another size."""
    areas = objects.areas[wanted]
    return objects.crowd[wanted] | (areas < _RANGES[:, :1]) | (areas > _RANGES[:, 1:])


def _by_image(image: NDArray[np.integer[Any]], chosen: NDArray[np.bool_], images: int) -> list[NDArray[np.int64]]:
    """For each image the places where `image` names it and `chosen` is true, ascending."""
    places = np.flatnonzero(chosen)
    order = places[np.argsort(image[places], kind="stable")]
    return np.split(order, np.searchsorted(image[order], np.arange(1, images)))
