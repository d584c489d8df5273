"""From a network's numbers to the boxes that are reported."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from paretoboard.detection.heads import decode
from paretoboard.detection.nms import suppress
from paretoboard.spec import DetectionUse, NmsLibrary

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from paretoboard.detection.placement import Placement


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """The boxes of one image, best first."""

    boxes: NDArray[np.float32]  # (n, 4) corners: shares of the input's sides, or pixels of the stored image
    scores: NDArray[np.float32]  # (n,)
    classes: NDArray[np.int64]  # (n,)

    def in_stored(self, placement: Placement, *, clip: bool) -> Found:
        """The same in pixels of the stored image, cut off at its edges or not."""
        boxes = placement.to_stored(self.boxes)
        if clip:
            height, width = placement.stored
            boxes = np.clip(boxes, 0, np.array([width, height] * 2, np.float32))
        return Found(boxes=boxes, scores=self.scores, classes=self.classes)


@dataclass(frozen=True, slots=True, kw_only=True)
class Postprocessing:
    """The part of a detector that comes after its network: decoding, a threshold, and suppression."""

    use: DetectionUse
    library: NmsLibrary = "numpy"

    def __call__(self, output: NDArray[np.float32]) -> list[Found]:
        """The boxes of each image in a network's output, (images, numbers, rows, columns), in shares of the input."""
        return list(self._each(output))

    def stored(self, output: NDArray[np.float32], placements: Sequence[Placement]) -> list[Found]:
        """The same in pixels of the stored images."""
        return [
            found.in_stored(where, clip=self.use.clip)
            for found, where in zip(self._each(output), placements, strict=True)
        ]

    def answers(self, output: NDArray[np.float32]) -> NDArray[np.int64]:
        """The class of the best box of each image, (images,), whatever its score."""
        cells = decode(output, self.use.head)
        best = cells.scores.argmax(axis=1)
        return np.asarray(cells.classes[np.arange(len(best)), best])

    def _each(self, output: NDArray[np.float32]) -> Iterator[Found]:
        cells = decode(output, self.use.head)
        for boxes, scores, classes in zip(cells.boxes, cells.scores, cells.classes, strict=True):
            likely = np.flatnonzero(scores > self.use.score_threshold)
            kept = likely[
                suppress(
                    boxes[likely],
                    scores[likely],
                    classes[likely],
                    most_overlap=self.use.nms_iou,
                    library=self.library,
                )
            ][: self.use.most]
            yield Found(boxes=boxes[kept], scores=scores[kept], classes=classes[kept])
