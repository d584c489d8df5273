"""One recipe's line on a board."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from paretoboard.metrics import GUESSES
from paretoboard.plan import digest
from paretoboard.records import MetricValue
from paretoboard.spec import BASELINE
from paretoboard.stats import wilson
from paretoboard_reports.view import header
from paretoboard_reports.view.contributions import contributions
from paretoboard_reports.view.details import details, steps_in_words
from paretoboard_reports.view.effects import quality_effects, speed_effect
from paretoboard_reports.view.model import Row
from paretoboard_reports.view.numbers import Quantity, Scale, quantity, scale_for
from paretoboard_reports.view.ranking import AXES, Axis, Entry, places
from paretoboard_reports.view.select import baseline_cell
from paretoboard_reports.view.training import training_time, training_time_effect

if TYPE_CHECKING:
    from collections.abc import Sequence

    from paretoboard.records import Provenance, RunRecord
    from paretoboard_reports.view.model import AxisName, Effect, Family, Place
    from paretoboard_reports.view.select import Cell, Group


@dataclass(frozen=True, slots=True, kw_only=True)
class Columns:
    """Which metric, at which batch and in which unit each column shows."""

    quality: str
    small_batch: int
    large_batch: int
    sources: Mapping[str, tuple[str, str]]  # column -> (metric, scope)
    scales: Mapping[str, Scale]

    @classmethod
    def of(cls, group: Group) -> Columns:
        """The columns that suit the records of a board."""
        spec = group.latest.spec
        quality, batches = str(spec["quality"]), [int(batch) for batch in spec["measure"]["batches"]]
        small, large = f"batch={min(batches)}", f"batch={max(batches)}"
        sources = {
            "quality": (quality, ""),
            "latency": ("latency", small),
            "latency_p90": ("latency_p90", small),
            "latency_p99": ("latency_p99", small),
            "throughput": ("throughput", large),
            "file_size": ("file_size", ""),
            "memory": ("peak_memory", ""),
            "process_memory": ("process_memory", ""),
            "parameters": ("parameters", ""),
            "macs": ("macs", ""),
            "build_time": ("build_time", ""),
            "training": ("train_time", ""),
            "energy": ("energy", small),
        }
        scales = {column: _scale(group, *source) for column, source in sources.items()}
        for column in ("latency_p90", "latency_p99"):
            scales[column] = scales["latency"]
        scales["process_memory"] = scales["memory"]
        # Builds take from milliseconds to hours: the next smaller unit would suit only half of them.
        scales["build_time"] = Scale(source_unit="s", unit="s", factor=1.0)
        return cls(
            quality=quality,
            small_batch=min(batches),
            large_batch=max(batches),
            sources=sources,
            scales=scales,
        )

    def batch(self, axis: AxisName) -> int | None:
        """The batch that an axis is about, None where it is about none."""
        return {"latency": self.small_batch, "throughput": self.large_batch}.get(axis)

    def value(self, cell: Cell, column: str) -> MetricValue | None:
        """What a row has in a column, over its seeds."""
        if column == "training":
            return training_time(cell.measured)
        return over_seeds(cell.measured, *self.sources[column])

    def shown(self, cell: Cell, column: str) -> Quantity | None:
        """The same, as it is shown."""
        value = self.value(cell, column)
        return None if value is None else quantity(value, self.scales[column])


def over_seeds(records: Sequence[RunRecord], name: str, scope: str) -> MetricValue | None:
    """The mean over seeds, with an interval from the lowest end to the highest, which covers every seed's."""
    values = [record.metric(name, scope) for record in records]
    # What is not a number was not measured.
    found = [value for value in values if value is not None and math.isfinite(value.value)]
    if not found:
        return None
    found = [_with_interval(value) for value in found]
    lows = [value.low for value in found if value.low is not None]
    highs = [value.high for value in found if value.high is not None]
    complete = len(lows) == len(highs) == len(found)
    return MetricValue(
        name=name,
        scope=scope,
        value=sum(value.value for value in found) / len(found),
        low=min(lows) if complete else None,
        high=max(highs) if complete else None,
        n=found[0].n,
        unit=found[0].unit,
    )


