"""What an interval and an estimate are."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """The values that a sample is compatible with, ends included."""

    low: float
    high: float

    def __contains__(self, value: float) -> bool:
        return self.low <= value <= self.high


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """A value with its interval."""

    value: float
    low: float
    high: float


def check_confidence(confidence: float) -> None:
    """Refuse a confidence that is none.

    Raises: ValueError outside of 0 to 1.
    """
    if not 0 < confidence < 1:
        raise ValueError(f"confidence {confidence}; a share between 0 and 1 such as 0.95 would be right")
