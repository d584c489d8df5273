"""What tests call: `paretoboard_compare(baseline, candidate)`."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Any, Final

import pytest

from paretoboard import locations
from paretoboard.pytest_plugin import limits
from paretoboard.pytest_plugin.told import report
from paretoboard.pytest_plugin.verdict import ComparisonError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from paretoboard.pytest_plugin.launches import Launcher
    from paretoboard.pytest_plugin.verdict import Verdict

LAUNCH_LIMIT_S: Final = 300.0
# Another than the real one, for tests of what is made of launches.
LAUNCHER: Final[pytest.StashKey[Launcher]] = pytest.StashKey()
VERDICTS: Final[pytest.StashKey[list[Verdict]]] = pytest.StashKey()
IN_WORKER: Final = (
    "paretoboard_compare does not measure in a worker of pytest-xdist: tests that run beside each other would time "
    "each other. Leave these tests out of the parallel run with -m 'not paretoboard', and run them on their own with "
    "-m paretoboard -n0."
)


class Comparer:
    """The fixture: compares two callables and fails the test where the candidate is slower."""

    def __init__(self, item: pytest.Item) -> None:
        self._item = item

    def __call__(
        self,
        baseline: Callable[[], Any],
        candidate: Callable[[], Any],
        *,
        fresh: bool = False,
        tolerance: float | str | None = None,
        budget: str | None = None,
        timeout_s: float | None = None,
        check: bool = True,
    ) -> Verdict:
        """Time both, without arguments, in interleaved blocks of several processes.

        What is given here goes before the marker `paretoboard`, and that before the options.

        Args:
            fresh: both are factories: each window calls what they return, with buffers of its own.
            tolerance: the smallest slowdown that counts, as 0.05 or "5%".
            budget: name of one.
            timeout_s: of one launch.
            check: fail the test where the candidate is slower; or, under --paretoboard-strict, undecided.
        Raises: ComparisonError where a callable fails, hangs or can't be timed this way.
        """
        __tracebackhide__ = True
        config = self._item.config
        if hasattr(config, "workerinput"):
            pytest.fail(IN_WORKER)
        from paretoboard.pytest_plugin import comparing, launches

        given = limits.marked(self._item) | {
            key: value
            for key, value in (("tolerance", tolerance), ("budget", budget), ("timeout_s", timeout_s))
            if value is not None
        }
        test = self._item.nodeid
        try:
            verdict = comparing.compare(
                launches.Pair(baseline=baseline, candidate=candidate, fresh=fresh),
                test=test,
                budget=limits.budget_of(given.get("budget", config.getoption("paretoboard_budget")), test),
                tolerance=self._tolerance(given.get("tolerance")),
                seed=secrets.randbits(32),
                timeout_s=limits.seconds_of(given.get("timeout_s", LAUNCH_LIMIT_S), test),
                launcher=config.stash.get(LAUNCHER, launches.launch),
            )
        except ComparisonError as error:
            raise error.with_traceback(None) from None  # how it was measured is of no use to whoever reads this
        config.stash[VERDICTS].append(verdict)
        if check and (verdict.slower or (verdict.undecided and config.getoption("paretoboard_strict"))):
            pytest.fail(report(verdict))
        return verdict

    def _tolerance(self, given: Any) -> float:
        if given is not None:
            return limits.tolerance_of(given, self._item.nodeid)
        option = self._item.config.getoption("paretoboard_tolerance")
        if option is not None:
            return limits.tolerance_of(option, "--paretoboard-tolerance")
        from paretoboard.pytest_plugin import comparing

        return comparing.default_tolerance(results_folder(self._item.config))


def results_folder(config: pytest.Config) -> Path:
    """Where results and calibrations are."""
    return locations.results_folder(config.getoption("paretoboard_results"))
