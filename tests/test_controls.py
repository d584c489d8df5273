"""Controls of the measuring process: each is looked at from outside of a real child process."""

from __future__ import annotations

import json
import os
import platform
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from effects import shown, takes_effect
from paretoboard.errors import InputError, RefusedError, UnknownNameError
from paretoboard.records import ControlState
from paretoboard.spec import HardwareProfile
from paretoboard_runners import controls, machine
from paretoboard_runners.controls import proc
from paretoboard_runners.controls.base import AS_IS, Setting
from paretoboard_runners.controls.catalogue import CATALOGUE
from paretoboard_runners.controls.process import numa_nodes

pytestmark = pytest.mark.alone

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

PROFILE = HardwareProfile(name="test-1", title="One core")
SEED = 11

# What every child does: hold itself to the profile, run the test's own lines, tell, and wait to be looked at.
CHILD = """
import json, sys
from paretoboard.spec import HardwareProfile
from paretoboard_runners import controls

told = json.loads(sys.argv[1])
profile = HardwareProfile(**told["profile"])
cores, seed = tuple(told["cores"]), told["seed"]

def tell(value):
    print(json.dumps(value), flush=True)

def wait():
    sys.stdin.readline()

def apply_after_imports():
    from dataclasses import asdict
    return [asdict(state) for state in controls.apply_after_imports(profile, cores, seed)]

early = controls.apply_in_process(profile, cores, seed)
"""


class Child:
    """A child process that holds itself to a profile."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self.pid = process.pid
        self.seen = psutil.Process(process.pid)

    def hear(self) -> Any:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, "the child ended: " + (self._process.stderr.read() if self._process.stderr else "")
        return json.loads(line)

    def go_on(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()


@contextmanager
def child(
    lines: str,
    *,
    profile: HardwareProfile = PROFILE,
    environment: Mapping[str, str] | None = None,
    prefix: tuple[str, ...] = (),
    seed: int = SEED,
    **popen: Any,
) -> Iterator[Child]:
    """A child that runs `lines`, started with the session's variables, or with `environment` instead."""
    cores = controls.choose_cores(profile)
    variables = controls.session_environment(profile, cores) if environment is None else environment
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("OMP_", "MKL_", "OPENBLAS"))}
    clean["PYTHONPATH"] = os.pathsep.join(map(os.path.abspath, sys.path))
    told = json.dumps({"profile": asdict(profile), "cores": cores, "seed": seed})
    process = subprocess.Popen(
        [*prefix, sys.executable, "-c", CHILD + lines, told],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**clean, **variables},
        **popen,
    )
    try:
        yield Child(process)
    finally:
        process.kill()
        process.communicate()


def state_of(name: str, states: list[ControlState]) -> ControlState:
    return next(state for state in states if state.name == name)


def outside(pid: int, name: str, profile: HardwareProfile = PROFILE) -> ControlState:
    return state_of(name, controls.observe_process(pid, profile, controls.choose_cores(profile)))


def spare_core() -> int:
    return next(iter(os.sched_getaffinity(0) - set(controls.choose_cores(PROFILE))), -1)


needs_two_cores = pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="needs two cores")


@takes_effect("cores")
def test_every_thread_stays_on_the_chosen_cores_later_ones_as_well() -> None:
    lines = "import threading\nthreading.Thread(target=wait, daemon=True).start()\ntell(0)\nthreading.Event().wait(60)"
    with child(lines) as process:
        process.hear()
        cores = controls.choose_cores(PROFILE)
        assert tuple(process.seen.cpu_affinity()) == cores
        assert process.seen.num_threads() == 2
        assert set(proc.affinity(process.pid).values()) == {cores}
        assert outside(process.pid, "cores").held


@needs_two_cores
def test_a_thread_that_leaves_its_core_is_seen() -> None:
    lines = f"""
import os, threading
def leave():
    os.sched_setaffinity(0, {{{spare_core()}}})
    tell(0)
    wait()
threading.Thread(target=leave).start()
"""
    with child(lines) as process:
        process.hear()
        state = outside(process.pid, "cores")
        assert not state.held
        assert str(spare_core()) in state.observed


