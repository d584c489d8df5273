"""From the history of all records to series of nights."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from paretoboard.regressions.model import Key, Night, Series, What
from paretoboard.spec import BASELINE

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pandas as pd

_KEY = ["task", "board_id", "profile", "hardware_id", "recipe"]


def series_of(history: pd.DataFrame) -> tuple[Series, ...]:
    """All series of speed and quality, by name.

    The speed of a recipe is its time over the baseline's of the same minutes; the baseline's own, and that of a recipe
    that was not timed beside it, is the latency.

    Args:
        history: as `store.history` gives it.
    """
    rows = history[history["status"] == "ok"]
    if rows.empty:
        return ()
    found: list[Series] = []
    for values, group in rows.groupby(_KEY, observed=True, sort=True):
        names = dict(zip(_KEY, map(str, values), strict=True))
        found += _series(names, group)
    return tuple(sorted(found, key=lambda series: (series.key.name, series.key.board_id)))


def _series(names: dict[str, str], rows: pd.DataFrame) -> Iterator[Series]:
    beside = names["recipe"] != BASELINE and rows["ratio"].notna().any()
    column = "ratio" if beside else "latency"
    yield from _one(names, rows, "speed", column, unit="×" if beside else "s", metric=column)
    yield from _one(names, rows, "quality", "quality", unit="1", metric=str(rows["quality_metric"].iloc[-1]))


def _one(
    names: dict[str, str], rows: pd.DataFrame, what: What, column: str, *, unit: str, metric: str
) -> Iterator[Series]:
    known = rows[rows[column].notna()]
    if known.empty:
        return
    last = known.iloc[-1]
    yield Series(
        key=Key(what=what, **names),
        unit=unit,
        metric=metric,
        title=str(last["title"]),
        hardware_name=str(last["hardware_name"]),
        nights=tuple(_nights(known, column)),
    )


def _nights(rows: pd.DataFrame, column: str) -> Iterator[Night]:
    """One for each day and software, in the order of their first runs."""
    groups: dict[tuple[Any, str], list[int]] = {}
    days, environments = rows["started_at"].dt.date.to_list(), rows["environment_id"].astype(str).to_list()
    for place, key in enumerate(zip(days, environments, strict=True)):
        groups.setdefault(key, []).append(place)
    values = rows[column].to_numpy()
    lows, highs = rows[f"{column}_low"].to_numpy(), rows[f"{column}_high"].to_numpy()
    texts = {name: rows[name].astype(str).to_list() for name in ("environment", "commit", "run_id")}
    for (day, environment_id), places in groups.items():
        newest = places[-1]
        found = sorted(float(values[place]) for place in places)
        middle = len(found) // 2
        yield Night(
            day=day,
            value=found[middle] if len(found) % 2 else (found[middle - 1] + found[middle]) / 2,
            low=float(lows[newest]),
            high=float(highs[newest]),
            runs=len(found),
            environment_id=environment_id,
            **{name: text[newest] for name, text in texts.items()},
        )
