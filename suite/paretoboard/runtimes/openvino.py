"""OpenVINO's CPU plugin. Nothing here imports torch: a process that does is ten times as big."""

from __future__ import annotations

import contextlib
import os
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from paretoboard.errors import NotApplicableError
from paretoboard.runtimes import OPENVINO_THREAD, Runtime, Session

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import ModuleType

    from numpy.typing import NDArray

    from paretoboard.artifact import Manifest
    from paretoboard.runtimes.profiling import Profile, Question

INSTALL: Final = "pip install 'paretoboard[openvino]'"
# The hint's words, and what the compiled model says when it was taken.
PRECISIONS: Final = {"f32": "f32", "bf16": "bf16", "f16": "f16"}


class OpenVinoSession(Session):
    """A graph, compiled for one shape after the other.

    With the batch left open the same graph took 15 to 25 % longer at batch 1 (ResNet-20, Zen 4, 2026-11), so every
    declared batch is compiled on its own, as OpenVINO's documentation advises.
    """

    def __init__(
        self, model: str | bytes, shape: tuple[int, ...], properties: dict[str, Any], batches: tuple[int, ...]
    ) -> None:
        """A session on a file or on the bytes of an ONNX graph whose images have `shape`.

        Raises: NotApplicableError for a graph that OpenVINO can't run, and for properties that it does not take.
        """
        self._library = library()
        self._core = self._library.Core()
        self._model, self._shape, self._properties = model, shape, properties
        self._compiled: dict[int, Any] = {}
        self._requests: dict[int, Any] = {}
        self._exported: dict[int, bytes] = {}
        for batch in sorted(set(batches)):
            self._add(batch)

    def prepare(self, images: NDArray[np.float32]) -> tuple[int, Any]:
        """The batch, and a tensor of its own memory; a batch that was not declared is compiled now."""
        batch = len(images)
        if batch not in self._requests:
            self._add(batch)
        return batch, self._library.Tensor(np.ascontiguousarray(images, dtype=np.float32))

    def run(self, native: tuple[int, Any]) -> Any:
        """One forward pass in the caller's thread and those of OpenVINO's pool; its result is copied out."""
        batch, tensor = native
        return self._requests[batch].infer(tensor)

    def logits(self, native: Any) -> NDArray[np.float32]:
        """The only output."""
        return np.asarray(native[0], dtype=np.float32)

    def refresh(self) -> None:
        """Load what was compiled once more, from memory: OpenVINO gives no access to its weights.

        Not compiled again, which takes up to nine times as long; the answers are the same to the bit.
        """
        for batch, compiled in self._compiled.items():
            if batch not in self._exported:
                self._exported[batch] = compiled.export_model().getvalue()
        for batch, content in self._exported.items():
            with _named_threads():
                self._compiled[batch] = self._core.import_model(_stream(content), "CPU", self._properties)
            self._requests[batch] = self._compiled[batch].create_infer_request()

    def close(self) -> None:
        """Let go of the models; the threads of the pool stay with the process, asleep."""
        self._requests.clear()
        self._compiled.clear()

    def compiled(self, batch: int) -> Any:
        """OpenVINO's compiled model for a batch that was declared."""
        return self._compiled[batch]

    def layer_precisions(self) -> dict[str, int]:
        """By name of a precision, how many convolutions and matrix products of the compiled graph compute in it."""
        counts: dict[str, int] = {}
        compiled = next(iter(self._compiled.values()))
        for operator in compiled.get_runtime_model().get_ordered_ops():
            told = operator.get_rt_info()
            if "layerType" in told and told["layerType"].astype(str) in ("Convolution", "FullyConnected", "MatMul"):
                precision = told["runtimePrecision"].astype(str)
                counts[precision] = counts.get(precision, 0) + 1
        return counts

    def _add(self, batch: int) -> None:
        try:
            # An ONNX graph in memory has no second file with weights.
            read = self._core.read_model
            model = read(self._model) if isinstance(self._model, str) else read(model=self._model, weights=b"")
            model.reshape([batch, *self._shape])
            with _named_threads():
                compiled = self._core.compile_model(model, "CPU", self._properties)
        except RuntimeError as error:
            raise NotApplicableError(f"OpenVINO can't run this graph: {_reason(error)}") from error
        _check_taken(compiled, self._properties)
        self._compiled[batch] = compiled
        self._requests[batch] = compiled.create_infer_request()


