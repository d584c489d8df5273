"""Controls of the machine and the GPU: set, looked at, and put back, whatever happens in between."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from conftest import CHANGE, NOT_CHANGED
from effects import takes_effect
from fakes.nvml import Device, FakeNvml
from paretoboard.errors import StoreError
from paretoboard.records import ControlState
from paretoboard.spec import HardwareProfile
from paretoboard_runners import controls, nvml
from paretoboard_runners.controls import restore
from paretoboard_runners.controls.base import AS_IS, NotHeldError, Setting
from paretoboard_runners.controls.catalogue import CATALOGUE

WANTED = {"governor": "performance", "boost": "off", "smt": "off", "perf_event_rate": 1}
PROFILE = HardwareProfile(name="still", title="A machine held still", cores=2, settings=WANTED)
CPU = "sys/devices/system/cpu"


def machine_tree(root: Path, *, intel: bool = False) -> Path:
    """Files of a machine with four logical CPUs on two cores, in the kernel's layout, as they are at start-up."""
    files = {
        f"{CPU}/smt/control": "on\n",
        f"{CPU}/isolated": "\n",
        "proc/sys/kernel/perf_event_max_sample_rate": "100000\n",
        "proc/swaps": "Filename\tType\tSize\tUsed\tPriority\n",
        f"{CPU}/intel_pstate/no_turbo" if intel else f"{CPU}/cpufreq/boost": "0\n" if intel else "1\n",
    }
    for cpu in range(4):
        files[f"{CPU}/cpu{cpu}/cpufreq/scaling_governor"] = "powersave\n" if cpu else "schedutil\n"
        files[f"{CPU}/cpu{cpu}/topology/thread_siblings_list"] = f"{cpu % 2},{cpu % 2 + 2}\n"
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def contents(root: Path) -> dict[str, str]:
    """What a kernel would say: without the line ends that only reading shows."""
    return {str(path.relative_to(root)): path.read_text().strip() for path in root.rglob("*") if path.is_file()}


def setting(root: Path, profile: HardwareProfile = PROFILE, fake: FakeNvml | None = None) -> Setting:
    opener = nvml.opened if fake is None else lambda: nvml.opened(fake)
    return Setting(profile=profile, cores=(0, 1), root=root, open_nvml=opener)


def observe(name: str, where: Setting) -> str | None:
    return CATALOGUE[name](setting=where).observe(os.getpid())


def test_the_machine_is_held_and_put_back(tmp_path: Path) -> None:
    root, state_file = machine_tree(tmp_path / "machine"), tmp_path / "run" / "controls.json"
    before, where = contents(root), setting(root)
    changes, refused = restore.plan(where)
    assert refused == []
    assert all(outcome.error == "" for outcome in restore.apply(changes, state_file))
    assert (root / CPU / "cpu0/cpufreq/scaling_governor").read_text() == "performance"
    assert (root / CPU / "cpu1/cpufreq/scaling_governor").read_text() == "performance"
    assert (root / CPU / "cpu2/cpufreq/scaling_governor").read_text() == "powersave\n"  # not a chosen core
    assert (root / CPU / "cpufreq/boost").read_text() == "0"
    assert (root / CPU / "smt/control").read_text() == "off"
    assert observe("governor", where) == "performance"
    assert observe("boost", where) == "off"
    assert observe("perf_event_rate", where) == "1"
    assert all(outcome.error == "" for outcome in restore.restore(state_file))
    assert contents(root) == before
    assert not state_file.exists()


def test_intels_own_switch_has_the_opposite_sense(tmp_path: Path) -> None:
    root = machine_tree(tmp_path / "machine", intel=True)
    where = setting(root)
    assert observe("boost", where) == "on"
    restore.apply(restore.plan(where)[0], tmp_path / "controls.json")
    assert (root / CPU / "intel_pstate/no_turbo").read_text() == "1"
    assert observe("boost", where) == "off"


def test_what_is_already_so_is_not_changed(tmp_path: Path) -> None:
    root = machine_tree(tmp_path / "machine")
    state_file = tmp_path / "controls.json"
    restore.apply(restore.plan(setting(root))[0], state_file)
    assert restore.plan(setting(root)) == ([], [])


