"""Ways of running a model: autocast, thread counts, and devices that are not there."""

from __future__ import annotations

import dataclasses
import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnxruntime
import pytest
import torch

from paretoboard import runtimes
from paretoboard.artifact import Candidate, Execution, load, read_manifest, save
from paretoboard.errors import NotApplicableError, RefusedError
from paretoboard.runtimes import RUNTIMES, tensorrt
from paretoboard.runtimes.devices import CudaDevice, DeviceSession, OnDevice, XlaDevice
from paretoboard.spec import HardwareProfile
from paretoboard.techniques.quantize import Cast
from paretoboard.techniques.run import Autocast, ChannelsLast, Compile, Cuda, OnnxRuntime, TensorRt, Xla
from paretoboard_runners.measurement import check_device
from small_models import candidate, exported, inputs, workbench

if TYPE_CHECKING:
    from collections.abc import Callable

    from paretoboard.runtimes.eager import TorchSession

needs_two_cores = pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="needs two cores")


@pytest.fixture(scope="module")
def graph() -> Candidate:
    return exported()


def opened(held: Candidate, folder: Path, *, threads: int = 1) -> TorchSession:
    save(held, folder)
    session: Any = runtimes.open(folder, threads=threads, batches=(4,))
    return session


def answers(session: runtimes.Session, count: int = 4) -> np.ndarray:
    return session.logits(session.run(session.prepare(inputs(count))))


# Autocast


def test_autocast_gives_torch_autocasts_own_logits_from_float32_weights(tmp_path: Path) -> None:
    held = Autocast().apply(candidate(), workbench(tmp_path / "scratch")).candidate
    found = answers(opened(held, tmp_path / "a"))
    module = candidate().module
    assert module is not None
    with torch.inference_mode(), torch.autocast("cpu", dtype=torch.bfloat16):
        wanted = module(torch.from_numpy(inputs(4))).float().numpy()
    np.testing.assert_array_equal(found, wanted)
    with torch.inference_mode():
        full = module(torch.from_numpy(inputs(4))).numpy()
    assert 1e-4 < np.abs(found - full).max() / np.abs(full).max() < 0.1
    kept = load(tmp_path / "a").module
    assert kept is not None
    assert {weight.dtype for weight in kept.parameters()} == {torch.float32}
    assert read_manifest(tmp_path / "a").execution == Execution(options={"autocast": "bfloat16"})


def test_autocast_keeps_a_memory_format_or_chooses_one(tmp_path: Path) -> None:
    bench = workbench(tmp_path)
    before = ChannelsLast().apply(candidate(), bench).candidate
    kept = Autocast().apply(before, bench).candidate.execution
    chosen = Autocast(channels_last=True).apply(candidate(), bench).candidate.execution
    assert kept == chosen == Execution(memory_format="channels_last", options={"autocast": "bfloat16"})
    assert Compile().apply(dataclasses.replace(before, execution=kept), bench).candidate.execution == Execution(
        runtime="compile", memory_format="channels_last", options={"autocast": "bfloat16"}
    )


def test_autocast_refuses_weights_that_are_short_already_and_graphs_refuse_autocast(tmp_path: Path) -> None:
    bench = workbench(tmp_path)
    with pytest.raises(NotApplicableError, match="these are bfloat16"):
        Autocast().apply(Cast().apply(candidate(), bench).candidate, bench)
    with pytest.raises(NotApplicableError, match="ONNX graph can't be"):
        OnnxRuntime().apply(Autocast().apply(candidate(), bench).candidate, bench)


# Threads


def test_a_number_of_threads_is_noted_only_where_a_recipe_names_one(graph: Candidate, tmp_path: Path) -> None:
    bench = workbench(tmp_path)
    for kind, start in (
        (ChannelsLast, candidate()),
        (Autocast, candidate()),
        (Compile, candidate()),
        (OnnxRuntime, graph),
    ):
        assert "threads" not in kind().apply(start, bench).candidate.execution.options
        assert kind(threads=2).apply(start, bench).candidate.execution.options["threads"] == 2


def test_threads_that_were_chosen_before_the_export_are_kept(tmp_path: Path) -> None:
    bench = workbench(tmp_path)
    held = OnnxRuntime().apply(ChannelsLast(threads=2).apply(candidate(), bench).candidate, bench).candidate
    assert held.execution == Execution(runtime="onnxruntime", options={"graph": "all", "threads": 2})


