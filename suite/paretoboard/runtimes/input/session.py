"""A session whose calls begin with stored images."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np

from paretoboard.datasets.preprocess import preprocess_images
from paretoboard.errors import NotApplicableError
from paretoboard.runtimes import Session
from paretoboard.runtimes.input.reading import ImageReader, read_records
from paretoboard.runtimes.input.stored import StoredBatch, pixels_of, store
from paretoboard.runtimes.input.workers import Workers

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from paretoboard.artifact import InputPipeline, Manifest
    from paretoboard.runtimes import Runtime
    from paretoboard.runtimes.profiling import Profile, Question


class InputSession(Session):
    """A session with an input pipeline in front of it."""

    def __init__(self, inner: Session, pipeline: InputPipeline, shape: tuple[int, int, int], *, threads: int) -> None:
        """Args:
        inner: runs the model; its images are preprocessed, or pixels where the model normalizes.
        shape: (channels, height, width) of one image of it.
        threads: that the profile holds.
        Raises: NotApplicableError for workers that the profile has no core and no clock for.
        """
        _require_cores(pipeline, threads)
        self._inner, self._pipeline, self._shape = inner, pipeline, shape
        self._workers = Workers(ImageReader(pipeline, shape), pipeline.workers, pipeline.worker_kind)

    def prepare(self, images: NDArray[np.float32]) -> StoredBatch:
        """Files of what the images were made of; a cache holds them afterwards, as after a first pass over them."""
        batch = store(pixels_of(images, self._pipeline.preprocess), self._pipeline)
        if self._pipeline.cached:
            self.read(batch)
        return batch

    def read(self, batch: StoredBatch) -> NDArray[Any]:
        """The images of a batch as the model takes them: uint8 where it normalizes, else float32."""
        if self._pipeline.stored == "records":
            pixels = read_records(batch.files[0], self._shape)
        else:
            pixels = np.stack(self._workers.read(batch.files))
        return pixels if self._pipeline.inside else preprocess_images(pixels, self._pipeline.preprocess)

    def feed(self, native: StoredBatch) -> Any:
        """The input pipeline alone: from files to the runtime's own input."""
        return self._inner.prepare(self.read(native))

    def run(self, native: StoredBatch) -> Any:
        """One call from stored images to logits."""
        return self._inner.run(self.feed(native))

    def logits(self, native: Any) -> NDArray[np.float32]:
        """As (images, classes)."""
        return self._inner.logits(native)

    def refresh(self) -> None:
        """Put the model's weights into fresh buffers; those of images are new in each call."""
        self._inner.refresh()

    def close(self) -> None:
        """End workers, and let go of the model."""
        self._workers.close()
        self._inner.close()


def profile(runtime: Runtime, folder: Path, manifest: Manifest, question: Question) -> Profile:
    """A call from stored images taken apart: the pipeline as one operator, beside those of the model."""
    from paretoboard.runtimes.profiling import OperatorTime, time_calls

    pipeline = manifest.execution.input
    assert pipeline is not None
    batches = (len(question.images),)
    inner = runtime.open(folder, manifest, threads=question.threads, batches=batches, cache=question.cache)
    session = opened(inner, manifest, threads=question.threads)
    native = session.prepare(question.images)
    images = session.read(native)
    feed_s = time_calls(session.feed, native, question.seconds)
    call_s = time_calls(session.run, native, question.seconds)
    session.close()
    model = runtime.profile(folder, manifest, dataclasses.replace(question, images=images.astype(np.float32)))
    reading = OperatorTime(
        type="input pipeline",
        kind="input",
        dtype=str(images.dtype),
        calls=1,
        seconds=feed_s,
        macs=0,
        bytes=native.size_bytes + images.nbytes,
    )
    operators = (reading, *model.operators) if model.operators else ()
    return dataclasses.replace(model, call_s=call_s, operators=operators)


def opened(inner: Session, manifest: Manifest, *, threads: int) -> InputSession:
    """`inner`, an artifact's session, with the input pipeline that its manifest names in front of it."""
    pipeline = manifest.execution.input
    assert pipeline is not None
    channels, height, width = manifest.input_shape
    return InputSession(inner, pipeline, (channels, height, width), threads=threads)


def _require_cores(pipeline: InputPipeline, threads: int) -> None:
    if pipeline.workers and threads == 1:
        raise NotApplicableError(
            f"the recipe reads images in {pipeline.workers} {pipeline.worker_kind} beside the caller's, and the "
            "profile holds one core, where the clock of the caller's thread decides and would not see them: measure "
            "with a profile of two cores or more"
        )
