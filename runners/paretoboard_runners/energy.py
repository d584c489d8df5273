"""Energy from counters of the hardware: RAPL's package domains for a CPU, NVML's total for a GPU. Never an estimate.

Energy can't be told apart between arms that are interleaved, since one counter serves them all. So the candidate runs
alone in a steady loop, and between such loops the machine does nothing for as long; both are stated.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from paretoboard import runtimes
from paretoboard.errors import ParetoboardError
from paretoboard.spec import Budget, Device
from paretoboard_runners import nvml
from paretoboard_runners.measured import measured

if TYPE_CHECKING:
    from paretoboard.records import MetricValue
    from paretoboard_runners.supervise import Emitter

POWERCAP: Final = Path("/sys/class/powercap")
# A package at 400 W wraps a counter of 65 kJ, the smallest seen, in 160 s; read so often, no wrap is missed.
_SAMPLING_S: Final = 20.0
ROUNDS: Final = 5
# Of one steady loop, and of the idleness before it. RAPL's counters move every millisecond, NVML's every 20 to 100.
LOOP_S: Final[dict[Budget, float]] = {"smoke": 0.5, "quick": 0.5, "standard": 2.0, "release": 5.0}


class NoCounterError(ParetoboardError):
    """No counter of the device's energy can be read, with the reason."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Counter:
    """A count of joules that only ever grows, but for starting again at zero after `range_j`."""

    name: str
    read_j: Callable[[], float]
    range_j: float  # infinite for one that does not wrap

    def between(self, before_j: float, after_j: float) -> float:
        """Joules between two readings with at most one wrap between them.

        Raises: NoCounterError for one that went back and does not wrap: the driver was loaded anew.
        """
        if after_j >= before_j:
            return after_j - before_j
        if math.isinf(self.range_j):
            raise NoCounterError(f"{self.name} went back from {before_j:g} to {after_j:g} J")
        return after_j - before_j + self.range_j


class Meter:
    """Sums what counters count, from when it is made; a thread reads them often enough that no wrap is missed."""

    def __init__(self, counters: Sequence[Counter], *, sampling_s: float = _SAMPLING_S) -> None:
        self._counters = counters
        self._last_j = [counter.read_j() for counter in counters]
        self._sum_j = 0.0
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._sample, args=(sampling_s,), daemon=True)

    def __enter__(self) -> Meter:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def used_j(self) -> float:
        """Joules since the meter was made. Raises: NoCounterError where a counter can't be read any more."""
        with self._lock:
            now_j = [counter.read_j() for counter in self._counters]
            for counter, before_j, after_j in zip(self._counters, self._last_j, now_j, strict=True):
                self._sum_j += counter.between(before_j, after_j)
            self._last_j = now_j
            return self._sum_j

    def _sample(self, sampling_s: float) -> None:
        while not self._over.wait(sampling_s):
            try:
                self.used_j()
            except NoCounterError:
                return  # whoever asks next is told


@contextmanager
def counters(
    device: Device, *, powercap: Path = POWERCAP, open_nvml: nvml.Opener = nvml.opened
) -> Iterator[tuple[Counter, ...]]:
    """The counters of the device that computes, readable while the block runs.

    Raises: NoCounterError where there is none, or none that may be read.
    """
    if device == "cpu":
        yield rapl_packages(powercap)
        return
    try:
        with open_nvml() as library:
            yield (_gpu_counter(nvml.visible_gpu(library)),)
    except nvml.NvmlError as error:
        raise NoCounterError(str(error)) from error


def rapl_packages(powercap: Path = POWERCAP) -> tuple[Counter, ...]:
    """One counter for each package; their cores and uncores are parts of them, and "psys" is the whole platform.

    Raises: NoCounterError where the kernel shows none, or lets only root read them.
    Source: Documentation/power/powercap/powercap.rst of Linux.
    """
    # intel-rapl is the name on AMD too. intel-rapl-mmio shows the same package through another register.
    for kind in ("intel-rapl", "intel-rapl-mmio"):
        zones = [zone for zone in sorted(powercap.glob(f"{kind}:[0-9]*")) if _is_package(zone)]
        if zones:
            found = tuple(_rapl_counter(zone) for zone in zones)
            for counter in found:
                counter.read_j()
            return found
    raise NoCounterError(f"no RAPL counter: {powercap} has no package domain")


@contextmanager
def metered(
    device: Device, *, powercap: Path = POWERCAP, open_nvml: nvml.Opener = nvml.opened
) -> Iterator[Callable[[], float | None]]:
    """While the block runs, a function that gives the joules used since it began, None where nothing counts them."""
    with ExitStack() as stack:
        try:
            found = stack.enter_context(counters(device, powercap=powercap, open_nvml=open_nvml))
            meter = stack.enter_context(Meter(found))
        except NoCounterError:
            yield lambda: None
            return

        def used_j() -> float | None:
            try:
                return meter.used_j()
            except NoCounterError:
                return None

        yield used_j


