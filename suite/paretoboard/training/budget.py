"""How much of what a training may use is used."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from paretoboard.errors import RefusedError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from paretoboard.spec import TrainSettings


class Budget:
    """Seconds and joules of a training since it was made, the parts before an interruption included.

    What goes on in `apart` is not counted as seconds, so that judging more often does not shorten a training.
    """

    def __init__(self, settings: TrainSettings, clock: Callable[[], float], joules: Callable[[], float | None]) -> None:
        """Args:
            clock: seconds.
            joules: of the computing device since any moment; None where nothing counts them.
        Raises: RefusedError where the settings name joules and nothing counts them.
        """
        self._settings, self._clock, self._joules = settings, clock, joules
        self._earlier_s = self._earlier_j = self._apart_s = 0.0
        self._began_s = clock()
        self._began_j = self._count_j() if settings.joules is not None else 0.0

    def go_on(self, seconds: float, joules: float) -> None:
        """Count on from what was used before an interruption."""
        self._earlier_s, self._earlier_j = seconds, joules

    def seconds(self) -> float:
        """Until now."""
        return self._earlier_s + self._clock() - self._began_s - self._apart_s

    def joules(self) -> float:
        """Until now; zero where the settings name none. Raises: RefusedError where they can't be read any more."""
        if self._settings.joules is None:
            return 0.0
        return self._earlier_j + self._count_j() - self._began_j

    def share(self, seconds: float) -> float:
        """How much of the seconds or joules is used after `seconds`, 0 to 1; 0 where only images are counted."""
        if self._settings.joules is not None:
            return min(1.0, self.joules() / self._settings.joules)
        return 0.0 if self._settings.seconds is None else min(1.0, seconds / self._settings.seconds)

    @contextmanager
    def apart(self) -> Iterator[None]:
        """A block whose seconds are not of the training."""
        start_s = self._clock()
        yield
        self._apart_s += self._clock() - start_s

    def _count_j(self) -> float:
        found = self._joules()
        if found is None:
            raise RefusedError("equal energy needs a counter of the device's energy, and none can be read here")
        return found
