"""How long a plan will take, roughly: from budgets, and from what like steps took before. Imports nothing heavy."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING, Final

from paretoboard.registry import TECHNIQUES
from paretoboard.spec import BASELINE, Recipe
from paretoboard_runners import budgets, energy

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from paretoboard.plan import RunSpec
    from paretoboard.spec import MeasureSpec, Scenario

# Where nothing like it was built before. On two busy Zen 4 cores (2026-11) an epoch of the quick task took 2 s and one
# of 10,000 images with ResNet-20 30 s; exports and quantizations 1 to 15 s.
EPOCH_S: Final = 10.0
STEP_S: Final = 5.0
# Of each run: new processes, scoring, memory; `make board` on the same machine.
REST_S: Final = 6.0
# The search for a server's highest load: about eight loads, half of which fail and are tested twice.
SEARCH_TESTS: Final = 12
_MODEL: Final = "model"


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """Seconds by what they go to, without second looks at what stays undecided."""

    building_s: float
    timing_s: float
    scenarios_s: float
    energy_s: float
    rest_s: float
    builds: int  # steps that no artifact is there for
    guessed: int  # of those, the ones that nothing like was built before for

    @property
    def total_s(self) -> float:
        """Of everything."""
        return self.building_s + self.timing_s + self.scenarios_s + self.energy_s + self.rest_s


@dataclass(frozen=True, slots=True, kw_only=True)
class _Build:
    """One step of a recipe, or the model that it begins with."""

    build_id: str
    model: str
    step: str
    epochs: int
    seconds: float | None = None  # of training, where that is its budget
    teacher: _Build | None = None  # that has to be there first

    @property
    def training_s(self) -> float:
        """Where nothing like it was built before."""
        return EPOCH_S * self.epochs if self.seconds is None else self.seconds

    @property
    def kind(self) -> tuple[str, str]:
        """What builds of about the same cost share."""
        return self.model, self.step


def estimate(runs: Sequence[RunSpec], new: Sequence[RunSpec], artifacts: Path, environment_id: str) -> Estimate:
    """How long `new` will take.

    Args:
        runs: the plan that `new` is a part of; what its steps took before says what like steps will take.
        artifacts: the folder with everything that was built.
        environment_id: of the software; artifacts of another one are built anew.
    """
    took_s = _earlier(runs, artifacts)
    building_s, builds, guessed = 0.0, 0, 0
    for build in _missing(new, artifacts, environment_id):
        builds += 1
        guessed += build.kind not in took_s
        building_s += took_s.get(build.kind, STEP_S + build.training_s)
    return Estimate(
        building_s=building_s,
        timing_s=sum(map(_timing_s, new)),
        scenarios_s=sum(_scenario_s(run.measure, scenario) for run in new for scenario in run.measure.scenarios),
        energy_s=sum(_energy_s(run) for run in new),
        rest_s=REST_S * len(new),
        builds=builds,
        guessed=guessed,
    )


def _timing_s(run: RunSpec) -> float:
    launches = budgets.BUDGETS[run.measure.budget]
    # Against the baseline at every batch, against each reference at the smallest.
    comparisons = len(run.measure.batches) + len(run.recipe.references)
    return launches.count * launches.seconds * comparisons


def _scenario_s(measure: MeasureSpec, scenario: Scenario) -> float:
    least_s = budgets.DURATIONS[measure.budget].least_s
    if scenario != "server":
        return least_s
    search_s = budgets.search_s(least_s, measure.server_latency_s or 0.0)
    return SEARCH_TESTS * search_s + max(least_s, search_s)


def _energy_s(run: RunSpec) -> float:
    if not run.measure.timed or energy.why_not(run.profile.device):
        return 0.0
    rounds = 2 * energy.ROUNDS + 0.5  # busy and idle, and half a loop to warm up
    return rounds * energy.LOOP_S[run.measure.budget] * len(run.measure.batches)


def _builds(run: RunSpec) -> Iterator[_Build]:
    """The builds of a run in order, the model first."""
    settings = run.model.train
    epochs, seconds = (settings.epochs, settings.seconds) if settings is not None else (0, None)
    yield _Build(build_id=run.build_ids[0], model=run.model.name, step=_MODEL, epochs=epochs, seconds=seconds)
    for build_id, use in zip(run.build_ids[1:], run.recipe.steps, strict=True):
        # Steps that may be told how long to train, and are not, train as the task does.
        untold = "epochs" in use.parameters and use.parameters["epochs"] is None
        as_the_task = untold or TECHNIQUES.load(use.name).as_the_task
        given, own_seconds = use.parameters.get("epochs"), use.parameters.get("seconds")
        teaching = run.teacher and "teacher" in TECHNIQUES.load(use.name)(**use.parameters).needs_now()
        yield _Build(
            build_id=build_id,
            model=run.model.name,
            step=use.name,
            epochs=epochs if as_the_task else given if isinstance(given, int) else 0,
            seconds=own_seconds if own_seconds is not None or not as_the_task else seconds,
            teacher=_teacher(run) if teaching else None,
        )


def _teacher(run: RunSpec) -> _Build:
    assert run.teacher is not None
    return next(_builds(dataclasses.replace(run, model=run.teacher, teacher=None, recipe=Recipe(name=BASELINE))))


def _built_for(run: RunSpec) -> Iterator[RunSpec]:
    """The run and its references, as runs of their own."""
    yield run
    for reference in run.recipe.references:
        yield dataclasses.replace(run, recipe=reference)


def _missing(new: Sequence[RunSpec], artifacts: Path, environment_id: str) -> Iterable[_Build]:
    """Each build that no artifact is there for, once. What comes before an artifact that is there is not built."""
    missing: dict[str, _Build] = {}
    for run in (each for cell in new for each in _built_for(cell)):
        for build in reversed(list(_builds(run))):
            if _costs(artifacts, f"{build.build_id[:32]}-{environment_id[:8]}"):
                break
            missing[build.build_id] = build
            teacher = build.teacher
            if teacher and not _costs(artifacts, f"{teacher.build_id[:32]}-{environment_id[:8]}"):
                missing[teacher.build_id] = teacher
    return missing.values()


def _earlier(runs: Sequence[RunSpec], artifacts: Path) -> Mapping[tuple[str, str], float]:
    """By kind of build, the median of what those of `runs` took, with whatever software."""
    builds = {build.build_id: build for run in runs for build in _builds(run)}
    seconds: dict[tuple[str, str], list[float]] = {}
    for build in builds.values():
        for step_s in _costs(artifacts, build.build_id[:32]):
            seconds.setdefault(build.kind, []).append(step_s)
    return {kind: median(values) for kind, values in seconds.items()}


def _costs(artifacts: Path, prefix: str) -> list[float]:
    """What the steps took whose artifacts' names begin so; a folder without a cost is no finished artifact."""
    found = []
    for path in sorted(artifacts.glob(f"{prefix}*/cost.json")):
        try:
            found.append(float(json.loads(path.read_text())["step_s"]))
        except (OSError, ValueError, KeyError, TypeError):
            continue
    return found