def why_not(device: Device, *, powercap: Path = POWERCAP, open_nvml: nvml.Opener = nvml.opened) -> str:
    """Why energy can't be measured here, "" where it can."""
    try:
        with counters(device, powercap=powercap, open_nvml=open_nvml):
            return ""
    except NoCounterError as error:
        return str(error)


@dataclass(frozen=True, slots=True, kw_only=True)
class EnergyJob:
    """Run an artifact alone in steady loops, with idleness between them."""

    artifact: Path
    batch: int
    threads: int
    input_file: Path  # float32 array (n, channels, height, width), n at least the batch
    device: Device
    loop_s: float
    powercap: Path = POWERCAP


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """Idleness, and then a steady loop."""

    idle_j: float
    idle_s: float
    busy_j: float
    busy_s: float
    images: int


@dataclass(frozen=True, slots=True, kw_only=True)
class EnergyResult:
    """What the counters said."""

    counters: tuple[str, ...]
    rounds: tuple[Round, ...]


def measure(job: EnergyJob, _folder: Path, emit: Emitter) -> EnergyResult:
    """Rounds of idleness and steady calls. Raises: NoCounterError."""
    import numpy as np

    session = runtimes.open(job.artifact, threads=job.threads, batches=(job.batch,))
    images = np.load(job.input_file)
    natives = [
        session.prepare(images[start : start + job.batch]) for start in range(0, len(images) - job.batch + 1, job.batch)
    ]
    with counters(job.device, powercap=job.powercap) as found, Meter(found) as meter:
        run_for(session.run, natives, job.loop_s / 2)  # warm up: clocks and caches
        rounds = []
        for number in range(ROUNDS):
            emit({"stage": "energy", "done": number / ROUNDS, "text": f"batch {job.batch}"})
            rounds.append(_round(meter, lambda: run_for(session.run, natives, job.loop_s) * job.batch, job.loop_s))
    return EnergyResult(counters=tuple(counter.name for counter in found), rounds=tuple(rounds))


def run_for(call: Callable[[Any], Any], natives: Sequence[Any], seconds: float) -> int:
    """Call with one input after the other until the time is over; how many calls that were."""
    end = time.perf_counter() + seconds
    calls = 0
    while time.perf_counter() < end:
        call(natives[calls % len(natives)])
        calls += 1
    return calls


def metrics_of(rounds: Sequence[Round], batch: int) -> tuple[MetricValue, ...]:
    """Energy of one image, the part of it above idle, and the idle power; means over rounds with Student's t."""
    per_image = [each.busy_j / each.images for each in rounds]
    idle_w = [each.idle_j / each.idle_s for each in rounds]
    # Each loop against the idleness before it: a drift of the machine cancels out.
    above = [(each.busy_j - watts * each.busy_s) / each.images for each, watts in zip(rounds, idle_w, strict=True)]
    named = (("energy", per_image), ("energy_above_idle", above), ("idle_power", idle_w))
    return tuple(_mean(name, values, f"batch={batch}") for name, values in named)


def _round(meter: Meter, busy: Callable[[], int], idle_s: float) -> Round:
    start_j, start = meter.used_j(), time.perf_counter()
    time.sleep(idle_s)
    between_j, between = meter.used_j(), time.perf_counter()
    images = busy()
    end_j, end = meter.used_j(), time.perf_counter()
    return Round(
        idle_j=between_j - start_j,
        idle_s=between - start,
        busy_j=end_j - between_j,
        busy_s=end - between,
        images=images,
    )


def _mean(name: str, values: Sequence[float], scope: str) -> MetricValue:
    from paretoboard import stats

    found = stats.mean_interval(values)
    return measured(name, found.value, len(values), scope=scope, interval=found)


def _is_package(zone: Path) -> bool:
    try:
        return (zone / "name").read_text().strip().startswith("package")
    except OSError:
        return False


def _rapl_counter(zone: Path) -> Counter:
    name = f"RAPL {(zone / 'name').read_text().strip()}"
    range_j = int((zone / "max_energy_range_uj").read_text()) / 1e6

    def read_j() -> float:
        try:
            return int((zone / "energy_uj").read_text()) / 1e6
        except OSError as error:
            raise NoCounterError(f"{name}: {zone / 'energy_uj'} can't be read: {error.strerror}") from error

    return Counter(name=name, read_j=read_j, range_j=range_j)


def _gpu_counter(gpu: nvml.Gpu) -> Counter:
    name = f"NVML {gpu.uuid}"

    def read_j() -> float:
        energy_j = gpu.energy_j
        if energy_j is None:
            raise NoCounterError(f"{name}: this device does not count its energy")
        return energy_j

    read_j()
    return Counter(name=name, read_j=read_j, range_j=math.inf)
