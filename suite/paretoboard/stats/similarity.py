"""How alike two maps of the same images are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


def map_correlation(a: NDArray[Any], b: NDArray[Any]) -> NDArray[np.float64]:
    """The linear correlation of each image's two maps, -1 to 1.

    Args:
        a, b: (images, height, width).
    Returns: (images,). A map that is the same everywhere points nowhere: 1 where both are such, 0 where one is.
    Raises: ValueError for maps of unlike shapes.
    Source: the measure CC of Bylinskii et al. 2019, doi:10.1109/TPAMI.2018.2815601, section 4.1.
    """
    if a.shape != b.shape or a.ndim != 3:
        raise ValueError(f"maps of shapes {a.shape} and {b.shape}; (images, height, width) of both would be right")
    flat_a, flat_b = (np.asarray(maps, dtype=np.float64).reshape(len(maps), -1) for maps in (a, b))
    from_mean_a, from_mean_b = (flat - flat.mean(axis=1, keepdims=True) for flat in (flat_a, flat_b))
    # Not by the deviations, which rounding keeps from being zero.
    even_a, even_b = (flat.min(axis=1) == flat.max(axis=1) for flat in (flat_a, flat_b))
    whole = np.sqrt((from_mean_a**2).sum(axis=1) * (from_mean_b**2).sum(axis=1))
    uneven = ~even_a & ~even_b & (whole > 0)
    missing = np.where(even_a & even_b, 1.0, 0.0)
    found = np.divide((from_mean_a * from_mean_b).sum(axis=1), whole, out=missing, where=uneven)
    return np.asarray(np.clip(found, -1.0, 1.0))
