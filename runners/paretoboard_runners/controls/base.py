"""What a control is: one thing about the machine or the process that a measurement holds still and sees."""

# ruff: noqa: ARG002  (a control that has nothing to do at some point inherits a method that does nothing)

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Final, Literal

from paretoboard.errors import ParetoboardError
from paretoboard.spec import HardwareProfile
from paretoboard_runners import nvml

if TYPE_CHECKING:
    from collections.abc import Mapping

    from paretoboard_runners.controls.knobs import Change

AS_IS: Final = "as is"  # what a profile asks for when it only wants to know
UNKNOWN: Final = "unknown"

Reach = Literal["process", "machine", "gpu"]


class NotHeldError(ParetoboardError):
    """A control can't be applied here, with the reason."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """What controls are about: a profile, the cores chosen for it, and where the machine's files are."""

    profile: HardwareProfile
    cores: tuple[int, ...]
    seed: int = 0
    root: Path = Path("/")  # of /proc/sys and /sys
    open_nvml: nvml.Opener = nvml.opened


@dataclass(frozen=True, slots=True, kw_only=True)
class Control:
    """One control. Values are words: what is requested, applied and observed compares as text.

    Everything that is asked to set something is asked for what a profile requests, never for "as is".
    """

    name: ClassVar[str]
    summary: ClassVar[str]
    reach: ClassVar[Reach] = "process"
    choices: ClassVar[tuple[str, ...] | None] = None  # None: whatever `right_instead` lets pass

    setting: Setting

    def default(self) -> str:
        """What is requested where the profile does not say."""
        return AS_IS

    def accepts(self, requested: str) -> str | None:
        """None if `requested` can be asked for, else what would be right."""
        return None if requested == AS_IS else self.right_instead(requested)

    def right_instead(self, requested: str) -> str | None:
        """None if this control can be brought to `requested`, else what it can be brought to."""
        if self.choices is None or requested in self.choices:
            return None
        return "one of " + ", ".join((*self.choices, AS_IS))

    def available(self) -> str | None:
        """None if this machine has what is controlled, else the reason why not."""
        return None

    def child_environment(self, requested: str) -> Mapping[str, str]:
        """Variables that must be set before the measuring process starts."""
        return {}

    def apply(self, requested: str) -> str | None:
        """Hold this process to `requested`, before heavy imports.

        Returns: what was set; None if this control has nothing to do at this point.
        Raises: NotHeldError with the reason.
        """
        return None

    def apply_after_imports(self, requested: str) -> str | None:
        """The same, for what only imported libraries can be told."""
        return None

    def observe_inside(self) -> str | None:
        """What libraries of this process say; None if there is nothing to be seen from inside."""
        return None

    def observe(self, pid: int) -> str | None:
        """What the kernel says about process `pid` or the machine; None if it can't be seen from outside."""
        return None

    def changes(self, requested: str) -> tuple[Change, ...]:
        """What to change on the machine, with the values to go back to; empty where it is so already.

        Raises: NotHeldError with the reason.
        """
        return ()

    def holds(self, requested: str, observed: str) -> bool:
        """Whether what was observed is what was requested."""
        return requested == AS_IS or self.matches(requested, observed)

    def matches(self, requested: str, observed: str) -> bool:
        """Whether `observed` says that `requested` is so."""
        return requested == observed
