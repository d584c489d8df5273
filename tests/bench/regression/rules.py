"""What the rules say of a history up to a night: ours by its own code, the other tools' by theirs.

Each tool gives the claims of one or more rows of the table. A claim names the first night of a new level; an earlier
night's word is not remembered here, `walking` does that.
"""

from __future__ import annotations

import contextlib
import datetime
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from importlib import import_module, metadata
from typing import Any, Final

from pytest_benchmark.utils import PercentageRegressionCheck

from bench.regression.histories import History
from paretoboard.regressions import Key, Night, Series
from paretoboard.regressions.shifts import CONFIRMS, changes, noisy

OURS: Final = "ours, confirmed"
NOTICES: Final = "ours, with notices"
THRESHOLDS: Final = (0.05, 0.02)  # the one that is asked about, and the smallest step that ours looks for
FIRST_DAY: Final = datetime.date(2026, 1, 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """A new level begins with night `onset`."""

    onset: int
    worse: bool


Claims = dict[str, list[Claim]]  # of each row


@dataclass(frozen=True, slots=True, kw_only=True)
class Tool:
    """A program with one or more rows.

    Attributes:
        claims: given a history, a function from the number of nights known to what the rows claim of them.
        same_within: claims that are so many nights apart are of the same change.
    """

    name: str
    rows: tuple[str, ...]
    claims: Callable[[History], Callable[[int], Claims]]
    same_within: int
    share: float = 1.0  # of the series that it gets, less where a night takes milliseconds


def tools() -> tuple[list[Tool], list[str]]:
    """Those that are installed, and for each that is not a line that says so."""
    found, missing = [_OURS, _PYTEST], []
    for other, module, package in ((_ASV, "asv.step_detect", "asv"), (_OTAVA, "otava.analysis", "apache-otava")):
        try:
            import_module(module)
        except ImportError:
            missing.append(f"{package} is not installed (`make bench-regression` brings it): its rows are left out")
        else:
            found.append(other)
    return found, missing


def tool(name: str) -> Tool:
    """The tool of that name."""
    return next(known for known in (_OURS, _PYTEST, _ASV, _OTAVA) if known.name == name)


def versions() -> dict[str, str]:
    """Of the other tools, where they are installed."""
    found = {}
    for name in ("pytest-benchmark", "asv", "apache-otava"):
        with contextlib.suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(name)
    return found


def series_of(history: History) -> Series:
    """As our rule knows it."""
    key = Key(task="planted", board_id="", profile="", hardware_id="", recipe=history.kind.name, what="speed")
    nights = tuple(
        Night(
            day=FIRST_DAY + datetime.timedelta(days=number),
            value=float(value),
            low=float("nan"),
            high=float("nan"),
            runs=1,
            environment_id=str(environment),
            environment="{}",
            commit="",
            run_id="",
        )
        for number, (value, environment) in enumerate(zip(history.values, history.environments, strict=True))
    )
    return Series(key=key, unit="×", metric="ratio", title="", hardware_name="", nights=nights)


def _ours(history: History) -> Callable[[int], Claims]:
    whole = series_of(history)

    def claims(known: int) -> Claims:
        series = replace(whole, nights=whole.nights[:known])
        # As regressions.find leaves out series that scatter too far.
        found = list(changes(series)) if noisy(series) is None else []
        said = [(change, Claim(onset=(change.first.day - FIRST_DAY).days, worse=change.worse)) for change in found]
        return {
            OURS: [claim for change, claim in said if change.confirmed >= CONFIRMS],
            NOTICES: [claim for _, claim in said],
        }

    return claims


def _pytest_benchmark(history: History) -> Callable[[int], Claims]:
    """`--benchmark-compare --benchmark-compare-fail=mean:5%`, which compares with the last saved run by default."""
    checks = {
        row: PercentageRegressionCheck("mean", 100 * share) for row, share in zip(_PYTEST.rows, THRESHOLDS, strict=True)
    }

    def claims(known: int) -> Claims:
        if known < 2:
            return {row: [] for row in checks}
        last, tonight = ({"mean": float(value)} for value in history.values[known - 2 : known])
        claim = Claim(onset=known - 1, worse=True)
        return {row: [claim] if check.fails(tonight, last) else [] for row, check in checks.items()}

    return claims


def _asv(history: History) -> Callable[[int], Claims]:
    """What `asv publish` lists under Regressions, in 5 % unless `regressions_thresholds` says another."""
    detect = import_module("asv.step_detect")
    values = history.values.tolist()

    def claims(known: int) -> Claims:
        steps = detect.detect_steps(values[:known])
        found = {}
        for row, threshold in zip(_ASV.rows, THRESHOLDS, strict=True):
            _, _, positions = detect.detect_regressions(steps, threshold)
            found[row] = [Claim(onset=after, worse=True) for _, after, *_ in positions or ()]
        return found

    return claims


def _otava(history: History) -> Callable[[int], Claims]:
    """`otava analyze` with its defaults (window 50, p below 0.001), and with a least magnitude."""
    analysis = import_module("otava.analysis")
    values = history.values.tolist()

    def claims(known: int) -> Claims:
        if known < 2:
            return {row: [] for row in _OTAVA.rows}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # levels of one night have no scatter
            # As compute_change_points has it, which would split again for each magnitude.
            weak = analysis.split(values[:known], 50, 10 * 0.001)
            least = zip(_OTAVA.rows, (0.0, THRESHOLDS[-1]), strict=True)
            found = {row: analysis.merge(list(weak), values[:known], 0.001, share) for row, share in least}
        return {row: list(_points(points)) for row, points in found.items()}

    return claims


def _points(points: Sequence[Any]) -> Iterator[Claim]:
    for point in points:
        yield Claim(onset=int(point.index), worse=bool(point.stats.mean_2 > point.stats.mean_1))


_OURS: Final = Tool(name="paretoboard", rows=(OURS, NOTICES), claims=_ours, same_within=3)
# It knows no change, only tonight: each night on which it fails is an alarm of its own.
_PYTEST: Final = Tool(
    name="pytest-benchmark",
    rows=("pytest-benchmark mean:5%", "pytest-benchmark mean:2%"),
    claims=_pytest_benchmark,
    same_within=0,
)
_ASV: Final = Tool(
    name="asv", rows=("asv, threshold 5 %", "asv, threshold 2 %"), claims=_asv, same_within=3, share=0.05
)
_OTAVA: Final = Tool(name="Otava", rows=("Otava", "Otava, magnitude 2 %"), claims=_otava, same_within=3, share=0.15)
