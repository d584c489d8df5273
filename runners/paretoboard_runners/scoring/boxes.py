"""Boxes around objects."""

from __future__ import annotations

import dataclasses
import time
from typing import TYPE_CHECKING, Final

import numpy as np
from PIL import Image

from paretoboard import datasets, stats
from paretoboard.datasets.decoding import fit, planes
from paretoboard.datasets.preprocess import preprocess_images
from paretoboard.detection import coco_format
from paretoboard.detection.average_precision import DRAWN, drawn_weights, precisions
from paretoboard.detection.boxes import extents
from paretoboard.detection.found import Postprocessing
from paretoboard.detection.matching import AREAS
from paretoboard.detection.placement import placements
from paretoboard.errors import DivergedError
from paretoboard.records import Detections, MetricValue
from paretoboard_runners.measured import measured
from paretoboard_runners.scoring import Scored

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from paretoboard.datasets import Images
    from paretoboard.detection.found import Found
    from paretoboard.records import Objects
    from paretoboard.spec import DatasetUse, DetectionUse, Preprocess

AGREES: Final = 1e-6  # the most that a library may say otherwise
_MOST_CHECKED: Final = 300_000  # boxes: a library keeps some 2 kB of each
_TIMED_IMAGES: Final = 16  # whose preprocessing is timed,
_TIMES: Final = 4  # so often each, and once before that does not count


class BoxScorer:
    """Makes boxes of a network's numbers and keeps every one."""

    def __init__(
        self,
        images: Images,
        preprocess: Preprocess,
        use: DetectionUse,
        *,
        timed: bool = True,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        """Args:
        images: with their objects.
        preprocess: that they were read with.
        timed: whether the post-processing is.
        """
        assert images.objects is not None
        self._objects, self._timed, self._clock = images.objects, timed, clock
        self._placements = placements(images.objects.sizes, preprocess)
        self._postprocessing = Postprocessing(use=use)
        self._found: list[Found] = []
        self._answers: list[NDArray[np.int64]] = []
        self._seconds: list[float] = []  # per image, of each call of the post-processing
        self._broken = 0

    def add(self, outputs: NDArray[np.float32]) -> None:
        """(images, numbers, rows, columns)."""
        first = len(self._found)
        self._broken += int((~np.isfinite(outputs)).reshape(len(outputs), -1).any(axis=1).sum())
        start = self._clock()
        found = self._postprocessing.stored(outputs, self._placements[first : first + len(outputs)])
        self._seconds.append((self._clock() - start) / len(outputs))
        self._found += found
        self._answers.append(self._postprocessing.answers(outputs))

    def result(self) -> Scored:
        """Raises: DivergedError when an output is not a finite number, saying for how many images."""
        if self._broken:
            raise DivergedError(f"outputs are not finite numbers for {self._broken} of {len(self._found)} images")
        detections = detections_of(self._found, self._objects)
        metrics, drawn = box_metrics(detections)
        if self._timed:
            metrics.append(_time("postprocess_time", np.array(self._seconds)))
        said = check_by_library(detections, {value.name: value.value for value in metrics if not value.scope})
        return Scored(
            metrics=tuple(metrics),
            notes=(said,) if said else (),
            kept=dataclasses.replace(detections, drawn=drawn),
            answers=np.concatenate(self._answers),
        )


def detections_of(found: Sequence[Found], objects: Objects) -> Detections:
    """The boxes of all images in one table, nothing drawn again yet."""
    counts = [len(each.scores) for each in found]
    boxes = [extents(each.boxes) for each in found]
    return Detections(
        objects=objects,
        image=np.repeat(np.arange(len(found), dtype=np.int32), counts),
        boxes=np.concatenate([np.zeros((0, 4), np.float32), *boxes]).astype(np.float32),
        classes=np.concatenate([np.zeros(0, np.int16), *(each.classes for each in found)]).astype(np.int16),
        scores=np.concatenate([np.zeros(0, np.float32), *(each.scores for each in found)]).astype(np.float32),
        drawn=np.zeros((0, len(DRAWN)), np.float32),
    )


def box_metrics(detections: Detections) -> tuple[list[MetricValue], NDArray[np.float32]]:
    """mAP as a whole, by size and per class, AP50 and AP75, each with an interval over images drawn again.

    Returns: the metrics; and mAP, AP50 and AP75 of each draw, (draws, 3).
    """
    images = len(detections.objects.sizes)
    # Each image once, and then the draws.
    found = precisions(detections, np.concatenate([np.ones((1, images)), drawn_weights(images)]))
    values = [_drawn(name, "", found.mean(name), images) for name in DRAWN]
    values += [_drawn("mAP", f"size={area}", found.mean("mAP", area), images) for area in AREAS if area]
    for name in found.classes:
        count = int((detections.objects.classes == name).sum())
        values.append(_drawn("mAP", f"class={name}", found.of_class(name), count))
    kept = np.stack([found.mean(name)[1:] for name in DRAWN], axis=1).astype(np.float32)
    return [value for value in values if np.isfinite(value.value)], kept


def check_by_library(detections: Detections, ours: dict[str, float]) -> str:
    """Compare with pycocotools or faster-coco-eval, where one is installed; what came out, in words.

    Raises: AssertionError where it says otherwise: then this record's numbers are wrong.
    """
    boxes = len(detections.scores)
    if boxes > _MOST_CHECKED:
        return f"mAP was not compared with a library's: {boxes:,} boxes, at most {_MOST_CHECKED:,} are"
    theirs = coco_format.by_library(detections)
    if theirs is None:
        return f"mAP was not compared with a library's, none is installed: {coco_format.INSTALL}" if boxes else ""
    for name, value in theirs.values.items():
        if name in ours and abs(ours[name] - value) > AGREES:
            raise AssertionError(f"{name} is {ours[name]:.8f} here and {value:.8f} by {theirs.library}")
    return f"mAP, AP50 and AP75 are those of {theirs.library} to {AGREES:g}"


def input_metrics(
    ids: Sequence[str],
    preprocess: Preprocess,
    dataset: DatasetUse,
    data_root: Path,
    clock: Callable[[], float] = time.perf_counter,
) -> tuple[MetricValue, ...]:
    """How long it takes from a decoded picture to a detector's input."""
    source = datasets.open_dataset(dataset, data_root)
    assert isinstance(source, datasets.DetectionDataset)
    seconds = []
    for name in ids[:_TIMED_IMAGES]:
        picture = Image.fromarray(np.ascontiguousarray(source.stored(name).transpose(1, 2, 0)))
        for turn in range(1 + _TIMES):
            start = clock()
            preprocess_images(planes(fit(picture, preprocess))[None], preprocess)
            if turn:
                seconds.append(clock() - start)
    return (_time("preprocess_time", np.array(seconds)),)


def _drawn(name: str, scope: str, values: NDArray[np.float64], n: int) -> MetricValue:
    """The first of `values`, with the interval of the others, which are of images drawn again."""
    known = values[1:][np.isfinite(values[1:])]
    interval = stats.percentiles(known) if len(known) else None
    return measured(name, float(values[0]), n, scope=scope, interval=interval)


def _time(name: str, seconds: NDArray[np.float64]) -> MetricValue:
    return measured(name, float(np.median(seconds)), len(seconds), interval=stats.quantile_interval(seconds, 0.5))
