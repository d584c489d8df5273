"""Three kernels made of equal units, so that a slowdown of x % is x % more of the very same work.

A unit takes 20 to 300 us; nothing in a call depends on anything but the number of its units.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np

# (units of a, units of b) by planted percentage. A forward pass is long: few of them keep a call near 10 ms.
HUNDRED: Final = {planted: (100, 100 + planted) for planted in (0, 1, 2, 3, 5)}
UNITS: Final = {
    "matmul": HUNDRED,
    "memory": HUNDRED,
    "onnx": {0: (33, 33), 1: (100, 101), 2: (50, 51), 3: (33, 34), 5: (20, 21)},
}


class Kernel(Protocol):
    """Work in equal units, on buffers of its own."""

    def refresh(self) -> None:
        """Put everything it reads and writes into fresh buffers."""

    def work(self, units: int) -> None:
        """Do `units` of work."""


class MatrixProduct:
    """A unit is one product of (24, 256) and (256, 256) in float32: compute-bound, in the cache of the core."""

    def __init__(self) -> None:
        rng = np.random.default_rng(0)
        self._images = rng.standard_normal((24, 256), dtype=np.float32)
        self._weight = rng.standard_normal((256, 256), dtype=np.float32)
        self.refresh()

    def refresh(self) -> None:
        self._images, self._weight = self._images.copy(), self._weight.copy()
        self._output = np.empty_like(self._images)

    def work(self, units: int) -> None:
        images, weight, output = self._images, self._weight, self._output
        for _ in range(units):
            np.matmul(images, weight, out=output)


class MemoryPass:
    """A unit reads 512 KiB and writes half of it, in a ring of 6.4 MB: bound by memory beyond the core's own caches.

    The ring goes on where the last call ended, so that a longer call touches nothing that is warmer or colder.
    """

    _PIECES: Final = 50
    _UNIT: Final = 4  # pieces
    # Not a multiple of a page: reads that lie whole pages from recent writes are held up for no reason of theirs.
    _FLOATS: Final = (64 * 1024 + 21 * 64) // 4

    def __init__(self) -> None:
        shape = (self._PIECES, self._FLOATS)
        self._read = np.random.default_rng(0).random(shape, dtype=np.float32)
        self._written = np.zeros(shape, dtype=np.float32)
        self._next = 0
        self.refresh()

    def refresh(self) -> None:
        self._read, self._written = self._read.copy(), self._written.copy()
        self._pairs = list(zip(self._read, self._written, strict=True))

    def work(self, units: int) -> None:
        pairs, at, pieces = self._pairs, self._next, units * self._UNIT
        for number in range(at, at + pieces):
            read, written = pairs[number % self._PIECES]
            np.maximum(read, written, out=written)
        self._next = (at + pieces) % self._PIECES


class ForwardPass:
    """A unit is one forward pass of a CIFAR ResNet-8 for one image, in the project's own ONNX Runtime session."""

    def __init__(self, model: Path) -> None:
        from paretoboard.runtimes.ort import OrtSession, session_options

        self._session = OrtSession(str(model), session_options(1))
        self._image = np.random.default_rng(0).standard_normal((1, 3, 32, 32), dtype=np.float32)
        self._feed = self._session.prepare(self._image)

    def refresh(self) -> None:
        self._session.refresh()
        self._feed = self._session.prepare(self._image)

    def work(self, units: int) -> None:
        run, feed = self._session.run, self._feed
        for _ in range(units):
            run(feed)


class KernelArm:
    """A kernel that does a number of units in each call, as one of the protocol's arms."""

    def __init__(self, kernel: Kernel, units: int, *, owner: bool = True) -> None:
        self._kernel, self._owner = kernel, owner
        call = functools.partial(kernel.work, units)
        self.call = lambda native: call()

    def refresh(self) -> None:
        if self._owner:
            self._kernel.refresh()

    def inputs(self) -> Sequence[Any]:
        return (None,)  # what a call reads belongs to the kernel and is refreshed with it

    def classes_of(self, output: Any) -> Sequence[int]:
        return ()


def build(name: str, model: Path) -> Kernel:
    """The kernel `name` on fresh buffers.

    Args:
        model: the ONNX file of `export_model`; only "onnx" reads it.
    """
    if name == "onnx":
        return ForwardPass(model)
    return {"matmul": MatrixProduct, "memory": MemoryPass}[name]()


def export_model(path: Path) -> None:
    """Write the ResNet-8 with random weights as an ONNX file; one that is there is kept."""
    if path.exists():
        return
    import torch

    from paretoboard.registry import MODELS
    from paretoboard.techniques.export import export

    torch.manual_seed(0)
    path.write_bytes(export(MODELS.load("cifar-resnet8")().eval(), (3, 32, 32)))