def rows(group: Group, columns: Columns) -> tuple[Row, ...]:
    """The rows of a board: by layer, then quality; those without quality by speed, those without numbers last."""
    # A run that failed has no numbers, hence no place; it is an entry like any other.
    entries = [_entry(cell, group.cells, columns) for cell in group.cells]
    where = places(entries, columns.quality)
    effects = quality_effects(group.cells, columns.quality)
    shares = contributions(group.cells, columns.quality, columns.small_batch)
    found = [
        dataclasses.replace(_row(cell, group, columns, entry, place, effect), contributions=share)
        for cell, entry, place, effect, share in zip(group.cells, entries, where, effects, shares, strict=True)
    ]
    return tuple(sorted(found, key=_rank))


def family_of(record: RunRecord) -> Family:
    """What kind of optimization a recipe is, from the techniques in it."""
    if not record.steps:
        return "baseline"
    kinds = {str(step["name"]).partition(".")[0] for step in record.steps} - {"run"}
    if not kinds:
        return "runtime"
    if kinds <= {"prune", "train", "tune"}:
        return "prune" if "prune" in kinds else "train"
    return "quantize" if kinds == {"quantize"} else "combined"


def _row(
    cell: Cell, group: Group, columns: Columns, entry: Entry, where: Mapping[AxisName, Place], effect: Effect | None
) -> Row:
    latest = cell.latest
    train_speedup = training_time_effect(cell, group.cells)
    return Row(
        anchor=_anchor(latest),
        recipe=latest.recipe,
        family=family_of(latest),
        recipe_steps=steps_in_words(latest.steps),
        status=latest.status,
        reason=latest.reason,
        tags=_tags(cell, group),
        is_baseline=cell.is_baseline,
        measured_at=latest.started_at,
        places=where,
        costs={
            axis: quantity(cost, columns.scales[axis_column(axis)])
            for axis, cost in entry.costs.items()
            if cost is not None
        },
        quality=columns.shown(cell, "quality"),
        quality_effect=effect,
        latency=columns.shown(cell, "latency"),
        latency_p90=columns.shown(cell, "latency_p90"),
        latency_p99=columns.shown(cell, "latency_p99"),
        speedup=speed_effect(cell.measured, columns.small_batch),
        throughput=columns.shown(cell, "throughput"),
        throughput_speedup=speed_effect(cell.measured, columns.large_batch),
        file_size=columns.shown(cell, "file_size"),
        memory=columns.shown(cell, "memory"),
        process_memory=columns.shown(cell, "process_memory"),
        parameters=columns.shown(cell, "parameters"),
        macs=columns.shown(cell, "macs"),
        build_time=columns.shown(cell, "build_time"),
        train_time=columns.shown(cell, "training"),
        train_speedup=train_speedup,
        energy=columns.shown(cell, "energy"),
        details=details(cell, group.cells, columns.quality, effect, train_speedup),
    )


def _entry(cell: Cell, cells: Sequence[Cell], columns: Columns) -> Entry:
    return Entry(
        records=cell.measured,
        quality=columns.value(cell, "quality"),
        costs={axis.name: _cost(axis, cell, cells, columns) for axis in AXES},
    )


def _cost(axis: Axis, cell: Cell, cells: Sequence[Cell], columns: Columns) -> MetricValue | None:
    """What a recipe is placed by: for times the baseline's own one, times the ratio measured side by side.

    Medians of two runs were taken minutes apart: on a machine that was busier in one of them they would put a
    recipe on the wrong side of a baseline that it beats. The column of the table still shows each run's own.
    """
    own = columns.value(cell, axis_column(axis.name))
    batch = columns.batch(axis.name)
    reference = baseline_cell(cell, cells)
    if own is None or batch is None or reference is None:
        return own
    base = columns.value(reference, axis_column(axis.name))
    speed = _speed_ratio(cell, batch)
    if base is None or speed is None:
        return own
    shares = [1 / share for share in reversed(speed)] if axis.higher_is_better else speed
    low, value, high = (base.value * share for share in shares)
    return dataclasses.replace(own, value=value, low=low, high=high)


