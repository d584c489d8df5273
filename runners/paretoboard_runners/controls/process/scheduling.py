"""Who runs where and when: the process's cores, its priority, and python's own collecting."""

from __future__ import annotations

import gc
import os
from dataclasses import dataclass
from typing import ClassVar

from typing_extensions import override

from paretoboard_runners.controls import proc
from paretoboard_runners.controls.base import Control, NotHeldError
from paretoboard_runners.machine import parse_cpus


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
class Priority(Control):
    """The nice value of the process."""

    name: ClassVar[str] = "priority"
    summary: ClassVar[str] = "nice value: lower goes first, below 0 needs the right to"

    @override
    def right_instead(self, requested: str) -> str | None:
        digits = requested.removeprefix("-")
        return None if digits.isdecimal() and -20 <= int(requested) <= 19 else "a whole number from -20 to 19"

    @override
    def apply(self, requested: str) -> str | None:
        try:
            os.setpriority(os.PRIO_PROCESS, 0, int(requested))
        except PermissionError as error:
            raise NotHeldError("needs CAP_SYS_NICE, or a 'nice' limit in limits.conf") from error
        return requested

    @override
    def observe(self, pid: int) -> str | None:
        return str(os.getpriority(os.PRIO_PROCESS, pid))


@dataclass(frozen=True, slots=True, kw_only=True)
class GarbageCollection(Control):
    """Whether python may stop a timed call to collect cycles."""

    name: ClassVar[str] = "garbage_collection"
    summary: ClassVar[str] = "python collects no cycles while calls are timed"
    choices: ClassVar[tuple[str, ...] | None] = ("on", "off")

    @override
    def default(self) -> str:
        return "off"

    @override
    def apply_after_imports(self, requested: str) -> str | None:
        if requested == "on":
            gc.enable()
        else:
            gc.collect()
            gc.disable()
        return requested

    @override
    def observe_inside(self) -> str | None:
        return "on" if gc.isenabled() else "off"
