"""The plugin for pytest: `paretoboard_compare` for anyone's tests, and tasks as tests with `--paretoboard`.

It is loaded in every session of every project that paretoboard is installed beside, so it imports nothing heavy before
something is compared or measured.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from paretoboard.pytest_plugin import benchmark_hooks, limits, tasks, told
from paretoboard.pytest_plugin.fixture import VERDICTS, Comparer
from paretoboard.pytest_plugin.verdict import Verdict

__all__ = ["Comparer", "Verdict", "paretoboard_compare"]
MARKER = "paretoboard"


def pytest_addoption(parser: pytest.Parser) -> None:
    """The options of both halves."""
    group = parser.getgroup("paretoboard", "paretoboard: comparisons that noise does not decide, and tasks as tests")
    group.addoption(
        "--paretoboard-tolerance",
        metavar="SHARE",
        help="the smallest slowdown that counts, as 5%% or 0.05 [default: 1.5%%, or this machine's noise floor]",
    )
    group.addoption(
        "--paretoboard-budget",
        metavar="NAME",
        default=limits.DEFAULT_BUDGET,
        help=f"how long a comparison takes: {', '.join(limits.TEST_BUDGETS)} [default: {limits.DEFAULT_BUDGET}]",
    )
    group.addoption(
        "--paretoboard-json", metavar="FILE", type=Path, help="write all comparisons of the session to FILE"
    )
    group.addoption("--paretoboard-strict", action="store_true", help="fail where a comparison is inconclusive")
    group.addoption(
        "--paretoboard",
        action="store_true",
        help="collect task files: each run of those named, or found in the folders named, is a test",
    )
    group.addoption(
        "--paretoboard-results",
        metavar="FOLDER",
        type=Path,
        help="where calibrations are found, and what tasks measure is kept [default: results]",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Refuse what options can't mean before anything is measured."""
    config.addinivalue_line(
        "markers",
        "paretoboard(tolerance, budget, timeout_s): compares two callables, or measures a run of a task; "
        "set by itself on tests that do",
    )
    config.stash[VERDICTS] = []
    config.pluginmanager.register(benchmark_hooks.Facts(), "paretoboard-facts")
    limits.budget_of(config.getoption("paretoboard_budget"), "--paretoboard-budget")
    if config.getoption("paretoboard_tolerance") is not None:
        limits.tolerance_of(config.getoption("paretoboard_tolerance"), "--paretoboard-tolerance")
    if config.getoption("paretoboard"):
        tasks.configure(config)


def pytest_unconfigure(config: pytest.Config) -> None:
    """Let go of the results."""
    if tasks.BENCH in config.stash:
        config.stash[tasks.BENCH].close()


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> pytest.Collector | None:
    """Task files, where they are asked for."""
    return tasks.collect_file(file_path, parent) if tasks.FOUND in parent.config.stash else None


def pytest_itemcollected(item: pytest.Item) -> None:
    """Let -m paretoboard find the tests that compare."""
    if "paretoboard_compare" in getattr(item, "fixturenames", ()) and item.get_closest_marker(MARKER) is None:
        item.add_marker(MARKER)


@pytest.fixture
def paretoboard_compare(request: pytest.FixtureRequest) -> Comparer:
    """Call it with two callables: the test fails where the second takes surely and relevantly longer."""
    return Comparer(request.node)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """A table of all comparisons; the inconclusive ones are never passed over in silence."""
    if verdicts := config.stash[VERDICTS]:
        terminalreporter.section("paretoboard: candidate against baseline")
        for line in told.table(verdicts):
            terminalreporter.write_line(line)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Write what --paretoboard-json asks for."""
    path = session.config.getoption("paretoboard_json")
    if path is not None and not hasattr(session.config, "workerinput"):
        verdicts = session.config.stash[VERDICTS]
        told.write_json(path, verdicts)
