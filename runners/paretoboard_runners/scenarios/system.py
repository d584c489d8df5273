"""The system under test: a runtime's session that answers LoadGen's queries with classes."""

from __future__ import annotations

import queue
import threading
import time
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from paretoboard.datasets.preprocess import preprocess_images

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from paretoboard.runtimes import Session
    from paretoboard.spec import Preprocess

_CALIBRATION_CALLS: Final = 5
_CALIBRATION_S: Final = 0.3
_NO_ANSWER: Final = -1


class System:
    """Answers samples `batch` at a time.

    Samples that LoadGen loads are kept as the session's own inputs for a batch of 1; larger batches are put
    together when they are asked for, in the order they are asked for, as a real system must, and that is timed.
    """

    def __init__(self, session: Session, pixels: NDArray[np.uint8], preprocess: Preprocess, batch: int) -> None:
        self._session, self._pixels, self._preprocess, self._batch = session, pixels, preprocess, batch
        self._loaded: dict[int, Any] = {}
        self.error: BaseException | None = None

    @property
    def sample_bytes(self) -> int:
        """What one loaded sample takes, as float32."""
        return 4 * int(self._pixels[0].size)

    def load(self, indices: Iterable[int]) -> None:
        """Bring samples into memory; not timed by LoadGen."""
        for index in indices:
            image = preprocess_images(self._pixels[index : index + 1], self._preprocess)
            self._loaded[index] = self._session.prepare(image) if self._batch == 1 else image[0]

    def unload(self, indices: Iterable[int]) -> None:
        """Let go of samples."""
        for index in indices:
            self._loaded.pop(index, None)

    def classes(self, indices: Sequence[int]) -> NDArray[np.int32]:
        """The best guess for each loaded sample, at most `batch` of them; too few are filled up with the last."""
        if self._batch == 1:
            native = self._loaded[indices[0]]
        else:
            filled = [*indices, *[indices[-1]] * (self._batch - len(indices))]
            native = self._session.prepare(np.stack([self._loaded[index] for index in filled]))
        logits = self._session.logits(self._session.run(native))
        best: NDArray[np.int32] = logits.argmax(axis=1)[: len(indices)].astype(np.int32)
        return best

    def answer(self, samples: Sequence[Any]) -> None:
        """Answer LoadGen's samples, whatever happens: it would wait forever for an answer that does not come."""
        import mlperf_loadgen as loadgen

        for start in range(0, len(samples), self._batch):
            part = samples[start : start + self._batch]
            best = self._classes_or_none([sample.index for sample in part])
            address = best.ctypes.data
            loadgen.QuerySamplesComplete(
                [
                    loadgen.QuerySampleResponse(sample.id, address + place * best.itemsize, best.itemsize)
                    for place, sample in enumerate(part)
                ]
            )

    def call_s(self) -> float:
        """Time of the fastest of a few calls, warm; the system's speed where nothing disturbs it."""
        indices = [place % len(self._pixels) for place in range(self._batch)]
        self.load(set(indices))
        fastest_s = float("inf")
        deadline = time.perf_counter() + _CALIBRATION_S
        calls = 0
        while calls < _CALIBRATION_CALLS or time.perf_counter() < deadline:
            start = time.perf_counter()
            self.classes(indices)
            fastest_s = min(fastest_s, time.perf_counter() - start)
            calls += 1
        self.unload(set(indices))
        return fastest_s

    def _classes_or_none(self, indices: Sequence[int]) -> NDArray[np.int32]:
        if self.error is None:
            try:
                return self.classes(indices)
            except Exception as error:  # noqa: BLE001 - it must not unwind into LoadGen; `run_test` raises it
                self.error = error
        return np.full(len(indices), _NO_ANSWER, dtype=np.int32)


class InOrder:
    """A thread that serves queries in the order they came, so that LoadGen is free to issue the next one."""

    def __init__(self, system: System) -> None:
        self._system = system
        self._waiting: queue.SimpleQueue[Sequence[Any] | None] = queue.SimpleQueue()
        self.issue = self._waiting.put
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def __enter__(self) -> InOrder:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._waiting.put(None)
        self._thread.join()

    def _serve(self) -> None:
        while (samples := self._waiting.get()) is not None:
            self._system.answer(samples)
