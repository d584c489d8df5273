"""One test by LoadGen: a scenario, a mode, and what it wrote about it."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from paretoboard.spec import Scenario
from paretoboard_runners.scenarios.durations import least_queries
from paretoboard_runners.scenarios.logs import DetailLog, read_answers, read_detail
from paretoboard_runners.scenarios.system import InOrder, System
from paretoboard_runners.seeds import derive

if TYPE_CHECKING:
    from pathlib import Path

MULTI_STREAM_SAMPLES: Final = 8  # of one query; MLPerf Inference rules, section "Scenarios"
_NAMES: Final[dict[Scenario, str]] = {
    "single-stream": "SingleStream",
    "multi-stream": "MultiStream",
    "offline": "Offline",
    "server": "Server",
}
# A faster call than the one that LoadGen expects would use up its queries before the time is over.
_FASTER_THAN_SEEN: Final = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadTest:
    """What LoadGen is asked to do."""

    scenario: Scenario
    least_s: float
    most_s: float
    samples: int  # that there are
    loaded: int  # that performance mode draws from
    batch: int
    call_s: float  # of one call of the system
    seed: int
    load_qps: float | None = None  # Server
    latency_s: float | None = None  # Server


def performance(test: LoadTest, system: System, folder: Path) -> DetailLog:
    """A test in performance mode; its logs go to `folder`."""
    _run(test, system, folder, accuracy=False)
    return read_detail(folder)


def accuracy(test: LoadTest, system: System, folder: Path) -> dict[int, int]:
    """A test in accuracy mode: index of every sample -> the class that was answered."""
    _run(test, system, folder, accuracy=True)
    return read_answers(folder)


def _run(test: LoadTest, system: System, folder: Path, *, accuracy: bool) -> None:
    import mlperf_loadgen as loadgen

    folder.mkdir(parents=True)
    log = loadgen.LogSettings()
    log.log_output.outdir = str(folder)
    log.log_output.copy_summary_to_stdout = False
    log.enable_trace = False
    # Only Server issues queries without waiting for answers.
    serving: Any = InOrder(system) if test.scenario == "server" else contextlib.nullcontext()
    with serving:
        issue = serving.issue if test.scenario == "server" else system.answer
        sut = loadgen.ConstructSUT(issue, _flush)
        qsl = loadgen.ConstructQSL(test.samples, test.loaded, system.load, system.unload)
        try:
            # An audit.config in the current folder would change the test, so one is named that is not there.
            loadgen.StartTestWithLogSettings(sut, qsl, _settings(test, accuracy), log, str(folder / "audit.config"))
        finally:
            loadgen.DestroyQSL(qsl)
            loadgen.DestroySUT(sut)
    if system.error is not None:
        raise system.error


def _settings(test: LoadTest, accuracy: bool) -> Any:
    import mlperf_loadgen as loadgen

    settings = loadgen.TestSettings()
    settings.scenario = getattr(loadgen.TestScenario, _NAMES[test.scenario])
    settings.mode = loadgen.TestMode.AccuracyOnly if accuracy else loadgen.TestMode.PerformanceOnly
    settings.min_duration_ms = round(test.least_s * 1e3)
    settings.max_duration_ms = round(test.most_s * 1e3)
    settings.min_query_count = least_queries(test.scenario)
    expected_ns = max(1, round(test.call_s / _FASTER_THAN_SEEN * 1e9))
    settings.single_stream_expected_latency_ns = expected_ns
    settings.single_stream_target_latency_percentile = 0.90
    settings.multi_stream_expected_latency_ns = expected_ns
    settings.multi_stream_target_latency_percentile = 0.99
    settings.multi_stream_samples_per_query = MULTI_STREAM_SAMPLES
    settings.offline_expected_qps = test.batch / test.call_s
    if test.load_qps is not None and test.latency_s is not None:
        settings.server_target_qps = test.load_qps
        settings.server_target_latency_ns = round(test.latency_s * 1e9)
        settings.server_target_latency_percentile = 0.99
    # All of them are 0 by default, the same for every run.
    settings.qsl_rng_seed = derive(test.seed, "loadgen: loaded samples")
    settings.sample_index_rng_seed = derive(test.seed, "loadgen: order of samples")
    settings.schedule_rng_seed = derive(test.seed, "loadgen: arrival of queries")
    return settings


def _flush() -> None:
    """LoadGen says that a batch of queries is complete; nothing is held back here."""
