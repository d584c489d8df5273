"""Layers as products of thinner ones: fewer weights and MACs, and another network of the same shape."""

from __future__ import annotations

from paretoboard.techniques.factorize.base import Factorization, Layer
from paretoboard.techniques.factorize.cp import CanonicalPolyadic
from paretoboard.techniques.factorize.svd import SingularValues
from paretoboard.techniques.factorize.tucker import Tucker2

__all__ = ["CanonicalPolyadic", "Factorization", "Layer", "SingularValues", "Tucker2"]