@takes_effect("threads")
def test_thread_pools_of_blas_have_one_thread_in_the_process_and_in_the_library() -> None:
    lines = """
import numpy, threadpoolctl
numpy.ones((512, 512)) @ numpy.ones((512, 512))
tell([pool["num_threads"] for pool in threadpoolctl.threadpool_info()])
wait()
"""
    with child(lines) as process:
        assert process.hear() == [1]
        assert process.seen.num_threads() == 1
        assert process.seen.environ()["OPENBLAS_NUM_THREADS"] == "1"
        assert outside(process.pid, "threads").held


@needs_two_cores
def test_thread_pools_grow_with_the_cores() -> None:
    profile = replace(PROFILE, cores=2)
    lines = "import numpy\nnumpy.ones((512, 512)) @ numpy.ones((512, 512))\ntell(0)\nwait()"
    with child(lines, profile=profile) as process:
        process.hear()
        assert process.seen.num_threads() == 2
        assert outside(process.pid, "threads", profile).observed == "2"


def test_torch_is_held_to_threads_seeds_determinism_and_precision() -> None:
    lines = """
import torch
late = apply_after_imports()
a, b = torch.rand(1).item(), torch.ones(600, 600) @ torch.ones(600, 600)
import threadpoolctl
tell({"late": late, "draw": a, "deterministic": torch.are_deterministic_algorithms_enabled(),
      "threads": [torch.get_num_threads(), torch.get_num_interop_threads()],
      "pools": sorted({pool["num_threads"] for pool in threadpoolctl.threadpool_info()}),
      "precision": torch.get_float32_matmul_precision()})
wait()
"""
    with child(lines) as process:
        told = process.hear()
        busy = [thread for thread in process.seen.threads() if thread.user_time > 0.02]
        assert len(busy) == 1
        inside = [ControlState(**state) for state in told["late"]]
        merged = controls.states(inside, controls.observe_process(process.pid, PROFILE, controls.choose_cores(PROFILE)))
        for name in ("threads", "seeds", "determinism", "float32_precision", "garbage_collection"):
            assert state_of(name, merged).held, state_of(name, merged)
    import torch

    assert told["draw"] == torch.rand(1, generator=torch.Generator().manual_seed(SEED)).item()
    assert told["threads"] == [1, 1]
    assert told["pools"] == [1]
    assert told["deterministic"] is True
    assert told["precision"] == "highest"


DRAWS = """
import random
import numpy
states = apply_after_imports()
tell([random.random(), numpy.random.rand(), hash("a word"), [state for state in states if state["name"] == "seeds"]])
"""


def draws(seed: int, profile: HardwareProfile = PROFILE) -> list[Any]:
    with child(DRAWS, seed=seed, profile=profile) as process:
        return process.hear()


@takes_effect("seeds")
def test_two_processes_with_one_seed_draw_the_same_and_with_another_one_not() -> None:
    first, again, other = draws(5), draws(5), draws(2**40 + 5)
    assert first[:3] == again[:3]
    assert first[:2] != other[:2]
    assert first[3][0]["held"]
    assert other[3][0]["held"]


def test_a_process_that_was_not_seeded_is_seen() -> None:
    setting = Setting(profile=PROFILE, cores=(0,), seed=4)
    import random

    random.seed(3)
    observed = CATALOGUE["seeds"](setting=setting).observe_inside()
    assert observed is not None
    assert "python" in observed


FAULTS = """
import ctypes
libc = ctypes.CDLL(None)
libc.malloc.restype, libc.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
libc.free.argtypes = [ctypes.c_void_p]
size = 32 * 2**20
def call():
    block = libc.malloc(size)
    ctypes.memset(block, 1, size)
    libc.free(block)
call()
tell(0)
wait()
for _ in range(5):
    call()
tell(0)
wait()
"""


def minor_faults(process: Child) -> int:
    # The tenth field of stat; the second is a name in brackets that may hold spaces: proc_pid_stat(5).
    return int((Path("/proc") / str(process.pid) / "stat").read_text().rpartition(")")[2].split()[7])


def faults_of_five_calls(environment: Mapping[str, str] | None) -> int:
    with child(FAULTS, environment=environment) as process:
        process.hear()
        before = minor_faults(process)
        process.go_on()
        process.hear()
        return minor_faults(process) - before


@takes_effect("allocator")
@pytest.mark.skipif("glibc" not in platform.libc_ver(), reason="another C library than glibc")
def test_freed_memory_is_kept_so_that_calls_pay_no_page_faults() -> None:
    without, held = faults_of_five_calls({}), faults_of_five_calls(None)
    assert without > 5 * 1000
    assert held < 100


