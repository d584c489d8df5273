"""Controls that hold inside the measuring process, set in its environment, before or after its imports."""

from __future__ import annotations

import ctypes
import gc
import os
import platform
import random
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Final

from typing_extensions import override

from paretoboard_runners.controls import proc
from paretoboard_runners.controls.base import AS_IS, UNKNOWN, Control, NotHeldError
from paretoboard_runners.machine import parse_cpus

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_ADDR_NO_RANDOMIZE: Final = 0x0040000  # personality(2)
_PR_SET_THP_DISABLE: Final = 41  # prctl(2)
_MPOL_BIND: Final = 2  # set_mempolicy(2)
_SET_MEMPOLICY: Final = {"x86_64": 238, "aarch64": 237, "ppc64le": 261, "s390x": 270, "riscv64": 237}

THREAD_VARIABLES: Final = (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "BLIS_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
)
# glibc gives large buffers back to the kernel after every operator, so that torch eager pays page faults that
# other runtimes do not: up to 2.25x (two Zen 4 cores, 2026-11). Kept buffers treat all alike.
ALLOCATOR_VARIABLES: Final = {
    "MALLOC_MMAP_MAX_": "0",
    "MALLOC_TRIM_THRESHOLD_": "-1",
    "MALLOC_TOP_PAD_": "134217728",
}
# GNU OpenMP spins: with two threads on a busy machine the median of a 2.4 ms call became 239 ms, and 8 ms
# when waiting is passive (same machine). KMP_BLOCKTIME is the same for the Intel and LLVM runtimes.
WAITING_VARIABLES: Final = {
    "passive": {"OMP_WAIT_POLICY": "PASSIVE", "KMP_BLOCKTIME": "0"},
    "active": {"OMP_WAIT_POLICY": "ACTIVE", "KMP_BLOCKTIME": "infinite"},
}


