"""What each rule makes of the recordings.

Times are only ever multiplied by a slowdown, so each comparison also says which slowdown it would have needed to be
called slower: the same times with those of b stretched.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np
from asv.commands.compare import _is_result_better
from asv_runner.statistics import compute_stats
from numpy.typing import NDArray
from pyperf._utils import is_significant
from scipy import stats as scipy_stats

from bench.rigor import kernels, ours
from bench.rigor.others import VALUE_S, Times
from bench.rigor.plan import LAUNCHES, Item
from bench.rigor.recordings import Part
from paretoboard.records import Calls, Comparison
from paretoboard.stats import wants_second_look
from paretoboard.stats.ab1 import RELEVANT
from paretoboard_runners.calibration import noise_floor
from paretoboard_runners.timing import LAUNCH_WINDOWS

Called = Literal["slower", "faster", "same"]
_CALLED: Final[dict[str, Called]] = {"worse": "slower", "better": "faster"}
ON_REQUEST: Final = 0.010  # the smallest tolerance the protocol offers
PYTEST_FAIL: Final = 0.05  # --benchmark-compare-fail=...:5%
ASV_SAMPLE_NS: Final = 10_000_000  # asv's sample_time
ASV_FACTOR: Final = 1.1  # asv compare's default
FACTOR_ASKED: Final = 1.015  # asv compare --factor with our tolerance
LARGEST: Final = math.log(8.0)  # where the search for the effect needed ends

AB1: Final = "ab1, 20 s"
AB1_FLOOR: Final = "ab1, 20 s, noise floor"
AB1_REQUEST: Final = "ab1, 20 s, tolerance 1 %"
AB1_LOOKS: Final = "ab1, both looks"


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """One rule's word on one comparison; effects are logarithms of (time of b) / (time of a)."""

    rule: str
    item: Item
    truth: float
    called: Called
    estimate: float
    low: float | None  # of its interval, None for a rule that gives none
    high: float | None
    needed: float  # the smallest slowdown that would have been called slower with this noise


@dataclass(frozen=True, slots=True, kw_only=True)
class Planted:
    """A slowdown as it was meant, and as a reference on shared buffers found it."""

    kernel: str
    planted: int
    meant: float  # logarithm, from the count of units
    measured: float
    low: float
    high: float

    @property
    def truth(self) -> float:
        """What was meant, unless the reference excludes it."""
        return self.meant if self.low <= self.meant <= self.high else self.measured


def planted(parts: Iterable[Part]) -> list[Planted]:
    """The references among `parts`."""
    found = []
    for part in parts:
        if part.item.kind == "reference" and part.calls is not None:
            seen = ours.compare(part.calls)
            found.append(
                Planted(
                    kernel=part.item.kernel,
                    planted=part.item.planted,
                    meant=meant(part.item),
                    measured=math.log(seen.ratio),
                    low=math.log(seen.low) if seen.low > 0 else -math.inf,
                    high=math.log(seen.high),
                )
            )
    return found


def meant(item: Item) -> float:
    """The slowdown of an item by its count of units, as a logarithm."""
    a, b = kernels.UNITS[item.kernel][item.planted]
    return math.log(b / a)


def noise_floors(parts: Sequence[Part]) -> tuple[float, float]:
    """The noise floor for items of even and of odd index, each from the A/A comparisons of the others.

    So no comparison is judged by a floor that it made itself, as on a machine that was calibrated before.
    """
    seen: tuple[list[Comparison], list[Comparison]] = ([], [])
    for part in parts:
        if part.item.kind == "ours" and not part.item.planted and part.calls is not None:
            seen[part.item.index % 2].append(ours.compare(truncated(part.calls, LAUNCHES, math.inf)))
    even, odd = (noise_floor(identical) if identical else 0.0 for identical in seen)
    return odd, even


def judge(part: Part, truth: float, floor: float = 0.0) -> Iterator[Judgement]:
    """All rules' words on one comparison.

    Args:
        floor: the noise floor of the machine, as a share.
    """
    if part.calls is not None:
        yield from _ours(part, part.calls, truth, floor)
    elif part.times is not None:
        yield from _others(part.item, *part.times, truth)