@pytest.mark.parametrize("kind", [ChannelsLast, Autocast, Compile, OnnxRuntime])
def test_more_threads_than_the_profile_holds_are_refused(kind: Any, graph: Candidate, tmp_path: Path) -> None:
    start = graph if kind is OnnxRuntime else candidate()
    save(kind(threads=3).apply(start, workbench(tmp_path / "scratch")).candidate, tmp_path / "a")
    with pytest.raises(NotApplicableError, match="asks for 3 threads and the profile holds 2: ask for 2 or fewer"):
        runtimes.open(tmp_path / "a", threads=2, batches=(1,))


def test_a_models_own_number_of_threads_is_not_its_neighbours(tmp_path: Path) -> None:
    before = torch.get_num_threads()
    seen: list[int] = []
    try:
        plain = opened(candidate(), tmp_path / "plain", threads=2)
        own = opened(
            ChannelsLast(threads=1).apply(candidate(), workbench(tmp_path)).candidate, tmp_path / "own", threads=2
        )
        for session in (plain, own):
            session._module.register_forward_hook(lambda *_: seen.append(torch.get_num_threads()))
        for session in (plain, own, plain):
            answers(session)
        assert seen == [2, 1, 2]
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


@needs_two_cores
@pytest.mark.parametrize("threads", [1, 2])
def test_torch_computes_in_so_many_threads_as_the_kernel_counts_them(threads: int, tmp_path: Path) -> None:
    held = ChannelsLast(threads=threads).apply(candidate(), workbench(tmp_path / "scratch")).candidate
    save(held, tmp_path / "a")
    program = """
import os, pathlib, sys
import numpy
from paretoboard import runtimes
session = runtimes.open(pathlib.Path(sys.argv[1]), threads=2, batches=(32,))
native = session.prepare(numpy.ones((32, 3, 32, 32), numpy.float32))

def used():
    tasks = pathlib.Path("/proc/self/task").iterdir()
    return {task.name: int((task / "schedstat").read_text().split()[0]) for task in tasks}

before = used()
for _ in range(10):
    session.run(native)
spent = [now - before.get(name, 0) for name, now in used().items()]
print(sum(1 for each in spent if each > 0.02 * max(spent)))
"""
    variables = {**os.environ, "OMP_NUM_THREADS": "2", "OPENBLAS_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}
    command = [sys.executable, "-c", program, str(tmp_path / "a")]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120, env=variables)
    assert done.stdout.split() == [str(threads)]


def test_onnx_runtime_makes_as_many_threads_as_the_recipe_asks_for(graph: Candidate, tmp_path: Path) -> None:
    held = OnnxRuntime(threads=2).apply(graph, workbench(tmp_path / "scratch")).candidate
    save(held, tmp_path / "a")
    tasks = Path("/proc/self/task")
    before = len(list(tasks.iterdir()))
    session = runtimes.open(tmp_path / "a", threads=4, batches=(1,))
    answers(session)
    assert len(list(tasks.iterdir())) - before == 1  # the caller's own thread works too
    session.close()


# Devices


class PretendDevice:
    """A device that is the CPU, and writes down what is asked of it."""

    def __init__(self, missing: str = "") -> None:
        self.missing = missing
        self.told: list[str] = []

    def why_not(self) -> str:
        return self.missing

    def place(self) -> torch.device:
        self.told.append("place")
        return torch.device("cpu")

    def forward(self, module: torch.nn.Module) -> Callable[[torch.Tensor], torch.Tensor]:
        def call(native: torch.Tensor) -> torch.Tensor:
            self.told.append("forward")
            result: torch.Tensor = module(native)
            return result

        return call

    def finish(self) -> None:
        self.told.append("finish")


def on(device: PretendDevice, folder: Path) -> DeviceSession:
    save(candidate(), folder)
    return OnDevice(device).open(folder, read_manifest(folder), threads=1, batches=(2,), cache=folder / "cache")


def test_a_call_on_a_device_ends_when_the_device_is_done(tmp_path: Path) -> None:
    device = PretendDevice()
    session = on(device, tmp_path / "a")
    assert device.told == ["place", "place", "finish", "forward", "finish"]  # one call for the declared batch
    native = session.prepare(inputs(4))
    device.told.clear()
    result = session.run(native)
    assert device.told == ["forward", "finish"]
    plain = answers(opened(candidate(), tmp_path / "plain"))
    np.testing.assert_array_equal(session.logits(result), plain)


def test_refreshing_on_a_device_moves_every_weight_and_waits(tmp_path: Path) -> None:
    device = PretendDevice()
    session = on(device, tmp_path / "a")
    before = {name: weight.data_ptr() for name, weight in session._module.named_parameters()}
    kept = [weight.data for weight in session._module.parameters()]  # so that no address is given twice
    device.told.clear()
    session.refresh()
    assert device.told == ["finish"]
    after = {name: weight.data_ptr() for name, weight in session._module.named_parameters()}
    assert kept
    assert all(before[name] != after[name] for name in before)


