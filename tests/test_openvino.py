"""OpenVINO: the precision it is told, the threads it is given, NNCF's INT8, and nothing reported to anyone."""

from __future__ import annotations

import dataclasses
import math
import os
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import onnx
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper

from effects import takes_effect
from paretoboard import runtimes
from paretoboard.artifact import Candidate, Execution, read_manifest, save
from paretoboard.datasets.preprocess import preprocess_images
from paretoboard.errors import NotApplicableError
from paretoboard.runtimes import openvino as runtime
from paretoboard.runtimes.statistics import statistics
from paretoboard.spec import HardwareProfile
from paretoboard.techniques.nncf import NncfQuantization
from paretoboard.techniques.quantize import StaticQuantization
from paretoboard.techniques.run import OnnxRuntime, OpenVino
from paretoboard.techniques.run.precision import check_precision, signal_to_noise_db
from paretoboard_runners.controls.base import NotHeldError, Setting
from paretoboard_runners.controls.openvino import NOT_LOADED, OpenVinoThreads
from small_models import PREPROCESS, candidate, exported, images, inputs, workbench

if TYPE_CHECKING:
    from collections.abc import Iterator

pytest.importorskip("openvino", reason=f"OpenVINO is not installed: {runtime.INSTALL}")
needs_two_cores = pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="needs two cores")


@pytest.fixture(scope="module")
def graph() -> Candidate:
    return exported()


@pytest.fixture(scope="module")
def quantized(graph: Candidate, tmp_path_factory: pytest.TempPathFactory) -> Candidate:
    return NncfQuantization().apply(graph, workbench(tmp_path_factory.mktemp("nncf"))).candidate


def torch_logits(count: int) -> np.ndarray:
    module = candidate().module
    assert module is not None
    with torch.inference_mode():
        return module(torch.from_numpy(inputs(count))).numpy()


def opened(held: Candidate, folder: Path, *, threads: int = 1, batches: tuple[int, ...] = (4,)) -> runtimes.Session:
    save(held, folder)
    return runtimes.open(folder, threads=threads, batches=batches)


def answers(session: runtimes.Session, count: int) -> np.ndarray:
    return session.logits(session.run(session.prepare(inputs(count))))


def capabilities() -> list[str]:
    found: list[str] = runtime.library().Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    return found


# Precision


def test_f32_gives_torchs_logits(graph: Candidate, tmp_path: Path) -> None:
    applied = OpenVino().apply(graph, workbench(tmp_path / "scratch"))
    found = answers(opened(applied.candidate, tmp_path / "a"), 4)
    wanted = torch_logits(4)
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-4 * np.abs(wanted).max())
    assert signal_to_noise_db(wanted, found) > 90
    assert "computes in f32" in applied.notes[0]
    assert "in f32" in applied.notes[0].partition("products")[2]


def test_bf16_is_measurably_another_arithmetic_and_is_written_down(graph: Candidate, tmp_path: Path) -> None:
    if "BF16" not in capabilities():
        pytest.skip("this processor has no BF16")
    applied = OpenVino(precision="bf16").apply(graph, workbench(tmp_path / "scratch"))
    found = answers(opened(applied.candidate, tmp_path / "a"), 4)
    assert 10 < signal_to_noise_db(torch_logits(4), found) < 70
    assert read_manifest(tmp_path / "a").execution == Execution(runtime="openvino", options={"precision": "bf16"})
    assert "in bf16" in applied.notes[0].partition("products")[2]


def test_a_precision_that_the_processor_has_not_is_refused(graph: Candidate, tmp_path: Path) -> None:
    if "FP16" in capabilities():
        pytest.skip("this processor has FP16")
    with pytest.raises(NotApplicableError, match=r"asked for f16 and computes in (bf16|f32)"):
        OpenVino(precision="f16").apply(graph, workbench(tmp_path))


def test_a_quantized_graph_of_onnx_runtimes_tool_computes_in_int8(graph: Candidate, tmp_path: Path) -> None:
    start = StaticQuantization().apply(graph, workbench(tmp_path / "static")).candidate
    applied = OpenVino().apply(start, workbench(tmp_path / "scratch"))
    counted = applied.notes[0].partition("products")[2]
    assert "in u8" in counted
    assert "f32" not in counted
    found = answers(opened(applied.candidate, tmp_path / "a"), 8)
    there = answers(opened(OnnxRuntime().apply(start, workbench(tmp_path / "ort")).candidate, tmp_path / "b"), 8)
    assert signal_to_noise_db(there, found) > 15


