"""Changes between nights that are real: found within the same software, confirmed by later nights, never by one."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from paretoboard.regressions.acks import FILE, read_acks
from paretoboard.regressions.model import STATES, Ack, Change, Cut, Key, Night, Noisy, Regressions, Series, State
from paretoboard.regressions.series import series_of
from paretoboard.regressions.shifts import CONFIRMS, changes, cuts, noisy

if TYPE_CHECKING:
    import datetime
    from collections.abc import Iterable, Iterator, Sequence

    import pandas as pd

__all__ = [
    "FILE",
    "STATES",
    "Ack",
    "Change",
    "Cut",
    "Key",
    "Night",
    "Noisy",
    "Regressions",
    "Series",
    "State",
    "find",
    "read_acks",
    "series_of",
]


def find(history: pd.DataFrame, acks: Iterable[Ack] = ()) -> Regressions:
    """Everything that the nights of a history say.

    Whether an acknowledgement has expired is decided by the newest night and not by the clock, so that the same
    results always say the same.

    Args:
        history: as `store.history` gives it.
        acks: of changes that somebody knows of.
    """
    series = series_of(history)
    too_noisy = tuple(found for each in series if (found := noisy(each)) is not None)
    left_out = {found.series.key for found in too_noisy}
    today = max((each.nights[-1].day for each in series), default=None)
    answered = {(ack.series, ack.night): ack for ack in acks if today and (ack.expires is None or ack.expires >= today)}
    quiet = [each for each in series if each.key not in left_out]
    found_changes = [change for each in quiet for change in _with_states(list(changes(each)), answered)]
    return Regressions(
        series=series,
        changes=tuple(sorted(found_changes, key=_newest_first)),
        cuts=tuple(cut for each in series for cut in cuts(each)),
        noisy=too_noisy,
    )


def _with_states(found: Sequence[Change], answered: dict[tuple[str, datetime.date], Ack]) -> Iterator[Change]:
    for place, change in enumerate(found):
        ack = answered.get((change.series.key.name, change.first.day))
        if change.state == "confirmed" and any(_undoes(later, change) for later in found[place + 1 :]):
            yield replace(change, state="fixed")
        elif change.state in ("new", "confirmed") and ack is not None:
            yield replace(change, state="acknowledged", ack=ack)
        else:
            yield change


def _undoes(later: Change, change: Change) -> bool:
    """Whether the level came back to where it was, or got better still, and nights confirm that too."""
    if later.worse or later.confirmed < CONFIRMS or later.series.key != change.series.key or not change.before:
        return False
    share = later.after / change.before - 1
    gain = share if change.series.higher_is_better else -share
    return gain >= -max(change.band, later.band)


def _newest_first(change: Change) -> tuple[float, float, str]:
    return -change.first.day.toordinal(), -abs(change.share), change.series.key.name
