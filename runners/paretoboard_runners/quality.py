"""The second phase of a run: score the artifact on every image of the subset, and keep every prediction."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from paretoboard import datasets, runtimes, stats
from paretoboard.datasets.preprocess import preprocess_images
from paretoboard.errors import DivergedError
from paretoboard.metrics import METRICS
from paretoboard.records import MetricValue
from paretoboard_runners import jobs

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from paretoboard.runtimes import Session
    from paretoboard_runners.supervise import Emitter

PREDICTIONS: Final = "predictions.npz"
INPUTS: Final = "inputs.npy"
TOP: Final = 5
# Inputs that timed calls cycle through: enough that no answer can be remembered, few enough to stay in the cache.
INPUTS_OF_BATCH_1: Final = 8
INPUTS_OF_LARGER: Final = 2


def input_count(batch: int) -> int:
    """How many inputs of `batch` images timed calls cycle through."""
    return INPUTS_OF_BATCH_1 if batch == 1 else INPUTS_OF_LARGER


def score(job: jobs.QualityJob, folder: Path, emit: Emitter) -> jobs.QualityResult:
    """Predictions for the whole subset, and the metrics that follow from them.

    Leaves `predictions.npz` (labels, top_classes, top_scores) and `inputs.npy`, the first images of the subset as the
    model sees them, which are what is timed.

    Raises: DivergedError when an output is not a finite number.
    """
    images = datasets.read_subset(job.dataset.name, job.dataset.subset, job.data_root)
    session = runtimes.open(job.artifact, threads=job.threads, batches=job.batches)
    logits = _logits(session, images, job, emit)
    broken = int((~np.isfinite(logits)).any(axis=1).sum())
    if broken:
        raise DivergedError(f"outputs are not finite numbers for {broken} of {len(images)} images")
    scores = _softmax(logits)
    top = np.argsort(-scores, axis=1, kind="stable")[:, :TOP]
    np.savez(
        folder / PREDICTIONS,
        labels=images.labels.astype(np.int16),
        top_classes=top.astype(np.int16),
        top_scores=np.take_along_axis(scores, top, axis=1).astype(np.float32),
    )
    needed = max(batch * input_count(batch) for batch in job.batches)
    chosen = np.arange(needed) % len(images)
    np.save(folder / INPUTS, preprocess_images(images.pixels[chosen], job.preprocess))
    return jobs.QualityResult(metrics=tuple(classification_metrics(images.labels, top)))


def classification_metrics(labels: NDArray[Any], top: NDArray[Any]) -> list[MetricValue]:
    """Top-1, top-5, and precision, recall and F1, macro and per class.

    Args:
        labels: (images,) the right class.
        top: (images, k) classes, best first.
    """
    from sklearn.metrics import precision_recall_fscore_support

    images = len(labels)
    hits = top == labels[:, None]
    values = [_share("top1", int(hits[:, 0].sum()), images)]
    if top.shape[1] == TOP:
        values.append(_share("top5", int(hits.any(axis=1).sum()), images))
    classes = np.unique(np.concatenate([labels, top[:, 0]]))
    support = {int(name): int((labels == name).sum()) for name in classes}
    per_class = precision_recall_fscore_support(labels, top[:, 0], labels=classes, zero_division=0)[:3]
    intervals = stats.bootstrap_macro(labels, top[:, 0])
    for name, by_class in zip(("precision", "recall", "f1"), per_class, strict=True):
        values.append(_value(name, "", float(by_class.mean()), images, intervals[name]))
        values += [
            _value(name, f"class={label}", float(value), support[int(label)])
            for label, value in zip(classes, by_class, strict=True)
        ]
    return values


def _logits(session: Session, images: datasets.Images, job: jobs.QualityJob, emit: Emitter) -> NDArray[np.float32]:
    """(images, classes); in batches of the largest declared size, so that fixed-shape models are scored too."""
    batch = max(job.batches)
    parts = []
    for start in range(0, len(images), batch):
        pixels = images.pixels[start : start + batch]
        parts.append(runtimes.predict(session, preprocess_images(pixels, job.preprocess), batch))
        emit({"stage": "quality", "done": (start + len(pixels)) / len(images), "text": f"{len(images)} images"})
    return np.concatenate(parts)


def _softmax(logits: NDArray[np.float32]) -> NDArray[np.float64]:
    shifted = np.exp(logits.astype(np.float64) - logits.max(axis=1, keepdims=True))
    return np.asarray(shifted / shifted.sum(axis=1, keepdims=True))


def _share(name: str, right: int, images: int) -> MetricValue:
    return _value(name, "", right / images, images, stats.wilson(right, images))


def _value(name: str, scope: str, value: float, n: int, interval: stats.Interval | None = None) -> MetricValue:
    return MetricValue(
        name=name,
        scope=scope,
        value=value,
        low=interval.low if interval else None,
        high=interval.high if interval else None,
        n=n,
        unit=METRICS[name].unit,
    )
