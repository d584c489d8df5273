"""Every stored run as a row for the pages: what it is called, and whether a board shows it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np
import pandas as pd

from paretoboard_reports import links
from paretoboard_reports.view.rows import family_of_techniques

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from paretoboard.records import RunRecord
    from paretoboard_reports.view.select import Group

Place = Literal["on a board", "measured again since", "task changed since", "recipe changed since"]
# Why a run is not on a board, for a sentence after its count.
REASONS: Final[Mapping[Place, str]] = {
    "measured again since": "measured again since (the newest of each recipe and seed counts)",
    "task changed since": "from before the task changed (they answer another question)",
    "recipe changed since": "of a recipe that was written anew under its name",
}
_RUNTIMES: Final = ("onnxruntime", "openvino", "tensorrt", "xla", "compile", "cuda")
# What says where a board is about: all rows of a board agree in these, and so may older ones that left it.
_FAMILY: Final = ("task", "profile", "hardware_id")
_MEASUREMENT_DIGITS: Final = 8


def described(history: pd.DataFrame, groups: Iterable[Group], boards: Iterable[str]) -> pd.DataFrame:
    """`history` with what the pages add to it: key, family, backend, place and board.

    Args:
        history: `store.history`.
        groups: of the boards, with the records that they show.
        boards: their names, in the same order.
    """
    shown = {key(record): name for group, name in zip(groups, boards, strict=True) for record in _of(group)}
    found = history.copy(deep=False)
    found["measurement"] = _measurements(found)
    names = zip(found["run_id"], found["measurement"], strict=True)
    found["key"] = [f"{links.run_key(run_id)}-{name}" for run_id, name in names]
    found["family"] = _mapped(
        found["techniques"], lambda names: family_of_techniques(names.split(" > ") if names else ())
    )
    found["backend"] = _mapped(found["techniques"], backend)
    found["board"] = [shown.get(key, "") for key in found["key"]]
    # The same run may begin on two machines at once: only its key tells its results apart.
    found = found.sort_values(["started_at", "key"], kind="stable", ignore_index=True)
    found["place"] = _places(found)
    return found


def key(record: RunRecord) -> str:
    """What names one measurement in links and selections.

    A run has the same id whenever and wherever it is carried out: `r<run>-<measurement>` tells its results apart.
    """
    where = record.provenance
    text = _digest(record.started_at.timestamp(), where.hardware_id, where.environment_id)
    return f"{links.run_key(record.run_id)}-{text}"


def backend(techniques: str) -> str:
    """What runs a recipe: the runtime that its techniques name, PyTorch where they name none."""
    named = {name.removeprefix("run.") for name in techniques.split(" > ") if name.startswith("run.")}
    return next((runtime for runtime in _RUNTIMES if runtime in named), "pytorch")


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftOut:
    """How many stored runs of a board's task, profile and machine the board does not show, and why."""

    count: int
    sentence: str  # "" where none is left out
    link: str  # to the page that lists them, relative to the site's root


def left_out(found: pd.DataFrame, task: str, profile: str, hardware_id: str) -> LeftOut:
    """What a board leaves out of `described`: counted, explained, and linked to."""
    belongs = (found["task"] == task) & (found["profile"] == profile) & (found["hardware_id"] == hardware_id)
    counts = found.loc[belongs, "place"].value_counts()
    reasons = [(place, int(counts.get(place, 0))) for place in REASONS]
    said = [f"{count:,} {REASONS[place]}" for place, count in reasons if count]
    total = sum(count for _, count in reasons)
    if not total:
        return LeftOut(count=0, sentence="", link="")
    results = "result is" if total == 1 else "results are"
    where = {"task": task, "profile": profile, "hw": hardware_id[:8]}
    places = [place for place, count in reasons if count]
    return LeftOut(
        count=total,
        sentence=f"{total:,} stored {results} not on this page: {'; '.join(said)}.",
        link=f"{links.EXPLORE}#{links.state(**{k: [v] for k, v in where.items()}, place=places)}",
    )


def _of(group: Group) -> Iterable[RunRecord]:
    return (record for cell in group.cells for record in cell.records)


def _places(found: pd.DataFrame) -> pd.Series[Any]:
    """Why each row is or is not on a board; rows come oldest first."""
    keys = [found[name].astype(str) for name in _FAMILY]
    newest = found["board_id"].astype(str).groupby(keys, sort=False).transform("last")
    current = found["board_id"].astype(str) == newest
    cell = [*keys, found["recipe"].astype(str), found["environment_id"].astype(str), found["seed"]]
    last = ~pd.concat([*cell, current.rename("current")], axis=1).duplicated(keep="last")
    chosen = np.select(
        [found["board"] != "", ~current, ~last],
        ["on a board", "task changed since", "measured again since"],
        default="recipe changed since",
    )
    return pd.Series(chosen, index=found.index)


def _measurements(found: pd.DataFrame) -> list[str]:
    times = [time.timestamp() for time in found["started_at"]]
    return [_digest(*row) for row in zip(times, found["hardware_id"], found["environment_id"], strict=True)]


def _digest(started: float, hardware_id: str, environment_id: str) -> str:
    text = f"{started:.6f} {hardware_id} {environment_id}"
    return hashlib.sha256(text.encode()).hexdigest()[:_MEASUREMENT_DIGITS]


def _mapped(values: pd.Series[Any], of: Callable[[str], str]) -> list[str]:
    texts = values.astype(str)
    by_text = {text: of(text) for text in dict.fromkeys(texts)}
    return [by_text[text] for text in texts]
