"""Histories with planted truth.

Values are times, so more is worse. The noise of a series is one of three: normal; Student's t with 3.5 degrees of
freedom, which stands for a machine with surprises; or effects of this project's own comparisons of identical programs,
drawn anew. Seeds fix everything, whatever the machine.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from bench.rigor import ours, recordings

SEED: Final = 20_260_801
NIGHTS: Final = 120
# Of a night's noise, as a share: what a comparison of 20 s has on a busy machine.
SCATTERS: Final = (0.005, 0.008)
DEGREES: Final = 3.5
NOISES: Final = ("normal", "student", "recorded")
FIRST_STEP, LAST_STEP = 10, 110  # steps begin on one of these nights
NOISY_SCATTER: Final = 0.10
# Outlier nights are 5 % of all: trouble begins on 4 % of nights and stays for a second one in a quarter of the cases.
TROUBLE: Final = 0.04
STAYS: Final = 0.25
OUTLIERS: Final = (0.08, 0.30)


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """One sort of history and what is true of it."""

    name: str
    step: float = 0.0  # as a share, up is slower
    drift: float = 0.0  # share a night
    outliers: bool = False
    noisy: bool = False
    new_environment: bool = False  # together with the step

    @property
    def has_step(self) -> bool:
        """Whether the level changes within the same software, which a rule is meant to find."""
        return bool(self.step) and not self.new_environment

    @property
    def is_quiet(self) -> bool:
        """Whether every alarm is a false one."""
        return not self.has_step and not self.drift


KINDS: Final = (
    Kind(name="none"),
    Kind(name="outliers", outliers=True),
    Kind(name="noisy", noisy=True),
    Kind(name="environment", step=0.05, new_environment=True),
    Kind(name="+5 %", step=0.05),
    Kind(name="-5 %", step=-0.05),
    Kind(name="+2 %", step=0.02),
    Kind(name="+3 %", step=0.03),
    Kind(name="+10 %", step=0.10),
    Kind(name="drift 0.02 %", drift=0.0002),
    Kind(name="drift 0.1 %", drift=0.001),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """One series."""

    kind: Kind
    noise: str
    at: int  # first night of the new level; NIGHTS where there is none
    values: NDArray[np.float64]
    environments: NDArray[np.int64]


def recorded_effects(folder: Path) -> NDArray[np.float64]:
    """Effects (logarithms) of the comparisons of identical programs that `make bench-rigor` left in `folder`."""
    parts = (part for part in recordings.read(folder) if part.item.kind == "ours" and not part.item.planted)
    return np.array([math.log(ours.compare(part.calls).ratio) for part in parts if part.calls is not None])


def planted(kind: Kind, count: int, effects: NDArray[np.float64]) -> Iterator[History]:
    """The first `count` histories of a kind: the same ones whatever `count` is.

    Args:
        effects: to draw recorded noise from.
    """
    place = [known.name for known in KINDS].index(kind.name)
    for number in range(count):
        yield _history(kind, NOISES[number % len(NOISES)], effects, np.random.default_rng((SEED, place, number)))


def _history(kind: Kind, noise: str, effects: NDArray[np.float64], rng: np.random.Generator) -> History:
    logs = _noise(noise, effects, rng)
    at = int(rng.integers(FIRST_STEP, LAST_STEP + 1)) if kind.step else NIGHTS
    nights = np.arange(NIGHTS)
    logs += np.where(nights >= at, math.log1p(kind.step), 0.0) + kind.drift * nights
    if kind.outliers:
        logs += np.log1p(_outliers(rng))
    if kind.noisy:
        logs += NOISY_SCATTER * rng.standard_normal(NIGHTS)
    environments = np.where(kind.new_environment & (nights >= at), 1, 0)
    return History(kind=kind, noise=noise, at=at, values=np.exp(logs), environments=environments)


def _noise(noise: str, effects: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float64]:
    if noise == "recorded":
        return rng.choice(effects, NIGHTS)
    scatter = rng.uniform(*SCATTERS)
    if noise == "normal":
        return scatter * rng.standard_normal(NIGHTS)
    return scatter * math.sqrt((DEGREES - 2) / DEGREES) * rng.standard_t(DEGREES, NIGHTS)


def _outliers(rng: np.random.Generator) -> NDArray[np.float64]:
    """How much slower each night is; both nights of the same trouble alike."""
    found = np.zeros(NIGHTS)
    night = 0
    while night < NIGHTS:
        length = 0
        if rng.random() < TROUBLE:
            length = 2 if rng.random() < STAYS else 1
            found[night : night + length] = rng.uniform(*OUTLIERS)
        night += max(length, 1)
    return found
