"""A record as a row of a table, and back, without loss."""

from __future__ import annotations

import dataclasses
import json
from datetime import UTC
from typing import TYPE_CHECKING, Any, Final, cast

import numpy as np
import pyarrow as pa

from paretoboard.errors import StoreError
from paretoboard.records import (
    STATUSES,
    ArtifactInfo,
    Bandwidth,
    Calls,
    Comparison,
    ControlState,
    CorruptedGuesses,
    Detections,
    Diagnosis,
    ExplainedImage,
    ExplanationShift,
    MetricValue,
    Objects,
    OperatorCost,
    Peak,
    Predictions,
    Provenance,
    RunRecord,
    SearchTrial,
    TrainedEpoch,
    Training,
    WindowState,
)
from paretoboard.store.schema import CALLS, DETECTIONS, DRAWN, PREDICTIONS, SCHEMA, SIDES

if TYPE_CHECKING:
    from collections.abc import Mapping

_JSON: Final = ("steps", "spec", "hardware", "environment")
_ROWS: Final[Mapping[str, type[Any]]] = {
    "metrics": MetricValue,
    "comparisons": Comparison,
    "controls": ControlState,
    "windows": WindowState,
    "trials": SearchTrial,
}
_PROVENANCE: Final = tuple(field.name for field in dataclasses.fields(Provenance))
_OTHERS: Final = (
    "started_at",
    "artifact",
    "calls",
    "predictions",
    "detections",
    "diagnosis",
    "trainings",
    "explanation",
    "notes",
)
_PLAIN: Final = tuple(name for name in SCHEMA.names if name not in {*_JSON, *_ROWS, *_PROVENANCE, *_OTHERS})
_DIAGNOSIS_ROWS: Final[Mapping[str, type[Any]]] = {"operators": OperatorCost, "peaks": Peak, "bandwidths": Bandwidth}


def encode(record: RunRecord) -> pa.Table:
    """A table of one row.

    Raises: StoreError naming the column that a value doesn't fit.
    """
    values = _values(record)
    columns = []
    for field in SCHEMA:
        try:
            if field.name == "calls":
                column = _encode_calls(record.calls)
            elif field.name == "predictions":
                column = _encode_predictions(record.predictions)
            elif field.name == "detections":
                column = _encode_detections(record.detections)
            else:
                column = pa.array([_mended(values[field.name])], type=field.type)
        except (pa.ArrowException, OverflowError, TypeError, ValueError) as error:
            raise StoreError(f"record of {record.task}, recipe {record.recipe}: {field.name}: {error}") from error
        columns.append(column)
    return pa.Table.from_arrays(columns, schema=SCHEMA)


def decode(table: pa.Table) -> list[RunRecord]:
    """The records of a table; what it has no column for (calls, predictions, detections) is None.

    Raises: StoreError where a value can't be what it claims to be.
    """
    light = [name for name in table.column_names if name not in {"calls", "predictions", "detections"}]
    rows = table.select(light).to_pylist()
    try:
        return [_record(row, table, index) for index, row in enumerate(rows)]
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise StoreError(f"no valid record: {error}") from error


def _values(record: RunRecord) -> dict[str, Any]:
    values = {name: getattr(record, name) for name in _PLAIN}
    values |= {name: getattr(record.provenance, name) for name in _PROVENANCE}
    values |= {name: [_fields(row) for row in getattr(record, name)] for name in _ROWS}
    values["steps"], values["spec"] = record.steps, record.spec
    for name in _JSON:
        values[name] = _Unencoded(values[name])
    values["started_at"] = record.started_at.astimezone(UTC)
    values["artifact"] = None if record.artifact is None else _fields(record.artifact)
    values["diagnosis"] = None if record.diagnosis is None else dataclasses.asdict(record.diagnosis)
    values["trainings"] = [dataclasses.asdict(training) for training in record.trainings]
    values["explanation"] = None if record.explanation is None else dataclasses.asdict(record.explanation)
    values["notes"] = list(record.notes)
    return values


@dataclasses.dataclass(frozen=True, slots=True)
class _Unencoded:
    """Content still to be written as JSON, so that a failure is reported under its column's name."""

    content: Any


def _mended(value: Any) -> Any:
    if isinstance(value, _Unencoded):
        return json.dumps(value.content, sort_keys=True, separators=(",", ":"), allow_nan=False)
    # The last words of a crashed process may be no valid Unicode; they must not cost the record.
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode("utf-8")
    if isinstance(value, list | tuple):
        return [_mended(item) for item in value]
    if isinstance(value, dict):
        return {key: _mended(item) for key, item in value.items()}
    return value


