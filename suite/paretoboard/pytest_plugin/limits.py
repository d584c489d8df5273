"""Tolerances and budgets, as an option, a marker or an argument says them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

import pytest

from paretoboard.errors import suggestion
from paretoboard_runners.budgets import BUDGETS, Launches

if TYPE_CHECKING:
    from collections.abc import Mapping

# What a test can wait for. `make bench-fixture` shows what it finds: 5 % beside a busy process on the same core.
DEFAULT_BUDGET: Final = "test"
TEST_BUDGETS: Final[Mapping[str, Launches]] = {
    DEFAULT_BUDGET: Launches(count=12, seconds=0.8),  # launches, not seconds, decide the interval
    **{name: launches for name, launches in BUDGETS.items() if launches.count},
}
KEYWORDS: Final = ("tolerance", "budget", "timeout_s")
_RIGHT: Final = "a share such as 0.05 or '5%', above 0 and below 1, would be right"


def tolerance_of(given: Any, where: str) -> float:
    """0.05 for 0.05, "0.05" and "5%".

    Raises: pytest.UsageError for anything else, naming `where` it was found.
    """
    text = str(given).strip()
    found = re.fullmatch(r"(\d*\.?\d+)\s*(%?)", text, re.ASCII)
    if isinstance(given, bool) or found is None:
        raise pytest.UsageError(f"{where}: found {given!r}; {_RIGHT}")
    share = float(found[1]) / (100 if found[2] else 1)
    if not 0 < share < 1:
        percent = f" (did you mean '{text}%'?)" if not found[2] and 1 <= share < 100 else ""
        raise pytest.UsageError(f"{where}: found {given!r}{percent}; {_RIGHT}")
    return share


def budget_of(given: Any, where: str) -> str:
    """The name of a budget.

    Raises: pytest.UsageError for another one, naming `where` it was found.
    """
    if given not in TEST_BUDGETS:
        raise pytest.UsageError(f"{where}: unknown budget {given!r}.{suggestion(str(given), TEST_BUDGETS)}")
    return str(given)


def seconds_of(given: Any, where: str) -> float:
    """A number of seconds above 0.

    Raises: pytest.UsageError for anything else, naming `where` it was found.
    """
    if isinstance(given, bool) or not isinstance(given, int | float) or not 0 < given < float("inf"):
        raise pytest.UsageError(f"{where}: found {given!r}; a number of seconds above 0 would be right")
    return float(given)


def marked(item: pytest.Item) -> dict[str, Any]:
    """What the markers `paretoboard` of a test say, the nearest one first.

    Raises: pytest.UsageError for what they can't say.
    """
    found: dict[str, Any] = {}
    for marker in item.iter_markers("paretoboard"):
        if marker.args:
            raise pytest.UsageError(
                f"{item.nodeid}: @pytest.mark.paretoboard takes keywords only ({', '.join(KEYWORDS)}), "
                f"found {marker.args[0]!r}"
            )
        for key, value in marker.kwargs.items():
            if key not in KEYWORDS:
                raise pytest.UsageError(
                    f"{item.nodeid}: @pytest.mark.paretoboard knows no '{key}'.{suggestion(key, KEYWORDS)}"
                )
            found.setdefault(key, value)
    return found
