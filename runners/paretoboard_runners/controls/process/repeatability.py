"""What makes the same run give the same bits: seeds, deterministic algorithms, and float32 that is float32."""

from __future__ import annotations

import random
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from typing_extensions import override

from paretoboard_runners.controls import proc
from paretoboard_runners.controls.base import Control

if TYPE_CHECKING:
    from collections.abc import Mapping


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
        random.seed(self.setting.seed)
        return requested

    @override
    def apply_after_imports(self, requested: str) -> str | None:
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
        if torch is None:
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
        if torch is None:
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