def _fields(value: Any) -> dict[str, Any]:
    return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}


def _encode_calls(calls: Calls | None) -> pa.Array:
    if calls is None:
        return pa.nulls(1, CALLS)
    arrays = _fields(calls)
    if len({array.shape for array in arrays.values()}) != 1 or calls.batch.ndim != 1:
        shapes = ", ".join(f"{name} {array.shape}" for name, array in arrays.items())
        raise ValueError(f"columns of unlike length: {shapes}")
    lists = [_as_list(arrays[field.name], field.type) for field in CALLS]
    return pa.StructArray.from_arrays(lists, fields=list(CALLS))


def _encode_predictions(predictions: Predictions | None) -> pa.Array:
    if predictions is None:
        return pa.nulls(1, PREDICTIONS)
    _check_images(predictions)
    types = {field.name: field.type for field in PREDICTIONS}
    columns = [
        _as_list(predictions.labels, types["labels"]),
        pa.array([predictions.top_classes.shape[1]], type=types["k"]),
        _as_list(predictions.top_classes.ravel(), types["top_classes"]),
        _as_list(predictions.top_scores.ravel(), types["top_scores"]),
        pa.array([_mended(predictions.ids)], type=types["ids"]),
        pa.array([[_fields(found) for found in predictions.corrupted]], type=types["corrupted"]),
    ]
    return pa.StructArray.from_arrays(columns, fields=list(PREDICTIONS))


def _check_images(predictions: Predictions) -> None:
    """Raises: ValueError where parts are not about the same images."""
    images, k = predictions.top_classes.shape
    fits = predictions.top_scores.shape == (images, k) and predictions.labels.shape == (images,)
    fits = fits and len(predictions.ids) in (0, images)
    if not fits or any(found.best.shape != (images,) for found in predictions.corrupted):
        corrupted = "".join(f", {found.corruption} {found.best.shape}" for found in predictions.corrupted)
        raise ValueError(
            f"labels {predictions.labels.shape}, top_classes {predictions.top_classes.shape}, top_scores "
            f"{predictions.top_scores.shape}, {len(predictions.ids)} ids{corrupted} are not about the same images"
        )


def _encode_detections(detections: Detections | None) -> pa.Array:
    if detections is None:
        return pa.nulls(1, DETECTIONS)
    _check_lengths(detections)
    found = detections.objects
    objects = {"image": found.image, "classes": found.classes, "areas": found.areas, "crowd": found.crowd}
    columns = {
        "image_height": found.sizes[:, 0],
        "image_width": found.sizes[:, 1],
        "objects": objects | _by_name(SIDES, found.boxes),
        "image": detections.image,
        "classes": detections.classes,
        "scores": detections.scores,
        **_by_name(SIDES, detections.boxes),
        **_by_name(DRAWN, detections.drawn),
    }
    return _as_struct(columns, DETECTIONS)


def _check_lengths(detections: Detections) -> None:
    """Raises: ValueError where columns are not about the same boxes, objects or draws."""
    objects = detections.objects
    wanted: dict[str, tuple[np.ndarray[Any, Any], tuple[int, ...]]] = {
        "boxes": (detections.boxes, (len(detections.image), len(SIDES))),
        "classes": (detections.classes, detections.image.shape),
        "scores": (detections.scores, detections.image.shape),
        "drawn": (detections.drawn, (len(detections.drawn), len(DRAWN))),
        "objects.sizes": (objects.sizes, (len(objects.sizes), 2)),
        "objects.boxes": (objects.boxes, (len(objects.image), len(SIDES))),
        "objects.classes": (objects.classes, objects.image.shape),
        "objects.areas": (objects.areas, objects.image.shape),
        "objects.crowd": (objects.crowd, objects.image.shape),
    }
    wrong = [f"{name} {array.shape}, not {shape}" for name, (array, shape) in wanted.items() if array.shape != shape]
    if wrong:
        raise ValueError(f"columns of unlike length: {'; '.join(wrong)}")


def _by_name(names: tuple[str, ...], columns: np.ndarray[Any, Any]) -> dict[str, Any]:
    return {name: columns[:, place] for place, name in enumerate(names)}


def _as_struct(columns: Mapping[str, Any], kind: pa.StructType) -> pa.Array:
    """One row of lists; a mapping among them becomes a struct of lists."""
    arrays = [
        _as_struct(columns[field.name], field.type)
        if pa.types.is_struct(field.type)
        else _as_list(columns[field.name], field.type)
        for field in kind
    ]
    return pa.StructArray.from_arrays(arrays, fields=list(kind))


