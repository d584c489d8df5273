"""Which recipe to take for a purpose, from the rows of a board; the rule is paretoboard.recommend's."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from paretoboard.recommend import Candidate, Estimate, Limits, recommend
from paretoboard.spec import BASELINE
from paretoboard_reports.view.model import Answer, Board
from paretoboard_reports.view.numbers import scale_for

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from paretoboard.recommend import Cost, Goal, Recommendation
    from paretoboard_reports.view.model import Row
    from paretoboard_reports.view.numbers import Quantity

# The loss of quality, as a share, that the presets allow.
ALLOWED_LOSS: Final = 0.01
# The presets' limit on latency is the roundest number that is at most this share of the baseline's.
_FAST_SHARE: Final = 0.5
_NOTHING_LOST: Final = Estimate(value=0.0, low=0.0, high=0.0)


def candidates(rows: Sequence[Row]) -> tuple[Candidate, ...]:
    """The rows of a board as choosing sees them; of a recipe in several environments the row that stands first."""
    found: dict[str, Candidate] = {}
    for row in rows:
        if row.recipe not in found or found[row.recipe].ended:
            found[row.recipe] = _candidate(row)
    return tuple(found.values())


def answers(rows: Sequence[Row], quality: str) -> Iterator[Answer]:
    """What a board answers without being asked.

    Args:
        rows: of one board.
        quality: the name of its quality, as it is shown.
    """
    of_board = candidates(rows)
    allowed = f"at most {100 * ALLOWED_LOSS:g} point of {quality} lost"
    limits = Limits(loss=ALLOWED_LOSS)
    fastest = _answer(rows, recommend(of_board, "latency", limits), f"Fastest, {allowed}", "fastest")
    yield from fastest or _answer(
        rows, recommend(of_board, "training", limits), f"Quickest to train, {allowed}", "quickest to train"
    )
    yield from _answer(rows, recommend(of_board, "size", limits), f"Smallest file, {allowed}", "smallest")
    best = _answer(rows, recommend(of_board, "loss"), f"Highest {quality}", "best")
    in_time = best_in_time(rows, quality)
    # Where the best is fast enough itself there is no question of its own.
    if in_time is not None and best and in_time.row is not best[0].row:
        yield in_time
    yield from best


def best_in_time(rows: Sequence[Row], quality: str) -> Answer | None:
    """The highest quality in about half of the time that the baseline takes; None where nothing is so fast."""
    of_board = candidates(rows)
    limit = round_limit(of_board)
    if limit is None:
        return None
    scale = scale_for("s", [limit])
    question = f"Highest {quality} under {limit * scale.factor:g} {scale.unit}"
    found = recommend(of_board, "loss", Limits(costs={"latency": limit}))
    return next(iter(_answer(rows, found, question, "best in time")), None)


def round_limit(of_board: Sequence[Candidate]) -> float | None:
    """Seconds: the largest of 1, 2 and 5 times a power of ten that is at most half of the baseline's latency.

    None where the baseline was not timed.
    """
    baseline = next((found for found in of_board if found.name == BASELINE), None)
    if baseline is None or "latency" not in baseline.costs:
        return None
    aim = baseline.costs["latency"].value * _FAST_SHARE
    decade = math.floor(math.log10(aim))
    # By their decimal text: 5 * 10.0**-4 is not the float that 0.0005 is.
    return max(limit for step in (1, 2, 5) if (limit := float(f"{step}e{decade}")) <= aim * (1 + 1e-9))


@dataclass(frozen=True, slots=True, kw_only=True)
class Across:
    """What one board answers, beside those of all others."""

    board: Board
    fastest: Answer | None
    smallest: Answer | None
    best_in_time: Answer | None


def across(boards: Sequence[Board]) -> tuple[Across, ...]:
    """The answers of every board where one of them is not the model as it is, in the boards' order."""
    found = []
    for board in boards:
        by_purpose = {answer.purpose: answer for answer in board.answers}
        if any(not answer.row.is_baseline for answer in board.answers):
            found.append(
                Across(
                    board=board,
                    fastest=by_purpose.get("fastest", by_purpose.get("quickest to train")),
                    smallest=by_purpose.get("smallest"),
                    best_in_time=best_in_time(board.rows, board.quality_name),
                )
            )
    return tuple(found)


def row_of(rows: Sequence[Row], recipe: str) -> Row:
    """The row that a candidate of that name was made from."""
    same = [row for row in rows if row.recipe == recipe]
    return next((row for row in same if row.status == "ok"), same[0])


def sure_words(found: float | None) -> str:
    """A probability as it is said."""
    if found is None:
        return "nothing says how sure"
    if found >= 0.995:
        return "sure: over 99 %"
    return f"{'likely' if found >= 0.8 else 'by a hair'}: {100 * found:.0f} %"


def _candidate(row: Row) -> Candidate:
    return Candidate(
        name=row.recipe,
        quality=None if row.quality is None else _estimate(row.quality),
        loss=_loss(row),
        costs=_costs(row),
        ended="" if row.status == "ok" else f"{row.status}: {row.reason}".rstrip(": "),
    )


def _loss(row: Row) -> Estimate | None:
    if row.quality is None:
        return None
    if row.is_baseline:
        return _NOTHING_LOST
    if row.quality_effect is None:
        return None
    found = row.quality_effect.quantity
    low, high = (None if end is None else -end for end in (found.high, found.low))
    return Estimate(value=-found.value, low=low, high=high)


def _costs(row: Row) -> Mapping[Cost, Estimate]:
    # Latencies are those that the board ranks by: the baseline's, multiplied by the ratio timed side by side.
    shown: dict[Cost, Quantity | None] = {
        "latency": row.costs.get("latency"),
        "size": row.file_size,
        "memory": row.memory,
        "energy": row.energy,
        "training": row.train_time,
    }
    found = {cost: _estimate(quantity) for cost, quantity in shown.items() if quantity is not None}
    if "size" in found:
        # Counted and not measured: there is nothing to be unsure of.
        size = found["size"].value
        found["size"] = Estimate(value=size, low=size, high=size)
    return found


def _estimate(found: Quantity) -> Estimate:
    return Estimate(value=found.value, low=found.low, high=found.high)


def _answer(rows: Sequence[Row], found: Recommendation, question: str, purpose: str) -> list[Answer]:
    if found.best is None:
        return []
    row = row_of(rows, found.best.candidate.name)
    return [
        Answer(
            question=question,
            row=row,
            shown=_shown(row, found.goal),
            purpose=purpose,
            sure=sure_words(found.best.probability) if found.best.kept else "",
            ties=tuple(row_of(rows, pick.candidate.name) for pick in found.ties),
        )
    ]


def _shown(row: Row, goal: Goal) -> Quantity | None:
    shown = {
        "latency": row.costs.get("latency"),  # what the choice was made by
        "size": row.file_size,
        "training": row.train_time,
        "memory": row.memory,
        "energy": row.energy,
    }
    return shown.get(goal, row.quality)