class OpenVino(Runtime):
    """The CPU plugin in the artifact's precision, with the given number of threads."""

    def idle(self) -> None:
        """Import the library.

        Raises: NotApplicableError where it is not installed.
        """
        library()

    def open(
        self,
        folder: Path,
        manifest: Manifest,
        *,
        threads: int,
        batches: tuple[int, ...],
        cache: Path,  # noqa: ARG002 - the graph is compiled at each load, which counts as loading
    ) -> Session:
        """The graph, compiled for each of `batches` in the precision of the option `precision`."""
        if manifest.form != "onnx":
            raise NotApplicableError(f"OpenVINO runs ONNX graphs here, this artifact is {manifest.form}")
        properties = properties_of(threads, manifest.execution.options.get("precision", "f32"))
        return OpenVinoSession(str(folder / manifest.file), manifest.input_shape, properties, batches)

    def profile(self, folder: Path, manifest: Manifest, question: Question) -> Profile:
        """Times of the nodes of the compiled graph, from OpenVINO's own counters."""
        from paretoboard.runtimes.profiling import openvino as counters
        from paretoboard.runtimes.profiling import time_calls

        batch, threads = len(question.images), question.threads
        session = self.open(folder, manifest, threads=threads, batches=(batch,), cache=question.cache)
        native = session.prepare(question.images)
        call_s = time_calls(session.run, native, question.seconds)
        properties = properties_of(threads, manifest.execution.options.get("precision", "f32")) | counters.PROPERTIES
        watched = OpenVinoSession(str(folder / manifest.file), manifest.input_shape, properties, (batch,))
        return counters.profile(watched.compiled(batch), native[1], question, call_s=call_s)


def properties_of(threads: int, precision: str) -> dict[str, Any]:
    """Properties that hold OpenVINO to `threads` and to one of PRECISIONS.

    Its default precision on a CPU with BF16 is BF16, for a float32 graph too.
    """
    return {
        "INFERENCE_PRECISION_HINT": precision,
        "INFERENCE_NUM_THREADS": threads,
        "NUM_STREAMS": 1,
        "PERFORMANCE_HINT": "LATENCY",
        # The process is held to its cores already; OpenVINO's own pinning would choose among them anew.
        "ENABLE_CPU_PINNING": False,
    }


def library() -> ModuleType:
    """OpenVINO, imported so that it reports to nobody.

    Raises: NotApplicableError where it is not installed.
    """
    try:
        with without_telemetry():
            import openvino
    except ImportError as error:
        raise NotApplicableError(f"OpenVINO can't be imported ({error}): {INSTALL}") from error
    module: ModuleType = openvino
    return module


@contextlib.contextmanager
def without_telemetry() -> Iterator[None]:
    """Keep OpenVINO and NNCF from reporting their import and use over the network, in a thread of its own.

    Both look at these variables once, when they are imported: openvino_telemetry at the first, NNCF at the second.
    """
    variables = {"CI": "true", "NNCF_CI": "1"}
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _check_taken(compiled: Any, properties: dict[str, Any]) -> None:
    """Compare precision and threads with what the compiled model says of itself.

    Raises: NotApplicableError where OpenVINO chose otherwise than it was told.
    """
    wanted = properties["INFERENCE_PRECISION_HINT"]
    found = compiled.get_property("INFERENCE_PRECISION_HINT").to_string()
    if found != PRECISIONS[wanted]:
        raise NotApplicableError(f"OpenVINO was asked for {wanted} and computes in {found} on this processor")
    threads = compiled.get_property("INFERENCE_NUM_THREADS")
    if threads != properties["INFERENCE_NUM_THREADS"]:
        raise NotApplicableError(
            f"OpenVINO was asked for {properties['INFERENCE_NUM_THREADS']} threads and uses {threads} on the "
            f"{len(os.sched_getaffinity(0))} cores that this process may run on"
        )


@contextlib.contextmanager
def _named_threads() -> Iterator[None]:
    """Name the threads that are made meanwhile OPENVINO_THREAD: they inherit the name of who makes them."""
    name = Path(f"/proc/self/task/{threading.get_native_id()}/comm")
    before = name.read_text()
    name.write_text(OPENVINO_THREAD)
    try:
        yield
    finally:
        name.write_text(before)


def _stream(content: bytes) -> Any:
    import io

    return io.BytesIO(content)


def _reason(error: Exception) -> str:
    """What OpenVINO's message says beside the places in its source files, in one line."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    told = [line for line in lines if not line.startswith(("Exception from", "Check '", "FrontEnd API failed"))]
    return " ".join(told or lines) or type(error).__name__
