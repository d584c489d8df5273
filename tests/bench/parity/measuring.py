"""Build, score and time both sides of a comparison, with the board's own jobs wherever there is one."""

from __future__ import annotations

import dataclasses
import random
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, Final

import numpy as np

from bench.parity.libraries import Made, MakeJob
from bench.parity.procedures import RECIPE, TASKS, Procedure
from bench.parity.table import Result, Timing
from paretoboard import datasets, runtimes, stats, taskfile
from paretoboard.datasets.preprocess import preprocess_images
from paretoboard.plan import RunSpec, digest, expand
from paretoboard.records import Calls, Comparison
from paretoboard.registry import load_object
from paretoboard.runtimes import Session
from paretoboard.spec import BASELINE, Recipe
from paretoboard_runners import jobs, timing
from paretoboard_runners.client import JobLimits, Worker
from paretoboard_runners.comparing import RELEVANT, join_calls, read_calls
from paretoboard_runners.launch import CALLS, SessionArm, keep
from paretoboard_runners.quality import input_count
from paretoboard_runners.seeds import derive

LIMITS: Final = JobLimits(timeout_s=1200.0)
TRAINED: Final = "train.finetune"
DONE: Final = "made.json"
OURS: Final = 1  # arm; the library's is 0, the reference


@dataclass(frozen=True, slots=True, kw_only=True)
class Extent:
    """How much is measured."""

    images: int | None  # of the test images; None for all
    launches: int
    seconds: float  # of a launch
    looks: int


