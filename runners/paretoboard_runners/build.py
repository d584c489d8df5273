"""The first phase of a run: apply the recipe's steps, each leaving an artifact that other recipes reuse."""

from __future__ import annotations

import dataclasses
import gc
import lzma
import os
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

from paretoboard import artifact, datasets, durable, models, training
from paretoboard.artifact import sized_for
from paretoboard.datasets import weights as weight_files
from paretoboard.errors import DataError, NotApplicableError, RefusedError
from paretoboard.models.libraries import state_name
from paretoboard.models.own import require_fit
from paretoboard.records import Training
from paretoboard.registry import TECHNIQUES
from paretoboard.runtimes.statistics import statistics
from paretoboard.spec import BASELINE, Recipe
from paretoboard.techniques import Applied, Technique, Workbench
from paretoboard_runners import controls, energy, jobs, memory, original, weights
from paretoboard_runners.repeating import unrepeatable
from paretoboard_runners.seeds import derive, seed_everything

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from torch import Tensor, nn

    from paretoboard.artifact import Candidate
    from paretoboard.plan import RunSpec
    from paretoboard.spec import Preprocess, Subset, Weights
    from paretoboard.training import Loss, TrainResult
    from paretoboard_runners.supervise import Emitter

_COST: Final = "cost.json"  # written last: a folder with it is complete
_LZMA_PRESET: Final = 1  # a few seconds for 100 MB; higher ones gain little on weights
_MODEL: Final = "model"  # the first step's name
_Progress = Callable[[float, str], None]
_Joules = Callable[[], float | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Step:
    """One artifact on the way to the recipe's last."""

    name: str  # "model" for the untouched one, else the technique's
    folder: Path
    seed: int

    @property
    def scratch(self) -> Path:
        """Where the step keeps what it needs to go on after a kill."""
        folder = self.folder.with_name(f"{self.folder.name}.scratch")
        folder.mkdir(parents=True, exist_ok=True)
        return folder


@dataclass(frozen=True, slots=True, kw_only=True)
class _Took:
    """What one step took."""

    seconds: float
    energy_j: float | None  # None where nothing counts it
    peak_bytes: int | None  # of resident memory beyond what was there before; None where the kernel doesn't say


def build(job: jobs.BuildJob, _folder: Path, emit: Emitter) -> jobs.BuildResult:
    """Make sure that the artifact of `job.run` is there, and say where it is and what it took.

    Raises:
        NotApplicableError, DivergedError: from a technique.
        RefusedError: where a training has a budget of energy and nothing counts it.
        DataError: for images or weights that are missing.
        InputError: for a network that does not fit the images and the classes.
    """
    steps = _steps(job)
    built_before = max((number for number, step in enumerate(steps, 1) if (step.folder / _COST).exists()), default=0)
    if built_before < len(steps):
        _use_cores(job.cores)
        _build_teacher(job, built_before, emit)
        _build_from(job, steps, built_before, emit)
    manifest = artifact.verify(steps[-1].folder)
    return jobs.BuildResult(
        folder=steps[-1].folder,
        file=manifest.file,
        digest=manifest.sha256,
        runtime=manifest.execution.runtime,
        form=manifest.form,
        cost=_read_cost(steps[-1]),
        built=len(steps) - built_before,
    )


def _build_teacher(job: jobs.BuildJob, first: int, emit: Emitter) -> None:
    """Make sure that the teacher's artifact is there, where one of steps[first:] needs it.

    It is built as the model of a task of its own, so that every task with this teacher shares it, and before the
    steps, so that none of them is charged for it.
    """
    uses = job.run.recipe.steps[max(first - 1, 0) :]
    if job.run.teacher is None or not any(
        "teacher" in TECHNIQUES.load(use.name)(**use.parameters).needs_now() for use in uses
    ):
        return
    teaching = _teaching(job)
    (step,) = _steps(teaching)
    if not (step.folder / _COST).exists():
        _build_from(teaching, [dataclasses.replace(step, name="teacher")], 0, emit)


def _teaching(job: jobs.BuildJob) -> jobs.BuildJob:
    """The job that builds the teacher of `job`."""
    assert job.run.teacher is not None
    run = dataclasses.replace(job.run, model=job.run.teacher, teacher=None, recipe=Recipe(name=BASELINE))
    return dataclasses.replace(job, run=run)


def _build_from(job: jobs.BuildJob, steps: list[_Step], first: int, emit: Emitter) -> None:
    """Build steps[first:], each on what the one before left."""
    candidate = artifact.load(steps[first - 1].folder) if first else None
    before = _read_cost(steps[first - 1]) if first else None
    for index in range(first, len(steps)):
        step = steps[index]

        def progress(done: float, text: str, index: int = index, step: _Step = step) -> None:
            emit({"stage": "build", "done": (index + done) / len(steps), "text": f"{step.name}: {text}"})

        progress(0.0, "")
        seed_everything(step.seed)
        start = time.perf_counter()
        with (
            energy.metered(job.run.profile.device) as energy_j,
            memory.watched() as peak_bytes,
            controls.nondeterministic_operators() as operators,
        ):
            _require_counters(job, index)
            applied = (
                _original(job, step, progress, energy_j)
                if candidate is None
                else _apply(job, index, step, candidate, progress, energy_j)
            )
            took = _Took(seconds=time.perf_counter() - start, energy_j=energy_j(), peak_bytes=peak_bytes())
        if operators:
            note = f"{step.name} can't be repeated to the bit: {', '.join(operators)}."
            applied = dataclasses.replace(applied, notes=(*applied.notes, note))
        candidate = applied.candidate
        stored = artifact.save(candidate, step.folder)
        before = _cost(step, applied, before, took, (step.folder / stored.file).read_bytes())
        durable.write(step.folder / _COST, jobs.to_json(before).encode())
        shutil.rmtree(step.scratch, ignore_errors=True)


def _require_counters(job: jobs.BuildJob, index: int) -> None:
    """Raises: RefusedError where the step trains on a budget of energy and nothing counts the device's."""
    settings = job.run.model.train
    joules = settings.joules if settings else None
    if index > 0:
        joules = job.run.recipe.steps[index - 1].parameters.get("joules")
    if joules is not None and (reason := energy.why_not(job.run.profile.device)):
        raise RefusedError(f"equal energy can't be kept: {reason}")


def _original(job: jobs.BuildJob, step: _Step, progress: _Progress, joules: _Joules) -> Applied:
    """The model as it is: from weights, trained on the task's images, or as one's own file or function gives it."""
    run = job.run
    classes = datasets.open_dataset(run.dataset, job.data_root).classes
    input_shape = datasets.image_shape(run.dataset, run.preprocess)
    if run.model.file is not None:
        graph, told = original.from_file(run.model, input_shape, classes)
        return Applied(candidate=graph, notes=told)
    module = models.build(run.model.name, classes)
    head = run.detection.head if run.detection is not None else None
    require_fit(module, input_shape, classes, run.model.name, head)
    trained: TrainResult | None = None
    if run.model.weights is not None and not run.model.weights.missing:
        name_of = partial(state_name, run.model.name)
        weight_files.load_into(module, weights.path_of(run.model, job.data_root), name_of)
    if run.model.train is not None:
        images = datasets.read_subset(run.dataset, run.dataset.train, job.data_root, run.preprocess)
        trained = training.train(
            module,
            images,
            run.model.train,
            preprocess=run.preprocess,
            seed=step.seed,
            checkpoint=step.scratch / "checkpoint.pt",
            loss=_loss(run, images, run.preprocess),
            progress=progress,
            joules=joules,
        )
    candidate = artifact.Candidate(
        architecture=run.model.name,
        classes=classes,
        input_shape=input_shape,
        module=module.eval(),
    )
    return Applied(
        candidate=candidate,
        images_seen=trained.images_seen if trained else 0,
        training=trained,
        notes=tuple(original.notes(run.model, input_shape, run.preprocess)),
    )


def _apply(
    job: jobs.BuildJob, index: int, step: _Step, candidate: Candidate, progress: _Progress, joules: _Joules
) -> Applied:
    run = job.run
    use = run.recipe.steps[index - 1]
    technique: Technique = TECHNIQUES.load(use.name)(**use.parameters)
    _require_detects(job, use.name, technique)
    preprocess = candidate.preprocess_of(run.preprocess)
    sized = sized_for(candidate.input_shape, run.preprocess)

    def read(subset: Subset | None) -> datasets.Images:
        if subset is None:
            raise DataError(f"{run.task}: {use.name} needs images that the task does not name")
        return datasets.read_subset(run.dataset, subset, job.data_root, sized)

    # Once for all who ask, so that a loss is about the very images that are trained on.
    train_images = cache(lambda: read(run.dataset.train))

    def teacher() -> nn.Module:
        if preprocess != sized:
            raise NotApplicableError(
                f"{use.name}: the model normalizes its images itself by now and the teacher takes normalized ones: "
                "put data.normalize after it"
            )
        return _teacher(job, use.name)

    def read_weights(weights: Weights) -> Mapping[str, Tensor]:
        return weight_files.load_state(weight_files.resolve(weights, job.data_root))

    bench = Workbench(
        seed=step.seed,
        preprocess=preprocess,
        train_images=train_images,
        calibration_images=cache(lambda: read(run.dataset.calibration)),
        teacher=cache(teacher),
        train_settings=run.model.train,
        train_seed=derive(run.seed, _MODEL),
        scratch=step.scratch,
        progress=progress,
        weights=read_weights,
        loss=cache(lambda: _loss(run, train_images(), sized) if run.detection else None),
        detection=run.detection,
        joules=joules,
    )
    return technique.apply(candidate, bench)


def _require_detects(job: jobs.BuildJob, name: str, technique: Technique) -> None:
    """Raises: NotApplicableError for one that trains with labels of whole images, where objects are to be found."""
    if job.run.detection is not None and {"train", "teacher"} & set(technique.needs_now()) and not technique.detects:
        raise NotApplicableError(
            f"{name} needs a class for each image, and this task's images have boxes around objects"
        )


def _loss(run: RunSpec, images: datasets.Images, preprocess: Preprocess) -> Loss | None:
    """What training makes small, where it is not the cross-entropy of labels."""
    if run.detection is None:
        return None
    from paretoboard.training.detection import DetectionLoss

    return DetectionLoss(images, preprocess, run.detection)


def _teacher(job: jobs.BuildJob, technique: str) -> nn.Module:
    if job.run.teacher is None:
        raise DataError(f"{job.run.task}: {technique} needs a teacher that the task does not name")
    module = artifact.load(_steps(_teaching(job))[0].folder).module
    assert module is not None  # a task file names no graph as a teacher
    return module


def _cost(step: _Step, applied: Applied, before: jobs.BuildCost | None, took: _Took, content: bytes) -> jobs.BuildCost:
    counts = statistics(applied.candidate)
    before = None if applied.anew else before
    return jobs.BuildCost(
        step_s=took.seconds,
        total_s=took.seconds + (before.total_s if before else 0.0),
        images_seen=applied.images_seen + (before.images_seen if before else 0),
        parameters=counts.parameters,
        nonzero_parameters=counts.nonzero_parameters,
        macs=counts.macs,
        file_bytes=len(content),
        compressed_bytes=len(lzma.compress(content, preset=_LZMA_PRESET)),
        notes=(*(before.notes if before else ()), *applied.notes),
        energy_j=_sum(before.energy_j if before else 0.0, took.energy_j),
        trainings=(*(before.trainings if before else ()), *_training(step, applied, took)),
        trials=applied.trials or (before.trials if before else ()),
        metrics=applied.metrics or (before.metrics if before else ()),
    )


def _training(step: _Step, applied: Applied, took: _Took) -> Iterator[Training]:
    """The training of a step, where it trained."""
    result = applied.training
    if result is not None:
        yield Training(
            step=step.name,
            seconds=result.seconds,
            images_seen=result.images_seen,
            fair=result.fair,
            weights=result.weights,
            best_epoch=result.best_epoch,
            stopped_early=result.stopped_at is not None,
            target=result.target,
            seconds_to_target=result.seconds_to_target,
            peak_bytes=took.peak_bytes if result.peak_bytes is None else result.peak_bytes,
            energy_j=took.energy_j,
            curve=result.curve,
        )


def _sum(before_j: float | None, step_j: float | None) -> float | None:
    """None where a part was not measured."""
    return None if before_j is None or step_j is None else before_j + step_j


def _steps(job: jobs.BuildJob) -> list[_Step]:
    names = [_MODEL, *(step.name for step in job.run.recipe.steps)]
    return [
        _Step(
            name=name,
            folder=job.artifacts / f"{build_id[:32]}-{place}",
            seed=derive(job.run.seed, name),
        )
        for name, build_id, place in zip(names, job.run.build_ids, _places(job), strict=True)
    ]


def _places(job: jobs.BuildJob) -> Iterator[str]:
    """What beside its id an artifact depends on: the software, and the machine once its speed or energy decided."""
    place = job.environment_id[:8]
    reasons = unrepeatable(job.run.content())
    for number in range(len(job.run.recipe.steps) + 1):
        yield f"{place}-{job.hardware_id[:8]}" if any(reasons[: number + 1]) else place


def _read_cost(step: _Step) -> jobs.BuildCost:
    return jobs.from_json(jobs.BuildCost, (step.folder / _COST).read_text())


def _use_cores(cores: tuple[int, ...]) -> None:
    """Let this process use `cores`, and torch as many threads: building may be wider than measuring, and collects."""
    import torch

    gc.enable()
    os.sched_setaffinity(0, cores)
    torch.set_num_threads(len(cores))