def test_values_to_go_back_to_are_on_disk_before_the_first_change(tmp_path: Path) -> None:
    """The folder of the state file can't be made: nothing may be changed."""
    root = machine_tree(tmp_path / "machine")
    before = contents(root)
    (tmp_path / "blocked").write_text("a file where a folder is needed")
    with pytest.raises(OSError, match="blocked"):
        restore.apply(restore.plan(setting(root))[0], tmp_path / "blocked" / "controls.json")
    assert contents(root) == before


def test_applying_twice_keeps_the_values_from_before_the_first_time(tmp_path: Path) -> None:
    root, state_file = machine_tree(tmp_path / "machine"), tmp_path / "controls.json"
    before = contents(root)
    restore.apply(restore.plan(setting(root))[0], state_file)
    other = replace(PROFILE, settings={"governor": "userspace", "boost": "on"})
    restore.apply(restore.plan(setting(root, other))[0], state_file)
    assert (root / CPU / "cpu0/cpufreq/scaling_governor").read_text() == "userspace"
    restore.restore(state_file)
    assert contents(root) == before


def test_a_change_that_is_refused_is_told_and_the_others_are_made(tmp_path: Path) -> None:
    root, state_file = machine_tree(tmp_path / "machine"), tmp_path / "controls.json"
    changes, _ = restore.plan(setting(root))
    (root / CPU / "smt/control").unlink()
    outcomes = restore.apply(changes, state_file)
    assert [outcome.control for outcome in outcomes if outcome.error] == ["smt"]
    assert "No such file" in next(outcome.error for outcome in outcomes if outcome.error)
    assert not (root / CPU / "smt/control").exists()
    assert "smt" not in {change.control for change in restore.pending(state_file)}
    assert (root / CPU / "cpufreq/boost").read_text() == "0"


def test_what_can_not_be_put_back_stays_pending(tmp_path: Path) -> None:
    root, state_file = machine_tree(tmp_path / "machine"), tmp_path / "controls.json"
    restore.apply(restore.plan(setting(root))[0], state_file)
    (root / CPU / "smt/control").unlink()
    restore.restore(state_file)
    assert [change.control for change in restore.pending(state_file)] == ["smt"]
    (root / CPU / "smt/control").write_text("off")
    restore.restore(state_file)
    assert (root / CPU / "smt/control").read_text() == "on"
    assert restore.pending(state_file) == ()


def test_a_restart_of_the_machine_leaves_nothing_to_put_back(tmp_path: Path) -> None:
    root, state_file = machine_tree(tmp_path / "machine"), tmp_path / "controls.json"
    restore.apply(restore.plan(setting(root))[0], state_file)
    content = json.loads(state_file.read_text())
    state_file.write_text(json.dumps({**content, "boot": "another one"}))
    assert restore.pending(state_file) == ()
    changed = contents(root)
    restore.restore(state_file)
    assert contents(root) == changed
    assert not state_file.exists()


@pytest.mark.parametrize("text", ["", "{", "[]", '{"version": 1}', '{"version": 99, "boot": "", "changes": []}'])
def test_a_damaged_state_file_is_an_error_that_names_it(tmp_path: Path, text: str) -> None:
    state_file = tmp_path / "controls.json"
    state_file.write_text(text)
    with pytest.raises(StoreError, match=r"controls\.json: "):
        restore.pending(state_file)


# A server, so that what takes long, importing, is done once: for each line it forks a process that holds the machine.
HOLDERS = """
import os, sys
from pathlib import Path
from paretoboard.spec import HardwareProfile
from paretoboard_runners.controls import restore
from paretoboard_runners.controls.base import Setting

root, state_file = Path(sys.argv[1]), Path(sys.argv[2])
settings = {"governor": "performance", "boost": "off", "smt": "off", "perf_event_rate": 1}
profile = HardwareProfile(name="still", title="", cores=2, settings=settings)
where = Setting(profile=profile, cores=(0, 1), root=root)
for _ in sys.stdin:
    pid = os.fork()
    if pid == 0:
        while True:
            changes, _ = restore.plan(where)
            restore.apply(changes, state_file)
            restore.restore(state_file)
    print(pid, flush=True)
    os.waitpid(pid, 0)
    print("ended", flush=True)
"""


