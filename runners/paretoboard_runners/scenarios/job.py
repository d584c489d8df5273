"""A phase of a run: one scenario, in a fresh process."""

from __future__ import annotations

import importlib.util
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from paretoboard import datasets, runtimes, stats
from paretoboard.datasets.preprocess import preprocess_images
from paretoboard.errors import NotApplicableError
from paretoboard.metrics import METRICS
from paretoboard.records import MetricValue
from paretoboard.spec import DatasetUse, Preprocess, Scenario
from paretoboard_runners.scenarios import durations
from paretoboard_runners.scenarios.durations import Durations
from paretoboard_runners.scenarios.loadgen import MULTI_STREAM_SAMPLES, Test, accuracy, performance
from paretoboard_runners.scenarios.logs import DetailLog
from paretoboard_runners.scenarios.search import RESOLUTION, Search, highest_load
from paretoboard_runners.scenarios.system import System

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from paretoboard_runners.supervise import Emitter

_LOADED_BYTES: Final = 256 << 20  # of samples in memory at once, in performance mode
_CONFIRMATIONS: Final = 3
_START_LOAD: Final = 0.5  # of what the system could answer back to back
_NS: Final = 1e9


@dataclass(frozen=True, slots=True, kw_only=True)
class ScenarioJob:
    """Run one scenario on an artifact, in accuracy and in performance mode."""

    scenario: Scenario
    artifact: Path
    dataset: DatasetUse
    preprocess: Preprocess
    data_root: Path
    largest_batch: int  # that the task declares; Offline uses it
    threads: int
    durations: Durations
    seed: int
    server_latency_s: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ScenarioResult:
    """What LoadGen found."""

    metrics: tuple[MetricValue, ...]
    positions: tuple[int, ...]  # in the subset, of the images that accuracy mode asked for
    classes: tuple[int, ...]  # what was answered, from LoadGen's accuracy log
    valid: bool
    notes: tuple[str, ...]


def require() -> None:
    """Find LoadGen.

    Raises: NotApplicableError with the command that installs it.
    """
    if importlib.util.find_spec("mlperf_loadgen") is None:
        raise NotApplicableError(
            "the scenarios of MLPerf need its LoadGen, which is not installed: pip install 'paretoboard[scenarios]'"
        )


def measure(job: ScenarioJob, _folder: Path, emit: Emitter) -> ScenarioResult:
    """Both modes of one scenario; LoadGen's logs last only as long as this takes.

    Raises: NotApplicableError where LoadGen is not installed.
    """
    require()
    images = datasets.read_subset(job.dataset.name, job.dataset.subset, job.data_root)
    positions = sample_positions(len(images), job.durations.images)
    batch = _batch(job)
    session = runtimes.open(job.artifact, threads=job.threads, batches=(batch,))
    inputs = preprocess_images(images.pixels[positions], job.preprocess)
    system = System(session, inputs, batch)

    def progress(done: float, text: str) -> None:
        emit({"stage": "scenarios", "done": done, "text": f"{job.scenario}: {text}"})

    progress(0.0, "calibrate")
    test = _test(job, system, inputs, batch)
    with tempfile.TemporaryDirectory(prefix="paretoboard-loadgen-") as folder:
        progress(0.1, "accuracy mode")
        answers = accuracy(test, system, Path(folder) / "accuracy")
        if job.scenario == "server":
            outcome = _serve(test, system, Path(folder), progress)
        else:
            progress(0.5, "performance mode")
            outcome = _Outcome(log=performance(test, system, Path(folder) / "performance"))
    asked = sorted(answers)
    return ScenarioResult(
        metrics=(
            *_metrics(job.scenario, outcome),
            _top1(job.scenario, images.labels[positions[asked]], np.asarray([answers[index] for index in asked])),
        ),
        positions=tuple(int(positions[index]) for index in asked),
        classes=tuple(answers[index] for index in asked),
        valid=outcome.valid,
        notes=_notes(job, test, outcome),
    )


def sample_positions(images: int, wanted: int) -> NDArray[np.int64]:
    """At most `wanted` positions, evenly spaced over `images`: subsets may be sorted by class."""
    count = min(images, wanted)
    return np.arange(count, dtype=np.int64) * images // count


@dataclass(frozen=True, slots=True, kw_only=True)
class _Outcome:
    """The test that counts, and for Server the search before it."""

    log: DetailLog | None  # None where no load was left to test
    search: Search | None = None

    @property
    def valid(self) -> bool:
        return self.log is not None and self.log.valid


def _batch(job: ScenarioJob) -> int:
    sizes = {"multi-stream": MULTI_STREAM_SAMPLES, "offline": job.largest_batch}
    return sizes.get(job.scenario, 1)