def truncated(calls: Calls, launches: int, seconds: float) -> Calls:
    """What would have been recorded with fewer or shorter launches; each holds at least its two windows."""
    first_ns = {}
    for launch, window, start in zip(calls.launch, calls.window, calls.start_ns, strict=True):
        first_ns.setdefault((int(launch), int(window)), int(start))
    kept = {key for key, start in first_ns.items() if key[1] < LAUNCH_WINDOWS or start < seconds * 1e9}
    keys = zip(calls.launch, calls.window, strict=True)
    chosen = np.asarray([launch < launches and (int(launch), int(window)) in kept for launch, window in keys])
    return Calls(**{name: getattr(calls, name)[chosen] for name in Calls.__dataclass_fields__})


def _ours(part: Part, calls: Calls, truth: float, floor: float) -> Iterator[Judgement]:
    item = part.item
    one_look = truncated(calls, LAUNCHES, math.inf)
    first = ours.compare(one_look)
    yield _ab1(AB1, item, truth, first, RELEVANT)
    raised = max(RELEVANT, floor)
    yield _ab1(AB1_FLOOR, item, truth, ours.compare(one_look, tolerance=raised), raised)
    yield _ab1(AB1_REQUEST, item, truth, ours.compare(one_look, tolerance=ON_REQUEST), ON_REQUEST)
    for name, launches, seconds in (
        ("ab1, 10 s: 4 launches", 4, math.inf),
        ("ab1, 10 s: 8 of 1.25 s", 8, 1.25),
        ("ab1, 5 s: 2 launches", 2, math.inf),
        ("ab1, 5 s: 8 of 0.6 s", 8, 0.6),
    ):
        shorter = truncated(calls, launches, seconds)
        yield _ab1(name, item, truth, ours.compare(shorter), RELEVANT, None if launches >= 5 else shorter)
    if part.facts["looks"] == 2:
        look = ours.compare(one_look, look=1)
        if wants_second_look(look):
            look = ours.compare(calls, look=2)
        yield _ab1(AB1_LOOKS, item, truth, look, RELEVANT)


def _ab1(
    rule: str, item: Item, truth: float, found: Comparison, tolerance: float, few: Calls | None = None
) -> Judgement:
    """Args: few: the calls, where fewer than five launches make the rule more than interval and tolerance."""
    estimate = math.log(found.ratio)
    low = math.log(found.low) if found.low > 0 else -math.inf
    if few is None:
        needed = truth + max(-low, math.log1p(tolerance) - estimate)
    else:
        needed = truth + _smallest(lambda shift: ours.compare(_stretched(few, shift)).verdict == "worse")
    return Judgement(
        rule=rule,
        item=item,
        truth=truth,
        called=_CALLED.get(found.verdict, "same"),
        estimate=estimate,
        low=low,
        high=math.log(found.high),
        needed=needed,
    )


def _others(item: Item, a: Times, b: Times, truth: float) -> Iterator[Judgement]:
    for name, rule in RULES.items():
        if name.startswith("hyperfine") and not len(a.commands):
            continue
        called, estimate = rule(a, b)
        yield Judgement(
            rule=name,
            item=item,
            truth=truth,
            called=called,
            estimate=estimate,
            low=None,
            high=None,
            needed=truth + _smallest(lambda shift, rule=rule: rule(a, _slowed(b, shift))[0] == "slower"),
        )


def _pytest(statistic: Callable[[NDArray[Any]], Any]) -> Callable[[Times, Times], tuple[Called, float]]:
    """pytest-benchmark --benchmark-compare-fail=STATISTIC:5%, read in both directions."""

    def rule(a: Times, b: Times) -> tuple[Called, float]:
        ratio = float(statistic(b.rounds) / statistic(a.rounds))
        called: Called = "slower" if ratio > 1 + PYTEST_FAIL else "faster" if 1 / ratio > 1 + PYTEST_FAIL else "same"
        return called, math.log(ratio)

    return rule


