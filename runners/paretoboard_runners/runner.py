"""What a runner is: something that turns runs into records and says how far it is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from paretoboard.plan import RunSpec
    from paretoboard.records import RunRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far the run in hand is."""

    stage: str  # "build", "quality", "memory", "timing", "roofline", "diagnosis", "energy", "scenarios"
    done: float  # share of the stage, 0 to 1
    text: str


Watch = Callable[[Progress], None]


class Runner(Protocol):
    """Turns runs into records."""

    def measure(self, run: RunSpec, watch: Watch) -> RunRecord:
        """Do one run; a failure of any kind is a record with a status and a reason.

        Raises: DataError when images or weights are missing, which no record can help.
        """

    def close(self) -> None:
        """End every process that was started."""