def _as_list(values: Any, kind: pa.DataType) -> pa.Array:
    flat = pa.array(np.ascontiguousarray(values), type=kind.value_type)
    return pa.ListArray.from_arrays(pa.array([0, len(flat)], type=pa.int32()), flat, type=kind)


def _record(row: dict[str, Any], table: pa.Table, index: int) -> RunRecord:
    if row["status"] not in STATUSES:
        raise ValueError(f"status '{row['status']}'; one of {', '.join(STATUSES)} would be right")
    parsed = {name: json.loads(row[name]) for name in _JSON}
    plain: dict[str, Any] = {name: row[name] for name in _PLAIN}
    rows: dict[str, Any] = {name: tuple(kind(**each) for each in row[name]) for name, kind in _ROWS.items()}
    return RunRecord(
        **plain,
        **rows,
        steps=tuple(parsed["steps"]),
        spec=parsed["spec"],
        started_at=row["started_at"].astimezone(UTC),
        provenance=Provenance(
            hardware_id=row["hardware_id"],
            hardware=parsed["hardware"],
            environment_id=row["environment_id"],
            environment=parsed["environment"],
            commit=row["commit"],
        ),
        artifact=None if row["artifact"] is None else ArtifactInfo(**row["artifact"]),
        diagnosis=_decode_diagnosis(row["diagnosis"]),
        trainings=tuple(_decode_training(each) for each in row["trainings"]),
        explanation=_decode_explanation(row["explanation"]),
        notes=tuple(row["notes"]),
        calls=_decode_calls(_cell(table, "calls", index)),
        predictions=_decode_predictions(_cell(table, "predictions", index)),
        detections=_decode_detections(_cell(table, "detections", index)),
    )


def _decode_training(row: dict[str, Any]) -> Training:
    return Training(**{**row, "curve": tuple(TrainedEpoch(**point) for point in row["curve"])})


def _decode_diagnosis(row: dict[str, Any] | None) -> Diagnosis | None:
    if row is None:
        return None
    rows = {name: tuple(kind(**each) for each in row[name]) for name, kind in _DIAGNOSIS_ROWS.items()}
    lists = {name: tuple(row[name]) for name in ("instruction_sets", "fallbacks")}
    return Diagnosis(**{**row, **rows, **lists})


def _decode_explanation(row: dict[str, Any] | None) -> ExplanationShift | None:
    if row is None:
        return None
    return ExplanationShift(**{**row, "images": tuple(ExplainedImage(**image) for image in row["images"])})


def _cell(table: pa.Table, name: str, index: int) -> Any:
    """One value of a column; None where the table was read without it, or the record has none."""
    if name not in table.column_names:
        return None
    scalar = table.column(name)[index]
    return scalar if scalar.is_valid else None


def _decode_calls(cell: Any) -> Calls | None:
    if cell is None:
        return None
    return Calls(**{field.name: _as_numpy(cell[field.name]) for field in CALLS})


def _decode_predictions(cell: Any) -> Predictions | None:
    if cell is None:
        return None
    labels = _as_numpy(cell["labels"])
    shape = (len(labels), cell["k"].as_py())
    predictions = Predictions(
        labels=labels,
        top_classes=_as_numpy(cell["top_classes"]).reshape(shape),
        top_scores=_as_numpy(cell["top_scores"]).reshape(shape),
        ids=tuple(cell["ids"].as_py()),
        corrupted=tuple(
            CorruptedGuesses(corruption=found["corruption"].as_py(), best=_as_numpy(found["best"]))
            for found in cell["corrupted"]
        ),
    )
    _check_images(predictions)
    return predictions


def _decode_detections(cell: Any) -> Detections | None:
    if cell is None:
        return None
    found = cell["objects"]
    detections = Detections(
        objects=Objects(
            sizes=np.stack([_as_numpy(cell["image_height"]), _as_numpy(cell["image_width"])], axis=1),
            boxes=_stacked(found, SIDES),
            **{name: _as_numpy(found[name]) for name in ("image", "classes", "areas", "crowd")},
        ),
        boxes=_stacked(cell, SIDES),
        drawn=_stacked(cell, DRAWN),
        **{name: _as_numpy(cell[name]) for name in ("image", "classes", "scores")},
    )
    _check_lengths(detections)
    return detections


def _stacked(cell: Any, names: tuple[str, ...]) -> np.ndarray[Any, Any]:
    return np.stack([_as_numpy(cell[name]) for name in names], axis=1)


def _as_numpy(cell: Any) -> np.ndarray[Any, Any]:
    return cast("np.ndarray[Any, Any]", cell.values.to_numpy(zero_copy_only=False))
