"""Times, sizes and energies as a person types them."""

from __future__ import annotations

import re
from typing import Final

from paretoboard.errors import InputError

SECONDS: Final = {"": 1.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6}
BYTES: Final = {"": 1.0, "B": 1.0, "kB": 1e3, "MB": 1e6, "GB": 1e9, "KiB": 2.0**10, "MiB": 2.0**20, "GiB": 2.0**30}
JOULES: Final = {"": 1.0, "J": 1.0, "mJ": 1e-3, "uJ": 1e-6, "µJ": 1e-6}


def amount(option: str, text: str, units: dict[str, float], example: str) -> float:
    """0.005 for "5ms" of SECONDS: a number above zero in the unit that comes first.

    Raises: InputError for anything else, with `example` of what would be right.
    """
    found = re.fullmatch(r"\s*(\d{1,15}(?:\.\d{1,15})?)\s*([^\W\d_]*)\s*", text)
    if found is None or found[2] not in units or float(found[1]) == 0:
        known = ", ".join(unit for unit in units if unit)
        raise InputError(f"{option}: found '{text}'; a number with one of {known}, as in '{example}', would be right")
    return float(found[1]) * units[found[2]]
