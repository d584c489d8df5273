"""Settings of the machine that can be changed and put back: kernel files and NVIDIA devices."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from paretoboard_runners import nvml

FREE: Final = "free"  # of a clock that the driver chooses
GpuProperty = Literal["sm_clock", "memory_clock", "power_limit", "persistence"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One setting of the machine: where it is, what it was, what it is to be."""

    control: str
    target: str  # path of a kernel file, or "<uuid>/<property>" of a device
    kind: Literal["file", "gpu"]
    before: str
    after: str


def read_file(path: Path) -> str:
    """The value of a kernel file; of "always [madvise] never" the chosen one."""
    text = path.read_text().strip()
    chosen = [word for word in text.split() if word.startswith("[") and word.endswith("]")]
    return chosen[0][1:-1] if chosen else text


def write(change: Change, value: str, open_nvml: nvml.Opener) -> None:
    """Set the target of `change` to `value`.

    Raises: OSError or NvmlError with the reason.
    """
    if change.kind == "file":
        # Opened without truncation or creation: a knob that is gone must not become a plain file.
        with Path(change.target).open("r+") as knob:
            knob.write(value)
            knob.truncate()
        return
    uuid, _, name = change.target.rpartition("/")
    with open_nvml() as library:
        gpu = next((gpu for gpu in library.gpus if gpu.uuid == uuid), None)
        if gpu is None:
            raise nvml.NvmlError(f"no device {uuid}")
        _write_gpu(gpu, name, value)


def _write_gpu(gpu: nvml.Gpu, name: str, value: str) -> None:
    if name == "sm_clock":
        gpu.release_sm_clock() if value == FREE else gpu.lock_sm_clock(int(value))
    elif name == "memory_clock":
        gpu.release_memory_clock() if value == FREE else gpu.lock_memory_clock(int(value))
    elif name == "power_limit":
        gpu.set_power_limit(float(value))
    elif name == "persistence":
        gpu.set_persistence(value == "on")
    else:
        raise nvml.NvmlError(f"no property '{name}' of a device")