def test_kill_at_any_moment_leaves_a_machine_that_can_be_put_back(tmp_path: Path) -> None:
    root, state_file = machine_tree(tmp_path / "machine"), tmp_path / "run" / "controls.json"
    before = contents(root)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(os.path.abspath, sys.path))}
    rng, left_changed = random.Random(0), 0
    command = [sys.executable, "-c", HOLDERS, str(root), str(state_file)]
    with subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdin is not None
        assert server.stdout is not None
        for _ in range(20):
            server.stdin.write("\n")
            server.stdin.flush()
            holder = int(server.stdout.readline())
            time.sleep(rng.uniform(0.0, 0.03))
            os.kill(holder, signal.SIGKILL)
            assert server.stdout.readline() == "ended\n"
            left_changed += contents(root) != before
            restore.restore(state_file)
            assert contents(root) == before
            assert restore.pending(state_file) == ()
        server.stdin.close()
    assert left_changed > 0  # else the kills came at harmless moments only, and nothing was tested


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [("swap", "off", "swapoff -a"), ("isolated_cores", "on", "isolcpus=")],
)
def test_what_only_the_owner_can_change_says_how(tmp_path: Path, name: str, value: str, reason: str) -> None:
    root = machine_tree(tmp_path)
    (root / "proc/swaps").write_text("Filename\tType\n/dev/sda2  partition\t8388604\t0\t-2\n")
    control = CATALOGUE[name](setting=setting(root))
    with pytest.raises(NotHeldError, match=reason):
        control.changes(value)


def test_swap_isolation_and_siblings_are_read_from_the_kernels_files(tmp_path: Path) -> None:
    root = machine_tree(tmp_path)
    where = setting(root)
    assert [observe(name, where) for name in ("swap", "isolated_cores", "smt")] == ["off", "off", "on"]
    (root / "proc/swaps").write_text("Filename\tType\n/dev/sda2  partition\t8388604\t0\t-2\n")
    (root / CPU / "isolated").write_text("0-1\n")
    for cpu in range(2):
        (root / CPU / f"cpu{cpu}/topology/thread_siblings_list").write_text(f"{cpu}\n")
    assert [observe(name, where) for name in ("swap", "isolated_cores", "smt")] == ["on", "on", "off"]


def test_a_machine_without_a_say_over_its_clock_is_not_held_and_says_why(tmp_path: Path) -> None:
    states = controls.observe_process(os.getpid(), PROFILE, (0,), root=tmp_path)
    governor = next(state for state in states if state.name == "governor")
    assert not governor.held
    assert "no cpufreq" in governor.applied


def test_a_lower_rate_than_asked_for_holds(tmp_path: Path) -> None:
    root = machine_tree(tmp_path)
    control = CATALOGUE["perf_event_rate"](setting=setting(root))
    assert control.holds("100", "1")
    assert not control.holds("100", "100000")


GPU_SETTINGS = {
    "gpu_persistence": "on",
    "gpu_clock": 1410,
    "gpu_memory_clock": "max",
    "gpu_power_limit": 500,
    "gpu_ecc": "on",
    "gpu_mig": "off",
    "gpu_throttling": "none",
    "gpu_foreign_processes": "none",
}
GPU_PROFILE = HardwareProfile(name="gpu", title="A GPU held still", device="cuda", settings=GPU_SETTINGS)


def gpu_states(fake: FakeNvml, pid: int, profile: HardwareProfile = GPU_PROFILE) -> dict[str, ControlState]:
    seen = controls.observe_process(pid, profile, (0,), open_nvml=lambda: nvml.opened(fake))
    return {state.name: state for state in seen if state.name.startswith("gpu_")}


