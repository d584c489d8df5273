"""Fewer weights: single ones set to zero, or whole filters cut out."""

from __future__ import annotations

from paretoboard.techniques.prune.structured import StructuredPruning
from paretoboard.techniques.prune.unstructured import GradualPruning, MagnitudePruning, NMPruning

__all__ = ["GradualPruning", "MagnitudePruning", "NMPruning", "StructuredPruning"]
