"""What this machine reaches: multiply-accumulates per second by data type, and bytes per second by size of data.

The fastest of many short runs counts: a roof is what can be reached, and what disturbs a run only makes it slower.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from paretoboard.records import Bandwidth, Peak
from paretoboard.runtimes.saturation import machine_saturates

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

    from paretoboard_runners.supervise import Emitter

# Square matrices: 134 million MACs, 2 ms on a core with AVX-512, in caches of 2 MB; the largest need 64 times as long.
_SIZE: Final = 512
_PART_S: Final = 0.12  # of each peak and of each bandwidth
_FEWEST: Final = 3
# Within a core's second cache, within a third cache, and beyond any.
_WORKING_SETS: Final = (1 << 18, 1 << 22, 1 << 28)


@dataclass(frozen=True, slots=True, kw_only=True)
class RooflineJob:
    """Measure this machine with so many threads."""

    threads: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RooflineResult:
    """What it reaches."""

    peaks: tuple[Peak, ...]
    bandwidths: tuple[Bandwidth, ...]
    int8_exact: bool
    elapsed_s: float


def measure(job: RooflineJob, _folder: Path, emit: Emitter) -> RooflineResult:
    """All peaks and bandwidths, in about a second."""
    import torch

    began = time.perf_counter()
    torch.set_num_threads(job.threads)
    emit({"stage": "roofline", "done": 0.0, "text": "arithmetic"})
    integer = _integer_product(job.threads)
    left, right = (np.ones((_SIZE, _SIZE), dtype=dtype) for dtype in (np.uint8, np.int8))
    int8_exact = not machine_saturates()
    peaks = (
        _peak("float32", max(_torch_rate("float32"), _rate(lambda: _float_product(job.threads)))),
        _peak("bfloat16", _torch_rate("bfloat16")),
        _peak("int8", _rate(lambda: lambda: integer(left, right))),
    )
    emit({"stage": "roofline", "done": 0.6, "text": "memory"})
    bandwidths = tuple(_bandwidth(size) for size in _WORKING_SETS)
    elapsed_s = time.perf_counter() - began
    return RooflineResult(peaks=peaks, bandwidths=bandwidths, int8_exact=int8_exact, elapsed_s=elapsed_s)


def fastest(call: Callable[[], object], *, seconds: float = _PART_S) -> float:
    """Seconds of the fastest of many calls, after one that is not counted."""
    call()
    best, calls, end = float("inf"), 0, time.perf_counter() + seconds
    while calls < _FEWEST or time.perf_counter() < end:
        start = time.perf_counter()
        call()
        best = min(best, time.perf_counter() - start)
        calls += 1
    return best


def _peak(dtype: str, macs_per_s: float) -> Peak:
    return Peak(dtype=dtype, macs_per_s=macs_per_s)


def _rate(make: Callable[[], Callable[[], object]]) -> float:
    return float(_SIZE**3 / fastest(make()))


def _torch_rate(dtype: str) -> float:
    import torch

    left, right = (torch.ones((_SIZE, _SIZE), dtype=getattr(torch, dtype)) for _ in range(2))
    with torch.inference_mode():
        return _rate(lambda: lambda: torch.mm(left, right))


def _float_product(threads: int) -> Callable[[], object]:
    product = _onnx_product("MatMul", "FLOAT", "FLOAT", "FLOAT", threads)
    left = np.ones((_SIZE, _SIZE), dtype=np.float32)
    return lambda: product(left, left)


def _integer_product(threads: int) -> Callable[[NDArray[Any], NDArray[Any]], NDArray[np.int32]]:
    """Unsigned times signed, as quantized models have it."""
    return _onnx_product("MatMulInteger", "UINT8", "INT8", "INT32", threads)


def _onnx_product(
    operator: str, left: str, right: str, out: str, threads: int
) -> Callable[[NDArray[Any], NDArray[Any]], NDArray[Any]]:
    """A product of two square matrices by ONNX Runtime."""
    from onnx import TensorProto, helper

    from paretoboard.runtimes.ort import inference_session, session_options

    shape = [_SIZE, _SIZE]
    graph = helper.make_graph(
        [helper.make_node(operator, ["left", "right"], ["product"])],
        "product",
        [
            helper.make_tensor_value_info("left", getattr(TensorProto, left), shape),
            helper.make_tensor_value_info("right", getattr(TensorProto, right), shape),
        ],
        [helper.make_tensor_value_info("product", getattr(TensorProto, out), shape)],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    session = inference_session(model.SerializeToString(), session_options(threads))

    def product(one: NDArray[Any], other: NDArray[Any]) -> NDArray[Any]:
        found: NDArray[Any] = session.run(None, {"left": one, "right": other})[0]
        return found

    return product


def _bandwidth(working_set_bytes: int) -> Bandwidth:
    """Of copying half of the working set to its other half; each byte is read once and written once."""
    import torch

    source = torch.ones(working_set_bytes // 2, dtype=torch.uint8)
    target = torch.empty_like(source)
    # Small copies are over before the clock has moved: many at once.
    repeats = max(1, (1 << 23) // working_set_bytes)

    def copy() -> None:
        for _ in range(repeats):
            target.copy_(source)

    return Bandwidth(working_set_bytes=working_set_bytes, bytes_per_s=working_set_bytes * repeats / fastest(copy))
