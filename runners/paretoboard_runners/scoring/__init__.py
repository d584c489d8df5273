"""From what a model gives to answers, predictions and metrics: one scorer for each task that a dataset can have.

    model's outputs, batch by batch --Scorer.add--> Scorer.result --> Scored: metrics, and arrays for the record

Everything else about a run (building, timing, memory, diagnosis) is the same whatever the outputs mean.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from paretoboard.records import CorruptedGuesses, Detections, MetricValue, Objects, Predictions

if TYPE_CHECKING:
    from pathlib import Path

    from paretoboard.datasets import Images
    from paretoboard.spec import DetectionUse, Preprocess

_ANSWERS: Final = "answers"
_IDS: Final = "ids"
_OBJECTS: Final = "objects."  # before the names of what there is to find
_CORRUPTED: Final = "corrupted."  # before the names of corruptions
Answering = Callable[[NDArray[np.float32]], NDArray[np.int64]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Scored:
    """What a scorer made of all outputs."""

    metrics: tuple[MetricValue, ...]
    kept: Predictions | Detections
    answers: NDArray[np.int64]  # (images,) one number that tells an image's answer from others, as `answering` gives it
    notes: tuple[str, ...] = ()  # in plain words, for the page


class Scorer(Protocol):
    """Takes a model's outputs image by image, in the order of the subset."""

    def add(self, outputs: NDArray[np.float32]) -> None:
        """What the model gave for the next images, (images, ...).

        Raises: DivergedError, here or in the end, for outputs that are no finite numbers.
        """

    def result(self) -> Scored:
        """After the last image."""


def scorer_for(images: Images, preprocess: Preprocess, detection: DetectionUse | None, *, timed: bool = True) -> Scorer:
    """The scorer for a subset's images, as the task's dataset asks for.

    Args:
        preprocess: that the images were read with.
        timed: whether a detector's post-processing is timed.
    """
    if detection is None:
        from paretoboard_runners.scoring.classification import ClassScorer

        return ClassScorer(images.labels, images.ids)
    from paretoboard_runners.scoring.boxes import BoxScorer

    return BoxScorer(images, preprocess, detection, timed=timed)


def answering(detection: DetectionUse | None) -> Answering:
    """What tells one answer from another, (images, ...) outputs to (images,): the class that is likeliest."""
    if detection is None:
        return lambda outputs: np.asarray(outputs.argmax(axis=1))
    from paretoboard.detection.found import Postprocessing

    return Postprocessing(use=detection).answers


def write(path: Path, scored: Scored) -> None:
    """Keep predictions or detections, and answers, in an `.npz` file."""
    kept = scored.kept
    arrays: dict[str, Any] = {_ANSWERS: scored.answers, **_arrays(kept)}
    if isinstance(kept, Predictions):
        arrays |= {_IDS: np.array(kept.ids, dtype=str)}
        arrays |= {_CORRUPTED + found.corruption: found.best for found in kept.corrupted}
    else:
        arrays |= _arrays(kept.objects, _OBJECTS)
    np.savez(path, **arrays)


def read(path: Path) -> tuple[Predictions | Detections, NDArray[np.int64]]:
    """What `write` kept: predictions or detections, and answers."""
    with np.load(path, allow_pickle=False) as stored:
        arrays = dict(stored)
    answers = arrays.pop(_ANSWERS)
    objects, corrupted = (_taken(arrays, prefix) for prefix in (_OBJECTS, _CORRUPTED))
    if objects:
        return Detections(objects=Objects(**objects), **arrays), answers
    ids = tuple(arrays.pop(_IDS).tolist())
    guesses = tuple(CorruptedGuesses(corruption=name, best=best) for name, best in corrupted.items())
    return Predictions(ids=ids, corrupted=guesses, **arrays), answers


def _taken(arrays: dict[str, NDArray[Any]], prefix: str) -> dict[str, NDArray[Any]]:
    """Those of `arrays` whose names begin with `prefix`, without it, in their order."""
    return {name.removeprefix(prefix): arrays.pop(name) for name in list(arrays) if name.startswith(prefix)}


def _arrays(kept: Predictions | Detections | Objects, prefix: str = "") -> Mapping[str, NDArray[np.generic]]:
    names = kept.__dataclass_fields__
    values = {f"{prefix}{name}": getattr(kept, name) for name in names}
    return {name: value for name, value in values.items() if isinstance(value, np.ndarray)}
