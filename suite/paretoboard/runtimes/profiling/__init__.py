"""Where the time of a forward pass goes, operator by operator, as far as a runtime tells."""

from __future__ import annotations

import time
from collections import defaultdict
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

# What operators of all runtimes have in common, whatever each calls them.
Kind = Literal[
    "convolution",
    "depthwise convolution",
    "matrix product",
    "normalization",
    "activation",
    "elementwise",
    "pooling",
    "quantizing",  # and dequantizing
    "reordering",  # copies, casts and other orders of the same numbers
    "input",  # reading, decoding, resizing and normalizing of stored images
    "boxes",  # decoding and suppression of what a detector's network gives
    "generated",  # kernels that a compiler made of several operators, which no profiler names one by one
    "other",
]
# Kinds that multiply and accumulate: what fewer MACs can shorten.
WITH_MACS: Final[tuple[Kind, ...]] = ("convolution", "depthwise convolution", "matrix product")
_FEWEST_CALLS: Final = 3
_MOST_CALLS: Final = 40


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatorTime:
    """All operators of one type, in one forward pass."""

    type: str  # as the runtime names it
    kind: Kind
    dtype: str  # that it computes in: "float32", "bfloat16", "float16", "int8"
    calls: int
    seconds: float
    macs: int
    bytes: int  # weights and activations read and activations written, each once


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """One forward pass, taken apart."""

    source: str  # who took the times of operators
    batch: int
    call_s: float  # of a call that nobody watches
    profiled_calls: int
    operators: tuple[OperatorTime, ...]
    quantized: int  # convolutions and matrix products that compute in INT8
    fallbacks: tuple[str, ...] = ()  # names of those that a quantized model leaves in float


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What is to be profiled, and for how long."""

    images: NDArray[np.float32]  # (batch, channels, height, width), preprocessed
    threads: int
    cache: Path  # as in `runtimes.open`
    scratch: Path  # for files of the profiler
    seconds: float  # that profiled calls may take


def time_calls(call: Callable[[Any], Any], native: Any, seconds: float) -> float:
    """Seconds of a call, as `typical` says it; at least three are made, after one that is not counted."""
    call(native)
    times: list[float] = []
    while len(times) < _FEWEST_CALLS or (sum(times) < seconds and len(times) < _MOST_CALLS):
        start = time.perf_counter()
        call(native)
        times.append(time.perf_counter() - start)
    return typical(times)


def calls_within(seconds: float, call_s: float) -> int:
    """How many calls are profiled."""
    return min(max(int(seconds / max(call_s, 1e-9)), _FEWEST_CALLS), _MOST_CALLS)


def typical(values: Sequence[float]) -> float:
    """Mean of the lower half: what disturbs a call only ever makes it longer. At least one value."""
    ordered = sorted(values)
    lower = ordered[: (len(ordered) + 1) // 2]
    return sum(lower) / len(lower)


def grouped(operators: Iterable[OperatorTime]) -> tuple[OperatorTime, ...]:
    """One entry for each type and dtype, the longest first."""
    found: defaultdict[tuple[str, str, str], list[OperatorTime]] = defaultdict(list)
    for operator in operators:
        found[operator.type, operator.kind, operator.dtype].append(operator)
    merged = [
        replace(
            group[0],
            calls=sum(each.calls for each in group),
            seconds=sum(each.seconds for each in group),
            macs=sum(each.macs for each in group),
            bytes=sum(each.bytes for each in group),
        )
        for group in found.values()
    ]
    return tuple(sorted(merged, key=lambda each: -each.seconds))
