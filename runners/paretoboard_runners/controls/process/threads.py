"""Thread pools of torch, OpenMP, MKL, OpenBLAS and ONNX Runtime: how large, and what idle threads do."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Final

from typing_extensions import override

from paretoboard_runners.controls import proc
from paretoboard_runners.controls.base import Control, NotHeldError

if TYPE_CHECKING:
    from collections.abc import Mapping

THREAD_VARIABLES: Final = (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "BLIS_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
)
# ONNX Runtime has no variable of its own: `runtimes.ort` reads OMP_WAIT_POLICY.
# GNU OpenMP spins: with two threads on a busy machine the median of a 2.4 ms call became 239 ms, and 8 ms
# when waiting is passive (same machine). KMP_BLOCKTIME is the same for the Intel and LLVM runtimes.
WAITING_VARIABLES: Final = {
    "passive": {"OMP_WAIT_POLICY": "PASSIVE", "KMP_BLOCKTIME": "0"},
    "active": {"OMP_WAIT_POLICY": "ACTIVE", "KMP_BLOCKTIME": "infinite"},
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Threads(Control):
    """How many threads OpenMP, MKL, OpenBLAS and torch use."""

    name: ClassVar[str] = "threads"
    summary: ClassVar[str] = "thread pools as large as the set of cores, sized before any import"

    @override
    def default(self) -> str:
        return str(len(self.setting.cores))

    @override
    def child_environment(self, requested: str) -> Mapping[str, str]:
        return {**dict.fromkeys(THREAD_VARIABLES, requested), "OMP_DYNAMIC": "FALSE", "MKL_DYNAMIC": "FALSE"}

    @override
    def apply_after_imports(self, requested: str) -> str | None:
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
    """What threads of OpenMP and ONNX Runtime do between two parallel regions."""

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


def _one_or_all(values: Mapping[str, object]) -> str:
    """The value if all are equal, else each with its name."""
    distinct = {str(value) for value in values.values()}
    return distinct.pop() if len(distinct) == 1 else ", ".join(f"{key} {value}" for key, value in values.items())
