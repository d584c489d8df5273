"""Who stands where between quality and each cost, and how sure that is."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from paretoboard.compare import correct, drawn
from paretoboard.pareto import front_probability, layers
from paretoboard.records import MetricValue, RunRecord
from paretoboard_reports.view.model import AxisName, Place, Standing

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray


DRAWS: Final = 400
# A point off the front that would be on it in one of twenty repetitions can't be told from it.
TIED_FROM: Final = 0.05
# The same records must give the same page.
_SEED: Final = 20261121
_Z95: Final = 1.959964
_SIDE_BY_SIDE: Final = "Times are the baseline’s, multiplied by the ratio measured side by side."


@dataclass(frozen=True, slots=True, kw_only=True)
class Axis:
    """One cost that quality is weighed against."""

    name: AxisName
    label: str
    metric: str
    higher_is_better: bool = False
    note: str = ""  # what its numbers rest on


# The first that a board has is the one that it is ranked by.
AXES: Final = (
    Axis(name="latency", label="Latency", metric="latency", note=_SIDE_BY_SIDE),
    Axis(name="throughput", label="Throughput", metric="throughput", higher_is_better=True, note=_SIDE_BY_SIDE),
    Axis(
        name="training",
        label="Time of training",
        metric="train_time",
        note="Searches are counted; the trainings ran one after the other and not side by side.",
    ),
    Axis(name="size", label="File size", metric="file_size"),
    Axis(name="memory", label="Memory", metric="peak_memory"),
)


def axis_column(axis: AxisName) -> str:
    """The column that holds an axis's cost."""
    return "file_size" if axis == "size" else axis


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """What ranking needs to know of one row."""

    records: tuple[RunRecord, ...]  # the measured ones, of all seeds
    quality: MetricValue | None
    costs: Mapping[AxisName, MetricValue | None]


def places(entries: Sequence[Entry], quality_metric: str) -> list[dict[AxisName, Place]]:
    """For each entry its place on every axis that something of the board was measured on, in the order given."""
    rng = np.random.default_rng(_SEED)
    quality = np.array([_number(entry.quality) for entry in entries])
    quality_draws = _quality_draws(entries, quality, quality_metric, rng)
    found: list[dict[AxisName, Place]] = [{} for _ in entries]
    for axis in AXES:
        sign = -1.0 if axis.higher_is_better else 1.0
        values = [entry.costs[axis.name] for entry in entries]
        if not any(values):
            continue
        cost = np.array([sign * _number(value) for value in values])
        chance = front_probability(quality_draws, sign * _cost_draws(values, rng))
        for index, layer in enumerate(layers(quality, cost)):
            found[index][axis.name] = Place(
                layer=int(layer),
                standing=_standing(int(layer), chance[index]),
                probability=float(chance[index]),
            )
    return found


def _standing(layer: int, probability: float) -> Standing:
    if layer == 0:
        return "none"
    if layer == 1:
        return "front"
    return "tied" if probability >= TIED_FROM else "dominated"


def _quality_draws(
    entries: Sequence[Entry], quality: NDArray[np.float64], metric: str, rng: np.random.Generator
) -> NDArray[np.float64]:
    """Qualities as if the images had been drawn again, (DRAWS, entries).

    All recipes are asked about the same redrawn images, so that two that agree on every image stay equal in
    every draw: the luck of the subset is not mistaken for a difference between them.
    """
    draws = np.repeat(quality[None, :], DRAWS, axis=0)
    answers = [_answers(entry, metric) for entry in entries]
    kept = [_kept_draws(entry, metric) for entry in entries]
    images = {len(found) for found in answers if found is not None}
    weights = {count: rng.multinomial(count, np.full(count, 1 / count), size=DRAWS) for count in sorted(images)}
    for index, (entry, found) in enumerate(zip(entries, answers, strict=True)):
        if found is not None:
            # The last digits depend on the order of summation; ties must not.
            draws[:, index] = np.round(weights[len(found)] @ found / len(found), 12)
        elif (own := kept[index]) is not None:
            draws[:, index] = own
        elif entry.quality is not None and entry.quality.low is not None and entry.quality.high is not None:
            spread = (entry.quality.high - entry.quality.low) / (2 * _Z95)
            draws[:, index] += spread * rng.standard_normal(DRAWS)
    return draws


def _answers(entry: Entry, metric: str) -> NDArray[np.float64] | None:
    """For each image the share of seeds that get it right; None where that is not known for every seed."""
    found = [correct(record, metric) for record in entry.records]
    kept = [one for one in found if one is not None]
    if not kept or len(kept) < len(found) or len({len(one) for one in kept}) > 1:
        return None
    return np.asarray(np.mean(kept, axis=0, dtype=np.float64))


def _kept_draws(entry: Entry, metric: str) -> NDArray[np.float64] | None:
    """(DRAWS,) of a quality whose draws are in the records, the mean over seeds; None where they are not in each."""
    found = [drawn(record, metric) for record in entry.records]
    kept = [one[:DRAWS] for one in found if one is not None and len(one) >= DRAWS]
    if not kept or len(kept) < len(found) or not np.isfinite(kept).all():
        return None
    return np.asarray(np.mean(kept, axis=0, dtype=np.float64))


def _cost_draws(values: Sequence[MetricValue | None], rng: np.random.Generator) -> NDArray[np.float64]:
    """Costs as if measured again, (DRAWS, entries): log-normal with the width of the interval."""
    draws = np.empty((DRAWS, len(values)))
    for index, value in enumerate(values):
        draws[:, index] = _number(value)
        if value is not None and value.low is not None and value.high is not None and value.low > 0:
            spread = math.log(value.high / value.low) / (2 * _Z95)
            draws[:, index] *= np.exp(spread * rng.standard_normal(DRAWS))
    return draws


def _number(value: MetricValue | None) -> float:
    return math.nan if value is None else value.value
