"""Cutting a network into spans that run one after the other, each on what the one before gives.

The network's forward pass is traced with torch.fx, and cut where all that comes later follows from a single tensor:
between the blocks of a residual network, not inside one.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import torch
from torch import Tensor, fx, nn
from torch.utils.flop_counter import FlopCounterMode

from paretoboard.errors import NotApplicableError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_IMAGES: Final = 2  # that shapes are read with


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """A part of a network."""

    module: fx.GraphModule  # its layers are those of the network, by the same names
    shape: tuple[int, ...]  # of what it gives for one image
    flops: int  # of one image, counted by torch's FlopCounterMode


@dataclass(frozen=True, slots=True, kw_only=True)
class _Piece:
    """What lies between two places where one tensor is alive: the least that a span can be made of."""

    nodes: tuple[fx.Node, ...]
    gives: fx.Node
    shape: tuple[int, ...]
    flops: int
    parameters: frozenset[nn.Parameter]


def spans(module: nn.Module, image_shape: tuple[int, ...], count: int) -> list[Span]:
    """`count` spans of about the same work that hold the parameters of `module`, each its own.

    Args:
        module: in training mode, if the spans are to be trained: what a forward pass asks about that is fixed here.
        image_shape: of one image: (channels, height, width).
    Raises: NotApplicableError where the forward pass can't be traced, or not be cut so often.
    """
    name = type(module).__name__
    try:
        traced = fx.symbolic_trace(module)
    except Exception as error:  # whatever a network does that fx can't follow
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise NotApplicableError(
            f"{name} can't be cut into a sequence, torch.fx does not follow it: {reason}"
        ) from error
    pieces = _pieces(traced, image_shape)
    chosen = _balanced([piece.flops for piece in pieces], [piece.parameters for piece in pieces], count)
    if chosen is None:
        most = next(fewer for fewer in range(count - 1, 0, -1) if fewer == 1 or _fits(pieces, fewer))
        raise NotApplicableError(
            f"{name} can't be cut into {count} spans with parameters of their own, one for each rank; {most} would do"
        )
    return [_span(traced, pieces[start:end], first=start == 0) for start, end in chosen]


def _fits(pieces: Sequence[_Piece], count: int) -> bool:
    return _balanced([piece.flops for piece in pieces], [piece.parameters for piece in pieces], count) is not None


def _pieces(traced: fx.GraphModule, image_shape: tuple[int, ...]) -> list[_Piece]:
    nodes = [node for node in traced.graph.nodes if node.op != "output"]
    measured = _Measured(copy.deepcopy(traced).eval())
    measured.run(torch.zeros(_IMAGES, *image_shape))
    place = {node: index for index, node in enumerate(traced.graph.nodes)}
    last_use = {node: max((place[user] for user in node.users), default=-1) for node in nodes}
    pieces, held, alive = [], [], set[fx.Node]()
    for index, node in enumerate(nodes):
        held.append(node)
        alive = {each for each in (*alive, node) if last_use[each] > index}
        gives = next(iter(alive)) if len(alive) == 1 else None
        shape = measured.shapes.get(gives.name) if gives is not None else None
        if gives not in held or shape is None or shape[0] != _IMAGES or node.op == "placeholder":
            continue
        flops = sum(measured.flops.get(each.name, 0) for each in held) // _IMAGES
        parameters = frozenset(_parameters(traced, held))
        assert gives is not None
        pieces.append(_Piece(nodes=tuple(held), gives=gives, shape=shape[1:], flops=flops, parameters=parameters))
        held = []
    if held:
        raise NotApplicableError("a network can be cut into a sequence where it gives one tensor, with a row an image")
    return pieces


class _Measured(fx.Interpreter):
    """Runs a traced network and keeps each node's multiplications and shape, by its name."""

    def __init__(self, traced: fx.GraphModule) -> None:
        super().__init__(traced)
        self.flops: dict[str, int] = {}
        self.shapes: dict[str, tuple[int, ...]] = {}

    @torch.no_grad()
    def run_node(self, n: fx.Node) -> Any:
        """As fx.Interpreter's."""
        with FlopCounterMode(display=False) as counter:
            value = super().run_node(n)
        self.flops[n.name] = counter.get_total_flops()
        if isinstance(value, Tensor) and value.dim() > 0:
            self.shapes[n.name] = tuple(value.shape)
        return value


def _parameters(traced: fx.GraphModule, nodes: Sequence[fx.Node]) -> Iterator[nn.Parameter]:
    for node in nodes:
        if node.op == "call_module":
            yield from (each for each in traced.get_submodule(str(node.target)).parameters() if each.requires_grad)
        elif node.op == "get_attr":
            path, _, last = str(node.target).rpartition(".")
            value = getattr(traced.get_submodule(path), last)
            if isinstance(value, nn.Parameter) and value.requires_grad:
                yield value


def _balanced(
    costs: Sequence[int], parameters: Sequence[frozenset[nn.Parameter]], count: int
) -> list[tuple[int, int]] | None:
    """`count` ranges of pieces whose dearest is as cheap as can be, each with parameters that no other has.

    Of equally good ones that with the earliest cuts. None where there is no such.
    """
    total = len(costs)
    # best[parts][end]: (cost of the dearest, start of the last) of `parts` ranges of the first `end` pieces.
    best: list[dict[int, tuple[int, int]]] = [{0: (0, 0)}]
    for parts in range(1, count + 1):
        row: dict[int, tuple[int, int]] = {}
        for end in range(parts, total + 1):
            options = [
                (max(before, sum(costs[start:end])), start)
                for start, (before, _) in best[parts - 1].items()
                if start < end and any(parameters[start:end])
            ]
            if options:
                row[end] = min(options)
        best.append(row)
    if total not in best[count]:
        return None
    ranges, end = [], total
    for parts in range(count, 0, -1):
        start = best[parts][end][1]
        ranges.append((start, end))
        end = start
    ranges.reverse()
    held = [frozenset().union(*parameters[start:end]) for start, end in ranges]
    apart = sum(map(len, held)) == len(frozenset().union(*held))
    return ranges if apart else None


def _span(traced: fx.GraphModule, pieces: Sequence[_Piece], *, first: bool) -> Span:
    graph = fx.Graph()
    copies: dict[fx.Node, fx.Node] = {}
    nodes = [node for piece in pieces for node in piece.nodes]
    if not first:
        inside = set(nodes)
        (taken,) = {given for node in nodes for given in node.all_input_nodes if given not in inside}
        copies[taken] = graph.placeholder("x")
    for node in nodes:
        copies[node] = graph.node_copy(node, copies.__getitem__)
    graph.output(copies[pieces[-1].gives])
    made = fx.GraphModule(traced, graph)
    made.training = traced.training  # not that of its layers, which are the network's
    return Span(module=made, shape=pieces[-1].shape, flops=sum(piece.flops for piece in pieces))
