"""Searching for settings: what is proposed, what it may cost, and that a kill loses one trial at most."""

from __future__ import annotations

import dataclasses
import itertools
import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from paretoboard import store
from paretoboard.artifact import Candidate
from paretoboard.errors import NotApplicableError
from paretoboard.records import SearchTrial
from paretoboard.spec import TrainSettings
from paretoboard.techniques import Applied, Workbench
from paretoboard.techniques.train.anew import initial
from paretoboard.techniques.tune import Search
from paretoboard.training import search, train
from paretoboard.training.feed import Feed
from paretoboard.training.search import Outcome, Plan, Space, Trial
from small_models import candidate, fingerprint, images, module, workbench

pytest.importorskip("optuna", reason="optuna is missing: install the extra 'tune'")

LR = Space(name="lr", low=0.001, high=1.0, log=True, grid=(0.001, 0.01, 0.1, 1.0))
DECAY = Space(name="weight_decay", low=0.0, high=0.1, grid=(0.0, 0.05, 0.1))
BATCH = Space(name="batch", low=16, high=128, log=True, whole=True, grid=(16, 45, 128))
SCHEDULE = Space(name="schedule", choices=("constant", "cosine", "onecycle"))
SAMPLERS = ("grid", "random", "tpe", "gp")
GRID = {"sampler": "grid", "trials": 36}


def a_plan(**changes: Any) -> Plan:
    known: dict[str, Any] = {
        "spaces": (LR, DECAY, SCHEDULE),
        "sampler": "tpe",
        "pruner": "none",
        "trials": 12,
        "epochs": 4,
        "startup": 3,
        "seed": 5,
    }
    return Plan(**(known | changes))


def worth(settings: Mapping[str, Any]) -> float:
    """How good settings are: 1 at lr = 0.03 and weight_decay = 0.02 with a cosine, less elsewhere."""
    away = (np.log10(settings["lr"] / 0.03) / 3) ** 2 + ((settings["weight_decay"] - 0.02) / 0.1) ** 2
    return float(1 - away - 0.1 * (settings.get("schedule") != "cosine"))


class Planted:
    """An attempt that trains nothing: settings are worth what `worth` says, a share of it after each epoch."""

    def __init__(self, epochs: int = 4, *, interrupted_at: int | None = None) -> None:
        self.epochs, self.interrupted_at = epochs, interrupted_at
        self.tried: list[Mapping[str, Any]] = []

    def __call__(self, settings: Mapping[str, Any], report: Callable[[int, float], bool]) -> Outcome:
        self.tried.append(settings)
        if len(self.tried) == self.interrupted_at:
            raise KilledError
        for epoch in range(1, self.epochs + 1):
            value = worth(settings) * epoch / self.epochs
            if report(epoch, value):
                return Outcome(value=value, epochs=epoch, images_seen=100 * epoch, ending="pruned")
        return Outcome(value=value, epochs=self.epochs, images_seen=100 * self.epochs, ending="whole")


class KilledError(Exception):
    """Stands for a kill."""


def searched(plan: Plan, folder: Path, attempt: Planted | None = None) -> tuple[Trial, ...]:
    """All trials, without how long they took, which is no one's promise."""
    folder.mkdir(exist_ok=True)
    trials = search.search(plan, attempt or Planted(plan.epochs), storage=folder / "search.db", identity="planted")
    return tuple(dataclasses.replace(trial, seconds=0.0) for trial in trials)


# What is proposed


def test_a_grid_is_covered_exactly(tmp_path: Path) -> None:
    attempt = Planted()
    trials = searched(a_plan(**GRID), tmp_path, attempt)
    points = list(itertools.product(LR.grid, DECAY.grid, SCHEDULE.choices))
    tried = [tuple(settings.values()) for settings in attempt.tried]
    assert sorted(tried) == sorted(points)
    assert [trial.number for trial in trials] == list(range(36))
    assert [tuple(trial.settings.values()) for trial in trials] == tried