def wanted_of(gpu: nvml.Gpu) -> dict[str, object]:
    """A setting for everything that can be changed on this device, other than what it is."""
    limits, power_w = gpu.power_limits_w, gpu.power_limit_w
    wanted: dict[str, object] = {"gpu_persistence": not gpu.persistence}
    if gpu.sm_clocks_mhz:
        wanted |= {"gpu_clock": gpu.sm_clocks_mhz[len(gpu.sm_clocks_mhz) // 2], "gpu_memory_clock": "max"}
    if limits is not None and power_w is not None:
        wanted["gpu_power_limit"] = limits[1] if power_w != limits[1] else limits[1] - 1
    return wanted


@takes_effect("gpu_persistence", "gpu_clock", "gpu_memory_clock", "gpu_power_limit")
def test_a_gpu_is_held_and_put_back(tmp_path: Path, changeable_nvml: Any) -> None:
    def open_nvml() -> Any:
        return nvml.opened(changeable_nvml)

    with open_nvml() as library:
        gpu = nvml.visible_gpu(library)
        before, wanted = (gpu.persistence, gpu.power_limit_w), wanted_of(gpu)
    state_file = tmp_path / "controls.json"
    profile = replace(GPU_PROFILE, settings=wanted)
    where = Setting(profile=profile, cores=(0, 1), root=tmp_path, open_nvml=open_nvml)
    changes, refused = restore.plan(where)
    assert {change.control for change in changes} == set(wanted)
    assert [outcome for outcome in refused if outcome.control in wanted] == []
    try:
        assert all(outcome.error == "" for outcome in restore.apply(changes, state_file, open_nvml))
        time.sleep(0.5)  # a real device takes a moment
        seen = {state.name: state for state in controls.observe_process(1, profile, (0,), open_nvml=open_nvml)}
        assert all(seen[name].held for name in wanted), seen
    finally:
        assert all(outcome.error == "" for outcome in restore.restore(state_file, open_nvml))
    with open_nvml() as library:
        gpu = nvml.visible_gpu(library)
        assert (gpu.persistence, gpu.power_limit_w) == before
    if isinstance(changeable_nvml, FakeNvml):
        device = changeable_nvml.devices[0]
        assert (device.locked_sm, device.locked_memory) == (None, None)
        assert changeable_nvml.devices[1] == Device(uuid="GPU-bbbb")


def test_a_gpu_that_may_not_be_changed_says_so_and_has_nothing_pending(tmp_path: Path) -> None:
    fake, state_file = FakeNvml(root=False), tmp_path / "controls.json"
    where = setting(tmp_path, GPU_PROFILE, fake)
    outcomes = restore.apply(restore.plan(where)[0], state_file, where.open_nvml)
    assert {outcome.error for outcome in outcomes} == {"only root may change it"}
    assert restore.pending(state_file) == ()


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("gpu_clock", 1400, "1400 MHz is not offered; the nearest is 1410 MHz"),
        ("gpu_power_limit", 900, "900 W is outside of 200 to 700 W"),
        ("gpu_ecc", "off", "this can only be looked at"),
    ],
)
def test_what_a_gpu_can_not_be_held_to_says_what_it_can(tmp_path: Path, name: str, value: object, message: str) -> None:
    profile = replace(GPU_PROFILE, settings={name: value})
    changes, refused = restore.plan(setting(tmp_path, profile, FakeNvml()))
    assert changes == []
    assert [(outcome.control, outcome.error) for outcome in refused] == [(name, message)]


@takes_effect("gpu_throttling", "gpu_foreign_processes", "gpu_ecc", "gpu_mig")
def test_throttling_foreign_processes_ecc_and_mig_are_seen() -> None:
    device = Device(uuid="GPU-busy", reasons=0x1 | 0x4 | 0x20, processes=[41, 42], ecc=0, mig=1)
    states = gpu_states(FakeNvml([device]), 42)
    assert states["gpu_throttling"].observed == "power cap, thermal (software)"
    assert states["gpu_foreign_processes"].observed == "41"
    assert (states["gpu_ecc"].observed, states["gpu_mig"].observed) == ("off", "on")
    assert not any(states[name].held for name in ("gpu_throttling", "gpu_foreign_processes", "gpu_ecc", "gpu_mig"))


