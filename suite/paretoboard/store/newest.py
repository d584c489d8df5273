"""Which rows of the history boards are made of."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import pandas as pd

# What runs of one cell of a board have in common. A task that changed its meaning has another board.
_CELL: Final = ("task", "profile", "hardware_id", "board_id", "environment_id", "recipe", "seed")


def newest(rows: pd.DataFrame) -> pd.DataFrame:
    """The newest row of each cell, of rows of `store.history`, which are oldest first.

    Records that are not among them decide nothing on a board, so that `store.pick` need not read them.
    """
    return rows.drop_duplicates(list(_CELL), keep="last")
