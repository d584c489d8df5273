"""How many images a wished difference takes, for `paretoboard plan --resolve`."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING, Final

from paretoboard.spec import BASELINE

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from paretoboard.records import RunRecord

# Shares of images that only one of two models gets right, to count with where none were measured: assumptions that span
# what rounding, quantization and pruning do, and no measurement.
USUAL: Final = (0.002, 0.02, 0.1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Need:
    """How many images tell a difference from none in four of five trials."""

    task: str
    points: float
    discordant: float  # share of images that only one of the two models gets right, no less than the difference
    images: int
    seen: bool  # whether that share was measured, the middle one of the task's recipes
    measured_images: int | None  # that it was measured on


def needs(tasks: Sequence[str], points: float, results: Path) -> tuple[Need, ...]:
    """One for each task with stored predictions of a recipe and its baseline, one for each of USUAL for others.

    Args:
        points: of the quality, above zero and at most 100.
    """
    from paretoboard import stats, store

    found = []
    records = store.read(results, tasks=tasks, with_predictions=True).records
    for task in dict.fromkeys(tasks):
        seen = _discordances([record for record in records if record.task == task])
        shares: Sequence[float] = [median(share for share, _ in seen)] if seen else USUAL
        found += [
            Need(
                task=task,
                points=points,
                discordant=share,
                images=stats.images_to_resolve(points / 100, share),
                seen=bool(seen),
                measured_images=seen[0][1] if seen else None,
            )
            # Two models that differ by so much disagree on as many images at least.
            for share in dict.fromkeys(max(share, points / 100) for share in shares)
        ]
    return tuple(found)


def in_words(found: Sequence[Need], boxes: Iterable[str] = ()) -> str:
    """A line for each task.

    Args:
        boxes: tasks that find objects: of an average precision, which is no share of images, no plan can say it.
    """
    by_task: defaultdict[str, list[Need]] = defaultdict(list)
    for need in found:
        by_task[need.task].append(need)
    lines = []
    for task, each in by_task.items():
        how_many = ", ".join(f"{need.images:,} where {100 * need.discordant:.3g} % differ" for need in each)
        first = each[0]
        basis = f"seen on {first.measured_images:,} images" if first.seen else "assumed: nothing is measured yet"
        lines.append(f"{task}: a difference of {first.points:g} points takes {how_many} ({basis}).")
    lines += [
        f"{task}: how many images a difference of average precision takes is on the page, once recipes are measured."
        for task in dict.fromkeys(boxes)
    ]
    return "\n".join(lines)


def _discordances(records: Sequence[RunRecord]) -> list[tuple[float, int]]:
    """(share, images) of each latest record of a recipe against its baseline's latest, of the same seed and board.

    Of right answers among five where the task asks for those, else of best guesses.
    """
    from paretoboard.compare import quality_change

    latest = {(record.board_id, record.seed, record.recipe): record for record in records if record.status == "ok"}
    found = []
    for (board, seed, recipe), record in latest.items():
        baseline = latest.get((board, seed, BASELINE))
        if recipe == BASELINE or baseline is None:
            continue
        metric = "top5" if record.spec.get("quality") == "top5" else "top1"
        change = quality_change(record, baseline, metric)
        if change is not None and change.gained is not None and change.lost is not None:
            found.append(((change.gained + change.lost) / change.n, change.n))
    return found