def spell(cores: tuple[int, ...]) -> str:
    """Cores as text, "0,2,3"."""
    return ",".join(map(str, sorted(cores)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Cores(Control):
    """The set of cores that all threads of the process stay on."""

    name: ClassVar[str] = "cores"
    summary: ClassVar[str] = "all threads stay on the chosen cores"

    @override
    def default(self) -> str:
        return spell(self.setting.cores)

    @override
    def apply(self, requested: str) -> str | None:
        try:
            os.sched_setaffinity(0, parse_cpus(requested))
        except (OSError, ValueError) as error:
            raise NotHeldError(f"can't pin to cores {requested}: {error}") from error
        return requested

    @override
    def observe(self, pid: int) -> str | None:
        # Every thread counts: a runtime may spread its own over the set, and must not leave it.
        return spell(tuple({core for cores in proc.affinity(pid).values() for core in cores}))


@dataclass(frozen=True, slots=True, kw_only=True)
class Threads(Control):
    """How many threads OpenMP, MKL, OpenBLAS and torch use."""

    name: ClassVar[str] = "threads"
    summary: ClassVar[str] = "thread pools as large as the set of cores, sized before any import"

    @override
    def default(self) -> str:
        return str(len(self.setting.cores))

    @override
    def accepts(self, requested: str) -> str | None:
        return None if requested == AS_IS or (requested.isdecimal() and int(requested) > 0) else "a count above 0"

    @override
    def child_environment(self, requested: str) -> Mapping[str, str]:
        if requested == AS_IS:
            return {}
        return {**dict.fromkeys(THREAD_VARIABLES, requested), "OMP_DYNAMIC": "FALSE", "MKL_DYNAMIC": "FALSE"}

    @override
    def apply_after_imports(self, requested: str) -> str | None:
        if requested == AS_IS:
            return None
        torch = sys.modules.get("torch")
        if torch is not None:
            torch.set_num_threads(int(requested))
            if torch.get_num_interop_threads() != 1:
                try:
                    torch.set_num_interop_threads(1)
                except RuntimeError as error:  # it can be set once, and only before the first parallel call
                    raise NotHeldError(f"torch's inter-op threads: {error}") from error
        return requested

    @override
    def observe_inside(self) -> str | None:
        pools: dict[str, int] = {}
        torch = sys.modules.get("torch")
        if torch is not None:
            pools["torch"] = torch.get_num_threads()
        if "numpy" in sys.modules:
            import threadpoolctl

            pools |= {pool["prefix"]: pool["num_threads"] for pool in threadpoolctl.threadpool_info()}
        return _one_or_all(pools) if pools else None

    @override
    def observe(self, pid: int) -> str | None:
        given = proc.environment(pid)
        return _one_or_all({name: given.get(name, "not set") for name in THREAD_VARIABLES})


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting(Control):
    """What OpenMP's threads do between two parallel regions."""

    name: ClassVar[str] = "waiting"
    summary: ClassVar[str] = "threads without work sleep (passive) or spin (active)"
    choices: ClassVar[tuple[str, ...] | None] = tuple(WAITING_VARIABLES)

    @override
    def default(self) -> str:
        return "passive"

    @override
    def child_environment(self, requested: str) -> Mapping[str, str]:
        return WAITING_VARIABLES.get(requested, {})

    @override
    def observe(self, pid: int) -> str | None:
        given = proc.environment(pid)
        for word, variables in WAITING_VARIABLES.items():
            if variables.items() <= given.items():
                return word
        return "the libraries' default"


@dataclass(frozen=True, slots=True, kw_only=True)
class Allocator(Control):
    """Whether glibc keeps freed memory for the next call."""

    name: ClassVar[str] = "allocator"
    summary: ClassVar[str] = "freed memory is kept for the next call instead of going back to the kernel"
    choices: ClassVar[tuple[str, ...] | None] = ("keep",)

    @override
    def default(self) -> str:
        return "keep"

    @override
    def available(self) -> str | None:
        return None if "glibc" in platform.libc_ver() else "the C library is not glibc"

    @override
    def child_environment(self, requested: str) -> Mapping[str, str]:
        return ALLOCATOR_VARIABLES if requested == "keep" else {}

    @override
    def observe(self, pid: int) -> str | None:
        return "keep" if ALLOCATOR_VARIABLES.items() <= proc.environment(pid).items() else "the libc's default"


@dataclass(frozen=True, slots=True, kw_only=True)
class Seeds(Control):
    """The generators of python, numpy and torch."""

    name: ClassVar[str] = "seeds"
    summary: ClassVar[str] = "python, numpy and torch draw from the run's seed"
    choices: ClassVar[tuple[str, ...] | None] = ("fixed",)

    @override
    def default(self) -> str:
        return "fixed"

    @override
    def apply(self, requested: str) -> str | None:
        if requested == AS_IS:
            return None
        random.seed(self.setting.seed)
        return requested

    @override
    def apply_after_imports(self, requested: str) -> str | None:
        if requested == AS_IS:
            return None
        random.seed(self.setting.seed)
        if "numpy" in sys.modules:
            sys.modules["numpy"].random.seed(self._numpy_seed)
        if "torch" in sys.modules:
            sys.modules["torch"].manual_seed(self.setting.seed)
        return requested

    @override
    def observe_inside(self) -> str | None:
        # Asked right after seeding, so that the generators' states can be compared with fresh ones.
        wrong = []
        if random.getstate() != random.Random(self.setting.seed).getstate():
            wrong.append("python")
        numpy = sys.modules.get("numpy")
        if numpy is not None:
            mine, fresh = numpy.random.get_state(), numpy.random.RandomState(self._numpy_seed).get_state()
            if mine[2] != fresh[2] or not (mine[1] == fresh[1]).all():
                wrong.append("numpy")
        torch = sys.modules.get("torch")
        if torch is not None and torch.initial_seed() != self.setting.seed:
            wrong.append("torch")
        return "fixed" if not wrong else "not seeded: " + ", ".join(wrong)

    @property
    def _numpy_seed(self) -> int:
        return self.setting.seed % 2**32


@dataclass(frozen=True, slots=True, kw_only=True)
class Determinism(Control):
    """Whether the same run gives the same bits."""

    name: ClassVar[str] = "determinism"
    summary: ClassVar[str] = "libraries choose algorithms that give the same bits every time"
    choices: ClassVar[tuple[str, ...] | None] = ("on", "off")

    @override
    def default(self) -> str:
        return "on" if self.setting.profile.deterministic else "off"

    @override
    def child_environment(self, requested: str) -> Mapping[str, str]:
        if requested != "on":
            return {}
        return {"PYTHONHASHSEED": "0", "CUBLAS_WORKSPACE_CONFIG": ":4096:8"}

    @override
    def apply_after_imports(self, requested: str) -> str | None:
        torch = sys.modules.get("torch")
        if torch is None or requested == AS_IS:
            return None
        # Warn only: an operator that has no deterministic form is named in the record, and the run goes on.
        torch.use_deterministic_algorithms(requested == "on", warn_only=True)
        # Filling new tensors with NaN costs time that only torch would pay; no sound model reads them.
        torch.utils.deterministic.fill_uninitialized_memory = False
        torch.backends.cudnn.deterministic = requested == "on"
        torch.backends.cudnn.benchmark = False
        return requested

    @override
    def observe_inside(self) -> str | None:
        torch = sys.modules.get("torch")
        if torch is None:
            return None
        return "on" if torch.are_deterministic_algorithms_enabled() else "off"

    @override
    def observe(self, pid: int) -> str | None:
        given = proc.environment(pid)
        return "on" if self.child_environment("on").items() <= given.items() else "off"


@dataclass(frozen=True, slots=True, kw_only=True)
class Float32Precision(Control):
    """Whether float32 products may be computed in fewer bits."""

    name: ClassVar[str] = "float32_precision"
    summary: ClassVar[str] = "torch multiplies float32 as float32 (full), or as TF32 or BF16 (reduced)"
    choices: ClassVar[tuple[str, ...] | None] = ("full", "reduced")

    @override
    def default(self) -> str:
        return "full"

    @override
    def apply_after_imports(self, requested: str) -> str | None:
        torch = sys.modules.get("torch")
        if torch is None or requested == AS_IS:
            return None
        torch.set_float32_matmul_precision("highest" if requested == "full" else "high")
        torch.backends.cudnn.allow_tf32 = requested != "full"
        return requested

    @override
    def observe_inside(self) -> str | None:
        torch = sys.modules.get("torch")
        if torch is None:
            return None
        full = torch.get_float32_matmul_precision() == "highest" and not torch.backends.cudnn.allow_tf32
        return "full" if full else "reduced"


@dataclass(frozen=True, slots=True, kw_only=True)
class GarbageCollection(Control):
    """Whether python may stop a timed call to collect cycles."""

    name: ClassVar[str] = "garbage_collection"
    summary: ClassVar[str] = "python collects no cycles while calls are timed"
    choices: ClassVar[tuple[str, ...] | None] = ("on", "off")

    @override
    def default(self) -> str:
        # A build trains: cycles that nobody collects would fill the memory.
        return "off" if self.setting.timed else "on"

    @override
    def apply_after_imports(self, requested: str) -> str | None:
        if requested == AS_IS:
            return None
        if requested == "on" or not self.setting.timed:
            gc.enable()
            return "on"
        gc.collect()
        gc.disable()
        return "off"

    @override
    def observe_inside(self) -> str | None:
        return "on" if gc.isenabled() else "off"


@dataclass(frozen=True, slots=True, kw_only=True)
class Priority(Control):
    """The nice value of the process."""

    name: ClassVar[str] = "priority"
    summary: ClassVar[str] = "nice value: lower goes first, below 0 needs the right to"

    @override
    def accepts(self, requested: str) -> str | None:
        if requested == AS_IS:
            return None
        digits = requested.removeprefix("-")
        return None if digits.isdecimal() and -20 <= int(requested) <= 19 else "a whole number from -20 to 19"

    @override
    def apply(self, requested: str) -> str | None:
        if requested == AS_IS:
            return None
        try:
            os.setpriority(os.PRIO_PROCESS, 0, int(requested))
        except PermissionError as error:
            raise NotHeldError("needs CAP_SYS_NICE, or a 'nice' limit in limits.conf") from error
        return requested

    @override
    def observe(self, pid: int) -> str | None:
        return str(os.getpriority(os.PRIO_PROCESS, pid))


@dataclass(frozen=True, slots=True, kw_only=True)
class AddressRandomization(Control):
    """Whether each launch gets a memory layout of its own, so that layout is averaged and not measured."""

    name: ClassVar[str] = "address_randomization"
    summary: ClassVar[str] = "every launch has another memory layout"
    choices: ClassVar[tuple[str, ...] | None] = ("on",)

    @override
    def default(self) -> str:
        return "on"

    @override
    def observe(self, pid: int) -> str | None:
        if proc.personality(pid) & _ADDR_NO_RANDOMIZE:
            return "off for this process"
        words = {"0": "off", "1": "stack and libraries only", "2": "on"}
        try:
            level = (self.setting.root / "proc/sys/kernel/randomize_va_space").read_text().strip()
        except OSError:
            return UNKNOWN
        return words.get(level, UNKNOWN)


@dataclass(frozen=True, slots=True, kw_only=True)
class HugePages(Control):
    """Transparent huge pages."""

    name: ClassVar[str] = "huge_pages"
    summary: ClassVar[str] = "transparent huge pages: off for this process, or as the system has them"
    choices: ClassVar[tuple[str, ...] | None] = ("off",)

    @override
    def apply(self, requested: str) -> str | None:
        if requested == AS_IS:
            return None
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.prctl(_PR_SET_THP_DISABLE, 1, 0, 0, 0) != 0:
            raise NotHeldError(f"prctl: {os.strerror(ctypes.get_errno())}")
        return requested

    @override
    def observe(self, pid: int) -> str | None:
        enabled = proc.status(pid, "THP_enabled")
        if enabled == "0":
            return "off"
        path = self.setting.root / "sys/kernel/mm/transparent_hugepage/enabled"
        try:
            words = path.read_text().split()
        except OSError:
            return "off" if enabled else UNKNOWN
        chosen = next((word.strip("[]") for word in words if word.startswith("[")), UNKNOWN)
        return "off" if chosen == "never" else chosen


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryNode(Control):
    """Which NUMA node memory comes from."""

    name: ClassVar[str] = "memory_node"
    summary: ClassVar[str] = "memory comes from the NUMA node of the chosen cores"
    choices: ClassVar[tuple[str, ...] | None] = ("local",)

    @override
    def default(self) -> str:
        return "local"

    @override
    def available(self) -> str | None:
        return "there is one NUMA node: all memory is local" if len(self._nodes()) < 2 else None

    @override
    def apply(self, requested: str) -> str | None:
        if requested == AS_IS:
            return None
        bind_memory(self._local())
        return requested

    @override
    def observe(self, pid: int) -> str | None:
        nodes = self._nodes()
        if len(nodes) < 2:
            return "local"
        wanted = f"bind:{spell(self._local())}"
        # OpenBLAS asks for "local" for its own buffers, which on a pinned thread is the same node.
        policies = proc.memory_policies(pid) - {"local"}
        return "local" if policies == {wanted} else " and ".join(sorted(policies)) or UNKNOWN

    def _nodes(self) -> dict[int, tuple[int, ...]]:
        return numa_nodes(self.setting.root)

    def _local(self) -> tuple[int, ...]:
        cores = set(self.setting.cores)
        return tuple(node for node, members in self._nodes().items() if cores & set(members))


def numa_nodes(root: Path) -> dict[int, tuple[int, ...]]:
    """NUMA node -> its logical CPUs; empty on a kernel that does not say."""
    found = {}
    for folder in sorted((root / "sys/devices/system/node").glob("node[0-9]*")):
        try:
            found[int(folder.name.removeprefix("node"))] = parse_cpus((folder / "cpulist").read_text())
        except OSError:
            continue
    return found


def bind_memory(nodes: tuple[int, ...]) -> None:
    """Take all memory that this process touches from now on from `nodes`.

    Raises: NotHeldError with the reason.
    """
    number = _SET_MEMPOLICY.get(platform.machine())
    if number is None:
        raise NotHeldError(f"set_mempolicy's number on {platform.machine()} is not known")
    words = max(nodes) // 64 + 1
    mask = (ctypes.c_ulong * words)()
    for node in nodes:
        mask[node // 64] |= 1 << (node % 64)
    libc = ctypes.CDLL(None, use_errno=True)
    # One more than the highest bit: the kernel drops the last one (set_mempolicy(2), BUGS).
    if libc.syscall(number, _MPOL_BIND, mask, ctypes.c_ulong(words * 64 + 1)) != 0:
        raise NotHeldError(f"set_mempolicy: {os.strerror(ctypes.get_errno())}")


def _one_or_all(values: Mapping[str, object]) -> str:
    """The value if all are equal, else each with its name."""
    distinct = {str(value) for value in values.values()}
    return distinct.pop() if len(distinct) == 1 else ", ".join(f"{key} {value}" for key, value in values.items())
