"""Controls of the NVIDIA device that CUDA calls 0, through NVML."""

from __future__ import annotations

import os
from abc import abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from typing_extensions import override

from paretoboard_runners import nvml
from paretoboard_runners.controls.base import UNKNOWN, Control, NotHeldError, Reach
from paretoboard_runners.controls.knobs import FREE, Change, GpuProperty

if TYPE_CHECKING:
    from collections.abc import Mapping

    from paretoboard_runners.nvml import Gpu

# A locked clock may read a step beside what was asked for; PROTOCOL's bound for a sample is 95 %.
_CLOCK_TOLERANCE = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuControl(Control):
    """A control of the device."""

    reach: ClassVar[Reach] = "gpu"
    knob: ClassVar[GpuProperty | None] = None

    @abstractmethod
    def look(self, gpu: Gpu, pid: int) -> str | None:
        """What the device says, None where it does not have it."""

    @override
    def available(self) -> str | None:
        try:
            with self.setting.open_nvml() as library:
                seen = self.look(nvml.visible_gpu(library), os.getpid())
        except nvml.NvmlError as error:
            return str(error)
        return None if seen is not None else "this device does not have it"

    @override
    def observe(self, pid: int) -> str | None:
        try:
            with self.setting.open_nvml() as library:
                seen = self.look(nvml.visible_gpu(library), pid)
        except nvml.NvmlError as error:
            return f"{UNKNOWN}: {error}"
        return seen if seen is not None else UNKNOWN

    @override
    def changes(self, requested: str) -> tuple[Change, ...]:
        try:
            with self.setting.open_nvml() as library:
                gpu = nvml.visible_gpu(library)
                before, after = self.before(gpu), self.resolve(gpu, requested)
                held = self.holds(requested, self.look(gpu, os.getpid()) or UNKNOWN)
                target = f"{gpu.uuid}/{self.knob}"
        except nvml.NvmlError as error:
            raise NotHeldError(str(error)) from error
        if self.knob is None:
            if held:
                return ()
            raise NotHeldError("this can only be looked at")
        # A clock that happens to be right is not locked, so clocks are always set.
        if before == after:
            return ()
        return (Change(control=self.name, target=target, kind="gpu", before=before, after=after),)

    def before(self, gpu: Gpu) -> str:
        """The value to go back to."""
        return self.look(gpu, os.getpid()) or UNKNOWN

    def resolve(self, gpu: Gpu, requested: str) -> str:  # noqa: ARG002  (only some depend on the device)
        """What to set for `requested` on this device. Raises: NotHeldError."""
        return requested


@dataclass(frozen=True, slots=True, kw_only=True)
class _Clock(GpuControl):
    @override
    def right_instead(self, requested: str) -> str | None:
        if requested == "max" or requested.isdecimal():
            return None
        return "a clock in MHz, or 'max' for the highest that the device offers"

    @override
    def before(self, gpu: Gpu) -> str:
        # NVML does not say whether somebody locked a clock before.
        return FREE

    @override
    def resolve(self, gpu: Gpu, requested: str) -> str:
        offered = self.offered(gpu)
        if not offered:
            raise NotHeldError("this device offers no clocks to choose from")
        if requested == "max":
            return str(offered[0])
        if int(requested) not in offered:
            nearest = min(offered, key=lambda clock: abs(clock - int(requested)))
            raise NotHeldError(f"{requested} MHz is not offered; the nearest is {nearest} MHz")
        return requested

    @override
    def matches(self, requested: str, observed: str) -> bool:
        number = observed.split()[0]
        if not number.isdecimal():
            return False
        try:
            with self.setting.open_nvml() as library:
                wanted = int(self.resolve(nvml.visible_gpu(library), requested))
        except (nvml.NvmlError, NotHeldError):
            return False
        return abs(int(number) / wanted - 1) <= _CLOCK_TOLERANCE

    @abstractmethod
    def offered(self, gpu: Gpu) -> tuple[int, ...]:
        """Clocks in MHz, highest first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SmClock(_Clock):
    """Clock of the multiprocessors."""

    name: ClassVar[str] = "gpu_clock"
    summary: ClassVar[str] = "clock of the GPU's multiprocessors, locked in MHz"
    knob: ClassVar[GpuProperty | None] = "sm_clock"

    @override
    def child_environment(self, requested: str) -> Mapping[str, str]:
        # Without it CUDA's device 0 is the fastest one and NVML's the first on the bus.
        return {"CUDA_DEVICE_ORDER": "PCI_BUS_ID"} if self.setting.profile.device == "cuda" else {}

    @override
    def look(self, gpu: Gpu, pid: int) -> str | None:
        clock = gpu.sm_clock_mhz
        return None if clock is None else f"{clock} MHz"

    @override
    def offered(self, gpu: Gpu) -> tuple[int, ...]:
        return gpu.sm_clocks_mhz


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryClock(_Clock):
    """Clock of the device's memory."""

    name: ClassVar[str] = "gpu_memory_clock"
    summary: ClassVar[str] = "clock of the GPU's memory, locked in MHz"
    knob: ClassVar[GpuProperty | None] = "memory_clock"

    @override
    def look(self, gpu: Gpu, pid: int) -> str | None:
        clock = gpu.memory_clock_mhz
        return None if clock is None else f"{clock} MHz"

    @override
    def offered(self, gpu: Gpu) -> tuple[int, ...]:
        return gpu.memory_clocks_mhz


