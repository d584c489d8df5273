"""One run in full: its number, its seeds, how to repeat it, and where it comes from."""

from __future__ import annotations

import dataclasses
import math
import shlex
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from paretoboard_reports.view.details import metric_label
from paretoboard_reports.view.numbers import quantity, scale_for

if TYPE_CHECKING:
    from collections.abc import Mapping

    from paretoboard.records import MetricValue, RunRecord
    from paretoboard_reports.view.model import Row
    from paretoboard_reports.view.numbers import Quantity  # noqa: TC004 - nothing resolves these annotations
    from paretoboard_reports.view.select import Cell

# Columns of thousands of entries, which the parquet file keeps.
_LARGE: Final = frozenset({"calls", "predictions", "detections", "windows", "spec"})


@dataclass(frozen=True, slots=True, kw_only=True)
class SeedDot:
    """The quality of one seed, in the unit that is shown."""

    seed: int
    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class RunView:
    """The newest run of a board's row."""

    title: str
    headline: Quantity | None  # the quality, None where nothing was measured
    headline_label: str
    dots: tuple[SeedDot, ...]
    unit: str  # of the dots
    command: str
    provenance: tuple[tuple[str, str], ...]
    environment: tuple[tuple[str, str], ...]
    log_tail: str


def run_view(cell: Cell, row: Row, quality_metric: str) -> RunView:
    """What the page of a run says beside what its row folds out to."""
    record = cell.latest
    value = record.metric(quality_metric)
    scale = scale_for(value.unit, [value.value]) if value is not None and math.isfinite(value.value) else None
    shown = quantity(value, scale) if value is not None and scale is not None else None
    factor = scale.factor if scale is not None else 1.0
    return RunView(
        title=f"{record.recipe} on {record.title}",
        headline=shown,
        headline_label=metric_label(quality_metric),
        dots=tuple(_dots(cell, quality_metric, factor)),
        unit=shown.unit if shown is not None else "",
        command=command(record.task, record.recipe, record.profile, record.seed, record.provenance.commit),
        provenance=provenance(record),
        environment=environment(record.provenance.environment),
        log_tail="" if row.details.log_tail else record.log_tail,
    )


def command(task: str, recipe: str, profile: str, seed: int, commit: str) -> str:
    """How the same is measured again, as lines for a shell."""
    name, _, dirty = commit.partition("+")
    lines = (
        [f"git checkout {shlex.quote(name)}" + ("  # and files that differ from it" if dirty else "")] if name else []
    )
    words = ["paretoboard", "run", task, "--only", recipe, "--profile", profile, "--seeds", str(seed), "--fresh"]
    return "\n".join([*lines, shlex.join(words)])


def provenance(record: RunRecord) -> tuple[tuple[str, str], ...]:
    """Where a run comes from, as labels and texts."""
    where, data = record.provenance, record.spec.get("dataset") or {}
    found = [
        ("Task", f"{record.task}, version {record.task_version}"),
        ("Definition", record.board_id),
        ("Dataset", f"{record.dataset}, subset {record.subset}"),
        *((f"{name.capitalize()} images, SHA-256 of the list", digest) for name, digest in _digests(data)),
        ("Model", record.model),
        ("Hardware fingerprint", where.hardware_id),
        *((_words(key), _plain(value)) for key, value in sorted(where.hardware.items())),
        ("Environment", where.environment_id),
        ("Commit", where.commit or "not in a checkout"),
    ]
    return tuple(found)


def environment(found: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    """The software, one line for each."""
    plain = {key: str(value) for key, value in found.items() if key != "libraries"}
    libraries = {key: str(value) for key, value in (found.get("libraries") or {}).items()}
    return tuple(sorted((plain | libraries).items()))


def plain_record(record: RunRecord) -> Mapping[str, Any]:
    """The record for JSON, without its columns of thousands of entries."""
    fields = [field.name for field in dataclasses.fields(record) if field.name not in _LARGE]
    return {name: _jsonable(getattr(record, name)) for name in fields}


def _digests(data: Mapping[str, Any]) -> list[tuple[str, str]]:
    parts = [(name, part.get("digest", "")) for name, part in sorted(data.items()) if hasattr(part, "get")]
    return [(name, str(digest)) for name, digest in parts if digest]


def _dots(cell: Cell, metric: str, factor: float) -> list[SeedDot]:
    values = [(record.seed, record.metric(metric)) for record in cell.measured]
    return [
        SeedDot(
            seed=seed,
            value=value.value * factor,
            low=_end(value, value.low, factor),
            high=_end(value, value.high, factor),
        )
        for seed, value in values
        if value is not None and math.isfinite(value.value)
    ]


def _end(value: MetricValue, end: float | None, factor: float) -> float:
    return factor * (value.value if end is None or not math.isfinite(end) else end)


def _jsonable(found: Any) -> Any:
    if dataclasses.is_dataclass(found) and not isinstance(found, type):
        return {field.name: _jsonable(getattr(found, field.name)) for field in dataclasses.fields(found)}
    if isinstance(found, dict) or hasattr(found, "items"):
        return {str(key): _jsonable(value) for key, value in found.items()}
    if isinstance(found, list | tuple):
        return [_jsonable(value) for value in found]
    if isinstance(found, bytes):
        return f"{len(found)} bytes"
    if isinstance(found, datetime):
        return found.isoformat()
    # JSON has neither NaN nor infinity.
    return None if isinstance(found, float) and not math.isfinite(found) else found


def _words(key: str) -> str:
    return key.replace("_", " ").capitalize()


def _plain(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
