"""Which builds give the same bytes when they are done again, and why others may not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from paretoboard.registry import TECHNIQUES
from paretoboard.spec import TrainSettings

if TYPE_CHECKING:
    from collections.abc import Mapping


def unrepeatable(spec: Mapping[str, Any]) -> tuple[str, ...]:
    """For the model, and for each step after it, why two builds may give other bytes; "" where they give the same.

    Args:
        spec: RunSpec.content(), as records keep it.
    """
    reasons = [_of_training(spec["model"])]
    for step in spec["recipe"]["steps"]:
        technique = TECHNIQUES.load(step["name"])(**step["parameters"])
        reason = str(technique.unrepeatable())
        if not reason and "teacher" in technique.needs_now():
            reason = _of_training(spec.get("teacher") or {})
        reasons.append(reason)
    return tuple(reasons)


def _of_training(use: Mapping[str, Any]) -> str:
    """Of a model, as plan.plain gives a spec.ModelUse."""
    settings = use.get("train")
    return TrainSettings(**settings).unrepeatable if settings else ""
