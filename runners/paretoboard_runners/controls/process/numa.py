"""Which NUMA node the process's memory comes from."""

from __future__ import annotations

import ctypes
import os
import platform
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Final

from typing_extensions import override

from paretoboard_runners.controls import proc
from paretoboard_runners.controls.base import UNKNOWN, Control, NotHeldError
from paretoboard_runners.controls.process.scheduling import spell
from paretoboard_runners.machine import parse_cpus

if TYPE_CHECKING:
    from pathlib import Path

_MPOL_BIND: Final = 2  # set_mempolicy(2)
_SET_MEMPOLICY: Final = {"x86_64": 238, "aarch64": 237, "ppc64le": 261, "s390x": 270, "riscv64": 237}


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