def test_a_machine_without_a_gpu_holds_none_of_its_controls_and_says_why() -> None:
    states = gpu_states(FakeNvml(driver=False), 1)
    assert not any(state.held for state in states.values())
    assert all("Driver Not Loaded" in state.observed for state in states.values())


def test_a_cpu_profile_asks_nothing_of_a_gpu() -> None:
    assert gpu_states(FakeNvml(), 1, PROFILE) == {}


def test_every_control_of_a_gpu_can_be_looked_at(nvml_library: Any) -> None:
    profile = replace(GPU_PROFILE, settings=dict.fromkeys(GPU_SETTINGS, AS_IS))
    seen = controls.observe_process(os.getpid(), profile, (0,), open_nvml=lambda: nvml.opened(nvml_library))
    states = {state.name: state for state in seen if state.name.startswith("gpu_")}
    assert set(states) == set(GPU_SETTINGS)
    assert states["gpu_clock"].observed.endswith(" MHz")
    assert all(state.held for state in states.values())


# This very machine, through commands that know nothing of this project


def said(*command: str) -> str:
    if shutil.which(command[0]) is None:
        pytest.skip(f"no {command[0]} here")
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def other_value(name: str) -> str:
    """What to bring a control of this machine to, that it isn't at."""
    cpu = Path("/") / CPU
    if name == "governor":
        offered = (cpu / "cpu0/cpufreq/scaling_available_governors").read_text().split()
        now = (cpu / "cpu0/cpufreq/scaling_governor").read_text().strip()
        return next((word for word in offered if word != now), now)
    if name == "perf_event_rate":
        return str(int(Path("/proc/sys/kernel/perf_event_max_sample_rate").read_text()) // 2)
    return "off" if CATALOGUE[name](setting=real()).observe(os.getpid()) == "on" else "on"


def real() -> Setting:
    return Setting(profile=PROFILE, cores=controls.choose_cores(replace(PROFILE, cores=1)))


@takes_effect("governor", "boost", "smt", "perf_event_rate")
@pytest.mark.parametrize("name", ["governor", "boost", "smt", "perf_event_rate"])
def test_a_setting_of_this_very_machine_takes_effect_and_is_put_back(name: str, tmp_path: Path) -> None:
    control = CATALOGUE[name](setting=real())
    reason = control.available()
    if reason is not None:
        pytest.skip(f"{name}: {reason}")
    if os.environ.get(CHANGE) != "1":
        pytest.skip(NOT_CHANGED)
    if os.geteuid() != 0:
        pytest.skip("only root may change it")
    wanted = other_value(name)
    changes = control.changes(wanted)
    if not changes:
        pytest.skip(f"{name}: there is no other value to bring it to")
    before = {change.target: said("cat", change.target) for change in changes}
    try:
        assert [outcome.error for outcome in restore.apply(changes, tmp_path / "state.json")] == [""] * len(changes)
        assert {change.target: said("cat", change.target) for change in changes} == {
            change.target: change.after for change in changes
        }
        assert control.changes(wanted) == ()  # as the control sees it, it is so now
    finally:
        restore.restore(tmp_path / "state.json")
    assert {change.target: said("cat", change.target) for change in changes} == before


@takes_effect("swap")
def test_swap_of_this_very_machine_is_what_free_says() -> None:
    total = said("free", "--bytes").splitlines()[2].split()[1]
    assert observe("swap", real()) == ("off" if total == "0" else "on")


@takes_effect("isolated_cores")
def test_isolated_cores_of_this_very_machine_are_those_the_kernel_was_started_with() -> None:
    isolated = "isolcpus=" in Path("/proc/cmdline").read_text()
    if isolated:
        pytest.skip("which of them are isolated only the kernel's own list says")
    assert observe("isolated_cores", real()) == "off"


@takes_effect("smt")
def test_siblings_of_this_very_machine_are_what_lscpu_says() -> None:
    [line] = [line for line in said("lscpu").splitlines() if line.startswith("Thread(s) per core:")]
    online = Path("/sys/devices/system/cpu/online").read_text()
    if len(online.strip()) == 1:
        pytest.skip("one logical CPU has no siblings")
    assert observe("smt", real()) == ("on" if int(line.split(":")[1]) > 1 else "off")
