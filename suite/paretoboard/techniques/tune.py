"""Searching for the settings to train with."""

from __future__ import annotations

import dataclasses
import json
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

from annotated_types import Ge, Gt, Lt, MinLen
from pydantic import AfterValidator
from typing_extensions import TypedDict

from paretoboard.errors import InputError, NotApplicableError
from paretoboard.plan import plain
from paretoboard.records import SearchTrial
from paretoboard.taskfile.model import TrainTable
from paretoboard.techniques import Applied, Technique
from paretoboard.techniques.forms import own_float32_module
from paretoboard.techniques.train.anew import initial
from paretoboard.techniques.train.finetune import trained

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from paretoboard.artifact import Candidate
    from paretoboard.techniques import Workbench
    from paretoboard.training.search import HeldOutTraining, Space, Trial

# What a trial costs and what it is judged by is the same for all of them; all else of TrainTable may be searched.
_SHARED: Final = frozenset({"epochs", "seconds", "joules", "held_out", "patience", "target"})
_SEARCHED: Final = tuple(name for name in TrainTable.model_fields if name not in _SHARED)
# Optuna draws ten trials at random before TPE and GP begin, for searches of a hundred or more.
_STARTUP: Final = 10
_STARTUP_SHARE: Final = 4  # one in so many, of shorter searches


def _one_way(given: dict[str, Any]) -> dict[str, Any]:
    """Refuse a range that says neither or both of what lies between two numbers and what is chosen from."""
    between = [name for name in ("low", "high", "log", "points") if name in given]
    if "choices" in given:
        if between:
            raise ValueError(
                f"found 'choices' and '{between[0]}'; either 'choices', or 'low' and 'high', would be right"
            )
        if any(choice in given["choices"][:index] for index, choice in enumerate(given["choices"])):
            raise ValueError("found a choice twice")
        return given
    if not {"low", "high"} <= given.keys():
        raise ValueError("needs 'low' and 'high', or 'choices'")
    if given["low"] >= given["high"]:
        raise ValueError(f"found low = {given['low']:g} and high = {given['high']:g}; a lower 'low' would be right")
    if given.get("log") and given["low"] <= 0:
        raise ValueError(f"found log = true and low = {given['low']:g}; more than 0 would be right")
    return given


def _range_of(name: str) -> Any:
    """The type of the table that says what a setting may be: what [model] says of its type and bounds holds here."""
    # Types that are made while the program runs are none for a type checker.
    annotated: Any = Annotated
    several: Any = list
    table: Any = TypedDict
    field = TrainTable.model_fields[name]
    kind: Any = annotated[(field.annotation, *field.metadata)] if field.metadata else field.annotation
    keys = {"choices": annotated[several[kind], MinLen(2)]}
    if field.annotation in (int, float):
        keys |= {"low": kind, "high": kind, "log": bool, "points": annotated[int, Ge(2)]}
    title = "".join(part.capitalize() for part in name.split("_"))
    return annotated[table(f"{title}Range", keys, total=False), AfterValidator(_one_way)]


if TYPE_CHECKING:
    Ranges = Mapping[str, Mapping[str, Any]]
