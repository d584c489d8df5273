"""TensorRT, as a provider of ONNX Runtime. Never run by this project's authors, who have no GPU.

Inputs and outputs are copied between CPU and GPU inside the timed call, since ONNX Runtime's plain call does so.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from paretoboard.errors import NotApplicableError
from paretoboard.runtimes import Runtime, Session
from paretoboard.runtimes.ort import OrtSession, library, session_options

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from paretoboard.artifact import Manifest

PROVIDER: Final = "TensorrtExecutionProvider"
_FALLBACK: Final = "CUDAExecutionProvider"  # for operators that TensorRT has not


class TensorRt(Runtime):
    """Engines built for the declared batch sizes and kept on disk."""

    def idle(self) -> None:
        """Import the library.

        Raises: NotApplicableError where it lacks the provider.
        """
        reason = why_not(library().get_available_providers())
        if reason:
            raise NotApplicableError(reason)

    def open(self, folder: Path, manifest: Manifest, *, threads: int, batches: tuple[int, ...], cache: Path) -> Session:
        """The graph, called once at each of `batches`: minutes the first time, seconds with engines in `cache`."""
        if manifest.form != "onnx":
            raise NotApplicableError(f"TensorRT runs ONNX graphs here, this artifact is {manifest.form}")
        self.idle()
        options = session_options(threads)
        # What no GPU provider takes would else be computed on the CPU and not be said.
        options.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
        precision = manifest.execution.options.get("precision", "f32")
        session = TensorRtSession(str(folder / manifest.file), options, providers_of(precision, cache))
        for batch in sorted(set(batches)):
            session.run(session.prepare(np.zeros((batch, *manifest.input_shape), dtype=np.float32)))
        return session


class TensorRtSession(OrtSession):
    """An InferenceSession that computes in TensorRT.

    Raises: NotApplicableError where ONNX Runtime left the provider out, which it does with a mere warning.
    """

    def __init__(self, model: str, options: Any, providers: Sequence[Any]) -> None:
        super().__init__(model, options, providers)
        found = self._session.get_providers()
        if found[0] != PROVIDER:
            raise NotApplicableError(f"ONNX Runtime could not load {PROVIDER} and would compute in {found[0]}")


def why_not(available: Sequence[str]) -> str:
    """Why TensorRT can't be used with these providers of ONNX Runtime, "" where it can."""
    if PROVIDER in available:
        return ""
    return (
        f"this ONNX Runtime has no {PROVIDER}, only {', '.join(available)}: it comes with onnxruntime-gpu, beside "
        "NVIDIA's TensorRT libraries"
    )


def providers_of(precision: str, cache: Path) -> list[tuple[str, dict[str, str]]]:
    """TensorRT in a precision ("f32" or "f16"), with its engines kept in `cache`, and CUDA for the rest."""
    options = {
        "trt_engine_cache_enable": "True",
        "trt_engine_cache_path": str(cache.absolute()),
        "trt_fp16_enable": str(precision == "f16"),
    }
    return [(PROVIDER, options), (_FALLBACK, {})]
