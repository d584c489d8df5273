"""Two NVIDIA devices that exist nowhere, behind the functions, answers and exceptions of `pynvml`.

What is set is kept and read back, values out of range and callers without rights are refused with the library's
own errors. Units are NVML's: mW, mJ, MHz, bytes.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from types import SimpleNamespace

import pynvml


@dataclass
class Device:
    """The state of one device."""

    uuid: str
    name: str = "NVIDIA H100 80GB HBM3"
    memory_total: int = 80 * 2**30
    memory_used: int = 2**30
    capability: tuple[int, int] = (9, 0)
    sm_clock: int = 1980
    memory_clock: int = 2619
    locked_sm: tuple[int, int] | None = None
    locked_memory: tuple[int, int] | None = None
    power_limit: int = 700_000
    power_limits: tuple[int, int] = (200_000, 700_000)
    persistence: int = 0
    ecc: int | None = 1
    mig: int | None = 0
    partitions: tuple[int, ...] = ()  # bytes of each MIG partition
    reasons: int = 0x1
    temperature: int = 34
    energy: int = 5_000
    processes: list[int] = field(default_factory=list)


class FakeNvml:
    """Stands in for the module `pynvml`."""

    NVMLError = pynvml.NVMLError
    NVML_ERROR_NOT_SUPPORTED = pynvml.NVML_ERROR_NOT_SUPPORTED
    NVML_ERROR_FUNCTION_NOT_FOUND = pynvml.NVML_ERROR_FUNCTION_NOT_FOUND
    NVML_ERROR_NOT_FOUND = pynvml.NVML_ERROR_NOT_FOUND
    NVML_ERROR_NO_PERMISSION = pynvml.NVML_ERROR_NO_PERMISSION
    NVML_FEATURE_ENABLED = pynvml.NVML_FEATURE_ENABLED
    NVML_CLOCK_SM = pynvml.NVML_CLOCK_SM
    NVML_CLOCK_MEM = pynvml.NVML_CLOCK_MEM
    NVML_TEMPERATURE_GPU = pynvml.NVML_TEMPERATURE_GPU

    def __init__(self, devices: list[Device] | None = None, *, root: bool = True, driver: bool = True) -> None:
        self.devices = devices if devices is not None else [Device(uuid="GPU-aaaa"), Device(uuid="GPU-bbbb")]
        self.root, self.driver, self.opened = root, driver, 0

    def nvmlInit(self) -> None:
        if not self.driver:
            raise self.NVMLError(pynvml.NVML_ERROR_DRIVER_NOT_LOADED)
        self.opened += 1

    def nvmlShutdown(self) -> None:
        self._check_open()
        self.opened -= 1

    def nvmlSystemGetDriverVersion(self) -> str:
        self._check_open()
        return "580.65.06"

    def nvmlDeviceGetCount(self) -> int:
        self._check_open()
        return len(self.devices)

    def nvmlDeviceGetHandleByIndex(self, index: int) -> Device:
        self._check_open()
        if not 0 <= index < len(self.devices):
            raise self.NVMLError(pynvml.NVML_ERROR_INVALID_ARGUMENT)
        return self.devices[index]

    def nvmlDeviceGetCudaComputeCapability(self, handle: Device) -> list[int]:
        return list(handle.capability)

    def nvmlDeviceGetUUID(self, handle: Device) -> str:
        return handle.uuid

    def nvmlDeviceGetName(self, handle: Device) -> str:
        return handle.name

    def nvmlDeviceGetMemoryInfo(self, handle: Device, version: int | None = None) -> SimpleNamespace:
        return SimpleNamespace(total=handle.memory_total, used=handle.memory_used)

    def nvmlDeviceGetClockInfo(self, handle: Device, kind: int) -> int:
        if kind == self.NVML_CLOCK_SM:
            return min(handle.sm_clock, handle.locked_sm[1]) if handle.locked_sm else handle.sm_clock
        return min(handle.memory_clock, handle.locked_memory[1]) if handle.locked_memory else handle.memory_clock

    def nvmlDeviceGetSupportedMemoryClocks(self, handle: Device) -> list[int]:
        return [2619, 1593]

    def nvmlDeviceGetSupportedGraphicsClocks(self, handle: Device, memory_clock_mhz: int) -> list[int]:
        if memory_clock_mhz not in (2619, 1593):
            raise self.NVMLError(pynvml.NVML_ERROR_NOT_FOUND)
        return [1980, 1965, 1410, 345]

    def nvmlDeviceSetGpuLockedClocks(self, handle: Device, min_mhz: int, max_mhz: int) -> None:
        self._check_root()
        handle.locked_sm = (min_mhz, max_mhz)

    def nvmlDeviceResetGpuLockedClocks(self, handle: Device) -> None:
        self._check_root()
        handle.locked_sm = None

    def nvmlDeviceSetMemoryLockedClocks(self, handle: Device, min_mhz: int, max_mhz: int) -> None:
        self._check_root()
        handle.locked_memory = (min_mhz, max_mhz)

    def nvmlDeviceResetMemoryLockedClocks(self, handle: Device) -> None:
        self._check_root()
        handle.locked_memory = None

    def nvmlDeviceGetPowerManagementLimit(self, handle: Device) -> int:
        return handle.power_limit

    def nvmlDeviceGetPowerManagementLimitConstraints(self, handle: Device) -> list[int]:
        return list(handle.power_limits)

    def nvmlDeviceSetPowerManagementLimit(self, handle: Device, limit: int) -> None:
        self._check_root()
        if not handle.power_limits[0] <= limit <= handle.power_limits[1]:
            raise self.NVMLError(pynvml.NVML_ERROR_INVALID_ARGUMENT)
        handle.power_limit = limit

    def nvmlDeviceGetPersistenceMode(self, handle: Device) -> int:
        return handle.persistence

    def nvmlDeviceSetPersistenceMode(self, handle: Device, mode: int) -> None:
        self._check_root()
        handle.persistence = mode

    def nvmlDeviceGetEccMode(self, handle: Device) -> list[int]:
        return self._pair(handle.ecc)

    def nvmlDeviceGetMigMode(self, device: Device) -> list[int]:
        return self._pair(device.mig)

    def nvmlDeviceGetMaxMigDeviceCount(self, device: Device) -> int:
        return 7

    def nvmlDeviceGetMigDeviceHandleByIndex(self, device: Device, index: int) -> Device:
        if index >= len(device.partitions):
            raise self.NVMLError(pynvml.NVML_ERROR_NOT_FOUND)
        return Device(uuid=f"MIG-{index}", memory_total=device.partitions[index])

    def nvmlDeviceGetCurrentClocksEventReasons(self, handle: Device) -> int:
        return handle.reasons

    def nvmlDeviceGetComputeRunningProcesses(self, handle: Device) -> list[SimpleNamespace]:
        return [SimpleNamespace(pid=pid, usedGpuMemory=2**20) for pid in handle.processes]

    def nvmlDeviceGetGraphicsRunningProcesses(self, handle: Device) -> list[SimpleNamespace]:
        return []

    def nvmlDeviceGetTemperature(self, handle: Device, sensor: int) -> int:
        return handle.temperature

    def nvmlDeviceGetTotalEnergyConsumption(self, handle: Device) -> int:
        return handle.energy

    def _pair(self, mode: int | None) -> list[int]:
        if mode is None:
            raise self.NVMLError(pynvml.NVML_ERROR_NOT_SUPPORTED)
        return [mode, mode]

    def _check_open(self) -> None:
        if self.opened < 1:
            raise self.NVMLError(pynvml.NVML_ERROR_UNINITIALIZED)

    def _check_root(self) -> None:
        self._check_open()
        if not self.root:
            raise self.NVMLError(pynvml.NVML_ERROR_NO_PERMISSION)
