"""What stands behind one change between nights: all that somebody needs to believe it, repeat it or accept it."""

from __future__ import annotations

import datetime
import hashlib
import json
import math
import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from paretoboard.regressions.shifts import LOOK_AHEAD, differences
from paretoboard_reports import links
from paretoboard_reports.view.nights import Told, cut_anchor, run_command, told
from paretoboard_reports.view.numbers import scale_for, significant

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from paretoboard.regressions import Change, Cut, Night, Regressions, Series

NIGHTS_BEFORE: Final = 10
# Pages of changes that are past: a history of years has more of them than anybody opens.
MOST_PAST: Final = 200
_OPEN: Final = ("confirmed", "new", "acknowledged")
_ASKED_AGAIN: Final = datetime.timedelta(days=90)
_DIRTY: Final = "+dirty"


@dataclass(frozen=True, slots=True, kw_only=True)
class NightLine:
    """One night beside the level before the change."""

    day: str
    value: str
    interval: str  # "" without one
    share: str  # beside the level before, "+5.0 %"
    says: str  # "before", "first", "confirms" or "does not confirm"
    commit: str
    runs: int
    run_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CutLine:
    """Where the series is cut, and what differs."""

    day: str
    anchor: str  # on the page Regressions
    differs: tuple[tuple[str, str, str], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """One change with everything that speaks for it."""

    told: Told
    nights: tuple[NightLine, ...]
    unit: str
    cuts: tuple[CutLine, ...]
    others: tuple[str, ...]  # series of the same name that are never compared with this one
    differs: tuple[tuple[str, str, str], ...]  # software before and after
    log: str  # the command that lists the commits, "" where they are not known or the same
    commits_note: str  # what to know of the commits, "" otherwise
    repeat: tuple[str, ...]  # commands, one after the other
    bisect: str  # the command, "" without two commits
    acknowledge: str  # TOML, "" where there is nothing to be acknowledged


def with_pages(found: Regressions) -> tuple[Change, ...]:
    """The changes that have a page: all that are open or acknowledged, and the newest of the others."""
    past = [change for change in found.changes if change.state not in _OPEN][:MOST_PAST]
    kept = {id(change) for change in past}
    return tuple(change for change in found.changes if change.state in _OPEN or id(change) in kept)


def page_of(change: Change) -> str:
    """Where the page of a change lies; the same for as long as its series and its first night are."""
    key = change.series.key
    parts = (key.board_id, key.hardware_id, key.name, change.first.day.isoformat(), change.kind)
    digest = hashlib.sha256(json.dumps(parts).encode()).hexdigest()
    return links.change(f"{key.recipe[:40]} {key.what} {change.first.day} {digest[:12]}")


def addresses(found: Regressions) -> dict[str, str]:
    """Where the pages of changes lie, by `Told.anchor`."""
    return {told(change).anchor: page_of(change) for change in with_pages(found)}


def open_pages(found: Regressions, *, board_id: str, profile: str, hardware_id: str) -> dict[str, list[Told]]:
    """The confirmed and new regressions on a board, by recipe."""
    alarms: dict[str, list[Told]] = {}
    for change in found.of("confirmed", "new"):
        key = change.series.key
        if (key.board_id, key.profile, key.hardware_id) == (board_id, profile, hardware_id):
            alarms.setdefault(key.recipe, []).append(told(change))
    return alarms


def evidence(change: Change, found: Regressions) -> Evidence:
    """All that is known of a change.

    Args:
        found: that the change is of.
    """
    series = change.series
    first, last = (night.commit.removesuffix(_DIRTY) for night in (change.last_good, change.first))
    apart = bool(first and last and first != last)
    return Evidence(
        told=told(change),
        nights=_nights(change),
        unit=scale_for(series.unit, [change.before]).unit,
        cuts=_cuts(series, found.cuts),
        others=others(series, found.series),
        differs=differences(change.last_good.environment, change.first.environment),
        log=shlex.join(["git", "log", "--oneline", f"{first}..{last}"]) if apart else "",
        commits_note=_commits_note(change, first, last),
        repeat=_repeat(series, first, last) if apart else (run_command(series), "paretoboard regressions"),
        bisect=shlex.join(["paretoboard", "bisect", series.key.name, "--good", first, "--bad", last]) if apart else "",
        acknowledge=_acknowledgement(change) if change.worse and change.state in ("new", "confirmed") else "",
    )


def others(series: Series, every: Iterable[Series]) -> tuple[str, ...]:
    """In words, the series of the same recipe that a change of the task set apart from this one."""
    found = []
    for each in every:
        # Names of machines are cut short: the whole id decides.
        if each.key.hardware_id != series.key.hardware_id:
            continue
        if each.key.name == series.key.name and each.key.board_id != series.key.board_id:
            first, last = each.nights[0].day, each.nights[-1].day
            count = "1 night" if len(each.nights) == 1 else f"{len(each.nights)} nights"
            found.append(f"{count} from {first} to {last}, board {each.key.board_id[:8]}")
    return tuple(found)


def _nights(change: Change) -> tuple[NightLine, ...]:
    segment = next(part for part in change.series.segments if change.first in part)
    place = segment.index(change.first)
    asked = LOOK_AHEAD - 1 if change.kind == "drift" else change.asked
    lines = [_line(change, night, "before") for night in segment[max(0, place - NIGHTS_BEFORE) : place]]
    lines.append(_line(change, change.first, "first"))
    for night in segment[place + 1 : place + 1 + asked]:
        says = "of the drift" if change.kind == "drift" else "confirms" if change.shown_by(night) else "does not"
        lines.append(_line(change, night, says))
    return tuple(lines)


def _line(change: Change, night: Night, says: str) -> NightLine:
    factor = scale_for(change.series.unit, [change.before]).factor
    share = f"{100 * (night.value / change.before - 1):+.1f} %".replace("-", "−") if change.before else "–"
    known = not math.isnan(night.low) and not math.isnan(night.high)
    ends = (significant(factor * end, 4) for end in (night.low, night.high))
    return NightLine(
        day=night.day.isoformat(),
        value=significant(factor * night.value, 4),
        interval=f"[{', '.join(ends)}]" if known else "",
        share=share,
        says=says,
        commit=night.commit,
        runs=night.runs,
        run_id=night.run_id,
    )


def _cuts(series: Series, cuts: Sequence[Cut]) -> tuple[CutLine, ...]:
    return tuple(
        CutLine(day=cut.after.day.isoformat(), anchor=cut_anchor(cut), differs=cut.differs)
        for cut in cuts
        if cut.series.key == series.key
    )


def _commits_note(change: Change, first: str, last: str) -> str:
    if not first or not last:
        return "Which commits were measured was not recorded, so none can be named."
    notes = []
    if first == last:
        notes.append(
            "Both sides are the same commit: no committed change of the code explains this. Look at the machine first."
        )
    if change.last_good.commit != first or change.first.commit != last:
        notes.append("Files differed from the commit when it was measured (+dirty).")
    return " ".join(notes)


def _repeat(series: Series, first: str, last: str) -> tuple[str, ...]:
    sides = (("before", first), ("after", last))
    commands = []
    for folder, commit in sides:
        commands += [shlex.join(["git", "switch", "--detach", commit]), f"{run_command(series)} --results {folder}"]
    return (*commands, "paretoboard compare before after")


def _acknowledgement(change: Change) -> str:
    series = json.dumps(change.series.key.name, ensure_ascii=False).replace("\x7f", "\\u007f")
    return "\n".join(
        (
            "[[ack]]",
            f"series = {series}",
            f"night = {change.first.day}",
            'reason = "why this is accepted"',
            'by = "your name"',
            f"expires = {change.first.day + _ASKED_AGAIN}",
        )
    )
