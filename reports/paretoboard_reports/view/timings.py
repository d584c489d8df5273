"""How long the calls of a run took, counted in bins: the raw calls are thousands, what a page needs is not."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

BINS: Final = 30
# A call that the machine interrupted takes many times as long; such are counted, not drawn.
_DRAWN_SHARE: Final = 0.995
_RECIPES_ARM: Final = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Histogram:
    """The calls at one batch, by how long they took."""

    batch: int
    low_s: float  # of the first bin
    high_s: float  # of the last bin
    counts: tuple[int, ...]
    beyond: int  # calls that took longer than the last bin
    median_s: float

    @property
    def calls(self) -> int:
        """How many there were."""
        return sum(self.counts) + self.beyond


def histograms(batch: NDArray[Any], arm: NDArray[Any], wall_ns: NDArray[Any]) -> tuple[Histogram, ...]:
    """One for each batch, of the recipe's own calls and not of those it was timed against.

    Args:
        batch, arm, wall_ns: columns of `records.Calls`.
    """
    own = arm == _RECIPES_ARM
    return tuple(_histogram(int(size), wall_ns[own & (batch == size)] / 1e9) for size in np.unique(batch[own]))


def _histogram(batch: int, seconds: NDArray[np.float64]) -> Histogram:
    low, high = float(seconds.min()), float(np.quantile(seconds, _DRAWN_SHARE, method="higher"))
    if high <= low:
        high = low * (1 + 1e-6) + 1e-9  # all alike: one bin holds them
    counts, _ = np.histogram(seconds, bins=BINS, range=(low, high))
    beyond = int((seconds > high).sum())
    return Histogram(
        batch=batch,
        low_s=low,
        high_s=high,
        counts=tuple(int(count) for count in counts),
        beyond=beyond,
        median_s=float(np.median(seconds)),
    )