def test_the_environment_for_measuring_memory_has_everything_but_the_allocator() -> None:
    variables = controls.memory_environment(PROFILE)
    assert variables["OMP_NUM_THREADS"] == "1"
    assert variables["PATH"] == os.environ["PATH"]
    assert not any(name.startswith("MALLOC_") for name in variables)


SPINNING = """
import ctypes, glob, os, sklearn, time
libraries = glob.glob(os.path.join(os.path.dirname(sklearn.__file__), "..", "scikit_learn.libs", "libgomp*"))
gomp = ctypes.CDLL(libraries[0])
body = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(lambda _: None)
gomp.GOMP_parallel(body, None, 2, 0)
tell(0)
time.sleep(1.5)
tell(0)
wait()
"""


def cpu_time_while_waiting(waiting: str) -> float:
    profile = replace(PROFILE, cores=2, settings={"waiting": waiting})
    with child(SPINNING, profile=profile) as process:
        process.hear()
        before = sum(process.seen.cpu_times()[:2])
        process.hear()
        assert outside(process.pid, "waiting", profile).observed == waiting
        return sum(process.seen.cpu_times()[:2]) - before


@takes_effect("waiting")
@needs_two_cores
def test_openmp_threads_without_work_sleep_when_passive_and_spin_when_active() -> None:
    assert cpu_time_while_waiting("passive") < 0.08
    assert cpu_time_while_waiting("active") > 0.15  # of 1.5 s: the machine may be busy


GARBAGE = """
import weakref
class Cycle:
    def __init__(self):
        self.itself = self
apply_after_imports()
alive = [weakref.ref(Cycle()) for _ in range(20_000)]
tell(sum(reference() is not None for reference in alive))
"""


@takes_effect("garbage_collection")
def test_no_cycle_is_collected_while_calls_are_timed() -> None:
    with child(GARBAGE) as process:
        assert process.hear() == 20_000
    with child(GARBAGE, profile=replace(PROFILE, settings={"garbage_collection": "on"})) as process:
        assert process.hear() < 20_000


@takes_effect("priority")
def test_priority_can_always_be_lowered() -> None:
    with child("tell(0)\nwait()", profile=replace(PROFILE, settings={"priority": 7})) as process:
        process.hear()
        assert process.seen.nice() == 7


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can raise the priority")
def test_priority_is_raised_where_permitted() -> None:
    profile = replace(PROFILE, settings={"priority": -5})
    with child("tell(0)\nwait()", profile=profile) as process:
        process.hear()
        assert process.seen.nice() == -5
        assert outside(process.pid, "priority", profile).held


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to start a process without its rights")
def test_priority_that_is_not_permitted_is_said_and_does_not_stop_the_run() -> None:
    lines = """
from dataclasses import asdict
tell([asdict(state) for state in early if state.name == "priority"][0])
"""
    with child(lines, profile=replace(PROFILE, settings={"priority": -5}), prefix=nobody()) as process:
        state = process.hear()
    assert state["held"] is False
    assert state["observed"] == str(os.nice(0))  # what the tests themselves run at
    assert "CAP_SYS_NICE" in state["applied"]


def nobody() -> tuple[str, ...]:
    """A command prefix that drops the right to raise priorities, and no other right."""
    drop = "import ctypes, os, sys; ctypes.CDLL(None).prctl(24, 23, 0, 0, 0); os.execv(sys.argv[1], sys.argv[1:])"
    return (sys.executable, "-c", drop)


def address_of_a_new_process(prefix: tuple[str, ...] = ()) -> tuple[int, ControlState]:
    # Of mapped memory: an interpreter that is not position-independent has its own functions at fixed places.
    lines = (
        "import ctypes, mmap\n"
        "block = mmap.mmap(-1, 1 << 20)\n"
        "tell(ctypes.addressof(ctypes.c_char.from_buffer(block)))\n"
        "wait()"
    )
    with child(lines, prefix=prefix) as process:
        return process.hear(), outside(process.pid, "address_randomization")


@takes_effect("address_randomization")
def test_each_launch_has_a_memory_layout_of_its_own() -> None:
    first, state = address_of_a_new_process()
    second, _ = address_of_a_new_process()
    assert first != second
    assert state.held


