"""Launches that nobody made: calls with a planted ratio and scatter, as `paretoboard_compare` would get them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from paretoboard.pytest_plugin.launches import Launched
from paretoboard.records import Calls
from paretoboard_runners.timing import LaunchPlan


@dataclass(frozen=True, slots=True, kw_only=True)
class Planted:
    """The candidate takes `ratio` times as long, in each launch by another `scatter`."""

    ratio: float
    scatter: float = 0.001
    windows: int = 4
    calls: int = 16  # of each arm in a window; too few make an overloaded machine

    def __call__(self, pair: Any, plan: LaunchPlan, *, number: int, folder: Path, timeout_s: float) -> Launched:
        # By turns above and below, so that no luck decides: the mean over launches is the ratio.
        shift = self.scatter * (1 if number % 2 else -1)
        size = self.windows * self.calls
        arm = np.tile(np.repeat(np.array([0, 1], dtype=np.int8), self.calls), self.windows)
        rng = np.random.default_rng(plan.seed)
        took = 1e6 * rng.uniform(1.0, 1.001, 2 * size) * np.where(arm == 1, self.ratio * (1 + shift), 1.0)
        taken = took.astype(np.int64)
        ones = np.ones(2 * size, dtype=np.int32)
        calls = Calls(
            batch=ones,
            launch=(ones * number).astype(np.int16),
            window=np.repeat(np.arange(self.windows, dtype=np.int16), 2 * self.calls),
            block=ones * 0,
            arm=arm,
            start_ns=np.cumsum(taken) - taken,
            wall_ns=taken,
            cpu_ns=taken,
            switches=ones * 0,
            reference=(ones * 0).astype(np.int8),
        )
        return Launched(calls=calls, load1=0.5)