def _speed_ratio(cell: Cell, batch: int) -> tuple[float, float, float] | None:
    """Time against the baseline's as (low, ratio, high) over all seeds; None where one is missing or open."""
    if cell.is_baseline:
        return 1.0, 1.0, 1.0
    found = [[c for c in record.against(BASELINE) if c.batch == batch][:1] for record in cell.measured]
    comparisons = [comparison for one in found for comparison in one]
    ends = [end for comparison in comparisons for end in (comparison.low, comparison.ratio, comparison.high)]
    if len(comparisons) < len(found) or not all(0 < end < math.inf for end in ends):
        return None
    logs = [math.log(comparison.ratio) for comparison in comparisons]
    ratio = math.exp(sum(logs) / len(logs))
    return min(c.low for c in comparisons), ratio, max(c.high for c in comparisons)


def axis_column(axis: AxisName) -> str:
    """The column that holds an axis's cost."""
    return "file_size" if axis == "size" else axis


def _rank(row: Row) -> tuple[bool, float, float, float, str, str]:
    layer = float(row.place.layer) if row.place is not None and row.place.layer else float("inf")
    quality = row.quality.value if row.quality is not None else float("-inf")
    # What has no quality has no layer either; of such the fastest comes first.
    cost = row.costs["latency"].value if row.quality is None and "latency" in row.costs else float("inf")
    return row.status != "ok", layer, -quality, cost, row.recipe, row.anchor


def _scale(group: Group, name: str, scope: str) -> Scale:
    found = [over_seeds(cell.measured, name, scope) for cell in group.cells]
    values = [value for value in found if value is not None]
    return scale_for(values[0].unit if values else "", [value.value for value in values])


def _with_interval(value: MetricValue) -> MetricValue:
    if value.low is not None or value.name not in GUESSES or value.n < 1:
        return value
    found = wilson(round(value.value * value.n), value.n)
    return MetricValue(
        name=value.name,
        scope=value.scope,
        value=value.value,
        low=found.low,
        high=found.high,
        n=value.n,
        unit=value.unit,
    )


def _tags(cell: Cell, group: Group) -> tuple[str, ...]:
    unscored = header.unscored(cell.latest)
    tags = [unscored] if cell.measured and unscored else []
    newest = group.latest.provenance
    if cell.latest.provenance.environment_id != newest.environment_id:
        tags.append(f"other environment: {_differs(cell.latest.provenance, newest)}")
    if len(cell.measured) > 1:
        tags.append(f"{len(cell.measured)} seeds")
    if cell.measured:
        tags += [f"seed {run.seed} {run.status}" for run in cell.records if run.status != "ok"]
    return tuple(tags)


def _differs(ours: Provenance, newest: Provenance) -> str:
    def flat(found: Provenance) -> dict[str, str]:
        plain = {key: str(value) for key, value in found.environment.items() if key != "libraries"}
        return plain | {key: str(value) for key, value in found.environment.get("libraries", {}).items()}

    here, there = flat(ours), flat(newest)
    changed = sorted(key for key in here | there if here.get(key) != there.get(key))
    return ", ".join(f"{key} {here.get(key, 'absent')}" for key in changed) or "not said how"


def _anchor(record: RunRecord) -> str:
    # By what the row is about and not by the run, so that a link to it outlives the next measurement.
    made_of = [record.task, record.profile, record.provenance.hardware_id, record.recipe]
    return "r-" + digest([*made_of, record.provenance.environment_id])[:12]