def test_a_process_without_randomization_is_seen() -> None:
    fix = "import ctypes, os, sys; ctypes.CDLL(None).personality(0x40000); os.execv(sys.argv[1], sys.argv[1:])"
    prefix = (sys.executable, "-c", fix)
    first, state = address_of_a_new_process(prefix)
    second, _ = address_of_a_new_process(prefix)
    assert first == second
    assert not state.held
    assert state.observed == "off for this process"


@takes_effect("huge_pages")
def test_huge_pages_are_off_for_the_process_that_asked() -> None:
    profile = replace(PROFILE, settings={"huge_pages": "off"})
    with child("tell(0)\nwait()", profile=profile) as process:
        process.hear()
        if not proc.status(os.getpid(), "THP_enabled"):
            pytest.skip("this kernel does not say")
        assert proc.status(process.pid, "THP_enabled") == "0"
        assert proc.status(os.getpid(), "THP_enabled") == "1"
        assert outside(process.pid, "huge_pages", profile).held


@takes_effect("memory_node")
def test_memory_is_bound_to_a_node_by_the_kernels_own_account() -> None:
    if not proc.memory_policies(os.getpid()):
        pytest.skip("this kernel knows no NUMA nodes")
    node = min(numa_nodes(Path("/")))
    lines = f"""
from paretoboard_runners.controls.process import bind_memory
bind_memory(({node},))
tell(0)
wait()
"""
    with child(lines) as process:
        process.hear()
        assert proc.memory_policies(process.pid) == {f"bind:{node}"}
    with child("tell(0)\nwait()") as process:
        process.hear()
        assert proc.memory_policies(process.pid) == {"default"}


OPERATORS = """
import torch, warnings
apply_after_imports()
warnings.simplefilter("error", DeprecationWarning)
with controls.nondeterministic_operators() as names:
    torch.ones(3) + 1
    for _ in range(2):
        torch.zeros(5).put_(torch.tensor([1, 2]), torch.ones(2), accumulate=False)
try:
    with controls.nondeterministic_operators():
        warnings.warn("other", DeprecationWarning)
except DeprecationWarning:
    names.append("others pass")
tell(names)
"""


def test_an_operator_that_can_not_repeat_its_bits_is_named_once() -> None:
    with child(OPERATORS) as process:
        assert process.hear() == ["put_", "others pass"]


ONNX_RUNTIME = """
import numpy, time
from onnx import TensorProto, helper
from paretoboard.runtimes import ort

nodes = [helper.make_node("MatMul", ["x", "w"], ["y"])]
shape = [256, 256]
graph = helper.make_graph(
    nodes, "product",
    [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in ("x", "w")],
    [helper.make_tensor_value_info("y", TensorProto.FLOAT, shape)],
)
model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
options = ort.session_options(len(cores))
tell(options.inter_op_num_threads)
wait()
session = ort.inference_session(model.SerializeToString(), options)
feed = {name: numpy.ones(shape, numpy.float32) for name in ("x", "w")}
for _ in range(5):
    session.run(None, feed)
start = time.process_time() - time.thread_time()
for _ in range(60):
    session.run(None, feed)
    time.sleep(0.01)
tell(time.process_time() - time.thread_time() - start)
wait()
"""


@needs_two_cores
@pytest.mark.parametrize("cores", [1, 2])
def test_onnx_runtime_starts_as_many_threads_as_there_are_cores_and_they_stay_on_those(cores: int) -> None:
    profile = replace(PROFILE, cores=cores)
    with child(ONNX_RUNTIME, profile=profile) as process:
        assert process.hear() == 1
        before = process.seen.num_threads()
        process.go_on()
        process.hear()
        # The calling thread is one of the pool's.
        assert process.seen.num_threads() - before == cores - 1
        assert outside(process.pid, "cores", profile).held


def cpu_time_of_the_pool(waiting: str) -> float:
    with child(ONNX_RUNTIME, profile=replace(PROFILE, cores=2, settings={"waiting": waiting})) as process:
        process.hear()
        process.go_on()
        return process.hear()


@needs_two_cores
def test_onnx_runtimes_threads_without_work_sleep_when_passive_and_spin_when_active() -> None:
    # 0.02 and 0.63 s of 0.6 s of idleness, on two busy Zen 4 cores.
    assert cpu_time_of_the_pool("passive") < 0.5 * cpu_time_of_the_pool("active")


