"""What a row folds out to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from paretoboard.metrics import METRICS
from paretoboard_reports.view.breaks import breaks_of
from paretoboard_reports.view.curves import search_curves, training_curves
from paretoboard_reports.view.effects import speed_effects
from paretoboard_reports.view.explanation import explanation
from paretoboard_reports.view.model import ClassLine, Confusion, Details, Line, ObjectLine, Step
from paretoboard_reports.view.numbers import Scale, quantity, significant
from paretoboard_reports.view.select import baseline_for
from paretoboard_reports.view.training import cost_of_training

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from paretoboard.records import RunRecord
    from paretoboard_reports.view.model import Effect
    from paretoboard_reports.view.numbers import Quantity
    from paretoboard_reports.view.select import Cell

# A table of confusions with more classes than this is not read by anybody.
MOST_CLASSES: Final = 20
_BY_CLASS: Final = ("precision", "recall", "f1")
_LABELS: Final = {
    "top1": "Top-1",
    "top5": "Top-5",
    "f1": "F1",
    "mAP": "mAP",
    "AP50": "AP50",
    "AP75": "AP75",
    "macs": "MACs",
    "latency_p90": "Latency p90",
    "latency_p99": "Latency p99",
    "first_inference": "First inference",
    "load": "Load time",
    "nonzero_parameters": "Non-zero parameters",
}


def metric_label(name: str) -> str:
    """A metric's name as a heading."""
    return _LABELS.get(name, name.replace("_", " ").capitalize())


def details(
    cell: Cell,
    cells: Sequence[Cell],
    quality_metric: str,
    quality_effect: Effect | None,
    training_effect: Effect | None,
) -> Details:
    """The latest run of a cell in full, and one line for every seed.

    Args:
        cells: all of the board, the baseline's among them.
    """
    record = cell.latest
    effects = speed_effects(record)
    if quality_effect is not None:
        effects = ((f"{metric_label(quality_metric)} against the baseline", quality_effect), *effects)
    if training_effect is not None:
        effects = (*effects, ("time of training against the baseline", training_effect))
    return Details(
        steps=tuple(step(found) for found in record.steps),
        lines=tuple(_lines(record)),
        effects=effects,
        classes=_classes(record),
        objects=_objects(record),
        confusion=_confusion(record),
        explanation=explanation(record.diagnosis),
        breaks=breaks_of(record, baseline_for(record, cell, cells), quality_metric),
        search=search_curves(cell.records),
        training=training_curves(cell.records),
        training_cost=cost_of_training(cell.records),
        diagnosis=record.diagnosis,
        controls=record.controls,
        machine=_machine(record),
        identity=_identity(record),
        notes=record.notes,
        seeds=tuple((run.seed, _seed_text(run, quality_metric)) for run in cell.records),
        log_tail=record.log_tail if record.status != "ok" else "",
    )


def steps_in_words(steps: Iterable[Any]) -> str:
    """A recipe in one line: "quantize.static(per_channel=true) → run.onnxruntime"."""
    words = []
    for each in steps:
        found = step(each)
        given = ", ".join(f"{key}={value}" for key, value in found.parameters)
        words.append(f"{found.name}({given})" if given else found.name)
    return " → ".join(words) or "the model as it is"


def step(stored: Any) -> Step:
    """A step as it is stored, as it is shown; what was left to the task is left out."""
    given = sorted((key, value) for key, value in stored["parameters"].items() if value is not None)
    parameters = tuple((str(key), _plain(value)) for key, value in given)
    return Step(name=str(stored["name"]), version=int(stored["version"]), parameters=parameters)


def _plain(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key} = {_plain(inner)}" for key, inner in value.items()) + "}"
    return str(value).lower() if isinstance(value, bool) else str(value)


def _lines(record: RunRecord) -> Iterable[Line]:
    order = {name: place for place, name in enumerate(METRICS)}
    values = [value for value in record.metrics if not value.scope.startswith("class=")]
    for value in sorted(values, key=lambda v: (order.get(v.name, len(order)), _scope_order(v.scope))):
        known = METRICS.get(value.name)
        yield Line(
            label=metric_label(value.name),
            summary=known.summary if known else "",
            scope=value.scope.replace("=", " "),
            quantity=quantity(
                value, Scale(source_unit="count", unit="", factor=1.0) if value.unit == "count" else None
            ),
        )


