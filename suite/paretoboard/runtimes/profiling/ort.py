"""Times of operators from ONNX Runtime's own profiler, in a session of its own."""

from __future__ import annotations

import json
import math
from collections import defaultdict
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from paretoboard.runtimes.profiling import OperatorTime, Profile, calls_within, graph, grouped, typical

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from paretoboard.runtimes.profiling import Question

SOURCE: Final = "ONNX Runtime's profiler"
_TIME: Final = "_kernel_time"
_EMPTY_NODES: Final = 32
_BYTES: Final = {"float": 4, "double": 8, "float16": 2, "bfloat16": 2, "int64": 8, "uint64": 8, "int32": 4, "bool": 1}
_DTYPES: Final = {"float": "float32", "uint8": "int8"}


def profile(model: Path, options: Any, feed: Mapping[str, Any], question: Question, *, call_s: float) -> Profile:
    """Run `model` with the profiler on.

    Args:
        options: of a session like the one that is timed; profiling is switched on in it.
        feed: the input.
        call_s: what a call takes without a profiler.
    Raises: ValueError for a profile that does not fit the graph it is of.
    """
    import onnx

    optimized = question.scratch / "optimized.onnx"
    options.optimized_model_filepath = str(optimized)
    calls = calls_within(question.seconds, call_s)
    events = _events(_with_names(model), options, feed, calls, question.scratch)
    taken_apart = onnx.load(optimized).graph
    operators = operators_of(taken_apart, events, feed, overhead_s=_overhead_s(question))
    quantized, floating = _split(taken_apart.node)
    return Profile(
        source=SOURCE,
        batch=len(question.images),
        call_s=call_s,
        profiled_calls=calls,
        operators=operators,
        quantized=len(quantized),
        fallbacks=tuple(floating) if quantized else (),
    )


def operators_of(
    optimized: Any, events: Iterable[Mapping[str, Any]], feed: Mapping[str, Any], *, overhead_s: float = 0.0
) -> tuple[OperatorTime, ...]:
    """Times of the nodes of a graph, by type.

    Args:
        optimized: the GraphProto that was run.
        events: of the profiler; the first call is left out where there are more.
        overhead_s: of the profiler, in the time of each node.
    Raises: ValueError for a node without an event.
    """
    found = _by_node(events)
    missing = [node.name for node in optimized.node if node.name not in found]
    if missing:
        raise ValueError(f"the profile names no time of {len(missing)} nodes, the first is '{missing[0]}'")
    dtypes, shapes = _values(optimized, found, feed)
    sizes = {name: math.prod(shape) * _BYTES.get(dtypes[name], 1) for name, shape in shapes.items()}
    return grouped(
        OperatorTime(
            type=_type(node, shapes),
            kind=graph.kind_of(node, shapes),
            dtype=_dtype(node, dtypes),
            calls=1,
            seconds=max(0.0, _node_s(found[node.name]) - overhead_s),
            macs=graph.macs_of(node, shapes),
            bytes=graph.bytes_of(node, sizes),
        )
        for node in optimized.node
    )


def _events(model: bytes, options: Any, feed: Mapping[str, Any], calls: int, scratch: Path) -> list[Mapping[str, Any]]:
    """What the profiler says about `calls` calls and one before them."""
    from paretoboard.runtimes.ort import inference_session

    options.enable_profiling = True
    options.profile_file_prefix = str(scratch / "profile")
    session = inference_session(model, options)
    for _ in range(calls + 1):
        session.run(None, feed)
    events: list[Mapping[str, Any]] = json.loads(Path(session.end_profiling()).read_bytes())
    return events


def _by_node(events: Iterable[Mapping[str, Any]]) -> Mapping[str, list[Mapping[str, Any]]]:
    found: defaultdict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for event in events:
        if event.get("cat") == "Node" and str(event["name"]).endswith(_TIME):
            found[str(event["name"]).removesuffix(_TIME)].append(event)
    return found