@dataclass(frozen=True, slots=True, kw_only=True)
class PowerLimit(GpuControl):
    """The power that the device may draw."""

    name: ClassVar[str] = "gpu_power_limit"
    summary: ClassVar[str] = "power that the GPU may draw at most, in W"
    knob: ClassVar[GpuProperty | None] = "power_limit"

    @override
    def right_instead(self, requested: str) -> str | None:
        return None if _watts(requested) is not None else "a power in W"

    @override
    def look(self, gpu: Gpu, pid: int) -> str | None:
        limit = gpu.power_limit_w
        return None if limit is None else f"{limit:g}"

    @override
    def resolve(self, gpu: Gpu, requested: str) -> str:
        limits, wanted = gpu.power_limits_w, float(requested)
        if limits is not None and not limits[0] <= wanted <= limits[1]:
            raise NotHeldError(f"{wanted:g} W is outside of {limits[0]:g} to {limits[1]:g} W")
        return f"{wanted:g}"

    @override
    def matches(self, requested: str, observed: str) -> bool:
        return _watts(requested) == _watts(observed)


@dataclass(frozen=True, slots=True, kw_only=True)
class Persistence(GpuControl):
    """Whether the driver stays loaded between two processes."""

    name: ClassVar[str] = "gpu_persistence"
    summary: ClassVar[str] = "the driver stays loaded, with its clocks, when no process uses the GPU"
    choices: ClassVar[tuple[str, ...] | None] = ("on", "off")
    knob: ClassVar[GpuProperty | None] = "persistence"

    @override
    def look(self, gpu: Gpu, pid: int) -> str | None:
        return _word(gpu.persistence)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ecc(GpuControl):
    """Whether the device's memory corrects errors; changing it takes a reset, so it is only looked at."""

    name: ClassVar[str] = "gpu_ecc"
    summary: ClassVar[str] = "error correction of the GPU's memory, which costs bandwidth on some"
    choices: ClassVar[tuple[str, ...] | None] = ("on", "off")

    @override
    def look(self, gpu: Gpu, pid: int) -> str | None:
        return _word(gpu.ecc)


@dataclass(frozen=True, slots=True, kw_only=True)
class Mig(GpuControl):
    """Whether the device is shared by partitions; only looked at."""

    name: ClassVar[str] = "gpu_mig"
    summary: ClassVar[str] = "the GPU is split into partitions"
    choices: ClassVar[tuple[str, ...] | None] = ("on", "off")

    @override
    def look(self, gpu: Gpu, pid: int) -> str | None:
        # A device that can't be split is not split.
        return _word(bool(gpu.mig))


@dataclass(frozen=True, slots=True, kw_only=True)
class Throttling(GpuControl):
    """Whether the device slows itself down, for heat or for power."""

    name: ClassVar[str] = "gpu_throttling"
    summary: ClassVar[str] = "reasons for which the GPU slows itself down"
    choices: ClassVar[tuple[str, ...] | None] = ("none",)

    @override
    def look(self, gpu: Gpu, pid: int) -> str | None:
        reasons = gpu.throttle_reasons
        if reasons is None:
            return None
        return ", ".join(reason for reason in reasons if reason not in nvml.HARMLESS_REASONS) or "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class ForeignProcesses(GpuControl):
    """Whether somebody else uses the device."""

    name: ClassVar[str] = "gpu_foreign_processes"
    summary: ClassVar[str] = "other processes on the GPU"
    choices: ClassVar[tuple[str, ...] | None] = ("none",)

    @override
    def look(self, gpu: Gpu, pid: int) -> str | None:
        others = [str(process) for process in gpu.processes if process != pid]
        return ", ".join(others) or "none"


def _word(state: bool | None) -> str | None:
    return None if state is None else "on" if state else "off"


def _watts(text: str) -> float | None:
    try:
        watts = float(text)
    except ValueError:
        return None
    return watts if watts > 0 else None