def _scope_order(scope: str) -> tuple[str, int]:
    name, _, number = scope.partition("=")
    return name, int(number) if number.isdigit() else 0


def _classes(record: RunRecord) -> tuple[ClassLine, ...]:
    named = (v for v in record.metrics if v.name in _BY_CLASS and v.scope.startswith("class="))
    indices = sorted({_scope_order(v.scope)[1] for v in named})
    found = []
    for index in indices[:MOST_CLASSES]:
        values = [record.metric(name, f"class={index}") for name in _BY_CLASS]
        shown = ["–" if value is None else _with_half(quantity(value)) for value in values]
        images = int((record.predictions.labels == index).sum()) if record.predictions is not None else 0
        found.append(ClassLine(index=index, images=images, precision=shown[0], recall=shown[1], f1=shown[2]))
    return tuple(found)


def _objects(record: RunRecord) -> tuple[ObjectLine, ...]:
    found = [value for value in record.metrics if value.name == "mAP" and value.scope.startswith("class=")]
    lines = [
        ObjectLine(index=_scope_order(value.scope)[1], objects=value.n, quantity=quantity(value)) for value in found
    ]
    return tuple(sorted(lines, key=lambda line: line.index))


def _confusion(record: RunRecord) -> Confusion | None:
    if record.predictions is None or not len(record.predictions.labels):
        return None
    labels, best = record.predictions.labels, record.predictions.top_classes[:, 0]
    classes = int(max(labels.max(), best.max())) + 1
    if classes > MOST_CLASSES:
        return None
    counts = np.zeros((classes, classes), dtype=np.int64)
    np.add.at(counts, (labels, best), 1)
    wrong = counts - np.diag(np.diag(counts))
    return Confusion(counts=tuple(tuple(int(n) for n in row) for row in counts), most=int(wrong.max()))


def _machine(record: RunRecord) -> tuple[tuple[str, str], ...]:
    windows = record.windows
    if not windows:
        return ()
    clocks = [window.clock_mhz for window in windows if window.clock_mhz is not None]
    pressures = [window.pressure for window in windows if window.pressure is not None]
    lines = [
        ("Windows of timed calls", f"{len(windows):,}"),
        ("Load average", _range([window.load1 for window in windows])),
        ("Time stolen by the hypervisor", f"{_range([100 * window.steal for window in windows])} %"),
    ]
    if pressures:
        lines.append(("CPU pressure", f"{_range([100 * pressure for pressure in pressures])} %"))
    if clocks:
        lines.append(("Clock", f"{_range(clocks)} MHz"))
    return tuple(lines)


def _range(values: Sequence[float]) -> str:
    low, high = significant(min(values), 2), significant(max(values), 2)
    return low if low == high else f"{low} to {high}"


def _identity(record: RunRecord) -> tuple[tuple[str, str], ...]:
    found = [("Run", record.run_id)]
    if record.artifact is not None:
        artifact = record.artifact
        found += [
            ("File", f"{artifact.file} ({artifact.form}, run by {artifact.runtime})"),
            ("File's SHA-256", artifact.digest),
            ("Build", artifact.build_id),
        ]
    return (
        *found,
        ("Environment", record.provenance.environment_id),
        ("Commit", record.provenance.commit or "not in a checkout"),
        ("Started", f"{record.started_at:%Y-%m-%d %H:%M:%S} UTC"),
        ("Took", f"{significant(record.duration_s)} s"),
    )


def _seed_text(record: RunRecord, quality_metric: str) -> str:
    if record.status != "ok":
        return f"{record.status}: {record.reason}" if record.reason else record.status
    value = record.metric(quality_metric)
    if value is None:
        return "no quality measured"
    shown = quantity(value)
    return f"{metric_label(quality_metric)} {_with_half(shown)} {shown.unit}"


def _with_half(shown: Quantity) -> str:
    return f"{shown.text} ± {shown.half}" if shown.half else shown.text