def _pyperf(a: Times, b: Times) -> tuple[Called, float]:
    """pyperf compare_to: Student's t over the values of all processes, of which it needs equally many on both sides."""
    count = min(len(a.processes), len(b.processes))
    values_a, values_b = _pyperf_values(a, count), _pyperf_values(b, count)
    estimate = math.log(np.mean(values_b) / np.mean(values_a))
    significant, _ = is_significant(values_a, values_b)
    return _by_sign(significant, estimate), estimate


def _pyperf_values(times: Times, processes: int) -> list[float]:
    """Means of `loops` calls in a row; the first value of each process only warms up."""
    size = times.loops
    cut = [
        calls[: len(calls) // size * size].reshape(-1, size).mean(axis=1)[1:] for calls in times.processes[:processes]
    ]
    return [float(value) for value in np.concatenate(cut)]


def _asv(factor: float) -> Callable[[Times, Times], tuple[Called, float]]:
    """asv compare: medians, 99 % intervals that may not overlap, and a factor; samples are not kept by default."""

    def rule(a: Times, b: Times) -> tuple[Called, float]:
        number = max(1, math.ceil(ASV_SAMPLE_NS / float(np.median(np.concatenate(a.processes)))))
        (median_a, stats_a), (median_b, stats_b) = (
            compute_stats(_asv_samples(side, number), number) for side in (a, b)
        )
        looks = (stats_a, None), (stats_b, None)
        slower = _is_result_better(median_a, median_b, *looks, factor)
        faster = _is_result_better(median_b, median_a, *reversed(looks), factor)
        return "slower" if slower else "faster" if faster else "same", math.log(median_b / median_a)

    return rule


def _asv_samples(times: Times, number: int) -> list[float]:
    samples: list[float] = []
    for calls in times.processes:
        warm = calls[int(np.searchsorted(np.cumsum(calls), VALUE_S * 1e9)) + 1 :]
        samples += list(warm[: len(warm) // number * number].reshape(-1, number).mean(axis=1))
    return samples


def _hyperfine(a: Times, b: Times) -> tuple[Called, float]:
    """Welch's t-test on hyperfine's runs."""
    estimate = math.log(b.commands.mean() / a.commands.mean())
    significant = scipy_stats.ttest_ind(a.commands, b.commands, equal_var=False).pvalue < 0.05
    return _by_sign(significant, estimate), estimate


RULES: Final[dict[str, Callable[[Times, Times], tuple[Called, float]]]] = {
    "pytest-benchmark min:5%": _pytest(np.min),
    "pytest-benchmark mean:5%": _pytest(np.mean),
    "pytest-benchmark median:5%": _pytest(np.median),
    "pyperf compare_to": _pyperf,
    "hyperfine + Welch": _hyperfine,
    "asv compare": _asv(ASV_FACTOR),
    "asv compare, factor 1.015": _asv(FACTOR_ASKED),
}


def _by_sign(significant: bool, estimate: float) -> Called:
    if not significant:
        return "same"
    return "slower" if estimate > 0 else "faster"


def _stretched(calls: Calls, shift: float) -> Calls:
    factor = np.where(calls.arm == 1, math.exp(shift), 1.0)
    return dataclasses.replace(calls, wall_ns=calls.wall_ns * factor, cpu_ns=calls.cpu_ns * factor)


def _slowed(times: Times, shift: float) -> Times:
    factor = math.exp(shift)
    return Times(
        rounds=times.rounds * factor,
        processes=[calls * factor for calls in times.processes],
        loops=times.loops,
        commands=times.commands * factor,
    )


def _smallest(is_slower: Callable[[float], bool]) -> float:
    """The smallest shift that is called slower, to 0.0005; of -LARGEST to LARGEST."""
    low, high = -LARGEST, LARGEST
    while high - low > 0.0005:
        middle = (low + high) / 2
        if is_slower(middle):
            high = middle
        else:
            low = middle
    return high
