"""The library of tensor decompositions, which is an extra."""

from __future__ import annotations

from typing import Any

from paretoboard.errors import NotApplicableError


def decomposition() -> Any:
    """tensorly's decompositions, on torch's tensors.

    Raises: NotApplicableError where it is not installed.
    """
    try:
        import tensorly
        from tensorly import decomposition
    except ModuleNotFoundError as error:
        raise NotApplicableError("tensorly is missing: install the extra 'factorize'") from error
    tensorly.set_backend("pytorch")
    return decomposition