def test_a_grid_is_covered_exactly_when_trials_are_pruned(tmp_path: Path) -> None:
    trials = searched(a_plan(**GRID, pruner="halving"), tmp_path)
    assert len({tuple(trial.settings.values()) for trial in trials}) == len(trials) == 36
    assert any(trial.outcome.ending == "pruned" for trial in trials)


@pytest.mark.parametrize("sampler", SAMPLERS[1:])
def test_all_that_is_proposed_lies_in_its_range_and_has_its_type(sampler: str, tmp_path: Path) -> None:
    plan = a_plan(sampler=sampler, spaces=(LR, DECAY, BATCH, SCHEDULE))
    for trial in searched(plan, tmp_path):
        settings = trial.settings
        assert 0.001 <= settings["lr"] <= 1.0
        assert 0.0 <= settings["weight_decay"] <= 0.1
        assert type(settings["batch"]) is int
        assert 16 <= settings["batch"] <= 128
        assert settings["schedule"] in SCHEDULE.choices


def test_choices_may_be_lists_such_as_augmentations(tmp_path: Path) -> None:
    augment = Space(name="augment", choices=([], ["flip"], ["crop", "flip"]))
    plan = a_plan(sampler="grid", trials=12, spaces=(LR, augment, Space(name="weight_decay", choices=(0.1,))))
    attempt = Planted()
    searched(plan, tmp_path, attempt)
    assert {settings["augment"] for settings in attempt.tried} == {(), ("flip",), ("crop", "flip")}


def test_searches_with_the_same_seed_share_the_trials_that_are_drawn_at_random(tmp_path: Path) -> None:
    found = {name: searched(a_plan(sampler=name), tmp_path / name) for name in SAMPLERS[1:]}
    assert found["random"][:3] == found["tpe"][:3] == found["gp"][:3]
    assert len({trials[3].settings["lr"] for trials in found.values()}) == 3


def test_another_seed_proposes_something_else(tmp_path: Path) -> None:
    one, other = searched(a_plan(), tmp_path / "one"), searched(a_plan(seed=6), tmp_path / "other")
    assert {trial.settings["lr"] for trial in one}.isdisjoint(trial.settings["lr"] for trial in other)


@pytest.mark.parametrize(("sampler", "trials", "seeds"), [("tpe", 24, 5), ("gp", 12, 3)])
def test_a_sampler_that_learns_comes_nearer_than_chance(sampler: str, trials: int, seeds: int, tmp_path: Path) -> None:
    def best_of(name: str) -> list[float]:
        plans = [a_plan(sampler=name, trials=trials, spaces=(LR, DECAY), seed=seed) for seed in range(seeds)]
        found = [searched(plan, tmp_path / f"{name}-{plan.seed}") for plan in plans]
        return [search.best(each).outcome.value for each in found]

    assert np.median(best_of(sampler)) > np.median(best_of("random"))


# What it costs


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_without_pruning_every_sampler_gets_as_many_whole_trials_as_it_was_given(sampler: str, tmp_path: Path) -> None:
    spaces = (LR, DECAY)  # 12 points
    trials = searched(a_plan(sampler=sampler, spaces=spaces), tmp_path)
    assert len(trials) == 12
    assert sum(trial.outcome.images_seen for trial in trials) == 12 * 400
    assert {trial.outcome.ending for trial in trials} == {"whole"}


@pytest.mark.parametrize("pruner", ["median", "halving", "hyperband"])
@pytest.mark.parametrize("sampler", SAMPLERS[1:])
def test_what_pruned_trials_leave_pays_for_more_of_them(sampler: str, pruner: str, tmp_path: Path) -> None:
    trials = searched(a_plan(sampler=sampler, pruner=pruner), tmp_path)
    seen = sum(trial.outcome.images_seen for trial in trials)
    pruned = [trial for trial in trials if trial.outcome.ending == "pruned"]
    assert pruned
    assert len(trials) > 12
    assert 12 * 400 - 400 < seen <= 12 * 400  # what is left can't pay for a whole trial
    best = search.best(trials)
    assert best.outcome.ending == "whole"
    assert all(trial.outcome.epochs < 4 for trial in pruned)


