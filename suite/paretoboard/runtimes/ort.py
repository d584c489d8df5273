"""ONNX Runtime's CPU provider. Nothing here imports torch: a process that does is ten times as big."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from paretoboard.errors import NotApplicableError
from paretoboard.runtimes import Runtime, Session

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path
    from types import ModuleType

    from numpy.typing import NDArray

    from paretoboard.artifact import Manifest
    from paretoboard.runtimes.profiling import Profile, Question

GRAPH_LEVELS: Final = {
    "all": "ORT_ENABLE_ALL",
    "extended": "ORT_ENABLE_EXTENDED",
    "basic": "ORT_ENABLE_BASIC",
    "disabled": "ORT_DISABLE_ALL",
}
CPU: Final = ("CPUExecutionProvider",)


class OrtSession(Session):
    """An InferenceSession of one input and one output."""

    def __init__(self, model: str | bytes, options: Any, providers: Sequence[Any] = CPU) -> None:
        self._model, self._options, self._providers = model, options, providers
        self._session = inference_session(model, options, providers)
        self._input = self._session.get_inputs()[0].name
        self._outputs = [self._session.get_outputs()[0].name]

    def prepare(self, images: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
        """The feed; ONNX Runtime reads the array where it lies."""
        return {self._input: np.array(images, dtype=np.float32, order="C")}

    def run(self, native: dict[str, NDArray[np.float32]]) -> Any:
        """One forward pass."""
        return self._session.run(self._outputs, native)

    def logits(self, native: Any) -> NDArray[np.float32]:
        """The only output."""
        return np.asarray(native[0], dtype=np.float32)

    def refresh(self) -> None:
        """A new session on the same file, since ONNX Runtime gives no access to its weights."""
        self._session = inference_session(self._model, self._options, self._providers)

    def close(self) -> None:
        """End the session's threads."""
        del self._session


class OnnxRuntime(Runtime):
    """The CPU provider with the given number of threads, which wait as OpenMP's are told to."""

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
        batches: tuple[int, ...],  # noqa: ARG002 - any shape runs
        cache: Path,  # noqa: ARG002 - the graph is optimized at each load, which counts as loading
    ) -> Session:
        """The graph, optimized to the level of the option `graph`; packed weights unpacked as `unpack` says."""
        return OrtSession(str(folder / manifest.file), _options_of(manifest, threads))

    def profile(self, folder: Path, manifest: Manifest, question: Question) -> Profile:
        """Times of the nodes that the optimized graph has, from ONNX Runtime's own profiler."""
        from paretoboard.runtimes.profiling import ort, time_calls

        session = OrtSession(str(folder / manifest.file), _options_of(manifest, question.threads))
        feed = session.prepare(question.images)
        call_s = time_calls(session.run, feed, question.seconds)
        return ort.profile(
            folder / manifest.file, _options_of(manifest, question.threads), feed, question, call_s=call_s
        )


def _options_of(manifest: Manifest, threads: int) -> Any:
    if manifest.form != "onnx":
        raise NotApplicableError(f"ONNX Runtime runs ONNX graphs, this artifact is {manifest.form}")
    given = manifest.execution.options
    return session_options(
        threads,
        given.get("graph", "all"),
        unpack=given.get("unpack", "call"),
        keep_float=given.get("keep_float", False),
    )


def session_options(threads: int, graph: str = "all", *, unpack: str = "call", keep_float: bool = False) -> Any:
    """Options that hold ONNX Runtime to `threads` and to an optimization level of GRAPH_LEVELS.

    With `unpack` "load", weights that are stored as integers and computed with as floats are turned into these when
    the graph is loaded, and no integer kernels are used; else at each call. With `keep_float`, a layer whose weights
    are stored as floats computes in float.

    Its threads stay on the process's cores; without work they sleep, unless OMP_WAIT_POLICY is ACTIVE.

    Raises: NotApplicableError where the library is missing.
    """
    ort = library()
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.graph_optimization_level = getattr(ort.GraphOptimizationLevel, GRAPH_LEVELS[graph])
    if unpack == "load":
        # Only without a search for integer kernels does it compute a constant's DequantizeLinear beforehand.
        options.add_session_config_entry("session.disable_quant_qdq", "1")
    if keep_float:
        # Its own default is to quantize the weights of every layer that stands between quantized ones.
        options.add_session_config_entry("optimization.disable_specified_optimizers", "WeightBiasQuantization")
    # Its own default is to spin, which steals the cores of whoever is timed beside it.
    spinning = "1" if os.environ.get("OMP_WAIT_POLICY") == "ACTIVE" else "0"
    options.add_session_config_entry("session.intra_op.allow_spinning", spinning)
    options.add_session_config_entry("session.inter_op.allow_spinning", spinning)
    options.log_severity_level = 3  # errors only
    return options


def inference_session(model: str | bytes, options: Any, providers: Sequence[Any] = CPU) -> Any:
    """An InferenceSession, by default on the CPU provider.

    Args:
        model: path of an ONNX file, or its bytes.
        providers: names, or pairs of a name and its options, the preferred one first.
    Raises: NotApplicableError for a graph that the providers have no kernels for.
    """
    ort = library()
    try:
        return ort.InferenceSession(model, options, providers=list(providers))
    except ort.capi.onnxruntime_pybind11_state.NotImplemented as error:
        raise NotApplicableError(f"ONNX Runtime has no kernels for this graph: {error}") from error


def library() -> ModuleType:
    """ONNX Runtime, imported now.

    Raises: NotApplicableError where it is not installed.
    """
    try:
        import onnxruntime
    except ImportError as error:
        raise NotApplicableError(f"ONNX Runtime can't be imported: {error}") from error
    module: ModuleType = onnxruntime
    return module
