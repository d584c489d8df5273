"""How long a comparison is timed, by the budget's name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from paretoboard.spec import Budget


@dataclass(frozen=True, slots=True, kw_only=True)
class Launches:
    """Launches of one look at one comparison; a second look takes as many again."""

    count: int
    seconds: float  # of each


# Launches, not seconds, decide the interval: one launch is one memory layout.
BUDGETS: Final[dict[Budget, Launches]] = {
    "smoke": Launches(count=2, seconds=2.5),
    "quick": Launches(count=5, seconds=0.5),
    "standard": Launches(count=8, seconds=2.5),
    "release": Launches(count=24, seconds=2.5),
}
