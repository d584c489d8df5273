"""Techniques for models that find objects."""

from __future__ import annotations

from paretoboard.techniques.detect.calls import Boxes
from paretoboard.techniques.detect.sizes import InputSize

__all__ = ["Boxes", "InputSize"]