def test_a_pruner_ends_trials_that_are_worse_than_most_before(tmp_path: Path) -> None:
    """Halving by a third at the first epoch: only what is among the best third of all until then goes on."""
    trials = searched(a_plan(sampler="random", pruner="halving"), tmp_path)
    first: list[float] = []
    for trial in trials:
        value = worth(trial.settings) / 4
        better = sum(each > value for each in first)
        first.append(value)
        # Optuna lets the best third go on, and the best one while there are fewer than three.
        goes_on = better < max(1, len(first) // 3)
        assert (trial.outcome.epochs > 1) == goes_on


def test_the_best_is_the_first_of_the_best_that_was_not_pruned() -> None:
    def trial(number: int, value: float, ending: Any = "whole") -> Trial:
        outcome = Outcome(value=value, epochs=1, images_seen=1, ending=ending)
        return Trial(number=number, settings={}, outcome=outcome, seconds=0.0)

    trials = [trial(0, 0.5), trial(1, 0.9, "pruned"), trial(2, 0.7), trial(3, 0.7), trial(4, 0.0, "diverged")]
    assert search.best(trials).number == 2


# A kill


@pytest.mark.parametrize("pruner", ["none", "median", "hyperband"])
@pytest.mark.parametrize(
    "sampler", [pytest.param(name, marks=pytest.mark.slow) if name == "gp" else name for name in SAMPLERS]
)
def test_a_search_that_was_stopped_proposes_what_it_would_have(sampler: str, pruner: str, tmp_path: Path) -> None:
    plan = a_plan(sampler=sampler, pruner=pruner, spaces=(LR, DECAY))
    straight = searched(plan, tmp_path / "straight")
    attempts = []
    for stop in (5, 4):  # in the fifth trial, and after four more of it and what follows
        attempts.append(Planted(interrupted_at=stop))
        with pytest.raises(KilledError):
            searched(plan, tmp_path / "stopped", attempts[-1])
    attempts.append(Planted())
    assert searched(plan, tmp_path / "stopped", attempts[-1]) == straight
    assert sum(len(attempt.tried) for attempt in attempts) == len(straight) + 2  # one trial lost each time


KILLED = """
import json, os, pathlib, random, signal, sys, time
from paretoboard.training import search
from test_tune import Planted, a_plan, searched

folder, sampler = pathlib.Path(sys.argv[1]), sys.argv[2]
plan = a_plan(sampler=sampler, pruner="median", trials=8)

class Slow(Planted):
    def __call__(self, settings, report):
        with (folder / "begun").open("a") as log:
            log.write("x")
        time.sleep(0.03)
        return super().__call__(settings, report)

warm = a_plan(trials=4)  # imports what a killed process would have no time for
search.search(warm, Planted(), storage=folder / "warm.db", identity="warm")

def finish():
    found = search.search(plan, Slow(), storage=folder / "search.db", identity="killed")
    (folder / "ended").touch()
    return found

kills, rng = 0, random.Random(0)
while not (folder / "ended").exists():
    child = os.fork()
    if not child:
        finish()
        os._exit(0)
    time.sleep(rng.uniform(0.02, 0.2) * (1 + kills / 10))  # longer and longer, for slow machines
    os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    kills += os.WIFSIGNALED(status)
begun = len((folder / "begun").read_text())
trials = finish()
told = [[trial.number, dict(trial.settings), trial.outcome.value, trial.outcome.ending] for trial in trials]
print(json.dumps({"kills": kills, "begun": begun, "trials": told}))
"""


@pytest.mark.parametrize("sampler", ["tpe"])
def test_processes_that_are_killed_at_any_moment_lose_one_trial_each_at_most(sampler: str, tmp_path: Path) -> None:
    """SIGKILL after random times, while it trains, proposes or stores, until it is through."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path])}
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(tmp_path), sampler], capture_output=True, text=True, env=environment
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    straight = searched(a_plan(sampler=sampler, pruner="median", trials=8), tmp_path / "straight")
    assert told["kills"] >= 3
    assert told["trials"] == [
        [trial.number, dict(trial.settings), trial.outcome.value, trial.outcome.ending] for trial in straight
    ]
    assert len(straight) <= told["begun"] <= len(straight) + told["kills"]


def test_the_trials_of_another_search_are_not_taken_up(tmp_path: Path) -> None:
    searched(a_plan(), tmp_path)
    attempt = Planted()
    searched(a_plan(seed=6), tmp_path, attempt)
    search.search(a_plan(), attempt, storage=tmp_path / "search.db", identity="another")
    assert len(attempt.tried) == 2 * 12
    searched(a_plan(), tmp_path, attempt)
    assert len(attempt.tried) == 2 * 12  # while its own still are


@pytest.mark.parametrize("content", [b"", b"no database at all", b"SQLite format 3\0 and then nothing"])
def test_a_damaged_storage_is_begun_anew(content: bytes, tmp_path: Path) -> None:
    straight = searched(a_plan(), tmp_path / "straight")
    (tmp_path / "search.db").write_bytes(content)
    assert searched(a_plan(), tmp_path) == straight


# The technique

SETTINGS = TrainSettings(epochs=2, lr=0.05, batch=20)
RANGES = {"lr": {"low": 0.001, "high": 0.1, "log": True}, "momentum": {"choices": [0.0, 0.9]}}


def bench_of(folder: Path, **changes: Any) -> Workbench:
    known: dict[str, Any] = {"train_settings": SETTINGS, "train_images": lambda: images(100, seed=1)}
    return dataclasses.replace(workbench(folder), **(known | changes))


def applied(folder: Path, made: Search, start: Candidate | None = None, **changes: Any) -> Applied:
    return made.apply(start or candidate(), bench_of(folder, **changes))


def feed_of(bench: Workbench) -> Feed:
    settings = dataclasses.replace(SETTINGS, held_out=0.2)
    return Feed(bench.train_images(), settings, bench.preprocess, seed=bench.train_seed)


@pytest.fixture(scope="module")
def straight(tmp_path_factory: pytest.TempPathFactory) -> Applied:
    return applied(tmp_path_factory.mktemp("straight"), Search(sampler="random", trials=4, ranges=RANGES))


def test_the_network_is_the_one_that_the_best_settings_train_on_all_images(straight: Applied, tmp_path: Path) -> None:
    best = max(straight.trials, key=lambda trial: trial.value)
    settings = dataclasses.replace(SETTINGS, **json.loads(best.settings))
    bench, start = bench_of(tmp_path), candidate()
    assert start.module is not None
    alone, _ = initial(start.module, start, bench.train_seed)
    train(alone, bench.train_images(), settings, preprocess=bench.preprocess, seed=bench.train_seed)
    assert straight.candidate.module is not None
    assert fingerprint(straight.candidate.module) == fingerprint(alone)


def test_a_trial_is_worth_what_its_settings_reach_on_the_held_out_images(straight: Applied, tmp_path: Path) -> None:
    bench, start, trial = bench_of(tmp_path), candidate(), straight.trials[-1]
    assert start.module is not None
    alone, _ = initial(start.module, start, bench.train_seed)
    settings = dataclasses.replace(SETTINGS, held_out=0.2, **json.loads(trial.settings))
    result = train(alone, bench.train_images(), settings, preprocess=bench.preprocess, seed=bench.train_seed)
    assert trial.value == result.curve[-1].held_out_top1


def test_the_curve_and_the_notes_say_what_each_trial_cost_and_brought(straight: Applied, tmp_path: Path) -> None:
    trials, feed = straight.trials, feed_of(bench_of(tmp_path))
    epoch, held = feed.steps * feed.batch, len(feed.held_out)
    assert [trial.number for trial in trials] == [1, 2, 3, 4]
    assert [trial.images_seen for trial in trials] == [2 * epoch * number for number in (1, 2, 3, 4)]
    assert straight.images_seen == 4 * 2 * epoch + 2 * 100
    assert [trial.best for trial in trials] == list(itertools.accumulate((trial.value for trial in trials), max))
    assert all(one.seconds < other.seconds for one, other in itertools.pairwise(trials))
    budget = f"the budget was {8 * (100 - held)}, 4 whole trials"
    assert straight.notes[0] == f"4 trials by random, saw {8 * epoch} images; {budget}"
    assert f"of {held} held-out training images right" in straight.notes[1]


def test_a_search_that_is_interrupted_at_any_training_goes_on_to_the_same_bits(
    straight: Applied, tmp_path: Path
) -> None:
    made = Search(sampler="random", trials=4, ranges=RANGES)
    for text in ("trial 2", "trial 4", "with the best settings: epoch 2"):

        def interrupting(done: float, told: str, text: str = text) -> None:
            if told.startswith(text):
                raise KilledError

        with pytest.raises(KilledError):
            applied(tmp_path, made, progress=interrupting)
    told: list[str] = []
    again = applied(tmp_path, made, progress=lambda done, text: told.append(text))
    assert again.candidate.module is not None
    assert straight.candidate.module is not None
    assert fingerprint(again.candidate.module) == fingerprint(straight.candidate.module)
    assert again.notes == straight.notes
    assert all(text.startswith("with the best settings") for text in told)


def test_progress_goes_up_to_one(tmp_path: Path) -> None:
    shares: list[float] = []
    made = Search(sampler="random", trials=2, ranges=RANGES, pruner="median")
    applied(tmp_path, made, progress=lambda done, text: shares.append(done))
    assert shares == sorted(shares)
    assert shares[-1] == pytest.approx(1.0)


def test_settings_that_diverge_are_worth_nothing_and_the_search_goes_on(tmp_path: Path) -> None:
    ranges, settings = {"lr": {"choices": [1e30, 0.02]}}, dataclasses.replace(SETTINGS, epochs=4)
    done = applied(tmp_path, Search(sampler="grid", trials=2, ranges=ranges), train_settings=settings)
    worths = {trial.ending: trial.value for trial in done.trials}
    assert worths["diverged"] == 0.0
    assert worths["whole"] > 0.0
    assert "1 of them diverged" in done.notes[0]
    assert "lr = 0.02" in done.notes[1]
    feed = feed_of(bench_of(tmp_path))
    diverged = next(trial for trial in done.trials if trial.ending == "diverged")
    assert done.images_seen == (4 + _epochs(diverged, done, feed)) * feed.steps * feed.batch + 4 * 100


def test_a_pruned_trial_s_images_count(tmp_path: Path) -> None:
    ranges = {"lr": {"choices": [0.05, 1e-7, 1e-8, 1e-9]}}
    settings = dataclasses.replace(SETTINGS, epochs=4)
    made = Search(sampler="grid", trials=4, ranges=ranges, pruner="halving")
    done = applied(tmp_path, made, train_settings=settings)
    assert [trial.ending for trial in done.trials].count("pruned") >= 1
    feed = feed_of(bench_of(tmp_path))
    for trial in done.trials:
        assert _epochs(trial, done, feed) in ((1, 3) if trial.ending == "pruned" else (4,))
    assert done.images_seen == done.trials[-1].images_seen + 4 * 100


def _epochs(trial: SearchTrial, done: Applied, feed: Feed) -> float:
    """That one trial took."""
    before = done.trials[trial.number - 2].images_seen if trial.number > 1 else 0
    return (trial.images_seen - before) / (feed.steps * feed.batch)


def test_where_nothing_can_be_held_out_the_search_is_refused(tmp_path: Path) -> None:
    each = dataclasses.replace(images(10), labels=np.arange(10))
    with pytest.raises(NotApplicableError, match="no class has two training images"):
        applied(tmp_path, Search(sampler="random", trials=1, ranges=RANGES), train_images=lambda: each)


@pytest.mark.parametrize("budget", [{"seconds": 5.0}, {"joules": 5.0}])
def test_a_budget_that_is_not_of_images_is_refused(budget: dict[str, float], tmp_path: Path) -> None:
    made = Search(sampler="random", trials=1, ranges=RANGES)
    with pytest.raises(NotApplicableError, match="gives every search equal images"):
        applied(tmp_path, made, train_settings=dataclasses.replace(SETTINGS, **budget))


def test_settings_that_do_not_go_together_are_refused_with_the_reason(tmp_path: Path) -> None:
    made = Search(sampler="grid", trials=2, ranges={"alternate_flip": {"choices": [True, False]}})
    with pytest.raises(NotApplicableError, match=r"tune\.search: alternate_flip needs 'flip'"):
        applied(tmp_path, made)


def test_early_stopping_is_the_task_s_and_not_a_trial_s(tmp_path: Path) -> None:
    """Trials get equal images; what is trained in the end is trained as the task trains."""
    settings = dataclasses.replace(SETTINGS, epochs=6, held_out=0.1, patience=1, lr=1e-6)
    ranges = {"momentum": {"choices": [0.0, 0.1]}}
    done = applied(tmp_path, Search(sampler="grid", trials=2, ranges=ranges), train_settings=settings)
    feed = feed_of(bench_of(tmp_path))
    assert [_epochs(trial, done, feed) for trial in done.trials] == [6, 6]
    assert done.training is not None
    assert done.training.stopped_at is not None


def test_a_trial_that_is_interrupted_goes_on_where_its_checkpoint_is(straight: Applied, tmp_path: Path) -> None:
    told: list[str] = []

    def interrupting(done: float, text: str) -> None:
        told.append(text)
        if len(told) == 6:  # of eight steps of the first trial
            raise KilledError

    made = Search(sampler="random", trials=4, ranges=RANGES)
    with pytest.raises(KilledError):
        applied(tmp_path, made, progress=interrupting)
    again: list[str] = []
    done = applied(tmp_path, made, progress=lambda share, text: again.append(text))
    assert sum(text.startswith("trial 1,") for text in again) == 3  # the sixth step was not kept yet
    assert [trial.value for trial in done.trials] == [trial.value for trial in straight.trials]
    assert not (tmp_path / "trial.pt").exists()


def test_a_model_that_the_task_did_not_train_is_refused(tmp_path: Path) -> None:
    made = Search(sampler="random", trials=1, ranges=RANGES)
    with pytest.raises(NotApplicableError, match="name 'train' instead of 'weights' under"):
        applied(tmp_path, made, train_settings=None)


def test_without_optuna_the_extra_is_named(tmp_path: Path) -> None:
    program = """
import pathlib, sys
sys.modules["optuna"] = None  # as where it is not installed
import test_tune
from paretoboard.errors import NotApplicableError
try:
    test_tune.applied(pathlib.Path(sys.argv[1]), test_tune.Search(sampler="tpe", trials=1, ranges=test_tune.RANGES))
except NotApplicableError as error:
    print(error)
"""
    program = program.replace(
        "import test_tune\n", "import pytest\npytest.importorskip = lambda *said, **more: None\nimport test_tune\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path])}
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)], capture_output=True, text=True, env=environment
    )
    assert done.stdout.endswith("optuna is missing: install the extra 'tune'\n"), done.stderr


def test_the_network_it_is_given_stays_as_it_is(tmp_path: Path) -> None:
    start = candidate()
    assert start.module is not None
    before = fingerprint(start.module)
    applied(tmp_path, Search(sampler="random", trials=1, ranges=RANGES), start)
    assert fingerprint(start.module) == before == fingerprint(module())


# What is kept


def test_the_trials_of_a_search_are_kept_in_its_record(straight: Applied, tmp_path: Path) -> None:
    from builders import run_record

    record = run_record(trials=straight.trials)
    assert all(isinstance(trial, SearchTrial) for trial in record.trials)
    assert store.read_one(store.append(tmp_path, record)).trials == straight.trials
