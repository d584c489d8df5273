"""Claims to test with, about what the builders' records measure: a test names only what it is about."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from paretoboard.claims import Claim, ClaimedNumber, ClaimSet, Conditions, Link, Measured

# The conditions of `builders.run_record("ort-int8")` at the smallest batch.
OURS: dict[str, Any] = {
    "model": "cifar-resnet8",
    "dataset": "digits",
    "technique": "quantize.static",
    "method": "static INT8",
    "hardware": "AMD EPYC 9R14 (25/17/1)",
    "cores": "1",
    "batch": "1",
    "runtime": "onnxruntime",
}


def number(**overrides: Any) -> ClaimedNumber:
    """Twice as fast."""
    given = overrides or {"metric": "latency", "times": 2.0}
    return ClaimedNumber(**given)


def claim(*numbers: ClaimedNumber, id: str = "K1", recipe: str = "ort-int8", **overrides: Any) -> Claim:  # noqa: A002
    """About ResNet-8 in INT8, measured by the builders' board."""
    conditions = Conditions(**{**OURS, **overrides.pop("conditions", {})})
    given: dict[str, Any] = {
        "id": id,
        "says": "INT8 makes it faster.",
        "conditions": conditions,
        "numbers": numbers or (number(),),
        "source": "a paper",
        "measured_by": (Link(task="quick/digits", recipe=recipe),),
    }
    return Claim(**{**given, **overrides})


def claim_set(*claims: Claim, **overrides: Any) -> ClaimSet:
    """A set of these claims."""
    given: dict[str, Any] = {"name": "claims", "title": "Numbers", "about": "Some numbers.", "claims": claims}
    return ClaimSet(**{**given, **overrides})


def measured(value: float, low: float | None = None, high: float | None = None, **overrides: Any) -> Measured:
    """A change with its interval."""
    given: dict[str, Any] = {
        "value": value,
        "low": low,
        "high": high,
        "n": 8,
        "link": Link(task="quick/digits", recipe="ort-int8"),
        "conditions": Conditions(**{**OURS, "technique": "quantize.static > run.onnxruntime"}),
        "run_id": "0" * 64,
        "profile": "cpu-1",
        "hardware_id": "1" * 64,
        "measured_at": datetime(2026, 11, 21, tzinfo=UTC),
    }
    return Measured(**{**given, **overrides})
