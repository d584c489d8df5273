"""What a search may choose from, and how Optuna knows it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from paretoboard.training.search.library import optuna

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution


@dataclass(frozen=True, slots=True, kw_only=True)
class Space:
    """The values that one setting may take: all between two numbers, or some that are named."""

    name: str  # a field of TrainSettings
    low: float = 0.0  # this
    high: float = 0.0  # and this are among the values
    log: bool = False  # whether equal ratios are equally likely, not equal differences
    whole: bool = False  # numbers only
    choices: tuple[Any, ...] = ()  # in no order; low, high, log and whole then mean nothing
    grid: tuple[float, ...] = ()  # the numbers that a grid takes of them; of choices it takes all

    @property
    def nodes(self) -> tuple[Any, ...]:
        """The values of a grid, as Optuna knows them."""
        return tuple(map(_text, self.choices)) or self.grid

    @property
    def distribution(self) -> BaseDistribution:
        """The values as Optuna knows them."""
        known = optuna().distributions
        found: BaseDistribution
        if self.choices:
            found = known.CategoricalDistribution(tuple(map(_text, self.choices)))
        elif self.whole:
            found = known.IntDistribution(int(self.low), int(self.high), log=self.log)
        else:
            found = known.FloatDistribution(self.low, self.high, log=self.log)
        return found

    def setting(self, value: Any) -> Any:
        """What TrainSettings are given for a value of Optuna's."""
        if not self.choices:
            return value
        chosen = json.loads(value)
        return tuple(chosen) if isinstance(chosen, list) else chosen


def _text(choice: Any) -> str:
    # Optuna keeps plain values only, and augmentations are lists of names.
    return json.dumps(choice)
