"""The order of steps: in which order techniques can work on what each gets from the one before."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from paretoboard.registry import Registry

RUNTIME_FAMILY = "run"


def is_runtime(name: str, technique: Any) -> bool:
    """Whether a step says how the model is run: the family `run`, and whatever else chooses a runtime."""
    return name.partition(".")[0] == RUNTIME_FAMILY or technique.runtime is not None


def wrong_order(
    steps: Sequence[tuple[str, Any]], techniques: Registry, *, whole: bool = True, graph: bool = False
) -> Iterator[tuple[int, str]]:
    """What is wrong with an order, as the index of a step and a message.

    Args:
        steps: each technique's name and class.
        techniques: where a runtime is looked for when one is missing.
        whole: whether these are all steps of the recipe, so that the last must leave something that can be run.
        graph: whether the model is an ONNX graph from the beginning.
    """
    form = "onnx" if graph else "torch"
    onnx_since = ""  # the step that made an ONNX graph of the model, where one did
    runtime_from = ""  # the step that chose the runtime
    for index, (name, technique) in enumerate(steps):
        step = f"step {index + 1} ({name})"
        if runtime_from and technique.runtime is not None:
            yield index, f"chooses a runtime, but {runtime_from} did so already; leave one of them out"
        elif runtime_from:
            # One order only, so that the same thing is not measured twice under two ids.
            yield index, f"comes after {runtime_from}, which chooses the runtime; that comes last"
        elif form not in technique.takes and form == "onnx":
            yield index, _no_torch_model(onnx_since)
        if form not in technique.takes and "onnx" in technique.takes:
            form, onnx_since = "onnx", step
        if technique.gives is not None and technique.gives != form:
            form, onnx_since = technique.gives, step
        if technique.runtime is not None:
            runtime_from = step
    if whole and steps and form == "onnx" and not runtime_from:
        yield len(steps) - 1, _runtime_missing(onnx_since, techniques)


def _no_torch_model(onnx_since: str) -> str:
    if not onnx_since:
        return "works on a torch model, and this task's is an ONNX graph; give the network as 'module:function' for it"
    return f"works on a torch model, but {onnx_since} left an ONNX graph; put it before that step"


def _runtime_missing(onnx_since: str, techniques: Registry) -> str:
    runtimes = []
    for name in techniques:
        if name.partition(".")[0] == RUNTIME_FAMILY:
            technique = techniques.load(name)
            if technique.runtime is not None and "onnx" in technique.takes:
                runtimes.append(f'{{ technique = "{name}" }}')
    return f"{onnx_since or 'the model'} leaves an ONNX graph, which torch can't run; end with {' or '.join(runtimes)}"
