"""OpenVINO's thread pool, which no variable reaches: it is sized where a model is compiled, and seen from outside."""

from __future__ import annotations

import importlib.util
import os
import time
from dataclasses import dataclass
from typing import ClassVar, Final

from typing_extensions import override

from paretoboard.runtimes import OPENVINO_THREAD
from paretoboard_runners.controls import proc
from paretoboard_runners.controls.base import Control, NotHeldError

NOT_LOADED: Final = "not loaded"
_LIBRARY: Final = "libopenvino.so"
_SAMPLE_S: Final = 0.25
# Of the busiest thread's time. On a busy machine a thread of the pool may come late to most of the work; those that
# only wait for a model to be compiled do nothing at all.
_WORKING_SHARE: Final = 0.02


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenVinoThreads(Control):
    """How many threads OpenVINO computes in.

    A runtime's session asks for as many as there are cores, or for the fewer that a recipe wants, and refuses to run
    where the compiled model says otherwise; OpenVINO itself takes no more than the cores that the process may run on.
    Its idle threads spin for a moment and then sleep, whatever `waiting` asks for.
    """

    name: ClassVar[str] = "openvino_threads"
    summary: ClassVar[str] = "OpenVINO computes in no more threads than there are cores"

    @override
    def default(self) -> str:
        return str(len(self.setting.cores))

    @override
    def right_instead(self, requested: str) -> str | None:
        # The pool follows the set of cores; another number here would be a wish that nothing fulfils.
        if requested == self.default():
            return None
        return f"{self.default()}, as many as there are cores; a recipe asks for fewer with 'threads'"

    @override
    def available(self) -> str | None:
        return None if importlib.util.find_spec("openvino") is not None else "OpenVINO is not installed"

    @override
    def apply(self, requested: str) -> str | None:
        cores = len(os.sched_getaffinity(0))
        if cores > int(requested):
            raise NotHeldError(f"this process may run on {cores} cores, and OpenVINO's pool is capped by these only")
        return requested

    @override
    def observe(self, pid: int) -> str | None:
        """How many threads of `pid` work for OpenVINO in a quarter of a second; None while nobody does."""
        if not proc.has_mapped(pid, _LIBRARY):
            return NOT_LOADED
        before = proc.cpu_times_ns(pid)
        time.sleep(_SAMPLE_S)
        names = proc.thread_names(pid)
        spent = {thread: used - before.get(thread, 0) for thread, used in proc.cpu_times_ns(pid).items()}
        least = _WORKING_SHARE * max(spent.values(), default=0)
        working = [thread for thread, used in spent.items() if used > 0 and used >= least]
        if not working:
            return None
        pool = [thread for thread in working if names.get(thread) == OPENVINO_THREAD]
        # The thread that calls works too; what other libraries' threads do is not OpenVINO's.
        return str(len(pool) + (1 if len(working) > len(pool) else 0))

    @override
    def matches(self, requested: str, observed: str) -> bool:
        return observed == NOT_LOADED or (observed.isdecimal() and int(observed) <= int(requested))
