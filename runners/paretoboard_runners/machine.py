"""What this machine is: its hardware, its software, and one id for each that decides what is comparable.

Only what changes a speed by design is part of the hardware's id; measured clocks, host name and temperatures
are not. Ask before pinning: a pinned process sees only its own cores.
"""

from __future__ import annotations

import math
import os
import platform
import subprocess
import sys
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import paretoboard
from paretoboard.plan import digest
from paretoboard_runners import nvml

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from paretoboard.records import Provenance
    from paretoboard.spec import Device

# Distributions whose version can change a number. What is not installed is left out.
SOFTWARE: Final = (
    "intel-openmp",
    "mkl",
    "nncf",
    "numpy",
    "nvidia-cublas",
    "nvidia-cublas-cu12",
    "nvidia-cudnn-cu12",
    "nvidia-cudnn-cu13",
    "onnx",
    "onnxruntime",
    "onnxruntime-gpu",
    "onnxscript",
    "openvino",
    "pillow",
    "scikit-learn",
    "scipy",
    "torch",
    "torch-pruning",
    "torchao",
    "torchvision",
    "triton",
)
# Flag of /proc/cpuinfo -> the instruction set for arithmetic of fewer than 32 bits that it stands for.
_INSTRUCTION_SETS: Final = {
    "avx_vnni": "AVX-VNNI",
    "avx512_vnni": "AVX512-VNNI",
    "avx512_bf16": "AVX512-BF16",
    "avx512_fp16": "AVX512-FP16",
    "amx_int8": "AMX-INT8",
    "amx_bf16": "AMX-BF16",
    "asimddp": "ARM dot product",
    "i8mm": "ARM I8MM",
    "bf16": "ARM BF16",
}


