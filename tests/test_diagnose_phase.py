"""The phase of a run that says why: the machine's roofline is measured once, and no failure costs the run."""

from __future__ import annotations

import dataclasses
import time
from datetime import UTC, datetime
from typing import Any

from builders import comparison, provenance, recipe, run_spec
from paretoboard.records import Bandwidth, Peak
from paretoboard.store import rooflines
from paretoboard_runners import diagnose, jobs, roofline
from paretoboard_runners.client import JobFailedError, JobLimits
from paretoboard_runners.draft import Draft
from paretoboard_runners.supervise import Ending


def test_a_machine_reaches_something_in_every_data_type_and_reads_caches_faster_than_memory(tmp_path: Any) -> None:
    found = roofline.measure(roofline.RooflineJob(threads=1), tmp_path, lambda event: None)
    assert [peak.dtype for peak in found.peaks] == ["float32", "bfloat16", "int8"]
    assert all(1e8 < peak.macs_per_s < 1e14 for peak in found.peaks)
    sizes = [each.working_set_bytes for each in found.bandwidths]
    assert sizes == sorted(sizes)
    assert all(1e8 < each.bytes_per_s < 1e13 for each in found.bandwidths)
    assert found.bandwidths[0].bytes_per_s > found.bandwidths[-1].bytes_per_s
    assert found.elapsed_s < 20


def test_the_fastest_of_many_calls_counts_and_the_first_does_not() -> None:
    pauses = iter([0.0, 0.03, 0.01, 0.02, *[0.03] * 99])
    assert 0.01 <= roofline.fastest(lambda: time.sleep(next(pauses)), seconds=0.05) < 0.02


class CountingWorker:
    """Answers every request for a roofline with the same one, or fails; and counts."""

    cores = (0,)

    def __init__(self, reason: str = "") -> None:
        self.reason, self.asked = reason, 0

    def do(self, function: str, job: Any, result: Any, **options: Any) -> Any:
        self.asked += 1
        if self.reason:
            ending = Ending(exit_code=1, signal=None, timed_out=False, elapsed_s=0.1, leftovers=0, log_tail="")
            raise JobFailedError(ending, jobs.Failure(kind="ValueError", message=self.reason, traceback=""))
        return roofline.RooflineResult(
            peaks=(Peak(dtype="int8", macs_per_s=4e9),),
            bandwidths=(Bandwidth(working_set_bytes=1_000, bytes_per_s=1e9),),
            int8_exact=True,
            elapsed_s=1.0,
        ), None


def a_draft() -> Draft:
    return Draft(run=run_spec(), provenance=provenance(), started_at=datetime(2026, 11, 22, tzinfo=UTC), start=0.0)


def test_the_second_run_under_a_profile_takes_the_roofline_of_the_first(tmp_path: Any) -> None:
    kept = diagnose.Rooflines(
        find=lambda name: rooflines.find(tmp_path, **identity(a_draft()), profile=name),
        keep=lambda found: rooflines.keep(tmp_path, found),
    )
    for known in (kept, diagnose.remembered()):
        worker = CountingWorker()
        limits = JobLimits(timeout_s=1.0)
        first, second = (diagnose.roofline_of(worker, a_draft(), known, limits) for _ in range(2))  # type: ignore[arg-type]
        assert first == second
        assert worker.asked == 1


def identity(draft: Draft) -> dict[str, str]:
    found = draft.provenance
    return {"hardware_id": found.hardware_id, "environment_id": found.environment_id}


def test_a_diagnosis_that_fails_is_a_note_with_its_reason(tmp_path: Any) -> None:
    draft, worker = a_draft(), CountingWorker("the profile names no time of 3 nodes")
    cost = jobs.BuildCost(
        step_s=1.0,
        total_s=1.0,
        images_seen=0,
        parameters=1,
        nonzero_parameters=1,
        macs=1,
        file_bytes=1,
        compressed_bytes=1,
        notes=(),
    )
    built = jobs.BuildResult(folder=tmp_path, file="", digest="", runtime="eager", form="torch", cost=cost, built=1)
    found = diagnose.explain(
        worker,  # type: ignore[arg-type]
        draft,
        baseline=built,
        built=built,
        comparisons=(),
        input_file=tmp_path,
        rooflines=diagnose.remembered(),
        limits=JobLimits(timeout_s=1.0),
    )
    assert found is None
    assert draft.notes == [
        "What this machine can reach was not measured: ValueError: the profile names no time of 3 nodes.",
        "Not diagnosed: ValueError: the profile names no time of 3 nodes.",
    ]


def test_a_recipe_is_spoken_of_beside_its_runtime_alone_and_not_beside_a_part_of_it() -> None:
    parts = recipe("ort-fp32"), recipe("half", [("prune.structured", {"parameters": 0.3}), ("run.onnxruntime", {})])
    whole = dataclasses.replace(recipe("ort-int8"), references=parts)
    found = [comparison(against=name) for name in ("half", "ort-fp32", "baseline")]
    assert [each.against for each in diagnose.most_telling(whole, found)] == ["baseline", "ort-fp32"]
    assert [each.against for each in diagnose.most_telling(recipe("bf16"), found)] == ["baseline"]
