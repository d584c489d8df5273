"""Controls of the machine as a whole: kernel files that only root changes, looked at by every run."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Final

from typing_extensions import override

from paretoboard_runners.controls.base import UNKNOWN, Control, NotHeldError, Reach
from paretoboard_runners.controls.knobs import Change, read_file
from paretoboard_runners.machine import parse_cpus

if TYPE_CHECKING:
    from pathlib import Path

_CPU: Final = "sys/devices/system/cpu"
NO_FREQUENCY: Final = "the kernel has no say over the clock here (no cpufreq): firmware or hypervisor decide"


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineControl(Control):
    """A control that a process can't apply to itself; `doctor --apply` can."""

    reach: ClassVar[Reach] = "machine"

    @override
    def changes(self, requested: str) -> tuple[Change, ...]:
        if self.holds(requested, self.observe(os.getpid()) or UNKNOWN):
            return ()
        reason = self.available()
        if reason is not None:
            raise NotHeldError(reason)
        wanted = self.write_value(requested)
        return tuple(
            Change(control=self.name, target=str(path), kind="file", before=before, after=wanted)
            for path in self.files()
            if (before := read_file(path)) != wanted
        )

    def files(self) -> tuple[Path, ...]:
        """The kernel files that hold this setting; empty where it can't be changed."""
        return ()

    def write_value(self, requested: str) -> str:
        """What to write into them for `requested`."""
        return requested


@dataclass(frozen=True, slots=True, kw_only=True)
class Governor(MachineControl):
    """Which policy the kernel chooses the clock of the cores by."""

    name: ClassVar[str] = "governor"
    summary: ClassVar[str] = "policy by which the kernel chooses the cores' clock"

    @override
    def available(self) -> str | None:
        return None if self.files() else NO_FREQUENCY

    @override
    def files(self) -> tuple[Path, ...]:
        paths = (self.setting.root / _CPU / f"cpu{core}/cpufreq/scaling_governor" for core in self.setting.cores)
        return tuple(path for path in paths if path.exists())

    @override
    def observe(self, pid: int) -> str | None:
        return " and ".join(sorted({read_file(path) for path in self.files()})) or UNKNOWN


@dataclass(frozen=True, slots=True, kw_only=True)
class Boost(MachineControl):
    """Whether cores may run above their nominal clock while temperature and neighbours allow."""

    name: ClassVar[str] = "boost"
    summary: ClassVar[str] = "turbo: cores run above their nominal clock for as long as heat allows"
    choices: ClassVar[tuple[str, ...] | None] = ("on", "off")

    @override
    def available(self) -> str | None:
        return None if self.files() else NO_FREQUENCY

    @override
    def files(self) -> tuple[Path, ...]:
        # intel_pstate has a switch of its own, of the opposite sense; the rest of the world has cpufreq's.
        for path in (self._no_turbo, self.setting.root / _CPU / "cpufreq/boost"):
            if path.exists():
                return (path,)
        return ()

    @override
    def write_value(self, requested: str) -> str:
        inverted = self.files() == (self._no_turbo,)
        return "1" if (requested == "on") != inverted else "0"

    @override
    def observe(self, pid: int) -> str | None:
        files = self.files()
        if not files:
            return UNKNOWN
        return "on" if read_file(files[0]) == self.write_value("on") else "off"

    @property
    def _no_turbo(self) -> Path:
        return self.setting.root / _CPU / "intel_pstate/no_turbo"


@dataclass(frozen=True, slots=True, kw_only=True)
class SmtSiblings(MachineControl):
    """Whether another hardware thread shares a chosen core."""

    name: ClassVar[str] = "smt"
    summary: ClassVar[str] = "hardware threads that share a physical core with a chosen one"
    choices: ClassVar[tuple[str, ...] | None] = ("on", "off")

    @override
    def available(self) -> str | None:
        return None if self.files() else "this kernel has no switch for hardware threads"

    @override
    def files(self) -> tuple[Path, ...]:
        path = self.setting.root / _CPU / "smt/control"
        try:
            settable = path.read_text().strip() in ("on", "off")
        except OSError:
            settable = False
        return (path,) if settable else ()

    @override
    def observe(self, pid: int) -> str | None:
        shared = [core for core in self.setting.cores if len(siblings(self.setting.root, core)) > 1]
        return "on" if shared else "off"


@dataclass(frozen=True, slots=True, kw_only=True)
class PerfEventRate(MachineControl):
    """How often the kernel's profiler may interrupt a core."""

    name: ClassVar[str] = "perf_event_rate"
    summary: ClassVar[str] = "samples per second that the kernel's profiler may take at most"

    @override
    def right_instead(self, requested: str) -> str | None:
        return None if (requested.isdecimal() and int(requested) > 0) else "a rate above 0"

    @override
    def available(self) -> str | None:
        return None if self.files() else "this kernel has no perf events"

    @override
    def files(self) -> tuple[Path, ...]:
        path = self.setting.root / "proc/sys/kernel/perf_event_max_sample_rate"
        return (path,) if path.exists() else ()

    @override
    def observe(self, pid: int) -> str | None:
        files = self.files()
        return read_file(files[0]) if files else UNKNOWN

    @override
    def matches(self, requested: str, observed: str) -> bool:
        return observed.isdecimal() and int(observed) <= int(requested)


@dataclass(frozen=True, slots=True, kw_only=True)
class Swap(MachineControl):
    """Whether memory of the process can be moved to a disk."""

    name: ClassVar[str] = "swap"
    summary: ClassVar[str] = "swap space, from which touched memory would have to be read back"
    choices: ClassVar[tuple[str, ...] | None] = ("off",)

    @override
    def changes(self, requested: str) -> tuple[Change, ...]:
        if self.holds(requested, self.observe(os.getpid()) or UNKNOWN):
            return ()
        # Emptying swap can run the machine out of memory: that is for its owner to decide.
        raise NotHeldError("swap is only turned off by hand: swapoff -a")

    @override
    def observe(self, pid: int) -> str | None:
        try:
            lines = (self.setting.root / "proc/swaps").read_text().splitlines()[1:]
        except OSError:
            return UNKNOWN
        return "on" if any(line.strip() for line in lines) else "off"


@dataclass(frozen=True, slots=True, kw_only=True)
class IsolatedCores(MachineControl):
    """Whether the scheduler keeps everything else off the chosen cores."""

    name: ClassVar[str] = "isolated_cores"
    summary: ClassVar[str] = "the scheduler puts nothing else on the chosen cores"
    choices: ClassVar[tuple[str, ...] | None] = ("on",)

    @override
    def changes(self, requested: str) -> tuple[Change, ...]:
        if self.holds(requested, self.observe(os.getpid()) or UNKNOWN):
            return ()
        raise NotHeldError("cores are isolated when the kernel starts (isolcpus=)")

    @override
    def observe(self, pid: int) -> str | None:
        return "on" if set(self.setting.cores) <= set(isolated(self.setting.root)) else "off"


def siblings(root: Path, core: int) -> tuple[int, ...]:
    """The online hardware threads of the physical core that `core` is one of."""
    try:
        return parse_cpus((root / _CPU / f"cpu{core}/topology/thread_siblings_list").read_text())
    except OSError:
        return (core,)


def isolated(root: Path) -> tuple[int, ...]:
    """Cores that the kernel was started to keep free."""
    try:
        return parse_cpus((root / _CPU / "isolated").read_text())
    except OSError:
        return ()