# CUDA C++ Programming Guide, "Compute Capabilities": __dp4a needs 6.1.
_DP4A_SINCE: Final = (6, 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fingerprints:
    """64 hex digits each: records with equal hardware may be ranked, with equal environments be trended."""

    hardware_id: str
    environment_id: str


def hardware(
    root: Path = Path("/"),
    open_nvml: nvml.Opener = nvml.opened,
) -> dict[str, Any]:
    """What the hardware's id is made of: CPU model, usable cores, NUMA nodes, memory class, accelerators."""
    return {
        "cpu": _cpu_model(root),
        "logical_cpus": len(usable_cpus(root)),
        "numa_nodes": max(1, len(list((root / "sys/devices/system/node").glob("node[0-9]*")))),
        "memory_bytes": _nearest_power_of_two(_memory_bytes(root)),
        "accelerators": _accelerators(open_nvml),
    }


def environment(
    root: Path = Path("/"),
    open_nvml: nvml.Opener = nvml.opened,
) -> dict[str, Any]:
    """What the environment's id is made of: Python, libraries, kernel, libc, driver, microcode."""
    return {
        "python": platform.python_version(),
        "implementation": sys.implementation.name,
        "kernel": os.uname().release,
        "libc": _libc(),
        "microcode": _cpuinfo(root).get("microcode", ""),
        "gpu_driver": _gpu_driver(open_nvml),
        "libraries": _versions(),
    }


def fingerprints() -> Fingerprints:
    """The ids of this machine's hardware and software, as they are now."""
    return Fingerprints(hardware_id=digest(hardware()), environment_id=digest(environment()))


def provenance() -> Provenance:
    """Where and with what a record made now is made."""
    from paretoboard.records import Provenance

    seen_hardware, seen_environment = hardware(), environment()
    return Provenance(
        hardware_id=digest(seen_hardware),
        hardware=seen_hardware,
        environment_id=digest(seen_environment),
        environment=seen_environment,
        commit=project_commit(),
    )


def project_commit(checkout: Path | None = None) -> str:
    """The commit that the project's code is at, "+dirty" appended when files differ from it.

    Args:
        checkout: top folder of the checkout; by default the one this code runs from.
    Returns: "" outside a checkout, without git, and before the first commit.
    """
    top = checkout if checkout is not None else Path(paretoboard.__file__).resolve().parents[2]
    # An installed copy may lie inside somebody else's repository, whose commit says nothing about us.
    if not (top / ".git").exists() or not (top / "suite" / "paretoboard").is_dir():
        return ""
    command = ["git", "-C", str(top), "--no-optional-locks", "status", "--porcelain=v2", "--branch"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=30)
    except (OSError, subprocess.SubprocessError):
        return ""
    lines = done.stdout.splitlines()
    oid = next((line.split()[2] for line in lines if line.startswith("# branch.oid ")), "")
    if not oid or oid == "(initial)":
        return ""
    return oid + ("" if all(line.startswith("#") for line in lines) else "+dirty")


def instruction_sets(
    device: Device = "cpu", *, root: Path = Path("/"), open_nvml: nvml.Opener = nvml.opened
) -> tuple[str, ...]:
    """The instruction sets of the first processor, or of the GPU, for arithmetic of fewer than 32 bits."""
    if device == "cuda":
        try:
            with open_nvml() as library:
                capability = nvml.visible_gpu(library).compute_capability
        except nvml.NvmlError:
            return ()
        return ("DP4A",) if capability is not None and capability >= _DP4A_SINCE else ()
    info = _cpuinfo(root)
    flags = set((info.get("flags") or info.get("Features") or "").split())
    return tuple(name for flag, name in _INSTRUCTION_SETS.items() if flag in flags)


def usable_cpus(root: Path = Path("/"), allowed: Iterable[int] | None = None) -> tuple[int, ...]:
    """Logical CPUs that this process can keep busy, ascending: its affinity, cut to the cgroup's quota."""
    cpus = sorted(os.sched_getaffinity(0) if allowed is None else allowed)
    quota = cpu_quota(root)
    if quota is None:
        return tuple(cpus)
    return tuple(cpus[: max(1, math.floor(quota))])


def cpu_quota(root: Path = Path("/")) -> float | None:
    """How many CPUs' worth of time the cgroups of this process grant; None without a limit."""
    groups = root / "sys/fs/cgroup"
    limits: list[float] = []
    for line in _read(root / "proc/self/cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            limits += _quotas(groups, path, _quota_v2)
        elif "cpu" in controllers.split(","):
            limits += _quotas(groups / controllers, path, _quota_v1)
    return min(limits, default=None)


def parse_cpus(text: str) -> tuple[int, ...]:
    """The kernel's list format, "0-3,8" -> (0, 1, 2, 3, 8)."""
    cpus: list[int] = []
    for part in filter(None, text.strip().split(",")):
        first, _, last = part.partition("-")
        cpus += range(int(first), int(last or first) + 1)
    return tuple(cpus)


def _quotas(groups: Path, path: str, read: Callable[[Path], float | None]) -> list[float]:
    # A limit on any group above this one binds too; inside a container only the mounted part is to be seen.
    folders = [groups, *(groups / part for part in _prefixes(path.strip("/")))]
    return [limit for folder in folders if (limit := read(folder)) is not None]


def _prefixes(path: str) -> list[str]:
    parts = path.split("/") if path else []
    return ["/".join(parts[: count + 1]) for count in range(len(parts))]


def _quota_v2(folder: Path) -> float | None:
    fields = _read(folder / "cpu.max").split()
    return None if len(fields) != 2 or fields[0] == "max" else int(fields[0]) / int(fields[1])


def _quota_v1(folder: Path) -> float | None:
    quota, period = _read(folder / "cpu.cfs_quota_us").strip(), _read(folder / "cpu.cfs_period_us").strip()
    return None if not quota or not period or int(quota) <= 0 else int(quota) / int(period)


def _cpu_model(root: Path) -> str:
    """Name with family, model and stepping: a hypervisor's names are often the same for different chips."""
    info = _cpuinfo(root)
    name = info.get("model name") or info.get("CPU implementer") or platform.machine()
    numbers = [info[key] for key in ("cpu family", "model", "stepping", "CPU part", "CPU variant") if key in info]
    return f"{name} ({'/'.join(numbers)})" if numbers else name


def _cpuinfo(root: Path) -> dict[str, str]:
    """The fields of the first processor."""
    first = _read(root / "proc/cpuinfo").split("\n\n", 1)[0]
    pairs = (line.split(":", 1) for line in first.splitlines() if ":" in line)
    return {key.strip(): value.strip() for key, value in pairs}


def _memory_bytes(root: Path) -> int:
    for line in _read(root / "proc/meminfo").splitlines():
        if line.startswith("MemTotal:"):
            return int(line.split()[1]) * 1024
    return 0


def _nearest_power_of_two(value: int) -> int:
    # The kernel keeps a share of the memory back that differs between kernels: 15.6 GiB is a 16 GiB machine.
    return 1 << round(math.log2(value)) if value > 0 else 0


def _accelerators(open_nvml: nvml.Opener) -> list[dict[str, Any]]:
    try:
        with open_nvml() as library:
            found = [gpu.facts() for gpu in library.gpus]
    except nvml.NvmlError:
        return []
    return [
        {
            "model": gpu.model,
            "memory_bytes": gpu.memory_bytes,
            "partition": gpu.partition,
            "power_limit_w": gpu.power_limit_w,
        }
        for gpu in found
    ]


def _gpu_driver(open_nvml: nvml.Opener) -> str:
    try:
        with open_nvml() as library:
            return library.driver
    except nvml.NvmlError:
        return ""


def _libc() -> str:
    try:
        return os.confstr("CS_GNU_LIBC_VERSION") or ""
    except (ValueError, OSError):
        return " ".join(platform.libc_ver())


def _versions() -> Mapping[str, str]:
    found = {}
    for name in SOFTWARE:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
