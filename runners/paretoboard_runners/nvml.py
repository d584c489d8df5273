"""NVIDIA devices through NVML: a thin seam over `nvidia-ml-py`, in SI units and plain values.

What a device does not support is None, what the caller may not do is a `NotPermittedError`; any other refusal
of the library is a `NvmlError` with the library's words. The library comes in as a parameter, so that the
same code runs against the real one and against a module with the same functions.
"""

from __future__ import annotations

import os
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from paretoboard.errors import ParetoboardError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

# Without one of these no NVIDIA driver is loaded, and importing the library (20 ms) would find nothing.
_DRIVER_FILES: Final = (Path("/dev/nvidiactl"), Path("/dev/dxg"), Path("/proc/driver/nvidia/version"))

# Bit of nvmlDeviceGetCurrentClocksEventReasons -> words (nvml.h, "Clocks Event Reasons").
THROTTLE_REASONS: Final = {
    0x1: "idle",
    0x2: "application clocks",
    0x4: "power cap",
    0x8: "hardware slowdown",
    0x10: "sync boost",
    0x20: "thermal (software)",
    0x40: "thermal (hardware)",
    0x80: "power brake",
    0x100: "display clock",
}
# Idle and clocks that somebody asked for are not the device slowing itself down.
HARMLESS_REASONS: Final = frozenset({"idle", "application clocks", "display clock"})


class NvmlError(ParetoboardError):
    """The driver refused a call, or is not there."""


class NotPermittedError(NvmlError):
    """Changing this needs rights that this process does not have."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuFacts:
    """What decides whether two devices are comparable, and the id that tells them apart."""

    uuid: str
    model: str
    memory_bytes: int
    partition: str  # "" without MIG, else the sizes of the partitions
    power_limit_w: float | None


class Gpu:
    """One device. Clocks in MHz, power in W, energy in J, temperature in degrees Celsius."""

    def __init__(self, library: Any, handle: Any) -> None:
        self._library = library
        self._handle = handle

    def facts(self) -> GpuFacts:
        """Model, memory, partition and set power limit."""
        memory = self._ask("nvmlDeviceGetMemoryInfo")
        return GpuFacts(
            uuid=self.uuid,
            model=str(self._ask("nvmlDeviceGetName")),
            memory_bytes=int(memory.total) if memory is not None else 0,
            partition=self._partition(),
            power_limit_w=self.power_limit_w,
        )

    @property
    def uuid(self) -> str:
        """The id the driver gives this device, "GPU-..."."""
        return str(self._ask("nvmlDeviceGetUUID"))

    @property
    def compute_capability(self) -> tuple[int, int] | None:
        """CUDA's (major, minor) of the chip."""
        found = self._ask("nvmlDeviceGetCudaComputeCapability")
        return None if found is None else (int(found[0]), int(found[1]))

    @property
    def sm_clock_mhz(self) -> int | None:
        """Clock of the multiprocessors, now."""
        return _optional_int(self._ask("nvmlDeviceGetClockInfo", self._library.NVML_CLOCK_SM))

    @property
    def memory_clock_mhz(self) -> int | None:
        """Clock of the memory, now."""
        return _optional_int(self._ask("nvmlDeviceGetClockInfo", self._library.NVML_CLOCK_MEM))

    @property
    def memory_clocks_mhz(self) -> tuple[int, ...]:
        """Memory clocks that can be asked for, highest first."""
        return tuple(sorted(self._ask("nvmlDeviceGetSupportedMemoryClocks") or (), reverse=True))

    @property
    def sm_clocks_mhz(self) -> tuple[int, ...]:
        """SM clocks that can be asked for at the highest memory clock, highest first."""
        memory_clocks = self.memory_clocks_mhz
        if not memory_clocks:
            return ()
        return tuple(sorted(self._ask("nvmlDeviceGetSupportedGraphicsClocks", memory_clocks[0]) or (), reverse=True))

    def lock_sm_clock(self, mhz: int) -> None:
        """Hold the SM clock at `mhz`. Raises: NotPermittedError, NvmlError."""
        self._change("nvmlDeviceSetGpuLockedClocks", mhz, mhz)

    def release_sm_clock(self) -> None:
        """Let the driver choose the SM clock again."""
        self._change("nvmlDeviceResetGpuLockedClocks")

    def lock_memory_clock(self, mhz: int) -> None:
        """Hold the memory clock at `mhz`."""
        self._change("nvmlDeviceSetMemoryLockedClocks", mhz, mhz)

    def release_memory_clock(self) -> None:
        """Let the driver choose the memory clock again."""
        self._change("nvmlDeviceResetMemoryLockedClocks")

    @property
    def power_limit_w(self) -> float | None:
        """The limit that is set, to the milliwatt."""
        milliwatts = self._ask("nvmlDeviceGetPowerManagementLimit")
        return None if milliwatts is None else milliwatts / 1000

    @property
    def power_limits_w(self) -> tuple[float, float] | None:
        """Lowest and highest limit that can be set."""
        limits = self._ask("nvmlDeviceGetPowerManagementLimitConstraints")
        return None if limits is None else (limits[0] / 1000, limits[1] / 1000)

    def set_power_limit(self, watts: float) -> None:
        """Set the limit, rounded to the milliwatt."""
        self._change("nvmlDeviceSetPowerManagementLimit", round(watts * 1000))

    @property
    def persistence(self) -> bool | None:
        """Whether the driver stays loaded when nobody uses the device."""
        mode = self._ask("nvmlDeviceGetPersistenceMode")
        return None if mode is None else mode == self._library.NVML_FEATURE_ENABLED

    def set_persistence(self, on: bool) -> None:
        """Keep the driver loaded, or let it go."""
        self._change("nvmlDeviceSetPersistenceMode", int(on))

    @property
    def ecc(self) -> bool | None:
        """Whether the memory corrects errors; None where it can't."""
        modes = self._ask("nvmlDeviceGetEccMode")
        return None if modes is None else modes[0] == self._library.NVML_FEATURE_ENABLED

    @property
    def mig(self) -> bool | None:
        """Whether the device is split into partitions; None where it can't be."""
        modes = self._ask("nvmlDeviceGetMigMode")
        return None if modes is None else modes[0] == self._library.NVML_FEATURE_ENABLED

    @property
    def throttle_reasons(self) -> tuple[str, ...] | None:
        """Why the clocks are what they are, now, in words."""
        mask = self._ask("nvmlDeviceGetCurrentClocksEventReasons")
        if mask is None:
            return None
        return tuple(words for bit, words in THROTTLE_REASONS.items() if mask & bit)

    @property
    def processes(self) -> tuple[int, ...]:
        """Ids of the processes that compute or draw on this device."""
        found = [
            *(self._ask("nvmlDeviceGetComputeRunningProcesses") or ()),
            *(self._ask("nvmlDeviceGetGraphicsRunningProcesses") or ()),
        ]
        return tuple(sorted({int(process.pid) for process in found}))

    @property
    def memory_used_bytes(self) -> int | None:
        """Device memory in use by everybody."""
        memory = self._ask("nvmlDeviceGetMemoryInfo")
        return None if memory is None else int(memory.used)

    @property
    def temperature_c(self) -> float | None:
        """Of the chip."""
        celsius = self._ask("nvmlDeviceGetTemperature", self._library.NVML_TEMPERATURE_GPU)
        return None if celsius is None else float(celsius)

    @property
    def energy_j(self) -> float | None:
        """Energy used since the driver was loaded; only differences mean something."""
        millijoules = self._ask("nvmlDeviceGetTotalEnergyConsumption")
        return None if millijoules is None else millijoules / 1000

    def _partition(self) -> str:
        if not self.mig:
            return ""
        sizes = []
        for index in range(int(self._ask("nvmlDeviceGetMaxMigDeviceCount") or 0)):
            handle = self._ask("nvmlDeviceGetMigDeviceHandleByIndex", index)
            if handle is not None:
                memory = Gpu(self._library, handle)._ask("nvmlDeviceGetMemoryInfo")
                sizes.append(f"{round(memory.total / 2**30)} GiB" if memory is not None else "?")
        return " + ".join(sizes) or "no partition made"

    def _ask(self, function: str, *arguments: Any) -> Any:
        """The library's answer, None where this device or driver does not have it."""
        library = self._library
        absent = (
            library.NVML_ERROR_NOT_SUPPORTED,
            library.NVML_ERROR_FUNCTION_NOT_FOUND,
            library.NVML_ERROR_NOT_FOUND,
        )
        try:
            return getattr(library, function)(self._handle, *arguments)
        except library.NVMLError as error:
            if error.value in absent:
                return None
            raise NvmlError(f"{function}: {error}") from error

    def _change(self, function: str, *arguments: Any) -> None:
        library = self._library
        try:
            getattr(library, function)(self._handle, *arguments)
        except library.NVMLError as error:
            kind = NotPermittedError if error.value == library.NVML_ERROR_NO_PERMISSION else NvmlError
            raise kind(f"{function}: {error}") from error


