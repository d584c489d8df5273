"""Times of operators from OpenVINO's counters, and their work from the graph that it executes."""

from __future__ import annotations

import math
from collections import defaultdict
from typing import TYPE_CHECKING, Any, Final

from paretoboard.runtimes.profiling import WITH_MACS, OperatorTime, Profile, calls_within, grouped, typical

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from paretoboard.runtimes.profiling import Kind, Question

SOURCE: Final = "OpenVINO's profiler"
# Set when compiling a model that `profile` is to look into.
PROPERTIES: Final = {"PERF_COUNT": "YES"}
_KINDS: Final[Mapping[str, Kind]] = {
    "Convolution": "convolution",
    "GroupConvolution": "convolution",
    "FullyConnected": "matrix product",
    "FullyConnectedCompressed": "matrix product",
    "FullyConnectedQuantized": "matrix product",
    "FullyConnectedQuantizedLegacy": "matrix product",
    "MatMul": "matrix product",
    "FakeQuantize": "quantizing",
    "Reorder": "reordering",
    "Reshape": "reordering",
    "Transpose": "reordering",
    "Slice": "reordering",
    "StridedSlice": "reordering",
    "Pad": "reordering",
    "Convert": "reordering",
    "Concatenation": "reordering",
    "Pooling": "pooling",
    "AvgPool": "pooling",
    "MaxPool": "pooling",
    "ReduceMean": "pooling",
    "Add": "elementwise",
    "Multiply": "elementwise",
    "Eltwise": "elementwise",
    "Relu": "activation",
    "Clamp": "activation",
    "SoftMax": "activation",
    "Softmax": "activation",
    "Subgraph": "generated",
}
_DTYPES: Final = {"f32": "float32", "bf16": "bfloat16", "f16": "float16", "u8": "int8", "i8": "int8"}


def profile(compiled: Any, native: Any, question: Question, *, call_s: float) -> Profile:
    """Time the nodes of a compiled model.

    Args:
        compiled: a CompiledModel of fixed shapes, like the one that is timed but for PROPERTIES.
        native: the input.
        call_s: what a call takes without counters.
    """
    request = compiled.create_infer_request()
    calls = calls_within(question.seconds, call_s)
    times: defaultdict[str, list[float]] = defaultdict(list)
    request.infer(native)
    for _ in range(calls):
        request.infer(native)
        for node in request.profiling_info:
            times[str(node.node_name)].append(node.real_time.total_seconds())
    nodes = [node for node in compiled.get_runtime_model().get_ordered_ops() if node.get_friendly_name() in times]
    products = [node for node in nodes if _kind(node) in WITH_MACS]
    floating = [str(node.get_friendly_name()) for node in products if _dtype(node) != "int8"]
    quantized = len(products) - len(floating)
    return Profile(
        source=SOURCE,
        batch=len(question.images),
        call_s=call_s,
        profiled_calls=calls,
        operators=grouped(
            _operator(node, seconds) for node in nodes if (seconds := typical(times[node.get_friendly_name()]))
        ),
        quantized=quantized,
        fallbacks=tuple(floating) if quantized else (),
    )


def _operator(node: Any, seconds: float) -> OperatorTime:
    name, kind = _fact(node, "layerType"), _kind(node)
    if kind in WITH_MACS:
        # The same convolution has fast kernels and slow ones.
        name += f"{' (depthwise)' if kind == 'depthwise convolution' else ''} by {_fact(node, 'primitiveType')}"
    return OperatorTime(
        type=name,
        kind=kind,
        dtype=_dtype(node),
        calls=1,
        seconds=seconds,
        macs=_macs(node),
        bytes=sum(_bytes(port) for port in (*node.inputs(), *node.outputs())),
    )


def _kind(node: Any) -> Kind:
    kind = _KINDS.get(_fact(node, "layerType"), "other")
    if kind != "convolution":
        return kind
    weight = _shape(node.input(1))
    # Grouped weights are (groups, outputs of a group, inputs of a group, height, width).
    grouped_weights = len(weight) == len(_shape(node.input(0))) + 1
    return "depthwise convolution" if grouped_weights and weight[0] > 1 and weight[2] == 1 else kind


def _macs(node: Any) -> int:
    kind = _kind(node)
    if kind not in WITH_MACS:
        return 0
    given, weight, out = _shape(node.input(0)), _shape(node.input(1)), _shape(node.output(0))
    if kind == "matrix product":
        return math.prod(out) * given[-1]
    return math.prod(out) * math.prod(weight[2 if len(weight) == len(given) + 1 else 1 :])


def _dtype(node: Any) -> str:
    found = _fact(node, "runtimePrecision")
    return _DTYPES.get(found, found)


def _bytes(port: Any) -> int:
    return math.prod(_shape(port)) * max(1, int(port.get_element_type().bitwidth) // 8)


def _shape(port: Any) -> Sequence[int]:
    return [extent.get_length() for extent in port.get_partial_shape()]


def _fact(node: Any, name: str) -> str:
    facts = node.get_rt_info()
    if name not in facts:
        return ""
    found = facts[name]
    return str(getattr(found, "value", found))
