"""Changes between nights that are real: found within the same software, confirmed by later nights, never by one."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from paretoboard import store
from paretoboard.errors import StoreError
from paretoboard.regressions.acks import FILE, read_acks
from paretoboard.regressions.model import STATES, Ack, Change, Cut, Key, Limit, Night, Noisy, Regressions, Series, State
from paretoboard.regressions.series import series_of
from paretoboard.regressions.shifts import CONFIRMS, LOOK_AHEAD, changes, cuts, noisy
from paretoboard.store import calibrations, nightlies

if TYPE_CHECKING:
    import datetime
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    import pandas as pd

    from paretoboard.records import Calibration

__all__ = [
    "FILE",
    "LOOK_AHEAD",
    "STATES",
    "Ack",
    "Change",
    "Cut",
    "Key",
    "Limit",
    "Night",
    "Noisy",
    "Regressions",
    "Series",
    "State",
    "find",
    "floors_of",
    "of_folder",
    "read_acks",
    "series_of",
]


def of_folder(results: Path) -> Regressions:
    """Everything that the nights of a folder of results say, by its acknowledgements and its machines' noise floors.

    Nights that are not to be trusted are left out.

    Raises: TaskFileError for a mistake in acks.toml.
    """
    history = store.history(results)
    nights, unreadable = nightlies.read_all(results)
    damaged = [*history.attrs["damaged"], *unreadable]
    try:
        floors = floors_of(calibrations.all_latest(results))
    except StoreError as error:
        damaged.append(str(error))
        floors = {}
    found = find(nightlies.trusted(history, nights), read_acks(results), floors=floors)
    return replace(found, damaged=tuple(damaged))


def floors_of(newest: Iterable[Calibration]) -> dict[tuple[str, str], float]:
    """The noise floor of each (hardware id, profile), a share.

    Args:
        newest: calibrations, one of each machine and profile.
    """
    return {(each.hardware_id, each.profile): each.noise_floor for each in newest}


def find(
    history: pd.DataFrame, acks: Iterable[Ack] = (), *, floors: Mapping[tuple[str, str], float] | None = None
) -> Regressions:
    """Everything that the nights of a history say.

    Whether an acknowledgement has expired is decided by the newest night and not by the clock, so that the same
    results always say the same.

    Args:
        history: as `store.history` gives it.
        acks: of changes that somebody knows of.
        floors: noise floor of (hardware id, profile), a share; a change of speed has to exceed it.
    """
    series = series_of(history)
    too_noisy = tuple(found for each in series if (found := noisy(each)) is not None)
    left_out = {found.series.key for found in too_noisy}
    today = max((each.nights[-1].day for each in series), default=None)
    answered = {(ack.series, ack.night): ack for ack in acks if today and (ack.expires is None or ack.expires >= today)}
    quiet = [each for each in series if each.key not in left_out]
    found_changes = [
        change
        for each in quiet
        for change in _with_states(list(changes(each, floor=_floor(each.key, floors or {}))), answered)
    ]
    return Regressions(
        series=series,
        changes=tuple(sorted(found_changes, key=_newest_first)),
        cuts=tuple(cut for each in series for cut in cuts(each)),
        noisy=too_noisy,
    )


def _floor(key: Key, floors: Mapping[tuple[str, str], float]) -> float:
    # A calibration is made of times, and says nothing of shares of right answers.
    return floors.get((key.hardware_id, key.profile), 0.0) if key.what == "speed" else 0.0


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
