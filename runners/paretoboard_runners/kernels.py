"""Small programs of known cost to calibrate with: identical twins, and twins of which one does a little more."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np

from paretoboard_runners import timing
from paretoboard_runners.launch import keep

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from paretoboard_runners import jobs
    from paretoboard_runners.supervise import Emitter

Kernel = Literal["matrix product", "memory pass"]
KERNELS: Final[tuple[Kernel, ...]] = ("matrix product", "memory pass")

# About 2 to 4 ms each on a core of 2020 or later, like a call of a small network.
_ROWS: Final = 800
_WIDTH: Final = 320
_MEMORY_FLOATS: Final = 3_200_000  # 12.8 MB read and as much written: more than a core's own caches


class MatrixProduct:
    """One float32 product of (rows, 320) with (320, 320); bound by arithmetic."""

    def __init__(self, extra: float) -> None:
        rng = np.random.default_rng(0)
        self._left = rng.standard_normal((round(_ROWS * (1 + extra)), _WIDTH), dtype=np.float32)
        self._right = rng.standard_normal((_WIDTH, _WIDTH), dtype=np.float32)

    def refresh(self) -> None:
        """Copy both factors."""
        self._left, self._right = self._left.copy(), self._right.copy()

    def inputs(self) -> Sequence[Any]:
        """Where the product goes."""
        return [np.empty((len(self._left), _WIDTH), dtype=np.float32)]

    def call(self, native: Any) -> Any:
        """The product."""
        return np.matmul(self._left, self._right, out=native)

    def classes_of(self, output: Any) -> Sequence[int]:
        """Nothing to classify: every answer is the same."""
        return [len(output)]


class MemoryPass:
    """Add one to 3.2 million floats; bound by memory."""

    def __init__(self, extra: float) -> None:
        self._source = np.zeros(round(_MEMORY_FLOATS * (1 + extra)), dtype=np.float32)

    def refresh(self) -> None:
        """Copy the source."""
        self._source = self._source.copy()

    def inputs(self) -> Sequence[Any]:
        """Where the sums go."""
        return [np.empty_like(self._source)]

    def call(self, native: Any) -> Any:
        """The pass."""
        return np.add(self._source, 1.0, out=native)

    def classes_of(self, output: Any) -> Sequence[int]:
        """Nothing to classify: every answer is the same."""
        return [len(output)]


_CLASSES: Final[dict[Kernel, type[MatrixProduct | MemoryPass]]] = {
    "matrix product": MatrixProduct,
    "memory pass": MemoryPass,
}


def launch(job: jobs.KernelJob, folder: Path, _emit: Emitter) -> jobs.LaunchResult:
    """Time a kernel against its twin that does `job.extra` more of the same; calls go to `calls.npz`."""
    kind = _CLASSES[job.kernel]
    done = timing.run_launch([kind(0.0), kind(job.extra)], job.plan)
    return keep(done, folder, repeat_effects=())
