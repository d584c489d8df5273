"""Runtimes: what carries a built model out, behind one face.

A session takes apart what a caller must time from what it must not: `prepare` and `logits` convert, `run` is
the forward pass and nothing else.
"""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, Final

from paretoboard.errors import NotApplicableError
from paretoboard.registry import Registry

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from paretoboard.artifact import Manifest
    from paretoboard.runtimes.profiling import Profile, Question

RUNTIMES: Final = Registry(
    "runtime",
    {
        "eager": ("paretoboard.runtimes.eager:Eager", "torch, operator by operator"),
        "compile": ("paretoboard.runtimes.compiled:Compiled", "torch.compile with the Inductor backend"),
        "cuda": ("paretoboard.runtimes.devices:Cuda", "torch, operator by operator, on an NVIDIA GPU"),
        "onnxruntime": ("paretoboard.runtimes.ort:OnnxRuntime", "ONNX Runtime's CPU provider"),
        "openvino": ("paretoboard.runtimes.openvino:OpenVino", "OpenVINO's CPU plugin"),
        "tensorrt": ("paretoboard.runtimes.tensorrt:TensorRt", "TensorRT, as ONNX Runtime's provider"),
        "xla": ("paretoboard.runtimes.devices:Xla", "torch.compile with the OpenXLA backend of torch_xla"),
    },
)
# What runtimes compute on that don't on the CPU. Kept here, since their modules import torch.
_DEVICES: Final = {"cuda": "cuda", "tensorrt": "cuda", "xla": "xla"}
# What threads are named that OpenVINO makes, so that they can be told apart from outside of the process.
OPENVINO_THREAD: Final = "openvino"


class Session(ABC):
    """A loaded model, ready to run."""

    @abstractmethod
    def prepare(self, images: NDArray[np.float32]) -> Any:
        """Preprocessed images (n, channels, height, width) as the runtime's own input."""

    @abstractmethod
    def run(self, native: Any) -> Any:
        """One forward pass, the call that is timed; its result is the runtime's own."""

    @abstractmethod
    def logits(self, native: Any) -> NDArray[np.float32]:
        """What `run` gave, as (n, classes)."""

    @abstractmethod
    def refresh(self) -> None:
        """Put the weights into fresh buffers: where they lie decides a part of the speed."""

    def close(self) -> None:  # noqa: B027 - most sessions hold nothing but memory
        """Let go of what the session holds beyond memory."""


class Runtime(ABC):
    """A way of running artifacts."""

    @abstractmethod
    def idle(self) -> None:
        """Import what a session needs, so that the memory of the runtime alone can be seen.

        Raises: NotApplicableError where a library or a compiler is missing.
        """

    @abstractmethod
    def open(self, folder: Path, manifest: Manifest, *, threads: int, batches: tuple[int, ...], cache: Path) -> Session:
        """A session on the artifact in `folder`; the arguments are those of `runtimes.open`."""

    def profile(self, folder: Path, manifest: Manifest, question: Question) -> Profile:
        """Where the time of a call of the artifact in `folder` goes; the arguments are those of `runtimes.profile`.

        A runtime with a profiler overrides this: here nothing is known but what a call takes.
        """
        from paretoboard.runtimes.profiling import Profile, time_calls

        session = self.open(
            folder, manifest, threads=question.threads, batches=(len(question.images),), cache=question.cache
        )
        call_s = time_calls(session.run, session.prepare(question.images), question.seconds)
        return Profile(
            source="", batch=len(question.images), call_s=call_s, profiled_calls=0, operators=(), quantized=0
        )


def open(  # noqa: A001 - read as runtimes.open
    folder: Path, *, threads: int, batches: tuple[int, ...], cache: Path | None = None, check: bool = True
) -> Session:
    """The artifact in `folder`, loaded into the runtime that its manifest names.

    Args:
        folder: what artifact.save wrote.
        threads: how many the forward pass may use; for torch this is set for the whole process. An artifact whose
            option `threads` names fewer is run with so many.
        batches: every batch size that will be run, for runtimes that prepare for shapes.
        cache: where a runtime may keep what it generates, by default `folder`/cache.
        check: whether the file's digest is checked first. A caller that times loading checks before instead.
    Raises:
        StoreError: for a damaged artifact.
        NotApplicableError: where a library, a compiler or a device is missing, the form is not the runtime's, or the
            artifact asks for more threads than there are.
    """
    from paretoboard.artifact import read_manifest, verify

    manifest = verify(folder) if check else read_manifest(folder)
    threads = _threads_of(manifest, threads)
    runtime = _runtime_of(manifest)
    session = runtime.open(folder, manifest, threads=threads, batches=batches, cache=cache or folder / "cache")
    if manifest.execution.input is None:
        return session
    from paretoboard.runtimes.input.session import opened  # here, since it is made of what is above

    return opened(session, manifest, threads=threads)


def profile(folder: Path, question: Question) -> Profile:
    """Where the time of a call of the artifact in `folder` goes, in sessions of its own that nobody times.

    Raises: as `open`.
    """
    from paretoboard.artifact import read_manifest

    manifest = read_manifest(folder)
    question = dataclasses.replace(question, threads=_threads_of(manifest, question.threads))
    runtime = _runtime_of(manifest)
    if manifest.execution.input is None:
        return runtime.profile(folder, manifest, question)
    from paretoboard.runtimes.input.session import profile as profile_with_input

    return profile_with_input(runtime, folder, manifest, question)


def idle(runtime: str) -> None:
    """Import what sessions of `runtime` need and load no model.

    Raises: NotApplicableError where a library or a compiler is missing.
    """
    _load(runtime).idle()


def module_of(runtime: str) -> str:
    """The module that a runtime's sessions come from."""
    return RUNTIMES.target(runtime).partition(":")[0]


def device_of(runtime: str) -> str:
    """What sessions of `runtime` compute on."""
    return _DEVICES.get(runtime, "cpu")


def predict(session: Session, images: NDArray[np.float32], batch: int) -> NDArray[np.float32]:
    """Logits (n, classes) of preprocessed images (n, channels, height, width), `batch` at a time.

    The last batch is filled up with copies of its last image, so that every call has the same shape.
    """
    import numpy as np

    parts = []
    for start in range(0, len(images), batch):
        part = images[start : start + batch]
        missing = batch - len(part)
        full = np.concatenate([part, np.repeat(part[-1:], missing, axis=0)]) if missing else part
        parts.append(session.logits(session.run(session.prepare(full)))[: len(part)])
    return np.concatenate(parts)


def _threads_of(manifest: Manifest, held: int) -> int:
    """The artifact's own number of threads, by default as many as are held."""
    asked: int = manifest.execution.options.get("threads", held)
    if asked > held:
        raise NotApplicableError(
            f"the recipe asks for {asked} threads and the profile holds {held}: ask for {held} or fewer, or measure "
            f"with a profile of {asked} cores"
        )
    return asked


def _runtime_of(manifest: Manifest) -> Runtime:
    runtime = _load(manifest.execution.runtime)
    if manifest.execution.boxes is None:
        return runtime
    from paretoboard.runtimes.boxes import WithBoxes  # here, since it is made of what is above

    return WithBoxes(runtime)


def _load(name: str) -> Runtime:
    runtime: Runtime = RUNTIMES.load(name)()
    return runtime
