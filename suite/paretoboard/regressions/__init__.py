"""Changes between nights that are real: found within the same software, confirmed by later nights, never by one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from paretoboard import store
from paretoboard.errors import StoreError
from paretoboard.regressions.acks import FILE, read_acks
from paretoboard.regressions.model import STATES, Ack, Change, Cut, Key, Limit, Night, Noisy, Regressions, Series, State
from paretoboard.regressions.series import series_of
from paretoboard.regressions.shifts import CONFIRMS, LEAST_DRIFT, LOOK_AHEAD, LOOK_BACK, changes, cuts, noisy
from paretoboard.store import calibrations, nightlies
from paretoboard.store.nightlies import Nightly

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    import pandas as pd

    from paretoboard.records import Calibration
    from paretoboard.store.nightlies import LongRun

__all__ = [
    "FILE",
    "LOOK_AHEAD",
    "STATES",
    "Ack",
    "Change",
    "Cut",
    "Judge",
    "Key",
    "Limit",
    "Night",
    "Noisy",
    "Regressions",
    "Series",
    "State",
    "find",
    "floors_of",
    "judge_of",
    "of_folder",
    "read_acks",
    "series_of",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Judge:
    """What a folder of results says beside its records of how nights are to be judged."""

    acks: tuple[Ack, ...]
    floors: Mapping[tuple[str, str], float]
    nights: tuple[Nightly, ...]
    damaged: tuple[str, ...]  # what of this can't be read, in words

    def __call__(self, history: pd.DataFrame) -> Regressions:
        """Everything that the nights of a history say; those that are not to be trusted are left out."""
        return find(
            nightlies.trusted(history, self.nights),
            self.acks,
            floors=self.floors,
            long_runs=nightlies.long_runs(self.nights),
        )


def judge_of(results: Path) -> Judge:
    """By a folder's acknowledgements, its machines' noise floors, and what is known of its nights.

    Raises: TaskFileError for a mistake in acks.toml.
    """
    nights, unreadable = nightlies.read_all(results)
    damaged = list(unreadable)
    try:
        floors = floors_of(calibrations.all_latest(results))
    except StoreError as error:
        damaged.append(str(error))
        floors = {}
    return Judge(acks=read_acks(results), floors=floors, nights=nights, damaged=tuple(damaged))


def of_folder(results: Path) -> Regressions:
    """Everything that the nights of a folder of results say.

    Raises: TaskFileError for a mistake in acks.toml.
    """
    judge = judge_of(results)
    history = store.history(results)
    return replace(judge(history), damaged=(*history.attrs["damaged"], *judge.damaged))


def floors_of(newest: Iterable[Calibration]) -> dict[tuple[str, str], float]:
    """The noise floor of each (hardware id, profile), a share.

    Args:
        newest: calibrations, one of each machine and profile.
    """
    return {(each.hardware_id, each.profile): each.noise_floor for each in newest}


def find(
    history: pd.DataFrame,
    acks: Iterable[Ack] = (),
    *,
    floors: Mapping[tuple[str, str], float] | None = None,
    long_runs: Iterable[LongRun] = (),
) -> Regressions:
    """Everything that the nights of a history say.

    Whether an acknowledgement has expired is decided by the newest night and not by the clock, so that the same
    results always say the same.

    Args:
        history: as `store.history` gives it.
        acks: of changes that somebody knows of.
        floors: noise floor of (hardware id, profile), a share; a change of speed has to exceed it.
        long_runs: oldest first; the newest of a series decides about its drift.
    """
    series = series_of(history)
    too_noisy = tuple(found for each in series if (found := noisy(each)) is not None)
    left_out = {found.series.key for found in too_noisy}
    today = max((each.nights[-1].day for each in series), default=None)
    valid = [ack for ack in acks if today and (ack.expires is None or ack.expires >= today)]
    decisive = {(run.series, run.board_id): run for run in long_runs}
    quiet = [each for each in series if each.key not in left_out]
    found_changes = [
        change
        for each in quiet
        for change in _with_states(
            [_decided(change, decisive) for change in changes(each, floor=_floor(each.key, floors or {}))], valid
        )
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


def _decided(change: Change, decisive: Mapping[tuple[str, str], LongRun]) -> Change:
    """A drift, confirmed where a long run of its nights lies beyond the level before as a whole."""
    key = change.series.key
    run = decisive.get((key.name, key.board_id))
    if change.kind != "drift" or change.state != "new" or run is None or run.started_at.date() < change.first.day:
        return change
    share, low, high = (value / change.before - 1 for value in (run.ratio, run.low, run.high))
    state: State = "confirmed" if low > LEAST_DRIFT else "new"
    return replace(change, state=state, share=share, low=low, high=high, long_run=run)


def _with_states(found: Sequence[Change], acks: Sequence[Ack]) -> Iterator[Change]:
    for place, change in enumerate(found):
        ack = _answer(change, acks)
        if change.state == "confirmed" and any(_undoes(later, change) for later in found[place + 1 :]):
            yield replace(change, state="fixed")
        elif change.state in ("new", "confirmed") and ack is not None:
            yield replace(change, state="acknowledged", ack=ack)
        else:
            yield change


def _answer(change: Change, acks: Sequence[Ack]) -> Ack | None:
    """The acknowledgement of a change: by its first night.

    That of a drift moves on with each night, so one of the nights that it is measured from counts as well.
    """
    first = since = change.first.day
    if change.kind == "drift":
        nights = change.series.nights
        since = nights[max(nights.index(change.first) - LOOK_BACK, 0)].day
    of_series = (ack for ack in acks if ack.series == change.series.key.name)
    return next((ack for ack in of_series if since <= ack.night <= first), None)


def _undoes(later: Change, change: Change) -> bool:
    """Whether the level came back to where it was, or got better still, and nights confirm that too."""
    if later.worse or later.confirmed < CONFIRMS or later.series.key != change.series.key or not change.before:
        return False
    share = later.after / change.before - 1
    gain = share if change.series.higher_is_better else -share
    return gain >= -max(change.band, later.band)


def _newest_first(change: Change) -> tuple[float, float, str]:
    return -change.first.day.toordinal(), -abs(change.share), change.series.key.name
