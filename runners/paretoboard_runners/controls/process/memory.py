"""How the process gets its memory: kept or given back, in which pages, and at which addresses."""

from __future__ import annotations

import ctypes
import os
import platform
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Final

from typing_extensions import override

from paretoboard_runners.controls import proc
from paretoboard_runners.controls.base import UNKNOWN, Control, NotHeldError

if TYPE_CHECKING:
    from collections.abc import Mapping

_ADDR_NO_RANDOMIZE: Final = 0x0040000  # personality(2)
_PR_SET_THP_DISABLE: Final = 41  # prctl(2)

# glibc gives large buffers back to the kernel after every operator, so that torch eager pays page faults that
# other runtimes do not: up to 2.25x (two Zen 4 cores, 2026-11). Kept buffers treat all alike.
ALLOCATOR_VARIABLES: Final = {
    "MALLOC_MMAP_MAX_": "0",
    "MALLOC_TRIM_THRESHOLD_": "-1",
    "MALLOC_TOP_PAD_": "134217728",
}
_MALLOPT: Final = {"MALLOC_MMAP_MAX_": -4, "MALLOC_TRIM_THRESHOLD_": -1, "MALLOC_TOP_PAD_": -2}  # glibc's malloc.h


def keep_freed_memory() -> None:
    """Keep freed memory from now on in this process, which began without these variables; nothing without glibc."""
    library = ctypes.CDLL(None)
    if hasattr(library, "mallopt"):
        for name, parameter in _MALLOPT.items():
            library.mallopt(parameter, int(ALLOCATOR_VARIABLES[name]))


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
class HugePages(Control):
    """Transparent huge pages."""

    name: ClassVar[str] = "huge_pages"
    summary: ClassVar[str] = "transparent huge pages: off for this process, or as the system has them"
    choices: ClassVar[tuple[str, ...] | None] = ("off",)

    @override
    def apply(self, requested: str) -> str | None:
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