@takes_effect("determinism")
def test_hash_seed_and_cublas_workspace_are_in_the_environment_only_where_bits_must_repeat() -> None:
    with child("tell(hash('a word'))\nwait()") as process:
        first = process.hear()
        assert process.seen.environ()["CUBLAS_WORKSPACE_CONFIG"] == ":4096:8"
        assert outside(process.pid, "determinism").held
    loose = replace(PROFILE, deterministic=False)
    with child("tell(hash('a word'))\nwait()", profile=loose) as process:
        assert process.hear() != first
        assert outside(process.pid, "determinism", loose).observed == "off"


def test_a_process_started_without_the_variables_is_not_held() -> None:
    lines = "from dataclasses import asdict\ntell([asdict(state) for state in early])\nwait()"
    with child(lines, environment={}) as process:
        states = [ControlState(**state) for state in process.hear()]
        for name in ("threads", "waiting", "allocator", "determinism"):
            state = state_of(name, states)
            assert not state.held
            assert state.applied.startswith("not applied: the process was started without")
            assert not outside(process.pid, name).held


def test_a_process_that_is_gone_is_unknown_and_not_held() -> None:
    done = subprocess.Popen([sys.executable, "-c", ""])
    done.wait()
    states = controls.observe_process(done.pid, PROFILE, (0,))
    assert state_of("cores", states).observed == "unknown"
    assert not state_of("cores", states).held


def test_a_stopped_process_can_still_be_looked_at() -> None:
    with child("tell(0)\nwait()") as process:
        process.hear()
        os.kill(process.pid, signal.SIGSTOP)
        assert outside(process.pid, "cores").held


PRODUCT = """
import torch
apply_after_imports()
left, right = (torch.full((256, 256), 1.0 + 2.0**-12) for _ in range(2))
# In BF16, which has 8 bits, and in TF32, which has 11, both are 1.
product = (left @ right)[0, 0].item()
tell(product / 256)
"""


@takes_effect("float32_precision")
@pytest.mark.parametrize("asked", ["full", "reduced"])
def test_a_product_of_float32_is_exact_where_full_precision_is_asked(asked: str) -> None:
    with child(PRODUCT, profile=replace(PROFILE, settings={"float32_precision": asked})) as process:
        product = process.hear()
    if asked == "full":
        assert product == pytest.approx((1 + 2.0**-12) ** 2, abs=1e-6)
    else:  # a processor without BF16 or TF32 has nothing to reduce to
        assert 1.0 <= product <= (1 + 2.0**-12) ** 2 + 1e-6


def test_every_control_has_a_test_that_sees_from_outside_that_it_takes_effect() -> None:
    assert set(CATALOGUE) == shown(Path(__file__).parent)


@pytest.mark.parametrize("name", CATALOGUE)
def test_every_control_says_what_it_is_and_accepts_its_own_default(name: str) -> None:
    control = CATALOGUE[name](setting=Setting(profile=PROFILE, cores=(0,)))
    assert control.name == name
    assert 10 < len(control.summary) < 100
    assert control.accepts(control.default()) is None
    assert control.accepts(AS_IS) is None
    assert control.accepts("?") is not None or name in ("cores", "threads", "governor")
    assert control.holds(AS_IS, "anything")
    assert control.available() is None or isinstance(control.available(), str)


def test_what_is_only_looked_at_sets_no_variable() -> None:
    looked_at = replace(PROFILE, deterministic=False, settings={"waiting": AS_IS, "allocator": AS_IS})
    asked, held = controls.session_environment(looked_at, (0,)), controls.session_environment(PROFILE, (0,))
    assert {"OMP_WAIT_POLICY", "MALLOC_TRIM_THRESHOLD_", "CUBLAS_WORKSPACE_CONFIG"} <= set(held) - set(asked)


def test_a_setting_that_no_control_knows_is_named_with_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match=r"'prioritie'.*Did you mean 'priority'"):
        controls.session_environment(replace(PROFILE, settings={"prioritie": 1}), (0,))
    with pytest.raises(UnknownNameError, match=r"'cors'.*Did you mean 'cores'"):
        controls.session_environment(replace(PROFILE, require=("cors",)), (0,))


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("boost", "fast", "'fast' can't be asked for; one of on, off, as is"),
        ("priority", -40, "'-40' can't be asked for; a whole number from -20 to 19"),
        ("perf_event_rate", 0, "'0' can't be asked for; a rate above 0"),
        ("threads", 3, "say it with 'cores' of the profile"),
        ("determinism", True, "say it with 'deterministic' of the profile"),
    ],
)
def test_a_value_that_cannot_be_is_refused_with_what_can(name: str, value: object, message: str) -> None:
    with pytest.raises(InputError, match="profile test-1: settings." + name) as raised:
        controls.session_environment(replace(PROFILE, settings={name: value}), (0,))
    assert message in str(raised.value)


