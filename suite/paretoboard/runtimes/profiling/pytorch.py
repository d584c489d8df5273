"""What torch's operators compute and move, and their times from torch.profiler."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Any, Final

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry, sdpa_flop_count

from paretoboard.runtimes.profiling import WITH_MACS, OperatorTime, Profile, calls_within, time_calls, typical

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from torch import nn

    from paretoboard.runtimes import Session
    from paretoboard.runtimes.profiling import Kind, Question

SOURCE: Final = "torch.profiler"
GENERATED: Final = "generated kernels"
_CALL: Final = "paretoboard call"
# Some hundred events each, which the profiler takes a tenth of a second to sort.
_MOST_CALLS: Final = 8
# By operator, without its namespace, overload and the underscore of in-place variants.
_KINDS: Final[Mapping[Kind, Sequence[str]]] = {
    "convolution": ("conv1d", "conv2d", "convolution", "_convolution", "mkldnn_convolution", "_convolution_pointwise"),
    "matrix product": (
        "addmm",
        "baddbmm",
        "bmm",
        "linear",
        "matmul",
        "mkl_linear",
        "mm",
        "_linear_pointwise",
        "_int_mm",
        "_weight_int8pack_mm",
        "_weight_int4pack_mm_for_cpu",
        "scaled_dot_product_attention",
        "_scaled_dot_product_flash_attention_for_cpu",
        "gru",
        "lstm",
    ),
    "normalization": (
        "batch_norm",
        "native_batch_norm",
        "_native_batch_norm_legit_no_training",
        "layer_norm",
        "native_layer_norm",
        "group_norm",
        "native_group_norm",
    ),
    "activation": (
        "clamp",
        "clamp_min",
        "elu",
        "gelu",
        "hardsigmoid",
        "hardswish",
        "hardtanh",
        "leaky_relu",
        "relu",
        "relu6",
        "sigmoid",
        "silu",
        "softmax",
        "_softmax",
        "tanh",
    ),
    "elementwise": ("add", "div", "mul", "sub"),
    "pooling": (
        "adaptive_avg_pool2d",
        "_adaptive_avg_pool2d",
        "avg_pool2d",
        "max_pool2d",
        "max_pool2d_with_indices",
        "mean",
    ),
    "quantizing": ("quantize_per_tensor", "quantize_per_channel", "dequantize", "fake_quantize_per_tensor_affine"),
    "reordering": (
        "_to_copy",
        "cat",
        "clone",
        "constant_pad_nd",
        "contiguous",
        "copy",
        "expand",
        "flatten",
        "index_select",
        "pad",
        "permute",
        "reshape",
        "slice",
        "t",
        "to",
        "transpose",
        "unsqueeze",
        "view",
    ),
}
_KIND_OF: Final = {name: kind for kind, names in _KINDS.items() for name in names}


def _attention_flops(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, *_: Any, **__: Any) -> int:
    """Of both matrix products of an attention, whose operator for the CPU torch has no formula for."""
    flops: int = sdpa_flop_count(query.shape, key.shape, value.shape)  # type: ignore[no-untyped-call]
    return flops


_attention_flops._get_raw = True  # type: ignore[attr-defined]  # it is given tensors, as torch's own formulas are
# FLOPs of an operator from its arguments, where torch's own registry has no formula.
OWN_FORMULAS: Final[dict[Any, Any]] = {torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: _attention_flops}


def profile(session: Session, module: nn.Module, question: Question, dtype: str) -> Profile:
    """Time a session's operators, and count what those of its module compute and move.

    Args:
        session: runs `module`, as it is or compiled.
        dtype: that the module computes in.
    """
    native = session.prepare(question.images)
    call_s = time_calls(session.run, native, question.seconds)
    calls = min(calls_within(question.seconds, call_s), _MOST_CALLS)
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], record_shapes=True) as profiler:
        for _ in range(calls + 1):
            with torch.profiler.record_function(_CALL):
                session.run(native)
    watched = [event for event in profiler.events() if event.name == _CALL]
    return Profile(
        source=SOURCE,
        batch=len(question.images),
        call_s=call_s,
        profiled_calls=calls,
        operators=_joined(_times(watched[1:]), work_of(module, native), dtype),
        quantized=0,
        fallbacks=(),
    )


class _Counting(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Sums what operators compute and move while it is entered."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.calls: Counter[Kind] = Counter()
        self.macs: Counter[Kind] = Counter()
        self.bytes: Counter[Kind] = Counter()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """One operator."""
        result = func(*args, **(kwargs or {}))
        if _hands_on(func):
            return result
        kind = _kind(str(func.overloadpacket), [tuple(part.shape) for part in _tensors(args)])
        count = OWN_FORMULAS.get(func.overloadpacket) or flop_registry.get(func.overloadpacket)
        self.calls[kind] += 1
        self.macs[kind] += count(*args, **(kwargs or {}), out_val=result) // 2 if count else 0
        self.bytes[kind] += sum(part.numel() * part.element_size() for part in (*_tensors(args), *_tensors((result,))))
        return result


def work_of(module: nn.Module, native: torch.Tensor) -> Mapping[Kind, tuple[int, int]]:
    """MACs, as half of what torch's FlopCounterMode counts, and bytes of one forward pass, by kind of operator."""
    # Not inference_mode: a dispatch mode sees no operators there.
    with torch.no_grad(), _Counting() as counting:
        module(native)
    return {kind: (counting.macs[kind], counting.bytes[kind]) for kind in counting.calls}


