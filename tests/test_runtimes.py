"""Sessions: the same logits from every runtime, threads held, and no more imported than is needed."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from paretoboard import runtimes
from paretoboard.artifact import Candidate, Execution, save
from paretoboard.errors import NotApplicableError, StoreError, UnknownNameError
from paretoboard.runtimes.statistics import statistics
from small_models import SHAPE, candidate, exported, inputs


@pytest.fixture(scope="module")
def graph() -> Candidate:
    return exported()


@pytest.mark.parametrize("memory_format", ["contiguous", "channels_last"])
def test_eager_gives_the_modules_own_logits(tmp_path: Path, memory_format: str) -> None:
    held = candidate()
    execution = Execution(memory_format=memory_format)  # type: ignore[arg-type]
    save(dataclasses.replace(held, execution=execution), tmp_path / "a")
    session = runtimes.open(tmp_path / "a", threads=1, batches=(4,))
    native = session.prepare(inputs(4))
    logits = session.logits(session.run(native))
    assert held.module is not None
    with torch.inference_mode():
        wanted = held.module(torch.from_numpy(inputs(4))).numpy()
    assert native.is_contiguous(memory_format=getattr(torch, f"{memory_format}_format", torch.channels_last))
    assert logits.dtype == np.float32
    np.testing.assert_allclose(logits, wanted, rtol=1e-4, atol=1e-4)


def test_onnxruntime_agrees_with_eager(tmp_path: Path, graph: Candidate) -> None:
    save(candidate(), tmp_path / "eager")
    save(graph, tmp_path / "onnx")
    results = [
        runtimes.predict(runtimes.open(tmp_path / name, threads=1, batches=()), inputs(20), 8)
        for name in ("eager", "onnx")
    ]
    np.testing.assert_allclose(results[1], results[0], rtol=1e-3, atol=1e-4)


def test_predicting_gives_the_same_whatever_the_batch(tmp_path: Path) -> None:
    save(candidate(), tmp_path / "a")
    session = runtimes.open(tmp_path / "a", threads=1, batches=())
    whole = runtimes.predict(session, inputs(7), 7)
    for batch in (1, 3, 50):
        np.testing.assert_allclose(runtimes.predict(session, inputs(7), batch), whole, rtol=1e-4, atol=1e-4)


def test_a_prepared_input_is_the_sessions_own(tmp_path: Path, graph: Candidate) -> None:
    for name, held in (("eager", candidate()), ("onnx", graph)):
        save(held, tmp_path / name)
        session = runtimes.open(tmp_path / name, threads=1, batches=())
        pixels = inputs(2)
        native = session.prepare(pixels)
        before = session.logits(session.run(native)).copy()
        pixels[:] = 0
        np.testing.assert_array_equal(session.logits(session.run(native)), before)
        session.close()


def test_torch_is_held_to_the_threads(tmp_path: Path) -> None:
    before = torch.get_num_threads()
    save(candidate(), tmp_path / "a")
    try:
        runtimes.open(tmp_path / "a", threads=2, batches=())
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_onnxruntime_makes_as_many_threads_as_asked_and_imports_no_torch(tmp_path: Path, graph: Candidate) -> None:
    save(graph, tmp_path / "a")
    program = """
import os, pathlib, sys, numpy
from paretoboard import runtimes
runtimes.idle("onnxruntime")
counts = []
for threads in (1, 3):
    before = len(os.listdir("/proc/self/task"))
    session = runtimes.open(pathlib.Path(sys.argv[1]), threads=threads, batches=(1,))
    session.logits(session.run(session.prepare(numpy.zeros((1, 3, 32, 32), numpy.float32))))
    counts.append(len(os.listdir("/proc/self/task")) - before)
    session.close()
print(*counts, "torch" in sys.modules)
"""
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "a")], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["0", "2", "False"]  # the caller's own thread works too


def test_compiling_without_a_compiler_is_refused_with_a_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save(dataclasses.replace(candidate(), execution=Execution(runtime="compile")), tmp_path / "a")
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(NotApplicableError, match="there is no 'no-such-compiler'"):
        runtimes.open(tmp_path / "a", threads=1, batches=(1,))


def test_a_runtime_refuses_the_other_form(tmp_path: Path, graph: Candidate) -> None:
    save(dataclasses.replace(graph, execution=Execution(runtime="eager")), tmp_path / "graph")
    save(dataclasses.replace(candidate(), execution=Execution(runtime="onnxruntime")), tmp_path / "module")
    for name in ("graph", "module"):
        with pytest.raises(NotApplicableError, match="this artifact is"):
            runtimes.open(tmp_path / name, threads=1, batches=())


def test_a_damaged_artifact_is_not_opened(tmp_path: Path) -> None:
    info = save(candidate(), tmp_path / "a")
    (tmp_path / "a" / info.file).write_bytes(b"")
    with pytest.raises(StoreError, match="SHA-256"):
        runtimes.open(tmp_path / "a", threads=1, batches=())


def test_an_unknown_runtime_is_named_with_the_nearest(tmp_path: Path) -> None:
    save(dataclasses.replace(candidate(), execution=Execution(runtime="eagre")), tmp_path / "a")
    with pytest.raises(UnknownNameError, match="Did you mean 'eager'"):
        runtimes.open(tmp_path / "a", threads=1, batches=())


def test_counts_of_a_graph_are_those_of_its_module(graph: Candidate) -> None:
    module, exported = statistics(candidate()), statistics(graph)
    assert module.macs == exported.macs == _macs_by_hand()
    # Folding batch norm turns two numbers per channel (scale, shift) into one bias: 16+2*16+2*32+2*64 channels.
    channels = 16 + 2 * 16 + 2 * 32 + 2 * 64
    assert exported.parameters == module.parameters - channels


def test_zeros_are_counted_as_parameters_but_not_as_nonzero() -> None:
    held = candidate()
    assert held.module is not None
    before = statistics(held)
    weight = held.module.get_parameter("layer3.0.conv2.weight")
    weight.data[:5] = 0
    after = statistics(held)
    assert after.parameters == before.parameters
    assert before.nonzero_parameters - after.nonzero_parameters == weight[:5].numel()


def test_an_exported_graph_names_no_file_of_this_machine(graph: Candidate) -> None:
    assert graph.graph is not None
    assert b"cifar_resnet.py" not in graph.graph
    model = onnx.load_model_from_string(graph.graph)
    onnx.checker.check_model(model, full_check=True)
    assert model.graph.input[0].type.tensor_type.shape.dim[0].dim_param
    assert [extent.dim_value for extent in model.graph.input[0].type.tensor_type.shape.dim][1:] == list(SHAPE)


def _macs_by_hand() -> int:
    first = 32 * 32 * 9 * 3 * 16
    stages = 32 * 32 * 9 * (16 * 16 * 2) + 16 * 16 * 9 * (16 * 32 + 32 * 32) + 8 * 8 * 9 * (32 * 64 + 64 * 64)
    return first + stages + 64 * 10
