"""Is this machine fit to measure, what is in the way, and what mends it."""

from __future__ import annotations

import math
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from paretoboard_runners import machine, nvml
from paretoboard_runners.controls.base import Setting
from paretoboard_runners.controls.findings import NOTHING, Finding, Level, control_findings
from paretoboard_runners.controls.knobs import read_file
from paretoboard_runners.controls.session import choose_cores, observe_process
from paretoboard_runners.controls.spin import Spin, spin

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from paretoboard.spec import HardwareProfile

_ORDER: Final[tuple[Level, ...]] = ("good", "caveat", "unfit")

# Below this share of a core even paired CPU times run out of undisturbed windows.
_SHARE_UNFIT, _SHARE_GOOD = 0.10, 0.98
_STEAL_GOOD: Final = 0.01
_JITTER_GOOD: Final = 0.05
# Of the highest clock. With boost off a processor runs at 60 to 90 % of it, which is no fault.
_CLOCK_GOOD: Final = 0.55
_BUSY: Final = 0.05  # of one core
_MEMORY_UNFIT, _MEMORY_GOOD = 2**30, 4 * 2**30
_GOOD_CLOCKS: Final = frozenset({"tsc", "kvm-clock", "hyperv_clocksource_tsc_page", "arch_sys_counter"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """Another task that used the CPU meanwhile."""

    pid: int
    name: str
    cores: float  # worth of CPU time


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnosis:
    """Everything that was found about a machine for a profile."""

    profile: str
    cores: tuple[int, ...]
    findings: tuple[Finding, ...]
    spin: Spin
    others: tuple[Task, ...]  # that used more than 5 % of a core, busiest first

    @property
    def level(self) -> Level:
        """The worst of the findings."""
        return max((finding.level for finding in self.findings), key=_ORDER.index, default="good")


def diagnose(
    profile: HardwareProfile,
    *,
    seconds: float = 2.0,
    root: Path = Path("/"),
    open_nvml: nvml.Opener = nvml.opened,
) -> Diagnosis:
    """Look at the machine, and work on the profile's cores for `seconds` while watching who else does.

    Args:
        root: of the kernel's files about the machine.
    Raises: RefusedError if it has fewer cores than the profile asks for.
    """
    setting = Setting(profile=profile, cores=choose_cores(profile), root=root, open_nvml=open_nvml)
    measured, others, throttled = _watched(setting, seconds)
    frequency = _frequency_finding(setting)  # right after the work, before the clock falls
    states = observe_process(os.getpid(), profile, setting.cores, root=root, open_nvml=open_nvml)
    findings = (
        *_spin_findings(measured),
        _others_finding(others),
        _memory_finding(root),
        _thermal_finding(throttled),
        frequency,
        _huge_pages_finding(root),
        _clocksource_finding(root),
        _hypervisor_finding(root),
        _quota_finding(root),
        *control_findings(states, setting),
    )
    return Diagnosis(
        profile=profile.name,
        cores=setting.cores,
        findings=tuple(finding for finding in findings if finding is not None),
        spin=measured,
        others=tuple(others),
    )


def _watched(setting: Setting, seconds: float) -> tuple[Spin, list[Task], int]:
    before, throttles, start = _cpu_times(), _throttle_count(setting), time.monotonic()
    measured = spin(setting.cores, seconds)
    elapsed = time.monotonic() - start
    others = []
    for pid, (name, cpu_s) in _cpu_times().items():
        used = (cpu_s - before.get(pid, (name, cpu_s))[1]) / elapsed
        if pid != os.getpid() and used >= _BUSY:
            others.append(Task(pid=pid, name=name, cores=used))
    others.sort(key=lambda task: -task.cores)
    return measured, others, _throttle_count(setting) - throttles


def _cpu_times() -> dict[int, tuple[str, float]]:
    """Process id -> (name, seconds of CPU time so far)."""
    import psutil

    found = {}
    for process in psutil.process_iter(["name", "cpu_times"]):
        times = process.info["cpu_times"]
        if times is not None:
            found[process.pid] = (process.info["name"] or "?", times.user + times.system)
    return found


def _spin_findings(measured: Spin) -> Iterable[Finding]:
    share: Level = "good" if measured.cpu_share >= _SHARE_GOOD else "caveat"
    if measured.cpu_share < _SHARE_UNFIT:
        share = "unfit"
    yield Finding(
        name="share of the core",
        level=share,
        found=f"{measured.cpu_share:.1%} of the time, {measured.switches} times displaced",
        why="" if share == "good" else "wall times hold the waiting for others; CPU times are compared instead",
        mend="" if share == "good" else "see other load; or measure when the machine is idle",
    )
    even = measured.cpu_jitter <= _JITTER_GOOD
    yield Finding(
        name="evenness",
        level="good" if even else "caveat",
        found=f"one piece of work in ten takes {measured.cpu_jitter:.1%} more CPU time, {measured.wall_jitter:.1%}"
        " more wall time",
        why="" if even else "clock, caches or memory are shared with others: single numbers scatter",
        mend="" if even else "sudo $(command -v paretoboard) doctor --apply    (holds the clock, where it can be held)",
    )
    quiet = measured.steal <= _STEAL_GOOD
    yield Finding(
        name="steal",
        level="good" if quiet else "caveat",
        found=f"{measured.steal:.1%}",
        why="" if quiet else "the hypervisor gives the core to other guests, unseen by this machine's own tools",
        mend="" if quiet else f"{NOTHING}: rent a machine with dedicated cores",
    )


def _others_finding(others: Sequence[Task]) -> Finding:
    load = os.getloadavg()[0]
    if not others:
        return Finding(name="other load", level="good", found=f"none above {_BUSY:.0%} of a core, load {load:.1f}")
    pids = " ".join(str(task.pid) for task in others)
    shown = ", ".join(f"{task.name} ({task.pid}) {task.cores:.0%}" for task in others[:3])
    more = f" and {len(others) - 3} more" if len(others) > 3 else ""
    return Finding(
        name="other load",
        level="caveat",
        found=f"{shown}{more}, load {load:.1f}",
        why="other tasks take time, caches and memory bandwidth",
        mend=f"kill -STOP {pids}    (kill -CONT lets them go on; or wait until they are done)",
    )


def _memory_finding(root: Path) -> Finding:
    fields = dict(line.split(":", 1) for line in (root / "proc/meminfo").read_text().splitlines() if ":" in line)
    available = int(fields["MemAvailable"].split()[0]) * 1024
    level: Level = "good" if available >= _MEMORY_GOOD else "caveat" if available >= _MEMORY_UNFIT else "unfit"
    return Finding(
        name="free memory",
        level=level,
        found=f"{available / 2**30:.1f} GiB",
        why="" if level == "good" else "a run with torch needs 1 to 4 GiB; one without them is killed",
        mend="" if level == "good" else "ps aux --sort=-rss | head    (shows what uses it: end that)",
    )


def _thermal_finding(throttled: int) -> Finding | None:
    import psutil

    readings = [entry for entries in psutil.sensors_temperatures().values() for entry in entries]
    near = [entry for entry in readings if entry.high and entry.current >= entry.high - 5]
    if not throttled and not readings:
        return None
    hot = bool(near) or throttled > 0
    return Finding(
        name="thermal",
        level="caveat" if hot else "good",
        found=f"{max((entry.current for entry in readings), default=0):.0f} degrees Celsius at most, slowed down"
        f" {throttled} times meanwhile",
        why="a hot processor lowers its clock" if hot else "",
        mend="sudo cpupower frequency-set --max 2GHz    (or let it cool, and clear its air)" if hot else "",
    )


def _frequency_finding(setting: Setting) -> Finding | None:
    """The clock of the slowest core against the highest it has."""
    shares = []
    for core in setting.cores:
        folder = setting.root / f"sys/devices/system/cpu/cpu{core}/cpufreq"
        try:
            now, top = (int((folder / name).read_text()) for name in ("scaling_cur_freq", "cpuinfo_max_freq"))
        except (OSError, ValueError):
            continue
        shares.append((now / top, now))
    if not shares:
        return None
    share, now = min(shares)
    slow = share < _CLOCK_GOOD
    return Finding(
        name="frequency",
        level="caveat" if slow else "good",
        found=f"{now / 1000:.0f} MHz under load, {share:.0%} of the highest",
        why="the clock stays low under load: a limit on power or heat, or the governor" if slow else "",
        mend="cpupower frequency-info    (shows the limits; see governor and thermal)" if slow else "",
    )


def _huge_pages_finding(root: Path) -> Finding | None:
    try:
        mode = read_file(root / "sys/kernel/mm/transparent_hugepage/enabled")
    except OSError:
        return None
    always = mode == "always"
    return Finding(
        name="huge pages",
        level="caveat" if always else "good",
        found=mode,
        why="the kernel joins pages while calls are timed, at moments of its own" if always else "",
        mend="echo madvise | sudo tee /sys/kernel/mm/transparent_hugepage/enabled" if always else "",
    )


def _throttle_count(setting: Setting) -> int:
    cpu = setting.root / "sys/devices/system/cpu"
    total = 0
    for core in setting.cores:
        try:
            total += int((cpu / f"cpu{core}/thermal_throttle/core_throttle_count").read_text())
        except (OSError, ValueError):
            continue
    return total


def _clocksource_finding(root: Path) -> Finding | None:
    try:
        name = (root / "sys/devices/system/clocksource/clocksource0/current_clocksource").read_text().strip()
    except OSError:
        return None
    good = name in _GOOD_CLOCKS
    return Finding(
        name="clock source",
        level="good" if good else "caveat",
        found=name,
        why="" if good else "reading this clock costs about a microsecond and a system call",
        mend="" if good else "echo tsc | sudo tee /sys/devices/system/clocksource/clocksource0/current_clocksource",
    )


def _hypervisor_finding(root: Path) -> Finding | None:
    try:
        flags = (root / "proc/cpuinfo").read_text()
    except OSError:
        return None
    if not any(line.startswith("flags") and " hypervisor" in line for line in flags.splitlines()):
        return None
    return Finding(
        name="virtual machine",
        level="caveat",
        found="this is a guest",
        why="clock, neighbours and memory bandwidth are the host's: only paired differences are sound",
        mend=f"{NOTHING}: absolute times are of this guest only",
    )


def _quota_finding(root: Path) -> Finding | None:
    quota, cores = machine.cpu_quota(root), len(os.sched_getaffinity(0))
    if quota is None or quota >= cores:
        return None
    return Finding(
        name="CPU quota",
        level="caveat",
        found=f"{quota:g} CPUs of time on {cores} cores",
        why="a process that uses up its share is stopped until the next period, up to 100 ms",
        mend=f"docker run --cpuset-cpus=0-{max(0, math.floor(quota) - 1)}    (whole cores instead of --cpus={quota:g})",
    )
