"""What a record file holds, column by column, and how older files are brought up to date."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import pyarrow as pa

from paretoboard.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

# Raise when a column is added, dropped or changes meaning, and give MIGRATIONS the step to the new version.
VERSION: Final = 6
VERSION_KEY: Final = b"paretoboard.schema"

CALLS: Final = pa.struct(
    [
        ("batch", pa.list_(pa.int32())),
        ("launch", pa.list_(pa.int16())),
        ("window", pa.list_(pa.int16())),
        ("block", pa.list_(pa.int32())),
        ("arm", pa.list_(pa.int8())),
        ("start_ns", pa.list_(pa.int64())),
        ("wall_ns", pa.list_(pa.int64())),
        ("cpu_ns", pa.list_(pa.int64())),
        ("switches", pa.list_(pa.int32())),
        ("reference", pa.list_(pa.int8())),
    ]
)
CORRUPTED: Final = pa.struct([("corruption", pa.string()), ("best", pa.list_(pa.int16()))])
PREDICTIONS: Final = pa.struct(
    [
        ("labels", pa.list_(pa.int16())),
        ("k", pa.int32()),  # columns of the two that follow, which lie row after row
        ("top_classes", pa.list_(pa.int16())),
        ("top_scores", pa.list_(pa.float32())),
        ("ids", pa.list_(pa.string())),
        ("corrupted", pa.list_(CORRUPTED)),
    ]
)
SIDES: Final = ("left", "top", "width", "height")  # of boxes, in pixels of the stored image
DRAWN: Final = ("drawn_mAP", "drawn_AP50", "drawn_AP75")
_OBJECTS: Final = pa.struct(
    [
        ("image", pa.list_(pa.int32())),
        *((name, pa.list_(pa.float64())) for name in SIDES),
        ("classes", pa.list_(pa.int16())),
        ("areas", pa.list_(pa.float64())),
        ("crowd", pa.list_(pa.bool_())),
    ]
)
DETECTIONS: Final = pa.struct(
    [
        ("image_height", pa.list_(pa.int32())),
        ("image_width", pa.list_(pa.int32())),
        ("objects", _OBJECTS),  # that there were to find
        ("image", pa.list_(pa.int32())),
        *((name, pa.list_(pa.float32())) for name in SIDES),
        ("classes", pa.list_(pa.int16())),
        ("scores", pa.list_(pa.float32())),
        *((name, pa.list_(pa.float32())) for name in DRAWN),
    ]
)
_ARTIFACT: Final = pa.struct([(name, pa.string()) for name in ("build_id", "digest", "file", "runtime", "form")])
_METRIC: Final = pa.struct(
    [
        ("name", pa.string()),
        ("scope", pa.string()),
        ("value", pa.float64()),
        ("low", pa.float64()),
        ("high", pa.float64()),
        ("n", pa.int64()),
        ("unit", pa.string()),
    ]
)
_COMPARISON: Final = pa.struct(
    [
        ("batch", pa.int32()),
        ("against", pa.string()),
        ("ratio", pa.float64()),
        ("low", pa.float64()),
        ("high", pa.float64()),
        ("confidence", pa.float64()),
        ("launches", pa.int32()),
        ("windows", pa.int32()),
        ("clock", pa.string()),
        ("tolerance", pa.float64()),
        ("p_value", pa.float64()),
        ("verdict", pa.string()),
        ("reason", pa.string()),
    ]
)
_CONTROL: Final = pa.struct(
    [
        ("name", pa.string()),
        ("requested", pa.string()),
        ("applied", pa.string()),
        ("observed", pa.string()),
        ("held", pa.bool_()),
    ]
)
_WINDOW: Final = pa.struct(
    [
        ("batch", pa.int32()),
        ("launch", pa.int32()),
        ("window", pa.int32()),
        ("steal", pa.float64()),
        ("load1", pa.float64()),
        ("pressure", pa.float64()),
        ("clock_mhz", pa.float64()),
        ("temperature_c", pa.float64()),
    ]
)
_PEAK: Final = pa.struct([("dtype", pa.string()), ("macs_per_s", pa.float64())])
_BANDWIDTH: Final = pa.struct([("working_set_bytes", pa.int64()), ("bytes_per_s", pa.float64())])
_OPERATOR: Final = pa.struct(
    [
        ("type", pa.string()),
        ("kind", pa.string()),
        ("dtype", pa.string()),
        ("calls", pa.int32()),
        ("share", pa.float64()),
        ("macs", pa.int64()),
        ("bytes", pa.int64()),
        ("attainable_s", pa.float64()),
    ]
)
DIAGNOSIS: Final = pa.struct(
    [
        ("batch", pa.int32()),
        ("source", pa.string()),
        ("call_s", pa.float64()),
        ("operator_s", pa.float64()),
        ("operators", pa.list_(_OPERATOR)),
        ("attainable_s", pa.float64()),
        ("peaks", pa.list_(_PEAK)),
        ("bandwidths", pa.list_(_BANDWIDTH)),
        ("int8_exact", pa.bool_()),
        ("instruction_sets", pa.list_(pa.string())),
        ("fallbacks", pa.list_(pa.string())),
        ("sentence", pa.string()),
    ]
)
_TRAINED_EPOCH: Final = pa.struct(
    [
        ("epoch", pa.int32()),
        ("images_seen", pa.int64()),
        ("seconds", pa.float64()),
        ("loss", pa.float64()),
        ("held_out_top1", pa.float64()),
        ("held_out_loss", pa.float64()),
    ]
)
_TRAINING: Final = pa.struct(
    [
        ("step", pa.string()),
        ("seconds", pa.float64()),
        ("images_seen", pa.int64()),
        ("fair", pa.string()),
        ("weights", pa.string()),
        ("best_epoch", pa.int32()),
        ("stopped_early", pa.bool_()),
        ("target", pa.float64()),
        ("seconds_to_target", pa.float64()),
        ("peak_bytes", pa.int64()),
        ("energy_j", pa.float64()),
        ("curve", pa.list_(_TRAINED_EPOCH)),
    ]
)
TRAININGS: Final = pa.list_(_TRAINING)
_TRIAL: Final = pa.struct(
    [
        ("number", pa.int32()),
        ("settings", pa.string()),
        ("value", pa.float64()),
        ("ending", pa.string()),
        ("images_seen", pa.int64()),
        ("seconds", pa.float64()),
        ("best", pa.float64()),
    ]
)
TRIALS: Final = pa.list_(_TRIAL)
EXPLANATION: Final = pa.struct(
    [
        ("method", pa.string()),
        (
            "images",
            pa.list_(pa.struct([("image", pa.string()), ("similarity", pa.float64()), ("picture", pa.binary())])),
        ),
        ("reason", pa.string()),
    ]
)
_JSON: Final = pa.string()  # canonical JSON: open-ended content that no query should have to rely on

SCHEMA: Final = pa.schema(
    [
        ("run_id", pa.string()),
        ("board_id", pa.string()),
        ("task", pa.string()),
        ("task_version", pa.int32()),
        ("title", pa.string()),
        ("dataset", pa.string()),
        ("subset", pa.string()),
        ("model", pa.string()),
        ("recipe", pa.string()),
        ("steps", _JSON),
        ("profile", pa.string()),
        ("seed", pa.int64()),
        ("spec", _JSON),
        ("status", pa.string()),
        ("reason", pa.string()),
        ("started_at", pa.timestamp("us", tz="UTC")),
        ("duration_s", pa.float64()),
        ("hardware_id", pa.string()),
        ("hardware", _JSON),
        ("environment_id", pa.string()),
        ("environment", _JSON),
        ("commit", pa.string()),
        ("artifact", _ARTIFACT),
        ("metrics", pa.list_(_METRIC)),
        ("comparisons", pa.list_(_COMPARISON)),
        ("controls", pa.list_(_CONTROL)),
        ("windows", pa.list_(_WINDOW)),
        ("calls", CALLS),
        ("predictions", PREDICTIONS),
        ("diagnosis", DIAGNOSIS),
        ("trainings", TRAININGS),
        ("trials", TRIALS),
        ("explanation", EXPLANATION),
        ("detections", DETECTIONS),
        ("notes", pa.list_(pa.string())),
        ("log_tail", pa.string()),
    ],
    metadata={VERSION_KEY: str(VERSION).encode()},
)


def _with_reference(table: pa.Table) -> pa.Table:
    """1 -> 2: each call says whom the recipe was timed with; until then that was the baseline."""
    calls = table.column("calls").combine_chunks()
    arms = calls.field("arm")
    baseline = pa.array([[0] * len(arm) if arm.is_valid else None for arm in arms], type=pa.list_(pa.int8()))
    fields = [*calls.type, pa.field("reference", baseline.type)]
    column = pa.StructArray.from_arrays(
        [*(calls.field(index) for index in range(calls.type.num_fields)), baseline], fields=fields, mask=calls.is_null()
    )
    return table.set_column(table.schema.get_field_index("calls"), "calls", column)


def _with_diagnosis(table: pa.Table) -> pa.Table:
    """2 -> 3: where the time goes; until then nobody looked."""
    nothing = pa.nulls(table.num_rows, DIAGNOSIS)
    return table.add_column(SCHEMA.get_field_index("diagnosis"), "diagnosis", nothing)


def _with_trainings(table: pa.Table) -> pa.Table:
    """3 -> 4: how the artifact was trained; until then only what all of building took was kept."""
    nothing = pa.array([[] for _ in range(table.num_rows)], type=TRAININGS)
    return table.add_column(SCHEMA.get_field_index("trainings"), "trainings", nothing)


def _with_trials(table: pa.Table) -> pa.Table:
    """4 -> 5: the trials of a search for settings; until then nothing was searched."""
    nothing = pa.array([[] for _ in range(table.num_rows)], type=TRIALS)
    return table.add_column(SCHEMA.get_field_index("trials"), "trials", nothing)


def _with_answers(table: pa.Table) -> pa.Table:
    """5 -> 6: of which images predictions are, guesses under corruptions, explanations, and what a detector found.

    Until then nobody asked, and all tasks named whole images.
    """
    predictions = table.column("predictions").combine_chunks()
    fields = [field for field in PREDICTIONS if field.name not in predictions.type.names]
    columns = [
        *(predictions.field(index) for index in range(predictions.type.num_fields)),
        *(pa.array([[] for _ in range(table.num_rows)], type=field.type) for field in fields),
    ]
    whole = pa.StructArray.from_arrays(columns, fields=[*predictions.type, *fields], mask=predictions.is_null())
    table = table.set_column(table.schema.get_field_index("predictions"), "predictions", whole)
    for name, kind in (("explanation", EXPLANATION), ("detections", DETECTIONS)):
        table = table.add_column(SCHEMA.get_field_index(name), name, pa.nulls(table.num_rows, kind))
    return table


# Version of a file -> what turns its whole table into one of the next version.
MIGRATIONS: Final[Mapping[int, Callable[[pa.Table], pa.Table]]] = {
    1: _with_reference,
    2: _with_diagnosis,
    3: _with_trainings,
    4: _with_trials,
    5: _with_answers,
}


def version_of(metadata: Mapping[bytes, bytes] | None, *, newest: int = VERSION) -> int:
    """The schema version that a file says it has.

    Raises: StoreError where it says none, or one that this program doesn't know.
    """
    text = (metadata or {}).get(VERSION_KEY)
    if text is None or not text.isdigit():
        raise StoreError("no record of ours: the file names no schema version")
    version = int(text)
    if not 1 <= version <= newest:
        raise StoreError(f"schema version {version}; this program reads 1 to {newest}. A newer one reads it.")
    return version


def migrate(
    table: pa.Table,
    version: int,
    *,
    migrations: Mapping[int, Callable[[pa.Table], pa.Table]] = MIGRATIONS,
    target: int = VERSION,
) -> pa.Table:
    """The whole table of a file of `version`, brought to `target` one step at a time."""
    for step in range(version, target):
        table = migrations[step](table)
    return table


def check_columns(found: pa.Schema) -> None:
    """Refuse a table whose columns are not exactly those of the current version.

    Raises: StoreError naming each column that is missing, unknown or of another type.
    """
    if found.equals(SCHEMA):
        return
    problems = [f"no column '{name}'" for name in SCHEMA.names if name not in found.names]
    for field in found:
        if field.name not in SCHEMA.names:
            problems.append(f"unknown column '{field.name}'")
        elif field.type != SCHEMA.field(field.name).type:
            problems.append(f"column '{field.name}' is {field.type}, {SCHEMA.field(field.name).type} would be right")
    if problems:
        raise StoreError("; ".join(problems))