def _hands_on(func: Any) -> bool:
    """Whether an operator only gives another view of the memory that it gets."""
    return any(given.alias_info is not None and not given.alias_info.is_write for given in func._schema.arguments)


def _tensors(values: Iterable[Any]) -> Iterator[torch.Tensor]:
    for value in values:
        if isinstance(value, torch.Tensor):
            yield value
        elif isinstance(value, list | tuple):
            yield from _tensors(value)


def _kind(name: str, shapes: Sequence[Sequence[int]]) -> Kind:
    """The kind of an operator such as "aten::relu_" or "aten.convolution", by its name and its inputs' shapes."""
    bare = name.replace("::", ".").rpartition(".")[2].removesuffix("_")
    kind = _KIND_OF.get(bare, "other")
    if kind == "convolution" and len(shapes) > 1 and len(shapes[0]) > 1 and len(shapes[1]) > 1:
        image, weight = shapes[0], shapes[1]
        return "depthwise convolution" if weight[1] == 1 and image[1] > 1 else kind
    return kind


def _times(watched: Iterable[Any]) -> Mapping[Kind, tuple[str, int, float]]:
    """Type (of the longest operator), calls and seconds of each kind in one forward pass."""
    passes = []
    names: defaultdict[Kind, Counter[str]] = defaultdict(Counter)
    calls: Counter[Kind] = Counter()
    for call in watched:
        spent: defaultdict[Kind, float] = defaultdict(float)
        calls.clear()
        for event in _operators(call):
            kind = _kind(event.name, event.input_shapes or [])
            elapsed_us = event.time_range.elapsed_us()
            spent[kind] += elapsed_us
            names[kind][_name(event, kind)] += elapsed_us
            calls[kind] += 1
        if _compiled(call):
            rest = call.time_range.elapsed_us() - sum(spent.values())
            spent["generated"], calls["generated"] = rest, 1
            names["generated"][GENERATED] += 1
        passes.append(spent)
    return {
        kind: (
            names[kind].most_common(1)[0][0],
            calls[kind],
            typical([spent[kind] for spent in passes]) / 1e6,
        )
        for kind in names
    }


def _name(event: Any, kind: Kind) -> str:
    """An operator; one with MACs with the one below it that does the work, of which some are fast and some slow."""
    if kind not in WITH_MACS:
        return str(event.name)
    inner = event
    while inner.cpu_children:
        longest = max(inner.cpu_children, key=lambda child: float(child.time_range.elapsed_us()))
        if 2 * longest.time_range.elapsed_us() < inner.time_range.elapsed_us():
            break
        inner = longest
    depthwise = " (depthwise)" if kind == "depthwise convolution" else ""
    by = "" if inner is event else f" by {inner.name.removeprefix('aten::')}"
    return f"{event.name}{depthwise}{by}"


def _operators(event: Any) -> Iterator[Any]:
    """The outermost operators below an event; what they call counts as theirs."""
    for child in event.cpu_children:
        if "::" in child.name:
            yield child
        else:
            yield from _operators(child)


def _compiled(event: Any) -> bool:
    return any(child.name.startswith("Torch-Compiled Region") or _compiled(child) for child in event.cpu_children)


def _joined(
    times: Mapping[Kind, tuple[str, int, float]], work: Mapping[Kind, tuple[int, int]], dtype: str
) -> tuple[OperatorTime, ...]:
    """Times with the work of the same kind; a compiler's kernels have that of all kinds that have no time of theirs."""
    rest = [work[kind] for kind in work if kind not in times]
    merged = {**work, "generated": (sum(macs for macs, _ in rest), sum(moved for _, moved in rest))}
    found = [
        OperatorTime(
            type=name,
            kind=kind,
            dtype=dtype,
            calls=calls,
            seconds=seconds,
            macs=merged.get(kind, (0, 0))[0],
            bytes=merged.get(kind, (0, 0))[1],
        )
        for kind, (name, calls, seconds) in times.items()
    ]
    return tuple(sorted(found, key=lambda each: -each.seconds))
