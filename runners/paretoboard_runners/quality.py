"""The second phase of a run: score the artifact on every image of the subset, and keep every answer."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Final

import numpy as np

from paretoboard import artifact, datasets, runtimes
from paretoboard.datasets.corrupting import corrupt
from paretoboard.datasets.preprocess import preprocess_images
from paretoboard.errors import DivergedError
from paretoboard.metrics import METRICS
from paretoboard.records import CorruptedGuesses, Predictions
from paretoboard_runners import jobs, scoring

if TYPE_CHECKING:
    from pathlib import Path

    from paretoboard.records import MetricValue
    from paretoboard.runtimes import Session
    from paretoboard.spec import Preprocess
    from paretoboard_runners.supervise import Emitter

PREDICTIONS: Final = "predictions.npz"
INPUTS: Final = "inputs.npy"
# Inputs that timed calls cycle through: enough that no answer can be remembered, few enough to stay in the cache.
INPUTS_OF_BATCH_1: Final = 8
INPUTS_OF_LARGER: Final = 2


def input_count(batch: int) -> int:
    """How many inputs of `batch` images timed calls cycle through."""
    return INPUTS_OF_BATCH_1 if batch == 1 else INPUTS_OF_LARGER


def score(job: jobs.QualityJob, folder: Path, emit: Emitter) -> jobs.QualityResult:
    """Answers for the whole subset, as it is and under each corruption, and the metrics that follow from them.

    Leaves `predictions.npz`, which `scoring.read` reads, and `inputs.npy`, the first images of the subset as the model
    sees them, which are what is timed.

    Raises: DivergedError when an output is not a finite number.
    """
    images, sized = _read(job)
    session = runtimes.open(job.artifact, threads=job.threads, batches=job.batches)
    scored = _scored(session, images, sized, job, emit)
    for corruption in job.corruptions:
        scored = _joined(scored, corruption, _scored(session, images, sized, job, emit, corruption))
    scoring.write(folder / PREDICTIONS, scored)
    _write_inputs(images, sized, job, folder)
    around = _input_metrics(images, sized, job) if job.detection is not None and job.timed else ()
    return jobs.QualityResult(metrics=(*scored.metrics, *around), notes=scored.notes)


def _read(job: jobs.QualityJob) -> tuple[datasets.Images, Preprocess]:
    """The subset's images in the size that the artifact takes, and how they are prepared."""
    sized = artifact.sized_for(artifact.read_manifest(job.artifact).input_shape, job.preprocess)
    return datasets.read_subset(job.dataset, job.dataset.subset, job.data_root, sized), sized


def _scored(
    session: Session,
    images: datasets.Images,
    preprocess: Preprocess,
    job: jobs.QualityJob,
    emit: Emitter,
    corruption: str = "",
) -> scoring.Scored:
    """In batches of the largest declared size, so that fixed-shape models are scored too."""
    scorer = scoring.scorer_for(images, preprocess, job.detection, timed=job.timed)
    batch, under = max(job.batches), f" under {corruption}" if corruption else ""
    for start in range(0, len(images), batch):
        pixels = images.pixels[start : start + batch]
        if corruption:
            pixels = corrupt(pixels, images.ids[start : start + batch], corruption)
        scorer.add(runtimes.predict(session, preprocess_images(pixels, preprocess), batch))
        done = (start + len(pixels)) / len(images)
        emit({"stage": "quality", "done": done, "text": f"{len(images)} images{under}"})
    try:
        return scorer.result()
    except DivergedError as error:
        raise DivergedError(f"{error}{under}") from error


def _joined(scored: scoring.Scored, corruption: str, found: scoring.Scored) -> scoring.Scored:
    """`scored` with the guesses under a corruption, and how good they are as a whole."""
    assert isinstance(scored.kept, Predictions)  # a task file that finds objects asks for no corruptions
    assert isinstance(found.kept, Predictions)
    guesses = CorruptedGuesses(corruption=corruption, best=found.kept.top_classes[:, 0])
    overall = [value for value in found.metrics if not value.scope and METRICS[value.name].kind == "quality"]
    return dataclasses.replace(
        scored,
        metrics=(
            *scored.metrics,
            *(dataclasses.replace(value, scope=f"corruption={corruption}") for value in overall),
        ),
        kept=dataclasses.replace(scored.kept, corrupted=(*scored.kept.corrupted, guesses)),
    )


def first_inputs(job: jobs.QualityJob, folder: Path, emit: Emitter) -> jobs.QualityResult:
    """Leave `inputs.npy` alone, for an artifact that takes images of another size than those it is timed with."""
    emit({"stage": "quality", "done": 0.0, "text": "inputs of another size"})
    images, sized = _read(job)
    _write_inputs(images, sized, job, folder)
    return jobs.QualityResult(metrics=())


def _input_metrics(images: datasets.Images, preprocess: Preprocess, job: jobs.QualityJob) -> tuple[MetricValue, ...]:
    from paretoboard_runners.scoring.boxes import input_metrics

    return input_metrics(images.ids, preprocess, job.dataset, job.data_root)


def _write_inputs(images: datasets.Images, preprocess: Preprocess, job: jobs.QualityJob, folder: Path) -> None:
    needed = max(batch * input_count(batch) for batch in job.batches)
    chosen = np.arange(needed) % len(images)
    np.save(folder / INPUTS, preprocess_images(images.pixels[chosen], preprocess))
