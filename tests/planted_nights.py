"""Histories of many nights whose truth is known, made column by column."""

from __future__ import annotations

import datetime
import json
from typing import Final, Literal

import numpy as np
import pandas as pd

from builders import run_record
from paretoboard.store import light

Truth = Literal["none", "step", "better", "drift", "outliers", "noisy", "environment"]
TRUTHS: Final[tuple[Truth, ...]] = ("none", "step", "better", "drift", "outliers", "noisy", "environment")
FIRST: Final = datetime.datetime(2026, 3, 1, 2, tzinfo=datetime.UTC)
# Of one night's paired effect, as PROTOCOL.md reports it for a comparison of 20 s on a busy machine.
NOISE: Final = 0.006


def nights(
    truths: list[Truth], *, count: int = 120, at: int = 60, size: float = 0.05, noise: float = NOISE, seed: int = 0
) -> pd.DataFrame:
    """A history with one series of speed for each of `truths`, called `s<number>`, and the change at night `at`.

    Noise has the tails of a busy machine: Student's t with 5 degrees of freedom.
    """
    rng = np.random.default_rng(seed)
    values = np.exp(noise * np.sqrt(3 / 5) * rng.standard_t(5, (len(truths), count)))
    environments = np.zeros((len(truths), count), dtype=int)
    for number, truth in enumerate(truths):
        row = values[number]
        if truth == "step":
            row[at:] *= 1 + size
        elif truth == "better":
            row[at:] /= 1 + size
        elif truth == "drift":
            row[at:] *= 1 + size * np.linspace(0, 1, count - at)
        elif truth == "outliers":
            row[5 * rng.choice(count // 5, count // 20, replace=False)] *= 1 + 4 * size  # never two in five nights
        elif truth == "noisy":
            row[:] *= np.exp(0.1 * rng.standard_normal(count))
        elif truth == "environment":
            row[at:] *= 1 + size
    for number in np.flatnonzero(np.array(truths) == "environment"):
        environments[number, at:] = 1
    return _frame(values, environments)


def _frame(values: np.ndarray, environments: np.ndarray) -> pd.DataFrame:
    series, count = values.shape
    frame = pd.concat([light.of([run_record("ort-int8")])] * (series * count), ignore_index=True)
    which, night = (found.ravel() for found in np.indices(values.shape))
    frame["recipe"] = [f"s{number}" for number in which]
    frame["started_at"] = pd.to_datetime([FIRST + datetime.timedelta(days=int(day)) for day in night]).as_unit("us")
    frame["ratio"] = values.ravel()
    frame["ratio_low"], frame["ratio_high"] = 0.99 * frame["ratio"], 1.01 * frame["ratio"]
    frame["run_id"] = [f"{number:032x}{day:032x}" for number, day in zip(which, night, strict=True)]
    frame["commit"] = [f"{day:010x}" for day in night]
    kinds = environments.ravel()
    frame["environment_id"] = [f"{kind:064x}" for kind in kinds]
    frame["environment"] = [json.dumps({"libraries": {"torch": f"2.{kind}"}}) for kind in kinds]
    return frame.sort_values(["started_at", "run_id"], ignore_index=True)
