"""A board with all that a table has to bear: ties, missing and failed numbers, hostile names, two seeds and nights."""

from __future__ import annotations

import dataclasses
from datetime import timedelta
from typing import TYPE_CHECKING

from builders import MEASURED_AT, failed_record, run_record
from paretoboard_reports import output, pages
from site_kit import site_of

if TYPE_CHECKING:
    from pathlib import Path

    from paretoboard.records import RunRecord

HOSTILE = '<img src=x onerror=alert(1)> "quoted", =cmd()\nnew line'
FORMULA = "=cmd()|' /C calc'!A0"


def fixture_records() -> list[RunRecord]:
    """Eleven rows: see the names."""
    again = MEASURED_AT + timedelta(days=1)
    twice = {"accuracy": 0.94, "latency_s": 4e-4, "speedup": 2.5, "file_bytes": 120_000}
    without_memory = run_record("bf16", accuracy=0.969, latency_s=1.36e-3, speedup=1.05, file_bytes=172_000)
    return [
        run_record(accuracy=0.972, latency_s=1.42e-3),
        # Alike in everything: both are on the front.
        run_record("ort-fp32", accuracy=0.972, latency_s=4e-4, speedup=3.5, memory_bytes=8_300_000),
        run_record(
            "twin", steps=[("run.onnxruntime", {})], accuracy=0.972, latency_s=4e-4, speedup=3.5, memory_bytes=8_300_000
        ),
        run_record("ort-int8", accuracy=0.967, latency_s=2e-4, speedup=7.1, file_bytes=104_000, memory_bytes=6_900_000),
        # Two seeds on two nights: not single.
        run_record("seeded", steps=[("train.finetune", {"lr": 0.1})], **twice),
        run_record("seeded", steps=[("train.finetune", {"lr": 0.1})], seed=1, started_at=again, **twice),
        dataclasses.replace(
            without_memory,
            metrics=tuple(
                dataclasses.replace(value, value=float("nan")) if value.name == "peak_memory" else value
                for value in without_memory.metrics
            ),
        ),
        # Far below the rest, so that the plot clips it.
        run_record("structured-30", accuracy=0.531, latency_s=3.5e-4, speedup=4.1, file_bytes=224_000),
        run_record(
            HOSTILE,
            steps=[("prune.magnitude", {"sparsity": 0.5})],
            accuracy=0.953,
            latency_s=1.42e-3,
            speedup=0.99,
            file_bytes=99_000,
        ),
        run_record(
            FORMULA,
            steps=[("prune.magnitude", {"sparsity": 0.6})],
            accuracy=0.95,
            latency_s=1.4e-3,
            speedup=1.01,
            file_bytes=98_000,
        ),
        failed_record("compile", reason=HOSTILE),
        failed_record("slow", status="timeout", reason="took longer than 60 s", steps=[("run.compile", {})]),
    ]


def write_site(folder: Path, records: list[RunRecord] | None = None) -> Path:
    """The site of these records; gives the page of its one board."""
    output.write(pages.files(site_of(fixture_records() if records is None else records)), folder)
    (board,) = (folder / "boards").glob("*.html")
    return board