def test_true_and_false_in_a_profile_are_on_and_off() -> None:
    states = controls.observe_process(os.getpid(), replace(PROFILE, settings={"boost": False}), (0,))
    assert state_of("boost", states).requested == "off"


def state(name: str, observed: str, *, held: bool, applied: str = "") -> ControlState:
    return ControlState(name=name, requested="1", applied=applied, observed=observed, held=held)


def test_looks_from_inside_and_outside_make_one_state_that_holds_only_if_both_do() -> None:
    inside = [state("threads", "1", held=True, applied="1"), state("seeds", "fixed", held=True)]
    merged = controls.states(inside, [state("threads", "4", held=False), state("seeds", "", held=False)])
    assert merged == [
        state("threads", "1; 4", held=False, applied="1"),
        state("seeds", "fixed", held=True),
    ]


def test_a_run_is_refused_with_every_control_that_is_required_and_not_held() -> None:
    profile = replace(PROFILE, require=("cores", "boost", "swap"))
    found = [state("cores", "1", held=True), state("boost", "on", held=False, applied="not applied: no root")]
    with pytest.raises(RefusedError) as raised:
        controls.check_required(profile, found)
    assert "boost (asked for 1, found on; not applied: no root)" in str(raised.value)
    assert "swap (nobody looked at it)" in str(raised.value)
    assert "cores" not in str(raised.value)


def test_the_same_cores_are_chosen_every_time() -> None:
    assert len({controls.choose_cores(PROFILE) for _ in range(5)}) == 1


def test_more_cores_than_there_are_is_a_refusal() -> None:
    with pytest.raises(RefusedError, match=r"profile test-1 asks for 4096 cores; \d+ can be used here"):
        controls.choose_cores(replace(PROFILE, cores=4096))


def test_all_cores_are_the_usable_ones() -> None:
    assert controls.choose_cores(replace(PROFILE, cores="all")) == machine.usable_cpus()


def topology(root: Path, *, isolated: str = "") -> Path:
    """Eight logical CPUs: cores 0-3 with siblings 4-7; 0, 1, 4, 5 on node 0 and the rest on node 1."""
    for cpu in range(8):
        folder = root / f"sys/devices/system/cpu/cpu{cpu}/topology"
        folder.mkdir(parents=True)
        (folder / "thread_siblings_list").write_text(f"{cpu % 4},{cpu % 4 + 4}\n")
    (root / "sys/devices/system/cpu/isolated").write_text(isolated + "\n")
    for node, cpus in enumerate(("0-1,4-5", "2-3,6-7")):
        folder = root / f"sys/devices/system/node/node{node}"
        folder.mkdir(parents=True)
        (folder / "cpulist").write_text(cpus + "\n")
    return root


@pytest.mark.parametrize(
    ("count", "isolated", "allowed", "chosen"),
    [
        (1, "", range(8), (1,)),  # not core 0
        (2, "", range(8), (2, 3)),  # two physical cores of one node, without core 0
        (3, "", range(8), (1, 2, 3)),  # no sibling is shared before a node is left
        (1, "6", range(8), (6,)),  # what the kernel keeps free goes first
        (2, "3,7", range(8), (3, 7)),
        (2, "", (0, 4), (0, 4)),  # siblings where there is nothing else
        (1, "", (0,), (0,)),
    ],
)
def test_cores_are_chosen_free_then_unshared_then_near(
    tmp_path: Path, count: int, isolated: str, allowed: range | tuple[int, ...], chosen: tuple[int, ...]
) -> None:
    root = topology(tmp_path, isolated=isolated)
    assert controls.choose_cores(replace(PROFILE, cores=count), root=root, allowed=tuple(allowed)) == chosen


def test_asking_for_the_environment_is_quick() -> None:
    start = time.perf_counter()
    controls.session_environment(PROFILE, (0,))
    assert time.perf_counter() - start < 0.1