def _node_s(events: list[Mapping[str, Any]]) -> float:
    return typical([event["dur"] for event in events[1:] or events]) / 1e6


def _overhead_s(question: Question) -> float:
    """What the profiler adds to the time of each node: the time of nodes that hand on the buffer that they get.

    It writes down shapes inside the span that it times: 2 to 4 us on a busy core, where a small network's nodes take
    10, and some of them none (ONNX Runtime 1.31).
    """
    import numpy as np
    from onnx import TensorProto, helper

    from paretoboard.runtimes.ort import session_options

    names = [f"value_{index}" for index in range(_EMPTY_NODES + 1)]
    nodes = [helper.make_node("Reshape", [before, "shape"], [after], name=after) for before, after in pairwise(names)]
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [64]) for name in (names[0], names[-1])]
    shape = helper.make_tensor("shape", TensorProto.INT64, [1], [64])
    graph_proto = helper.make_graph(nodes, "empty", ends[:1], ends[1:], initializer=[shape])
    model = helper.make_model(graph_proto, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    options = session_options(question.threads, "disabled")
    feed = {names[0]: np.zeros(64, dtype=np.float32)}
    found = _by_node(_events(model.SerializeToString(), options, feed, 20, question.scratch))
    # The last node has to copy, its output is the caller's.
    return typical([_node_s(found[name]) for name in names[1:-1]])


def _values(
    optimized: Any, events: Mapping[str, list[Mapping[str, Any]]], feed: Mapping[str, Any]
) -> tuple[dict[str, str], dict[str, tuple[int, ...]]]:
    """Data types, in ONNX Runtime's words, and shapes of all values of a graph that was run.

    Weights come from the graph: kernels that have packed theirs let go of the original, which is then missing from
    the profile.
    """
    import onnx

    names = {number: name.lower() for name, number in onnx.TensorProto.DataType.items()}
    dtypes = {tensor.name: names[tensor.data_type] for tensor in optimized.initializer}
    shapes = {tensor.name: tuple(tensor.dims) for tensor in optimized.initializer}
    for name, array in feed.items():
        dtypes[name], shapes[name] = "float", tuple(array.shape)
    for node in optimized.node:
        given = events[node.name][-1]["args"]["output_type_shape"]
        for name, described in zip((name for name in node.output if name), given, strict=False):
            ((dtype, shape),) = described.items()
            dtypes[name], shapes[name] = dtype, tuple(shape)
    return dtypes, shapes


def _type(node: Any, shapes: Mapping[str, tuple[int, ...]]) -> str:
    name = str(node.op_type)
    return f"{name} (depthwise)" if graph.kind_of(node, shapes) == "depthwise convolution" else name


def _dtype(node: Any, dtypes: Mapping[str, str]) -> str:
    if node.op_type in graph.INTEGER:
        return "int8"
    found = dtypes.get(node.output[0], "float")
    return _DTYPES.get(found, found)


def _split(nodes: Iterable[Any]) -> tuple[list[str], list[str]]:
    """Names of the convolutions and matrix products that compute in INT8, and of those that compute in float.

    Recurrent layers are matrix products, which no INT8 kernel is for.
    """
    with_macs = {*graph.CONVOLUTIONS, *graph.PRODUCTS, *graph.RECURRENT}
    both = [node for node in nodes if node.op_type in with_macs]
    integer = [str(node.name) for node in both if node.op_type in graph.INTEGER]
    return integer, [str(node.name) for node in both if node.op_type not in graph.INTEGER]


def _with_names(model: Path) -> bytes:
    """The model with a name for every node, by which the profile is matched with the graph."""
    import onnx

    content = model.read_bytes()
    proto = onnx.load_model_from_string(content)
    taken = {node.name for node in proto.graph.node}
    if "" not in taken and len(taken) == len(proto.graph.node):
        return content
    for index, node in enumerate(proto.graph.node):
        node.name = f"{node.op_type}_{index}"
    named: bytes = proto.SerializeToString()
    return named
