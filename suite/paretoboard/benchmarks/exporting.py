"""Our own timed calls as pytest-benchmark writes such things, so that its tools can read them."""

from __future__ import annotations

from importlib import metadata
from typing import TYPE_CHECKING, Any, Final

from paretoboard.benchmarks.document import Document
from paretoboard.errors import InputError
from paretoboard.spec import BASELINE

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from paretoboard.records import RunRecord

_CANDIDATE: Final = 1


def of_records(records: Iterable[RunRecord]) -> Document:
    """A document with a benchmark for each batch of each record that has timed calls; wall time of single calls.

    Raises: InputError where the records are of several machines, which are never compared, where none was timed, and
        where pytest-benchmark is missing.
    """
    timed = [record for record in records if record.status == "ok" and record.calls is not None]
    machines = sorted({record.provenance.hardware_id[:8] for record in timed})
    if len(machines) != 1:
        found = ", ".join(machines) or "none"
        raise InputError(f"found timed runs of machines {found}; runs of one machine would be right (--machine ID)")
    newest = max(timed, key=lambda record: record.started_at)
    made, version = newest.provenance, _version()
    content = {
        "machine_info": {
            "node": "",
            "processor": str(made.hardware.get("cpu", "")),
            "machine": "",
            "python_implementation": str(made.environment.get("implementation", "")),
            "python_version": str(made.environment.get("python", "")),
            "release": str(made.environment.get("kernel", "")),
            "system": "Linux",
            "cpu": {"brand_raw": str(made.hardware.get("cpu", "")), "count": made.hardware.get("logical_cpus")},
            "paretoboard": {
                "hardware_id": made.hardware_id,
                "hardware": dict(made.hardware),
                "environment_id": made.environment_id,
                "environment": dict(made.environment),
            },
        },
        "commit_info": {
            "id": made.commit.removesuffix("+dirty") or "unknown",
            "time": None,
            "author_time": None,
            "dirty": made.commit.endswith("+dirty"),
            "project": "paretoboard",
            "branch": "(unknown)",
        },
        "benchmarks": [benchmark for record in timed for benchmark in _benchmarks(record)],
        "datetime": newest.started_at.isoformat(),
        "version": version,
    }
    return Document(content=content)


def _version() -> str:
    try:
        return metadata.version("pytest-benchmark")
    except metadata.PackageNotFoundError:
        raise InputError(
            "pytest-benchmark is missing, whose statistics this takes: pip install pytest-benchmark"
        ) from None


def _benchmarks(record: RunRecord) -> Iterator[dict[str, Any]]:
    calls = record.calls
    assert calls is not None
    own = (calls.arm == _CANDIDATE) & (calls.reference == 0)
    for batch in sorted(set(calls.batch[own].tolist())):
        seconds = calls.wall_ns[own & (calls.batch == batch)] / 1e9
        name = f"{record.recipe}[{record.profile}-{record.seed}-batch{batch}]"
        compared = next((each for each in record.against(BASELINE) if each.batch == batch), None)
        yield {
            "group": f"{record.task}, batch {batch}",
            "name": name,
            "fullname": f"{record.task}::{name}",
            "params": {"recipe": record.recipe, "profile": record.profile, "seed": record.seed, "batch": batch},
            "param": f"{record.profile}-{record.seed}-batch{batch}",
            "extra_info": {
                "run_id": record.run_id,
                "hardware_id": record.provenance.hardware_id,
                "environment_id": record.provenance.environment_id,
                "commit": record.provenance.commit,
                "started_at": record.started_at.isoformat(),
                "ratio": None if compared is None else compared.ratio,
                "low": None if compared is None else compared.low,
                "high": None if compared is None else compared.high,
                "verdict": None if compared is None else compared.verdict,
            },
            "options": {
                "disable_gc": True,
                "timer": "perf_counter",
                "min_rounds": 1,
                "max_time": 0.0,
                "min_time": 0.0,
                "warmup": True,
            },
            "stats": statistics_of(seconds.tolist()),
        }


def statistics_of(seconds: list[float]) -> dict[str, Any]:
    """What pytest-benchmark makes of rounds of one call each, by its own code."""
    from pytest_benchmark.stats import Stats

    made: Any = Stats()  # type: ignore[no-untyped-call]
    made.data = seconds
    return {**made.as_dict(), "data": seconds, "iterations": 1}