class Nvml:
    """The opened library."""

    def __init__(self, library: Any) -> None:
        self._library = library

    @property
    def driver(self) -> str:
        """Version of the driver."""
        return str(self._library.nvmlSystemGetDriverVersion())

    @property
    def gpus(self) -> tuple[Gpu, ...]:
        """All devices, in the order of the bus."""
        library = self._library
        return tuple(
            Gpu(library, library.nvmlDeviceGetHandleByIndex(index)) for index in range(library.nvmlDeviceGetCount())
        )

    def gpu(self, visible: str | None) -> Gpu:
        """The device that CUDA calls 0, given the value of CUDA_VISIBLE_DEVICES (None when it is not set).

        Holds only with CUDA_DEVICE_ORDER=PCI_BUS_ID, which `session_environment` sets.
        Raises: NvmlError if there is no such device.
        """
        wanted = (visible or "0").split(",")[0].strip()
        gpus = self.gpus
        for index, gpu in enumerate(gpus):
            if wanted == str(index) or (wanted.startswith("GPU-") and gpu.uuid.startswith(wanted)):
                return gpu
        raise NvmlError(f"CUDA_VISIBLE_DEVICES names device '{wanted}'; there are {len(gpus)} NVIDIA devices")


@contextmanager
def opened(library: Any = None) -> Iterator[Nvml]:
    """NVML, initialized while the block runs.

    Args:
        library: a module with the functions of `pynvml`; the real one by default.
    Raises: NvmlError where there is no driver, with the library's words.
    """
    if library is None:
        if not any(path.exists() for path in _DRIVER_FILES):
            raise NvmlError("no NVIDIA driver is loaded")
        import pynvml

        library = pynvml
    try:
        library.nvmlInit()
    except library.NVMLError as error:
        raise NvmlError(f"NVML: {error}") from error
    try:
        yield Nvml(library)
    finally:
        library.nvmlShutdown()


# How callers get at the library; tests give one that opens a module of their own.
Opener: TypeAlias = "Callable[[], AbstractContextManager[Nvml]]"


def visible_gpu(nvml: Nvml) -> Gpu:
    """The device that CUDA in this process's children calls 0."""
    return nvml.gpu(os.environ.get("CUDA_VISIBLE_DEVICES"))


def _optional_int(value: Any) -> int | None:
    return None if value is None else int(value)