@pytest.mark.parametrize(
    ("measured_db", "precision", "quantized", "wrong"),
    [
        (95.0, "f32", False, None),
        (20.0, "f32", False, "computes in less"),
        (20.0, "bf16", False, None),
        (95.0, "bf16", False, "does not compute in bf16"),
        (math.inf, "bf16", False, "does not compute in bf16"),
        (20.0, "f32", True, None),
        (2.0, "bf16", False, "does not compute this graph"),
        (2.0, "f32", True, "does not compute this graph"),
        (math.nan, "f32", True, "does not compute this graph"),
    ],
)
def test_answers_tell_whether_the_precision_is_the_one_asked_for(
    measured_db: float, precision: str, quantized: bool, wrong: str | None
) -> None:
    if wrong is None:
        check_precision(measured_db, precision, quantized=quantized, runtime="it")
    else:
        with pytest.raises(NotApplicableError, match=wrong):
            check_precision(measured_db, precision, quantized=quantized, runtime="it")


def test_signal_to_noise_of_a_tenth_of_the_amplitude_is_20_decibels() -> None:
    reference = np.array([[3.0, -4.0]])
    assert signal_to_noise_db(reference, reference * 1.1) == pytest.approx(20)
    assert signal_to_noise_db(reference, reference) == math.inf
    assert signal_to_noise_db(np.zeros(2), np.ones(2)) == -math.inf


@given(st.lists(st.floats(0.1, 10), min_size=1, max_size=5), st.floats(1e-3, 1e3))
def test_signal_to_noise_does_not_depend_on_the_scale(values: list[float], scale: float) -> None:
    reference = np.array(values)
    noisy = reference + 0.01
    assert signal_to_noise_db(reference * scale, noisy * scale) == pytest.approx(signal_to_noise_db(reference, noisy))


# Sessions


def test_every_batch_gives_the_same_logits_declared_or_not(graph: Candidate, tmp_path: Path) -> None:
    held = OpenVino().apply(graph, workbench(tmp_path / "scratch")).candidate
    session = opened(held, tmp_path / "a", batches=(1, 4))
    wanted = torch_logits(6)
    for batch in (1, 3, 4):
        found = runtimes.predict(session, inputs(6), batch)
        np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-4 * np.abs(wanted).max())


def test_inputs_and_outputs_are_the_callers_own(graph: Candidate, tmp_path: Path) -> None:
    held = OpenVino().apply(graph, workbench(tmp_path / "scratch")).candidate
    session = opened(held, tmp_path / "a", batches=(2,))
    pixels = inputs(2)
    native = session.prepare(pixels)
    first = session.run(native)
    before = session.logits(first).copy()
    pixels[:] = 0
    np.testing.assert_array_equal(session.logits(session.run(native)), before)
    session.run(session.prepare(pixels))
    np.testing.assert_array_equal(session.logits(first), before)  # what was kept is not written over
    session.close()


def test_refreshing_loads_the_model_again_and_gives_the_same_bits(graph: Candidate, tmp_path: Path) -> None:
    properties = runtime.properties_of(1, "f32")
    assert graph.graph is not None
    session = runtime.OpenVinoSession(graph.graph, graph.input_shape, properties, (4,))
    native = session.prepare(inputs(4))
    before, compiled = session.logits(session.run(native)), session._compiled[4]
    for _ in range(2):
        session.refresh()
        np.testing.assert_array_equal(session.logits(session.run(native)), before)
        assert session._compiled[4] is not compiled
        assert session._compiled[4].get_property("INFERENCE_PRECISION_HINT").to_string() == "f32"
        assert session._compiled[4].get_property("INFERENCE_NUM_THREADS") == 1


def test_an_operator_that_openvino_has_not_is_refused_with_its_name(tmp_path: Path) -> None:
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 3, 32, 32]) for name in ("images", "logits")]
    node = helper.make_node("Unheard", ["images"], ["logits"], domain="org.example")
    opsets = [helper.make_opsetid("", 20), helper.make_opsetid("org.example", 1)]
    model = helper.make_model(helper.make_graph([node], "one", values[:1], values[1:]), opset_imports=opsets)
    content: bytes = model.SerializeToString()
    with pytest.raises(NotApplicableError, match=r"OpenVINO can't run this graph: .*Unheard"):
        runtime.OpenVinoSession(content, (3, 32, 32), runtime.properties_of(1, "f32"), (1,))


