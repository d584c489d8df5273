"""Whether a subset ranks recipes as a larger set of images does, where records of both are at hand."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from paretoboard import stats
from paretoboard.compare import correct
from paretoboard.metrics import GUESSES
from paretoboard.plan import digest
from paretoboard_reports.view.details import metric_label
from paretoboard_reports.view.numbers import significant

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from paretoboard.records import RunRecord
    from paretoboard_reports.view.select import Group

# Two recipes have only one order and its reverse.
FEWEST: Final = 3


def subset_ranks(group: Group, groups: Sequence[Group]) -> str:
    """How alike the images of `group` and those of the largest comparable board rank its recipes, in words.

    Comparable are boards of the same model, preprocessing, dataset and metric on more images that hold these, where
    ids say so. "" where there is none with FEWEST recipes in common.
    """
    ours = _by_steps(group)
    images = _images(ours)
    best: tuple[int, Mapping[str, RunRecord], Group] | None = None
    for other in groups:
        theirs = _by_steps(other)
        common = ours.keys() & theirs.keys()
        larger = _images(theirs)
        if _about(other.latest) != _about(group.latest) or larger <= images or len(common) < FEWEST:
            continue
        fits = all(_holds(theirs[steps], ours[steps]) for steps in common)
        if fits and (best is None or larger > best[0]):
            best = larger, theirs, other
    return _words(group, ours, best[1], best[2]) if best is not None else ""


def _words(group: Group, ours: Mapping[str, RunRecord], theirs: Mapping[str, RunRecord], other: Group) -> str:
    metric = _metric(group.latest)
    common = sorted(ours.keys() & theirs.keys())
    right = np.stack([_right(ours[steps], metric) for steps in common])
    full = np.array([_right(theirs[steps], metric).mean() for steps in common])
    found = stats.subset_rank_correlation(right, full)
    if np.isnan(found.tau_b.value):
        return ""
    return (
        f"These {right.shape[1]:,} images rank {len(common)} recipes by {metric_label(metric)} as the "
        f"{_images(theirs):,} of {other.latest.subset} ({other.latest.task}) do with Kendall’s tau-b "
        f"{_with_ends(found.tau_b)} and Spearman’s rho {_with_ends(found.rho)}; 1 is the same order. Intervals: over "
        "subsets of this size."
    )


def _with_ends(found: stats.Estimate) -> str:
    ends = "" if np.isnan(found.low) else f" [{significant(found.low, 2)} to {significant(found.high, 2)}]"
    return f"{significant(found.value, 2)}{ends}"


def _by_steps(group: Group) -> dict[str, RunRecord]:
    """The latest record with predictions of each recipe, whatever it is called."""
    cells = sorted(group.cells, key=lambda cell: cell.latest.started_at)
    found = (record for cell in cells for record in (cell.latest,) if record.predictions is not None)
    return {digest(list(record.steps)): record for record in found if len(_answers(record))}


def _images(records: Mapping[str, RunRecord]) -> int:
    return max((len(_answers(record)) for record in records.values()), default=0)


def _about(record: RunRecord) -> tuple[Any, ...]:
    spec = record.spec
    return record.dataset, spec.get("model"), spec.get("preprocess"), _metric(record)


def _metric(record: RunRecord) -> str:
    """What recipes are ranked by: the task's metric where it asks of each image alone, else top-1."""
    metric = str(record.spec.get("quality"))
    return metric if metric in GUESSES else "top1"


def _holds(larger: RunRecord, smaller: RunRecord) -> bool:
    """Whether its images hold those of the other; where ids were not kept, more of them are taken for it."""
    assert larger.predictions is not None
    assert smaller.predictions is not None
    ids = larger.predictions.ids
    return not ids or not smaller.predictions.ids or set(ids) >= set(smaller.predictions.ids)


def _answers(record: RunRecord) -> Any:
    return () if record.predictions is None else record.predictions.labels


def _right(record: RunRecord, metric: str) -> Any:
    found = correct(record, metric)
    assert found is not None
    return found