def _test(job: ScenarioJob, system: System, inputs: NDArray[np.float32], batch: int) -> Test:
    call_s = system.call_s()
    return Test(
        scenario=job.scenario,
        least_s=job.durations.least_s,
        most_s=job.durations.most_s,
        samples=len(inputs),
        loaded=max(1, min(len(inputs), _LOADED_BYTES // inputs[0].nbytes)),
        batch=batch,
        call_s=call_s,
        seed=job.seed,
        load_qps=_START_LOAD / call_s if job.scenario == "server" else None,
        latency_s=job.server_latency_s,
    )


def _serve(test: Test, system: System, folder: Path, progress: Callable[[float, str], None]) -> _Outcome:
    """Find the highest load that keeps the latency, and confirm it in a test of full length."""
    assert test.load_qps is not None
    tests = 0

    def run(load_qps: float, least_s: float) -> DetailLog:
        nonlocal tests
        tests += 1
        progress(min(0.9, 0.2 + 0.07 * tests), f"{load_qps:.4g} queries per second")
        return performance(replace(test, load_qps=load_qps, least_s=least_s), system, folder / f"{tests:02d}")

    # Slower loads would take longer than the longest test for the queries that a p99 needs.
    lowest_qps = durations.QUERIES_FOR_P99 / test.most_s
    search_s = test.least_s / durations.SEARCH_DIVISOR
    search = highest_load(lambda load_qps: run(load_qps, search_s).valid, start=test.load_qps, lowest=lowest_qps)
    log, load_qps = None, search.load
    for _ in range(_CONFIRMATIONS):
        if load_qps is None or load_qps < lowest_qps:
            break
        log = run(load_qps, test.least_s)
        if log.valid:
            break
        load_qps /= RESOLUTION
    return _Outcome(log=log, search=search)


def _metrics(scenario: Scenario, outcome: _Outcome) -> tuple[MetricValue, ...]:
    """What LoadGen measured, and whether it counts; numbers of an invalid result stand in the notes only."""
    validity = _value("scenario_valid", scenario, float(outcome.valid), 1)
    if outcome.log is None or not outcome.valid:
        return (validity,)
    log = outcome.log
    queries = int(log.number("result_query_count"))
    if scenario == "offline":
        samples = int(log.number("generated_samples_per_query"))
        return validity, _value("throughput", scenario, log.number("result_samples_per_second"), samples)
    quantiles = {
        "single-stream": ("latency_p90", "result_90.00_percentile_latency_ns", "early_stopping_latency_ss"),
        "multi-stream": ("latency_p99", "result_99.00_percentile_per_query_latency_ns", "early_stopping_latency_ms"),
        "server": ("latency_p99", "result_99.00_percentile_latency_ns", ""),
    }
    name, key, bound_key = quantiles[scenario]
    values = [validity, _value(name, scenario, log.number(key) / _NS, queries)]
    if bound_key:
        values.append(_value("latency_bound", scenario, log.number(bound_key) / _NS, queries))
    else:
        values.append(_value("server_qps", scenario, log.number("result_completed_samples_per_sec"), queries))
    return tuple(values)


def _notes(job: ScenarioJob, test: Test, outcome: _Outcome) -> tuple[str, ...]:
    name = f"Scenario {job.scenario}"
    notes = [
        f"{name}: shortened to at least {test.least_s:g} s and {durations.least_queries(job.scenario)} queries, "
        f"where MLPerf asks for {durations.official(job.scenario)}; {test.samples} images of the subset; "
        f"calls of {test.batch}; LoadGen runs on the measured cores; not an official MLPerf result."
    ]
    search = outcome.search
    if search is not None:
        span = f"p99 within {test.latency_s:g} s, by doubling and bisection to {RESOLUTION - 1:.0%}"
        found = f"{search.load:.4g} queries per second held" if search.load else "no load held"
        above = f", {search.too_high:.4g} did not" if search.too_high else ""
        notes.append(f"{name}: highest load with {span}: {found}{above}, in {search.tests} tests.")
    if outcome.log is None:
        lowest_qps = durations.QUERIES_FOR_P99 / test.most_s
        notes.append(
            f"{name}: not measured. Below {lowest_qps:.4g} queries per second the {durations.QUERIES_FOR_P99} queries "
            f"that a p99 needs would take longer than {test.most_s:g} s."
        )
    else:
        state = "valid" if outcome.valid else "INVALID"
        notes.append(f"{name}: {state} by LoadGen {outcome.log.version}. {outcome.log.key_lines()}")
    return tuple(notes)


def _top1(scenario: Scenario, labels: NDArray[np.int64], classes: NDArray[np.int64]) -> MetricValue:
    right = int((labels == classes).sum())
    interval = stats.wilson(right, len(labels))
    value = _value("top1", scenario, right / len(labels), len(labels))
    return replace(value, low=interval.low, high=interval.high)


def _value(name: str, scenario: Scenario, value: float, n: int) -> MetricValue:
    return MetricValue(name=name, scope=f"scenario={scenario}", value=value, n=n, unit=METRICS[name].unit)
