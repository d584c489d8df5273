"""A search over settings, trial by trial, that goes on where it was stopped."""

from __future__ import annotations

import contextlib
import dataclasses
import sqlite3
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal, Protocol

from paretoboard.plan import digest
from paretoboard.training.search.library import optuna
from paretoboard.training.search.spaces import Space

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from optuna import Study
    from optuna.trial import FrozenTrial
    from optuna.trial import Trial as AskedTrial

Sampler = Literal["grid", "random", "tpe", "gp"]
Pruner = Literal["none", "median", "halving", "hyperband"]
Ending = Literal["whole", "pruned", "diverged"]

# Of trials at a rung, one in so many goes on: Li et al. 2018, arXiv:1603.06560, say 3 or 4.
_REDUCTION: Final = 3
_SEEDS: Final = 2**32  # of numpy's legacy generators, which Optuna draws from


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How settings are searched, and for how much."""

    spaces: tuple[Space, ...]
    sampler: Sampler
    pruner: Pruner
    trials: int  # that the budget pays for when each is trained to its end; of a grid, its points
    epochs: int  # of a whole trial
    startup: int  # trials that are drawn at random, before tpe, gp and the median pruner judge by what they see
    seed: int

    @property
    def budget(self) -> int:
        """Epochs of all trials together."""
        return self.trials * self.epochs


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What training with some settings came to."""

    value: float  # what was reported last; the more the better
    epochs: int  # begun
    images_seen: int
    ending: Ending


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """One trial of a search."""

    number: int  # from 0
    settings: Mapping[str, Any]  # fields of TrainSettings
    outcome: Outcome
    seconds: float


class Attempt(Protocol):
    """Trains with some settings."""

    def __call__(self, settings: Mapping[str, Any], report: Callable[[int, float], bool]) -> Outcome:
        """Train; after each epoch, from 1, `report` its number and how good it is by now, and stop if it says so."""


def search(
    plan: Plan,
    attempt: Attempt,
    *,
    storage: Path,
    identity: str,
    begin: Callable[[int, int], None] = lambda number, epochs: None,
    clock: Callable[[], float] = time.perf_counter,
) -> tuple[Trial, ...]:
    """Try settings until the budget can't pay for another whole trial, or the grid is done.

    Each proposal follows from the plan and the trials before it alone, each of which is stored as a whole: a search
    that is killed loses the trial in hand, and then proposes what it would have proposed.

    Args:
        storage: an SQLite file of Optuna's, made where it is missing or damaged.
        identity: what decides the outcome of trials, so that those of another search are not taken up.
        begin: told the number of each trial, from 0, and the epochs that those before it took.
    Returns: all trials in order, those of earlier calls among them.
    """
    study = _stored(storage, digest({"plan": repr(plan), "identity": identity}))
    while True:
        finished = study.get_trials()
        spent = sum(int(trial.user_attrs["epochs"]) for trial in finished)
        if spent + plan.epochs > plan.budget or (plan.sampler == "grid" and len(finished) == plan.trials):
            return tuple(_read(plan, trial) for trial in finished)
        begin(len(finished), spent)
        began = clock()
        asked = propose(plan, finished)
        outcome = attempt(_settings(plan, asked.params), _reporter(plan, asked))
        study.add_trial(_finished(asked, outcome, clock() - began))


def best(trials: Sequence[Trial]) -> Trial:
    """The first of the best among those that were not pruned."""
    return max((trial for trial in trials if trial.outcome.ending != "pruned"), key=lambda trial: trial.outcome.value)


def propose(plan: Plan, finished: Sequence[FrozenTrial]) -> AskedTrial:
    """The next trial after `finished`."""
    library = optuna()
    # Made anew for each trial, and seeded by its number: nothing of the process that asked before is in it. The name
    # counts too, since Hyperband takes the brackets from it.
    study = library.create_study(
        study_name="search",
        direction="maximize",
        sampler=_sampler(plan, len(finished)),
        pruner=_pruner(plan),
    )
    study.add_trials(finished)
    asked: AskedTrial = study.ask({space.name: space.distribution for space in plan.spaces})
    return asked


def _sampler(plan: Plan, number: int) -> Any:
    samplers = optuna().samplers
    seed = int(digest({"seed": plan.seed, "trial": number})[:8], 16)
    match plan.sampler:
        case "grid":  # the seed is the order's, which all trials share
            return samplers.GridSampler({space.name: space.nodes for space in plan.spaces}, seed=plan.seed % _SEEDS)
        case "random":
            return samplers.RandomSampler(seed=seed)
        case "tpe":
            return samplers.TPESampler(seed=seed, n_startup_trials=plan.startup)
        case "gp":
            return samplers.GPSampler(seed=seed, n_startup_trials=plan.startup, warn_independent_sampling=False)


def _pruner(plan: Plan) -> Any:
    pruners = optuna().pruners
    match plan.pruner:
        case "none":
            return pruners.NopPruner()
        case "median":
            return pruners.MedianPruner(n_startup_trials=plan.startup)
        case "halving":
            return pruners.SuccessiveHalvingPruner(min_resource=1, reduction_factor=_REDUCTION)
        case "hyperband":
            return pruners.HyperbandPruner(min_resource=1, max_resource=plan.epochs, reduction_factor=_REDUCTION)


def _reporter(plan: Plan, asked: AskedTrial) -> Callable[[int, float], bool]:
    def report(epoch: int, value: float) -> bool:
        asked.report(value, epoch)
        return epoch < plan.epochs and asked.should_prune()

    return report


def _settings(plan: Plan, values: Mapping[str, Any]) -> dict[str, Any]:
    return {space.name: space.setting(values[space.name]) for space in plan.spaces}


def _finished(asked: AskedTrial, outcome: Outcome, seconds: float) -> FrozenTrial:
    """A trial to be stored, with all that proposals and pruners look at."""
    library = optuna()
    states = library.trial.TrialState
    seen = asked.study.get_trials()[asked.number]
    kept: FrozenTrial = library.trial.create_trial(
        state=states.PRUNED if outcome.ending == "pruned" else states.COMPLETE,
        value=outcome.value,
        params=seen.params,
        distributions=seen.distributions,
        intermediate_values=seen.intermediate_values,
        system_attrs=seen.system_attrs,
        user_attrs={**dataclasses.asdict(outcome), "seconds": seconds},
    )
    return kept


def _read(plan: Plan, stored: FrozenTrial) -> Trial:
    known = dict(stored.user_attrs)
    seconds = known.pop("seconds")
    return Trial(
        number=stored.number, settings=_settings(plan, stored.params), outcome=Outcome(**known), seconds=seconds
    )


def _stored(path: Path, name: str) -> Study:
    """The study of that name in a file."""
    library = optuna()
    if path.exists() and not _is_whole(path):
        path.unlink()
    study: Study = library.create_study(
        storage=f"sqlite:///{path.absolute()}", study_name=name, direction="maximize", load_if_exists=True
    )
    return study


def _is_whole(path: Path) -> bool:
    """Whether SQLite can read all of a file; what a killed process left half done is undone first."""
    with contextlib.closing(sqlite3.connect(path)) as connection:
        try:
            return bool(connection.execute("PRAGMA quick_check").fetchone() == ("ok",))
        except sqlite3.OperationalError:  # the disk, or another process: nothing that removing the file would mend
            raise
        except sqlite3.DatabaseError:
            return False
