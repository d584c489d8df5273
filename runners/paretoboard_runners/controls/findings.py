"""What was found about a machine, and the command that mends it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from paretoboard.records import ControlState
    from paretoboard_runners.controls.base import Setting

Level = Literal["good", "caveat", "unfit"]
NOTHING: Final = "nothing to be done from in here"

# What brings a control of the machine to what a profile commonly asks for.
MENDS: Final = {
    "governor": "sudo cpupower frequency-set --governor {value}",
    "boost": "echo 0 | sudo tee /sys/devices/system/cpu/cpufreq/boost"
    "    (Intel: echo 1 | sudo tee /sys/devices/system/cpu/intel_pstate/no_turbo)",
    "smt": "echo off | sudo tee /sys/devices/system/cpu/smt/control",
    "perf_event_rate": "sudo sysctl kernel.perf_event_max_sample_rate={value}",
    "swap": "sudo swapoff -a",
    # Debian's and Ubuntu's way; other systems have other places for the kernel's command line.
    "isolated_cores": "echo 'GRUB_CMDLINE_LINUX=\"$GRUB_CMDLINE_LINUX isolcpus={cores} nohz_full={cores}\"'"
    " | sudo tee /etc/default/grub.d/isolate.cfg && sudo update-grub && sudo reboot",
    "address_randomization": "sudo sysctl kernel.randomize_va_space=2",
    "gpu_persistence": "sudo nvidia-smi --persistence-mode=1",
    "gpu_clock": "sudo nvidia-smi --lock-gpu-clocks=MHZ    (doctor --apply does the same)",
    "gpu_memory_clock": "sudo nvidia-smi --lock-memory-clocks=MHZ    (doctor --apply does the same)",
    "gpu_power_limit": "sudo nvidia-smi --power-limit={value}",
    "gpu_ecc": "sudo nvidia-smi --ecc-config=1, then restart",
    "gpu_mig": "sudo nvidia-smi --multi-instance-gpu=0",
    "gpu_throttling": "sudo nvidia-smi --lock-gpu-clocks=MHZ    (a clock that it keeps without slowing itself down)",
    "gpu_foreign_processes": "nvidia-smi --query-compute-apps=pid,name --format=csv    (shows them: end them, or wait)",
}
_WHY: Final = {
    "governor": "the clock follows the load, so that what ran before changes what is measured now",
    "boost": "the clock depends on heat and on how many neighbours work",
    "smt": "whatever runs on the other hardware thread takes up to half of the core",
    "perf_event_rate": "the kernel's profiler interrupts the core",
    "swap": "memory may have to be read back from a disk in the middle of a call",
    "isolated_cores": "the scheduler may put other tasks on the measured core",
    "address_randomization": "every launch has the same memory layout, whose luck is measured as an effect",
    "gpu_persistence": "the driver unloads between two processes and forgets its clocks",
    "gpu_clock": "a clock that moves with heat and load is measured as an effect",
    "gpu_memory_clock": "a clock that moves with heat and load is measured as an effect",
    "gpu_power_limit": "under another limit the clocks are other ones",
    "gpu_ecc": "error correction costs bandwidth on some devices",
    "gpu_mig": "a partition has a part of the device, and others may work in the rest",
    "gpu_throttling": "the device slows itself down at moments of its own",
    "gpu_foreign_processes": "they take time, memory bandwidth and power of the device",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that was looked at."""

    name: str
    level: Level
    found: str
    why: str = ""  # it matters; "" when good
    mend: str = ""  # a command, or why there is none; "" when good


def control_findings(states: Sequence[ControlState], setting: Setting) -> Iterable[Finding]:
    """The controls of the machine; those of a process are held by every run itself."""
    for state in states:
        if state.name not in MENDS:
            continue
        required = state.name in setting.profile.require
        yield Finding(
            name=state.name.replace("_", " "),
            level="good" if state.held else "unfit" if required else "caveat",
            found=state.observed + ("" if state.held else f", asked for {state.requested}"),
            why="" if state.held else _WHY[state.name],
            mend="" if state.held else _mend(state, setting.cores),
        )


def _mend(state: ControlState, cores: Sequence[int]) -> str:
    reason = state.applied.removeprefix("not applied: ")
    if reason:
        return f"{NOTHING}: {reason}"
    return MENDS[state.name].format(cores=",".join(map(str, cores)), value=state.requested)
