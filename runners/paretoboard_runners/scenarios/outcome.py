"""What a scenario came to, as metrics and in words."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from paretoboard import stats
from paretoboard_runners.measured import measured
from paretoboard_runners.scenarios import durations
from paretoboard_runners.scenarios.loadgen import LoadTest
from paretoboard_runners.scenarios.logs import DetailLog
from paretoboard_runners.scenarios.search import RESOLUTION, TRIES, Search

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from paretoboard.records import MetricValue
    from paretoboard.spec import Scenario

_NS: Final = 1e9
# scenario -> (metric, key of its quantile, key of what early stopping vouches for)
_LATENCIES: Final[dict[Scenario, tuple[str, str, str]]] = {
    "single-stream": ("latency_p90", "result_90.00_percentile_latency_ns", "early_stopping_latency_ss"),
    "multi-stream": ("latency_p99", "result_99.00_percentile_per_query_latency_ns", "early_stopping_latency_ms"),
    "server": ("latency_p99", "result_99.00_percentile_latency_ns", ""),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """The test that counts, and for Server the search before it."""

    test: LoadTest  # as it was asked for
    log: DetailLog | None  # None where no load was left to test
    search: Search | None = None
    search_s: float = 0.0  # that a test of the search lasted at least

    @property
    def valid(self) -> bool:
        """Whether LoadGen calls it valid."""
        return self.log is not None and self.log.valid

    def metrics(self) -> tuple[MetricValue, ...]:
        """What LoadGen measured, and whether it counts; numbers of an invalid result stand in the notes only."""
        scenario, log = self.test.scenario, self.log
        validity = _value("scenario_valid", scenario, float(self.valid), 1)
        if log is None or not self.valid:
            return (validity,)
        if scenario == "offline":
            samples = int(log.number("generated_samples_per_query"))
            return validity, _value("throughput", scenario, log.number("result_samples_per_second"), samples)
        queries = int(log.number("result_query_count"))
        name, key, bound_key = _LATENCIES[scenario]
        if scenario == "server":
            second = _value("server_qps", scenario, log.number("result_completed_samples_per_sec"), queries)
        else:
            second = _value("latency_bound", scenario, log.number(bound_key) / _NS, queries)
        return validity, _value(name, scenario, log.number(key) / _NS, queries), second

    def notes(self) -> tuple[str, ...]:
        """How it was shortened, what the search found, and the log's key lines."""
        words = [self._declared()]
        if self.search is not None:
            words.append(self._searched(self.search))
        if self.log is not None:
            state = "valid" if self.valid else "INVALID"
            words.append(f"{state} by LoadGen {self.log.version}. {self.log.key_lines()}")
        return tuple(f"Scenario {self.test.scenario}: {text}" for text in words)

    def _declared(self) -> str:
        test = self.test
        queries = durations.least_queries(test.scenario)
        least = f"{test.least_s:g} s" + (f" and {queries} queries" if queries > 1 else "")
        return (
            f"shortened to at least {least}, where MLPerf asks for {durations.official(test.scenario)}; "
            f"{test.samples} images of the subset; calls of {test.batch}; LoadGen runs on the measured cores; "
            "not an official MLPerf result."
        )

    def _searched(self, search: Search) -> str:
        test = self.test
        if search.load is None:
            lowest_qps = durations.QUERIES_FOR_P99 / test.most_s
            return (
                f"not measured: no load kept the p99 within {test.latency_s:g} s, and below {lowest_qps:.4g} queries "
                f"per second the {durations.QUERIES_FOR_P99} that a p99 needs would take longer than {test.most_s:g} s."
            )
        above = f", {search.too_high:.4g} failed" if search.too_high else ""
        return (
            f"highest load with p99 within {test.latency_s:g} s, by doubling and bisection to {RESOLUTION - 1:.0%}: "
            f"{search.load:.4g} queries per second held{above} {TRIES} times, at {search.tried} loads in tests of "
            f"{self.search_s:g} s; then tested in full length, and at lower loads where that did not hold."
        )


def top1(scenario: Scenario, labels: NDArray[np.int64], classes: NDArray[np.int64]) -> MetricValue:
    """The accuracy of what accuracy mode answered."""
    right = int((labels == classes).sum())
    interval = stats.wilson(right, len(labels))
    return measured("top1", right / len(labels), len(labels), scope=f"scenario={scenario}", interval=interval)


def _value(name: str, scenario: Scenario, value: float, n: int) -> MetricValue:
    return measured(name, value, n, scope=f"scenario={scenario}")
