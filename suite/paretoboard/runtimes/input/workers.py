"""Who reads the images of a batch: whoever calls, or threads or processes of its own."""

from __future__ import annotations

import multiprocessing
import os
import sys
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from itertools import repeat
from typing import TYPE_CHECKING

from paretoboard.process import die_with_parent

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from paretoboard.artifact import WorkerKind
    from paretoboard.runtimes.input.reading import ImageReader


class Workers:
    """So many workers that share the images of a batch, started here; with none, the caller reads them."""

    def __init__(self, reader: ImageReader, count: int, kind: WorkerKind) -> None:
        self._reader, self._count = reader, count
        self._pool: Executor | None = None
        if count:
            self._pool = _processes(count) if kind == "processes" else ThreadPoolExecutor(count)
            # Started now: the first batch is not to wait for them.
            list(self._pool.map(abs, range(count)))

    def read(self, paths: Sequence[str]) -> list[NDArray[np.uint8]]:
        """The images of `paths`, in that order."""
        if self._pool is None:
            return [self._reader(path) for path in paths]
        # One piece of a batch for each: handing over costs most when it is done image by image.
        size = -(-len(paths) // self._count)
        pieces = [paths[start : start + size] for start in range(0, len(paths), size)]
        return [image for part in self._pool.map(_read_all, repeat(self._reader), pieces) for image in part]

    def close(self) -> None:
        """End the workers and wait until they are gone."""
        if self._pool is not None:
            self._pool.shutdown()


def _read_all(reader: ImageReader, paths: Sequence[str]) -> list[NDArray[np.uint8]]:
    return [reader(path) for path in paths]


def _processes(count: int) -> ProcessPoolExecutor:
    # Forked as DataLoader's are: whatever this process has imported is there.
    return ProcessPoolExecutor(count, multiprocessing.get_context("fork"), initializer=_begin, initargs=(os.getpid(),))


def _begin(parent: int) -> None:
    """What a forked process does first."""
    # Even where its parent is killed, a worker does not stay.
    die_with_parent(parent)
    if "torch" in sys.modules:
        # After a fork OpenMP's threads are gone, and whoever waits for them waits for ever.
        sys.modules["torch"].set_num_threads(1)
