"""From a torch module to an ONNX graph, for the techniques that take only graphs."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import logging
import warnings
from typing import TYPE_CHECKING, Any

from paretoboard.artifact import Execution
from paretoboard.errors import NotApplicableError, first_line

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import nn
    from torch.export import ExportedProgram

    from paretoboard.artifact import Candidate


def as_graph(candidate: Candidate) -> Candidate:
    """`candidate` as an ONNX graph for ONNX Runtime; returned as it is where it is one already.

    The same module gives the same bytes.

    Raises: NotApplicableError for a module that can't be exported, or that another runtime was chosen for.
    """
    if candidate.graph is not None:
        return candidate
    execution = candidate.execution
    if execution.runtime != "eager":
        raise NotApplicableError(f"the runtime '{execution.runtime}' was chosen before, and it runs no ONNX graph")
    if execution.dtype != "float32":
        raise NotApplicableError(f"ONNX Runtime's CPU provider computes no convolutions in {execution.dtype}")
    if "autocast" in execution.options:
        raise NotApplicableError("the model was to be run under torch.autocast, and an ONNX graph can't be")
    assert candidate.module is not None
    graph = export(candidate.module, candidate.input_shape)
    kept = {name: value for name, value in execution.options.items() if name == "threads"}
    execution = Execution(
        runtime="onnxruntime", options=kept, input=execution.input, boxes=execution.boxes, nms=execution.nms
    )
    return dataclasses.replace(candidate, module=None, graph=graph, execution=execution, storage="plain")


def export(module: nn.Module, input_shape: tuple[int, ...]) -> bytes:
    """A serialized ONNX model with the input `images` (batch, *input_shape) and the output `logits`.

    Raises: NotApplicableError for a module that torch.onnx.export can't export.
    """
    import torch

    images = torch.zeros((2, *input_shape))  # a batch of 1 would be taken for a constant
    with _quiet(), _refusing():
        program = torch.onnx.export(
            module,
            (images,),
            dynamo=True,
            dynamic_shapes=({0: torch.export.Dim("batch")},),
            input_names=["images"],
            output_names=["logits"],
            verbose=False,
        )
    return _content(program)


def export_program(program: ExportedProgram) -> bytes:
    """A program that torch.export gave, as a serialized ONNX model; its batch is free where it was when exported.

    Raises: NotApplicableError for operators that torch.onnx.export doesn't know.
    """
    import torch

    with _quiet(), _refusing():
        converted = torch.onnx.export(
            program, dynamo=True, input_names=["images"], output_names=["logits"], verbose=False
        )
    return _content(converted)


def _content(program: Any) -> bytes:
    assert program is not None
    model = program.model_proto
    _strip(model)
    content: bytes = model.SerializeToString(deterministic=True)
    return content


@contextlib.contextmanager
def _refusing() -> Iterator[None]:
    """Say in a word why the exporter gave up."""
    import torch

    try:
        yield
    except (torch.onnx.errors.OnnxExporterError, torch.onnx.OnnxExporterError) as error:
        raise NotApplicableError(f"the model can't be exported to ONNX: {first_line(error)}") from error


def _strip(model: Any) -> None:
    """Remove what does not compute: stack traces with this machine's paths, shapes that can be inferred."""
    graph = model.graph
    for holder in (model, graph, *graph.node, *graph.input, *graph.output, *graph.initializer):
        del holder.metadata_props[:]
        holder.ClearField("doc_string")
    del graph.value_info[:]


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep the exporter's chatter from the user; its errors are raised."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with (
            warnings.catch_warnings(),
            contextlib.redirect_stdout(io.StringIO()),
            contextlib.redirect_stderr(io.StringIO()),
        ):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