else:
    Ranges = TypedDict("Ranges", {name: _range_of(name) for name in _SEARCHED}, total=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Search(Technique):
    """Search the settings that the task's own model is trained with, and train it anew with the best.

    A part of the training images is held out. Each trial trains the network on the others, from the initial weights of
    the task's own training and for as many epochs, with the task's own settings but for those that `ranges` names, and
    is judged by the share of the held-out images that is right in the end; one that diverges is worth nothing. The best
    settings then train the network as the task does: on all training images, or on all but those that it holds out
    itself. The task's test images are never looked at.

    All samplers get the same budget: `trials` trainings of the task's epochs on the images that are not held out.
    What pruned trials leave of it pays for further ones, as long as there is enough for a whole training. Searches
    with the same seed share the held-out images and the trials that are drawn at random.
    """

    source = (
        "Optuna 5 (Akiba et al. 2019, arXiv:1907.10902); random and grid: Bergstra and Bengio 2012, JMLR 13; "
        "TPE: Bergstra et al. 2011, NeurIPS; GP with log expected improvement: Ament et al. 2023, arXiv:2310.20708; "
        "median: Golovin et al. 2017, Vizier, section 3.2; halving: Li et al. 2020, ASHA, arXiv:1810.05934; "
        "Hyperband: Li et al. 2018, arXiv:1603.06560"
    )
    takes = ("torch",)
    needs = ("train",)

    sampler: Literal["grid", "random", "tpe", "gp"]
    ranges: Ranges  # by field of the task's `train`: { low, high, log, points } or { choices }; points are a grid's
    trials: Annotated[int, Ge(1)]  # that the budget pays for when none is pruned; of a grid, its points
    pruner: Literal["none", "median", "halving", "hyperband"] = "none"
    held_out: Annotated[float, Gt(0), Lt(1)] = 0.2  # share of the training images, of each class
    # Trials drawn at random before tpe, gp and the median pruner judge by them; None: one in four, ten at most.
    startup: Annotated[int, Ge(1)] | None = None

    def __post_init__(self) -> None:
        if not self.ranges:
            raise InputError(f"ranges is empty: it names what is searched, some of {', '.join(_SEARCHED)}")
        if self.sampler != "grid":
            divided = [name for name, given in self.ranges.items() if "points" in given]
            if divided:
                raise InputError(f"ranges.{divided[0]} has 'points', which say how a grid divides it: leave them out")
            return
        undivided = [name for name, given in self.ranges.items() if not {"points", "choices"} & given.keys()]
        if undivided:
            raise InputError(f"a grid needs 'points' or 'choices' in each range, and ranges.{undivided[0]} has neither")
        if self.startup is not None:
            raise InputError("a grid has no trials that are drawn at random: leave 'startup' out")
        sizes = [len(_nodes(name, given)) for name, given in self.ranges.items()]
        if math.prod(sizes) != self.trials:
            product = " x ".join(map(str, sizes))
            raise InputError(
                f"found trials = {self.trials} and a grid of {product}; trials = {math.prod(sizes)} would be right"
            )

    def apply(self, candidate: Candidate, bench: Workbench) -> Applied:
        """Search, then train; what was interrupted loses one trial, or what the last training's checkpoint misses.

        Raises:
            NotApplicableError: without Optuna, for an ONNX graph, for weights of fewer than 32 bits, for a model that
                the task did not train, or on a budget of seconds or energy, for settings that don't go together, and
                where nothing can be held out.
            DivergedError: where the best settings diverge on all training images.
        """
        try:
            return self._apply(candidate, bench)
        except InputError as error:
            raise NotApplicableError(f"tune.search: {error}") from error

    def _apply(self, candidate: Candidate, bench: Workbench) -> Applied:
        from paretoboard.training import search, train

        told = _Told(bench.progress)
        attempt, anew = self._attempt(candidate, bench, told)
        trials = self._trials(attempt, bench, told)
        best = search.best(trials)
        student, base = attempt.fresh(), bench.train_settings
        assert base is not None
        result = train(
            student,
            attempt.images,
            dataclasses.replace(base, **best.settings),
            preprocess=bench.preprocess,
            seed=bench.train_seed,
            checkpoint=bench.scratch / "search.pt",
            checkpoint_every_s=bench.checkpoint_every_s,
            progress=told.last,
        )
        applied = trained(candidate, student, result)
        return dataclasses.replace(
            applied,
            anew=anew,
            images_seen=applied.images_seen + sum(trial.outcome.images_seen for trial in trials),
            notes=(*self._notes(trials, best, attempt), *applied.notes),
            trials=tuple(_curve(trials)),
        )

    def _attempt(self, candidate: Candidate, bench: Workbench, told: _Told) -> tuple[HeldOutTraining, bool]:
        """What trains and judges, once it is clear that it can; and whether nothing built before goes into it."""
        from paretoboard.training import search

        module = own_float32_module(candidate, "tune.search")
        search.optuna()
        base = bench.train_settings
        if base is None:
            raise NotApplicableError(
                "tune.search varies the settings that the task trained its own model with, and that one was read from "
                "a file: name 'train' instead of 'weights' under [model]"
            )
        if base.fair != "images":
            raise NotApplicableError(
                f"tune.search gives every search equal images, and the task's budget is one of {base.fair}: leave "
                "'seconds' and 'joules' out"
            )
        attempt = search.HeldOutTraining(
            fresh=lambda: initial(module, candidate, bench.train_seed)[0].requires_grad_(True),
            images=bench.train_images(),
            settings=dataclasses.replace(base, held_out=self.held_out, patience=None, target=None),
            preprocess=bench.preprocess,
            seed=bench.train_seed,
            checkpoint=bench.scratch / "trial.pt",
            checkpoint_every_s=bench.checkpoint_every_s,
            progress=told.trial,
        )
        told.expect(of_search=self.trials * attempt.trained_on, of_last=len(attempt.images))
        return attempt, initial(module, candidate, bench.train_seed)[1]

    def _trials(self, attempt: HeldOutTraining, bench: Workbench, told: _Told) -> tuple[Trial, ...]:
        from paretoboard.training import search

        plan = search.Plan(
            spaces=tuple(_space(name, given) for name, given in self.ranges.items()),
            sampler=self.sampler,
            pruner=self.pruner,
            trials=self.trials,
            epochs=attempt.settings.epochs,
            startup=self.startup or max(1, min(_STARTUP, self.trials // _STARTUP_SHARE)),
            seed=bench.seed,
        )
        storage = bench.scratch / "search.db"

        def begin(number: int, epochs: int) -> None:
            told.begin(number, epochs / plan.budget, 1 / plan.trials)

        return search.search(plan, attempt, storage=storage, identity=attempt.identity, begin=begin)

    def _notes(self, trials: Sequence[Trial], best: Trial, attempt: HeldOutTraining) -> Iterator[str]:
        seen = sum(trial.outcome.images_seen for trial in trials)
        budget = self.trials * attempt.settings.epochs * attempt.trained_on
        held_out = len(attempt.images) - attempt.trained_on
        endings = [trial.outcome.ending for trial in trials]
        ended = [f", {endings.count(each)} of them {each}" for each in ("pruned", "diverged") if each in endings]
        yield (
            f"{len(trials)} trials by {self.sampler}{''.join(ended)}, saw {seen:,} images; the budget was {budget:,}, "
            f"{self.trials} whole trials"
        )
        chosen = ", ".join(f"{name} = {_shown(value)}" for name, value in best.settings.items())
        yield (
            f"best of them trial {best.number + 1}: {chosen}; {best.outcome.value:.2%} of {held_out} "
            "held-out training images right, more than of others, since these chose it"
        )


class _Told:
    """Says where it all is: in the search, then in the training that follows, by the images that they see."""

    def __init__(self, progress: Callable[[float, str], None]) -> None:
        self._progress = progress
        self._search = self._spent = self._whole = 0.0
        self._number = 0

    def expect(self, *, of_search: int, of_last: int) -> None:
        """So many images in all."""
        self._search = of_search / (of_search + of_last)

    def begin(self, number: int, spent: float, whole: float) -> None:
        """A trial, from 0, after a share of the budget, of which a whole one takes another."""
        self._number, self._spent, self._whole = number, spent, whole

    def trial(self, done: float, text: str) -> None:
        spent = self._spent + done * self._whole
        self._progress(self._search * spent, f"trial {self._number + 1}, {spent:.0%} of the budget: {text}")

    def last(self, done: float, text: str) -> None:
        self._progress(self._search + (1 - self._search) * done, f"with the best settings: {text}")


def _nodes(name: str, given: Mapping[str, Any]) -> tuple[float, ...]:
    """The values of a range that a grid takes: both ends, and what lies evenly between, whole where the setting is."""
    if "choices" in given:
        return tuple(given["choices"])
    low, high, points = given["low"], given["high"], given["points"]
    shares = [index / (points - 1) for index in range(1, points - 1)]
    if given.get("log"):
        between = [math.exp(math.log(low) + share * (math.log(high) - math.log(low))) for share in shares]
    else:
        between = [low + share * (high - low) for share in shares]
    if _is_whole(name):
        return tuple(dict.fromkeys([low, *map(round, between), high]))  # what falls together counts once
    return (low, *between, high)


def _is_whole(name: str) -> bool:
    return TrainTable.model_fields[name].annotation is int


def _space(name: str, given: Mapping[str, Any]) -> Space:
    from paretoboard.training.search import Space

    if "choices" in given:
        return Space(name=name, choices=tuple(given["choices"]))
    return Space(
        name=name,
        low=given["low"],
        high=given["high"],
        log=given.get("log", False),
        whole=_is_whole(name),
        grid=_nodes(name, given) if "points" in given else (),
    )


def _curve(trials: Sequence[Trial]) -> Iterator[SearchTrial]:
    """The best value against cost, trial by trial."""
    images, seconds, best = 0, 0.0, None
    for trial in trials:
        outcome = trial.outcome
        images, seconds = images + outcome.images_seen, seconds + trial.seconds
        if outcome.ending != "pruned":
            best = outcome.value if best is None else max(best, outcome.value)
        yield SearchTrial(
            number=trial.number + 1,
            settings=json.dumps(plain(trial.settings), sort_keys=True),
            value=outcome.value,
            ending=outcome.ending,
            images_seen=images,
            seconds=seconds,
            best=best,
        )


def _shown(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else json.dumps(plain(value))