def test_a_torch_model_is_refused(tmp_path: Path) -> None:
    save(dataclasses.replace(candidate(), execution=Execution(runtime="openvino")), tmp_path / "a")
    with pytest.raises(NotApplicableError, match="this artifact is torch"):
        runtimes.open(tmp_path / "a", threads=1, batches=())


# The library


def in_a_fresh_process(program: str, *arguments: object, environment: dict[str, str] | None = None) -> str:
    command = [sys.executable, "-c", program, *map(str, arguments)]
    variables = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", **(environment or {})}
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, env=variables)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_importing_it_starts_no_thread_that_reports_and_imports_no_torch() -> None:
    program = """
import os, sys
from paretoboard import runtimes
runtimes.idle("openvino")
print(len(os.listdir("/proc/self/task")), "torch" in sys.modules, os.environ.get("CI"), os.environ.get("NNCF_CI"))
"""
    quiet = {name: value for name, value in os.environ.items() if name != "CI"}
    command = [sys.executable, "-c", program]
    quiet |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120, env=quiet)
    assert done.stdout.split() == ["1", "False", "None", "None"]


def test_without_the_libraries_the_reasons_name_the_command_that_installs_them(tmp_path: Path) -> None:
    program = """
import pathlib, sys
sys.modules["nncf"] = sys.modules["openvino"] = None  # what an import meets where nothing is installed
sys.path[:0] = sys.argv[1].split(":")
from paretoboard.artifact import Candidate
from paretoboard.errors import NotApplicableError
from paretoboard.techniques.nncf import NncfQuantization
from paretoboard.techniques.run import OpenVino
from small_models import SHAPE, workbench
graph = Candidate(architecture="cifar-resnet8", classes=10, input_shape=SHAPE, graph=b"never looked at")
for technique in (NncfQuantization(), OpenVino()):
    try:
        technique.apply(graph, workbench(pathlib.Path(sys.argv[2])))
    except NotApplicableError as error:
        print(error)
"""
    told = in_a_fresh_process(program, Path(__file__).parent, tmp_path).splitlines()
    for line, library in zip(told, ("NNCF", "OpenVINO"), strict=True):
        assert line.startswith(f"{library} can't be imported")
        assert line.endswith("pip install 'paretoboard[openvino]'")


# Threads

CHILD = """
import os, pathlib, sys
os.sched_setaffinity(0, {int(core) for core in sys.argv[3].split(",")})
import numpy
from paretoboard import runtimes
session = runtimes.open(pathlib.Path(sys.argv[1]), threads=int(sys.argv[2]), batches=(32,))
native = session.prepare(numpy.ones((32, 3, 32, 32), numpy.float32))
print("ready", flush=True)
while True:
    session.run(native)
"""


@contextmanager
def computing(folder: Path, threads: int, cores: tuple[int, ...]) -> Iterator[int]:
    """The id of a process that runs the artifact without a pause."""
    variables = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    command = [sys.executable, "-c", CHILD, str(folder), str(threads), ",".join(map(str, cores))]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=variables)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield process.pid
    finally:
        process.kill()
        process.communicate()


def control(cores: tuple[int, ...]) -> OpenVinoThreads:
    return OpenVinoThreads(setting=Setting(profile=HardwareProfile(name="test", title="test"), cores=cores))


@takes_effect("openvino_threads")
@needs_two_cores
@pytest.mark.parametrize("threads", [1, 2])
def test_as_many_threads_compute_as_were_given_seen_from_outside(
    threads: int, graph: Candidate, tmp_path: Path
) -> None:
    held = OpenVino().apply(graph, workbench(tmp_path / "scratch")).candidate
    save(held, tmp_path / "a")
    cores = tuple(sorted(os.sched_getaffinity(0))[:2])
    with computing(tmp_path / "a", threads, cores) as pid:
        seen = control(cores)
        # On a busy machine the second thread gets no time in some looks; a third must never be seen.
        looks = [seen.observe(pid) or "0" for _ in range(8)]
        assert max(looks) == str(threads)
        assert all(seen.holds("2", observed) for observed in looks)
        assert all(seen.holds("1", observed) for observed in looks) == (threads == 1)
        allowed = {tuple(os.sched_getaffinity(int(task.name))) for task in Path(f"/proc/{pid}/task").iterdir()}
        assert allowed == {cores}  # nothing was pinned within the set