def test_a_device_that_is_not_there_is_the_reason(tmp_path: Path) -> None:
    save(candidate(), tmp_path / "a")
    runtime = OnDevice(PretendDevice("no such device"))
    with pytest.raises(NotApplicableError, match="no such device"):
        runtime.idle()
    with pytest.raises(NotApplicableError, match="no such device"):
        runtime.open(tmp_path / "a", read_manifest(tmp_path / "a"), threads=1, batches=(), cache=tmp_path)


class PretendCuda:
    """What CudaDevice calls of torch.cuda."""

    def __init__(self, *, available: bool) -> None:
        self.available = available
        self.told: list[str] = []

    def is_available(self) -> bool:
        return self.available

    def Event(self) -> PretendCuda:
        self.told.append("event")
        return self

    def record(self) -> None:
        self.told.append("record")

    def synchronize(self) -> None:
        self.told.append("synchronize")


def test_cuda_waits_for_an_event_behind_all_work() -> None:
    library = PretendCuda(available=True)
    device = CudaDevice(library)
    assert device.why_not() == ""
    device.finish()
    assert library.told == ["event", "record", "synchronize"]


def test_without_a_gpu_the_reason_tells_a_build_without_cuda_from_a_missing_gpu() -> None:
    reason = CudaDevice(PretendCuda(available=False)).why_not()
    wanted = "was built without CUDA" if torch.version.cuda is None else "finds no GPU or no driver"
    assert wanted in reason


def test_tensorrt_is_asked_for_its_precision_and_keeps_its_engines() -> None:
    (name, options), (fallback, _) = tensorrt.providers_of("f16", Path("/somewhere"))
    assert (name, fallback) == ("TensorrtExecutionProvider", "CUDAExecutionProvider")
    assert options["trt_fp16_enable"] == "True"
    assert options["trt_engine_cache_path"] == "/somewhere"
    assert tensorrt.providers_of("f32", Path("x"))[0][1]["trt_fp16_enable"] == "False"
    assert tensorrt.why_not(["TensorrtExecutionProvider", "CPUExecutionProvider"]) == ""
    assert "only CPUExecutionProvider" in tensorrt.why_not(["CPUExecutionProvider"])


def test_onnx_runtime_that_leaves_tensorrt_out_is_not_timed_in_its_place(graph: Candidate, tmp_path: Path) -> None:
    from paretoboard.runtimes.ort import CPU, session_options

    assert graph.graph is not None
    (tmp_path / "model.onnx").write_bytes(graph.graph)
    with pytest.raises(NotApplicableError, match="would compute in CPUExecutionProvider"):
        tensorrt.TensorRtSession(str(tmp_path / "model.onnx"), session_options(1), CPU)


MISSING = {
    "cuda": CudaDevice().why_not(),
    "tensorrt": "" if tensorrt.PROVIDER in onnxruntime.get_available_providers() else "no TensorRT here",
    "xla": XlaDevice().why_not() if importlib.util.find_spec("torch_xla") else "torch_xla can't be imported",
}


@pytest.mark.parametrize(("kind", "runtime"), [(Cuda, "cuda"), (TensorRt, "tensorrt"), (Xla, "xla")])
def test_a_device_technique_runs_where_the_device_is_and_says_why_not_elsewhere(
    kind: Any, runtime: str, tmp_path: Path
) -> None:
    bench = workbench(tmp_path / "scratch")
    if MISSING[runtime]:
        reasons = {
            "cuda": r"built without CUDA|finds no GPU",
            "tensorrt": "this ONNX Runtime has no TensorrtExecutionProvider, only .*CPUExecutionProvider",
            "xla": r"torch_xla can't be imported|finds no device",
        }
        with pytest.raises(NotApplicableError, match=reasons[runtime]):
            kind().apply(candidate(), bench)
        return
    found = answers(opened(kind().apply(candidate(), bench).candidate, tmp_path / "a"))
    plain = answers(opened(candidate(), tmp_path / "plain"))
    np.testing.assert_allclose(found, plain, rtol=0, atol=2e-2 * np.abs(plain).max())


@pytest.mark.parametrize("runtime", sorted(RUNTIMES))
def test_a_runtime_is_timed_only_under_a_profile_of_its_device(runtime: str) -> None:
    cpu = HardwareProfile(name="cpu-1", title="one core")
    if runtime in ("cuda", "tensorrt", "xla"):
        with pytest.raises(RefusedError, match=f"cpu-1 measures on cpu, and runtime {runtime} runs on"):
            check_device(runtime, cpu)
    else:
        check_device(runtime, cpu)
