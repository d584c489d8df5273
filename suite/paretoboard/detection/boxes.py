"""Rectangles: two ways to write them, and how much they overlap."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


def corners(boxes: NDArray[np.floating[Any]]) -> NDArray[np.floating[Any]]:
    """(n, 4) left, top, width, height as left, top, right, bottom."""
    return np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], axis=1)


def extents(boxes: NDArray[np.floating[Any]]) -> NDArray[np.floating[Any]]:
    """(n, 4) left, top, right, bottom as left, top, width, height."""
    return np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], axis=1)


def overlaps(first: NDArray[np.floating[Any]], second: NDArray[np.floating[Any]]) -> NDArray[np.floating[Any]]:
    """Intersection over union of every pair of boxes given by their corners, (n, 4) and (m, 4) to (n, m).

    0 where both are empty.
    """
    shared = _shared(first, second)
    union = _area(first)[:, None] + _area(second)[None, :] - shared
    return np.asarray(np.divide(shared, union, out=np.zeros_like(shared), where=union > 0))


def coco_overlaps(
    found: NDArray[np.float64], objects: NDArray[np.float64], crowd: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """How far each found box covers each object, (n, 4) and (m, 4) left, top, width, height to (n, m).

    Intersection over union; of a crowd, intersection over the found box: whoever finds one of a crowd has found it.

    Source: Lin et al. 2014, arXiv:1405.0312, and pycocotools' maskApi.c, bbIou, in the same order of operations.
    """
    right_bottom = np.minimum((found[:, 2:] + found[:, :2])[:, None], (objects[:, 2:] + objects[:, :2])[None])
    sides = np.maximum(right_bottom - np.maximum(found[:, None, :2], objects[None, :, :2]), 0.0)
    shared = sides[..., 0] * sides[..., 1]
    own = (found[:, 2] * found[:, 3])[:, None]
    union = np.where(crowd[None], own, own + (objects[:, 2] * objects[:, 3])[None] - shared)
    return np.asarray(np.divide(shared, union, out=np.zeros_like(shared), where=shared > 0))


def _shared(first: NDArray[np.floating[Any]], second: NDArray[np.floating[Any]]) -> NDArray[np.floating[Any]]:
    low = np.maximum(first[:, None, :2], second[None, :, :2])
    high = np.minimum(first[:, None, 2:], second[None, :, 2:])
    sides = np.maximum(high - low, 0)
    shared: NDArray[np.floating[Any]] = sides[..., 0] * sides[..., 1]
    return shared


def _area(boxes: NDArray[np.floating[Any]]) -> NDArray[np.floating[Any]]:
    area: NDArray[np.floating[Any]] = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    return area
