"""Non-maximum suppression: of boxes that are about the same object, the best is kept."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from paretoboard.detection.boxes import overlaps

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from paretoboard.spec import NmsLibrary


def suppress(
    boxes: NDArray[np.float32],
    scores: NDArray[np.float32],
    classes: NDArray[np.integer[Any]],
    *,
    most_overlap: float,
    library: NmsLibrary = "numpy",
) -> NDArray[np.int64]:
    """Which boxes are kept, best first: those that no better one of their class overlaps by more than `most_overlap`.

    Greedy, class by class. Of equal scores the first comes first.

    Args:
        boxes: (n, 4) corners.
        scores, classes: (n,).
        library: "torchvision" is faster from about a thousand boxes on and imports torch.
    Source: Felzenszwalb et al. 2010, doi:10.1109/TPAMI.2009.167, section 7.2; as torchvision.ops.batched_nms.
    """
    if not len(boxes):
        return np.zeros(0, np.int64)
    order = np.argsort(-scores, kind="stable")
    return order[_LIBRARIES[library](boxes[order], scores[order], classes[order], most_overlap)]


def _numpy(
    boxes: NDArray[np.float32], _scores: NDArray[np.float32], classes: NDArray[np.integer[Any]], most_overlap: float
) -> NDArray[np.int64]:
    """Of boxes whose scores descend."""
    kept = np.ones(len(boxes), dtype=bool)
    for name in np.unique(classes):
        places = np.flatnonzero(classes == name)
        if len(places) == 1:
            continue
        # All overlaps of a class at once: a loop over pairs would be most of a call.
        too_near = np.triu(overlaps(boxes[places], boxes[places]) > most_overlap, k=1)
        alive = np.ones(len(places), dtype=bool)
        for place in range(len(places)):
            if alive[place]:
                alive &= ~too_near[place]
        kept[places] = alive
    return np.flatnonzero(kept)


def _torchvision(
    boxes: NDArray[np.float32], scores: NDArray[np.float32], classes: NDArray[np.integer[Any]], most_overlap: float
) -> NDArray[np.int64]:
    import torch
    from torchvision.ops import batched_nms

    kept = batched_nms(
        torch.from_numpy(np.ascontiguousarray(boxes)),
        torch.from_numpy(np.ascontiguousarray(scores)),
        torch.from_numpy(np.ascontiguousarray(classes, dtype=np.int64)),
        most_overlap,
    )
    # Ascending places are descending scores; batched_nms may give equal scores in any order.
    return np.sort(np.asarray(kept.numpy(), dtype=np.int64))


_LIBRARIES: Final[dict[NmsLibrary, Callable[..., NDArray[np.int64]]]] = {"numpy": _numpy, "torchvision": _torchvision}