# The budgets `standard` and `quick` of the board.
EXTENTS: Final = {
    "full": Extent(images=None, launches=8, seconds=2.5, looks=2),
    "quick": Extent(images=2000, launches=5, seconds=0.5, looks=1),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """One of the two, ready to be opened."""

    folder: Path
    open: str  # `module:function` of (folder, threads, batch); "" for an artifact


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreJob:
    """Answers for the task's test images, the first of them where `images` says so."""

    run: RunSpec
    data_root: Path
    side: Side
    images: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Scored:
    """Which images were answered rightly."""

    right: tuple[bool, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class LaunchJob:
    """One launch of both sides, the library's first."""

    run: RunSpec
    data_root: Path
    sides: tuple[Side, Side]
    batch: int
    plan: timing.LaunchPlan


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """Where comparisons are made."""

    worker: Worker
    data_root: Path
    folder: Path  # for what is built; kept, so that the next call goes on
    environment_id: str
    build_cores: tuple[int, ...]
    watch: Callable[[str], None]


def open_side(side: Side, batch: int) -> Session:
    """A session for one thread and calls of `batch` images."""
    if not side.open:
        return runtimes.open(side.folder, threads=1, batches=(batch,))
    session: Session = load_object(side.open, "parity")(side.folder, 1, batch)
    return session


def score(job: ScoreJob, folder: Path, emit: Callable[[dict[str, Any]], None]) -> Scored:
    """The job that scores one side, in the largest batches that are timed."""
    images = datasets.read_subset(job.run.dataset, job.run.dataset.subset, job.data_root, job.run.preprocess)
    count = len(images) if job.images is None else job.images
    batch = max(job.run.measure.batches)
    inputs = preprocess_images(images.pixels[:count], job.run.preprocess)
    answers = runtimes.predict(open_side(job.side, batch), inputs, batch).argmax(axis=1)
    return Scored(right=tuple(bool(right) for right in answers == images.labels[:count]))


def launch(job: LaunchJob, folder: Path, emit: Callable[[dict[str, Any]], None]) -> jobs.LaunchResult:
    """The job of one launch; leaves every call in `calls.npz`, as those of the board's do."""
    images = datasets.read_subset(job.run.dataset, job.run.dataset.subset, job.data_root, job.run.preprocess)
    inputs = preprocess_images(images.pixels[: job.batch * input_count(job.batch)], job.run.preprocess)
    batches = inputs.reshape(-1, job.batch, *inputs.shape[1:])
    # As in the runner's own launches: which side is loaded first, and so gets which memory, is drawn.
    opened = {index: open_side(job.sides[index], job.batch) for index in random.Random(job.plan.seed).sample((0, 1), 2)}
    done = timing.run_launch([SessionArm(opened[index], batches) for index in (0, 1)], job.plan)
    return keep(done, folder, repeat_effects=())


def compare(name: str, procedure: Procedure, bench: Bench, extent: Extent) -> Result:
    """Everything about one comparison.

    Raises:
        TaskFileError: for a recipe with a technique that there is not.
        DataError: for data or weights that are missing.
        JobFailedError: from either side.
    """
    run = our_run(procedure)
    bench.watch("building our recipe")
    built = _build(bench, run)
    untouched = _build(bench, dataclasses.replace(run, recipe=Recipe(name=BASELINE)))
    bench.watch("following the library's procedure")
    theirs, made = _make(bench, name, procedure, run, untouched)
    ours = Side(folder=built.folder, open="")
    right = []
    for side, who in ((theirs, "the library's"), (ours, "ours")):
        bench.watch(f"scoring {who}")
        job = ScoreJob(run=run, data_root=bench.data_root, side=side, images=extent.images)
        right.append(np.asarray(bench.worker.do("bench.parity.measuring:score", job, Scored, limits=LIMITS)[0].right))
    timings = tuple(_time(bench, run, (theirs, ours), batch, extent) for batch in run.measure.batches)
    return Result(
        name=name,
        recipe=" -> ".join(step.name for step in run.recipe.steps),
        procedure=procedure.title,
        across=procedure.across,
        versions={package: metadata.version(package) for package in procedure.needs},
        images=len(right[0]),
        right_theirs=int(right[0].sum()),
        right_ours=int(right[1].sum()),
        only_theirs=int((right[0] & ~right[1]).sum()),
        only_ours=int((right[1] & ~right[0]).sum()),
        timings=timings,
        notes_theirs=made.notes,
        notes_ours=built.cost.notes,
    )


def our_run(procedure: Procedure) -> RunSpec:
    """Our recipe, as a cell of the plan."""
    task = taskfile.load(TASKS / procedure.task)
    (run,) = [run for run in expand([task], recipes=[RECIPE]) if run.recipe.name == RECIPE]
    return run


def _build(bench: Bench, run: RunSpec) -> jobs.BuildResult:
    job = jobs.BuildJob(
        run=run,
        data_root=bench.data_root,
        artifacts=bench.folder / "artifacts",
        environment_id=bench.environment_id,
        cores=bench.build_cores,
    )
    built, _ = bench.worker.do("paretoboard_runners.build:build", job, jobs.BuildResult, limits=LIMITS)
    return built


def _make(
    bench: Bench, name: str, procedure: Procedure, run: RunSpec, untouched: jobs.BuildResult
) -> tuple[Side, Made]:
    """The library's side, made where it is not there from an earlier call with the same software."""
    key = digest([run.build_ids[-1], bench.environment_id, procedure.make, _source(procedure.make)])
    folder = bench.folder / "libraries" / f"{name}-{key[:16]}"
    side = Side(folder=folder / "model", open=procedure.open)
    if (folder / DONE).exists():
        return side, jobs.from_json(Made, (folder / DONE).read_text())
    shutil.rmtree(folder, ignore_errors=True)  # what a killed call left
    job = MakeJob(
        run=run,
        data_root=bench.data_root,
        baseline=untouched.folder,
        out=side.folder,
        seed=derive(run.seed, TRAINED),
        cores=bench.build_cores,
    )
    made, _ = bench.worker.do(procedure.make, job, Made, limits=LIMITS)
    (folder / DONE).write_text(jobs.to_json(made))
    return side, made


def _source(function: str) -> str:
    """The text of the module that a procedure is in: another text, another model."""
    module = function.partition(":")[0]
    return (TASKS.parents[2] / f"{module.replace('.', '/')}.py").read_text()


def _time(bench: Bench, run: RunSpec, sides: tuple[Side, Side], batch: int, extent: Extent) -> Timing:
    """Launches until the verdict is clear or all looks are taken, by the board's own rules."""
    calls: list[Calls] = []
    for look in range(1, extent.looks + 1):
        for number in range((look - 1) * extent.launches, look * extent.launches):
            bench.watch(f"timing batch {batch}, launch {number + 1}")
            plan = timing.LaunchPlan(seconds=extent.seconds, seed=1000 * batch + number, threads=1)
            job = LaunchJob(run=run, data_root=bench.data_root, sides=sides, batch=batch, plan=plan)
            _, folder = bench.worker.do("bench.parity.measuring:launch", job, jobs.LaunchResult, limits=LIMITS)
            calls.append(read_calls(folder / CALLS, batch=batch, launch=number))
        joined = join_calls(calls)
        compared: Comparison = stats.compare_calls(
            joined,
            batch=batch,
            threads=1,
            against="library",
            tolerance=RELEVANT,
            look=look if extent.looks == 2 else None,  # type: ignore[arg-type]
        )
        if not stats.wants_second_look(compared):
            break
    wall_ms = [float(np.median(joined.wall_ns[joined.arm == arm])) / 1e6 for arm in (0, OURS)]
    return Timing(comparison=compared, theirs_ms=wall_ms[0], ours_ms=wall_ms[1])