@needs_two_cores
def test_a_recipes_own_number_of_threads_is_what_computes(graph: Candidate, tmp_path: Path) -> None:
    held = OpenVino(threads=1).apply(graph, workbench(tmp_path / "scratch")).candidate
    save(held, tmp_path / "a")
    cores = tuple(sorted(os.sched_getaffinity(0))[:2])
    with computing(tmp_path / "a", 2, cores) as pid:
        assert {control(cores).observe(pid) for _ in range(4)} == {"1"}


def test_more_threads_than_cores_are_refused_by_what_the_compiled_model_says(graph: Candidate, tmp_path: Path) -> None:
    program = """
import os, pathlib, sys
os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
from paretoboard.errors import NotApplicableError
from paretoboard.runtimes import openvino
try:
    content = pathlib.Path(sys.argv[1]).read_bytes()
    openvino.OpenVinoSession(content, (3, 32, 32), openvino.properties_of(2, "f32"), (1,))
except NotApplicableError as error:
    print(error)
"""
    assert graph.graph is not None
    (tmp_path / "model.onnx").write_bytes(graph.graph)
    told = in_a_fresh_process(program, tmp_path / "model.onnx")
    assert told.strip() == "OpenVINO was asked for 2 threads and uses 1 on the 1 cores that this process may run on"


def test_the_control_follows_the_set_of_cores() -> None:
    held = control((0, 1))
    assert held.default() == "2"
    assert held.accepts("2") is None
    assert "as many as there are cores" in (held.accepts("1") or "")
    assert held.available() is None


def test_a_process_without_openvino_has_nothing_that_could_break_the_control() -> None:
    process = subprocess.Popen(["/bin/sleep", "60"])
    try:
        held = control((0,))
        observed = held.observe(process.pid)
        assert observed == NOT_LOADED
        assert held.holds("1", NOT_LOADED)
        assert not held.holds("1", "unknown")
    finally:
        process.kill()
        process.wait()


@needs_two_cores
def test_a_process_that_was_not_pinned_can_t_be_said_to_hold_the_pool() -> None:
    with pytest.raises(NotHeldError, match="may run on"):
        control((0,)).apply("1")


# NNCF


def test_nncf_gives_what_its_documented_procedure_gives(graph: Candidate, quantized: Candidate, tmp_path: Path) -> None:
    with runtime.without_telemetry():
        import nncf
    assert graph.graph is not None
    calibration = preprocess_images(images(32, seed=2).pixels, PREPROCESS)
    feeds = nncf.Dataset([calibration[index : index + 1] for index in range(32)], lambda image: {"images": image})
    theirs = nncf.quantize(onnx.load_model_from_string(graph.graph), feeds, subset_size=32)
    reference = dataclasses.replace(graph, graph=theirs.SerializeToString())
    for number, kind in enumerate((OnnxRuntime, OpenVino)):
        found = [
            answers(opened(kind().apply(held, workbench(tmp_path / "s")).candidate, tmp_path / f"{number}{name}"), 4)
            for name, held in (("ours", quantized), ("theirs", reference))
        ]
        np.testing.assert_array_equal(found[0], found[1])


def test_nncf_leaves_one_small_file_in_which_all_weights_are_int8(
    graph: Candidate, quantized: Candidate, tmp_path: Path
) -> None:
    info = save(quantized, tmp_path / "a")
    assert graph.graph is not None
    assert info.file == "model.onnx"
    assert info.size_bytes < 0.4 * len(graph.graph)
    assert {path.name for path in (tmp_path / "a").iterdir()} == {"model.onnx", "manifest.json"}
    before, after = statistics(graph), statistics(quantized)
    assert after.macs == before.macs
    assert after.parameters == before.parameters
    applied = OpenVino().apply(quantized, workbench(tmp_path / "scratch"))
    counted = applied.notes[0].partition("products")[2]
    assert "f32" not in counted
    assert "8" in counted


def test_nncf_refuses_what_is_quantized_already(quantized: Candidate, tmp_path: Path) -> None:
    with pytest.raises(NotApplicableError, match="quantized already"):
        NncfQuantization().apply(quantized, workbench(tmp_path))


def test_nncfs_parameters_change_what_it_gives(graph: Candidate, quantized: Candidate, tmp_path: Path) -> None:
    mixed = NncfQuantization(preset="mixed").apply(graph, workbench(tmp_path)).candidate
    assert mixed.graph != quantized.graph
