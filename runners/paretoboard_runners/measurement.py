"""The phases of one run, in order: build, quality, memory, timing, diagnosis, energy, scenarios."""

from __future__ import annotations

import dataclasses
import signal
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import psutil

from paretoboard import artifact, runtimes
from paretoboard.errors import RefusedError
from paretoboard.metrics import METRICS
from paretoboard.plan import RunSpec
from paretoboard.records import ArtifactInfo, Detections
from paretoboard.registry import model_library
from paretoboard.spec import BASELINE, HardwareProfile, Recipe
from paretoboard_runners import controls, diagnose, energy, explaining, jobs, repeats, scenarios, scoring
from paretoboard_runners.client import JobFailedError, JobLimits, Worker
from paretoboard_runners.comparing import CANDIDATE, Reference, TimedComparison, Timing
from paretoboard_runners.draft import Draft
from paretoboard_runners.quality import INPUTS, PREDICTIONS
from paretoboard_runners.runner import Progress, Watch

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from paretoboard.records import MetricValue, Training
    from paretoboard.spec import Scenario

# A timed call may answer otherwise than the scored one where the arithmetic depends on the batch; more than this
# share of other answers means that something else was timed than was scored.
_MOST_DISAGREEMENT: Final = 0.02
_UNSCORED_NOTE: Final = (
    "Quality not measured: {}. Costs are those of the network with initial weights; what depends on their values, as "
    "the size under LZMA does, would be otherwise."
)


class TimedOtherwiseError(Exception):
    """What was timed does not answer as what was scored, or not as if each question were new."""


def check_device(runtime: str, profile: HardwareProfile) -> None:
    """Whether calls of `runtime` can be timed under `profile`.

    Raises: RefusedError where it computes on another device: the profile's clocks would time the handing over of work.
    """
    device = runtimes.device_of(runtime)
    if device != profile.device:
        raise RefusedError(
            f"profile {profile.name} measures on {profile.device}, and runtime {runtime} runs on {device}"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """A worker, and what it is held to."""

    profile: HardwareProfile
    worker: Worker
    build_cores: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """The phases of one run, in order, each adding to the draft."""

    held: Held
    data_root: Path
    artifacts: Path
    noise_floor: float
    rooflines: diagnose.Rooflines
    run: RunSpec
    draft: Draft
    watch: Watch
    salt: str = ""  # of the launches' seeds

    @property
    def threads(self) -> int:
        """As many as there are measured cores."""
        return len(self.held.worker.cores)

    def take(self) -> None:
        """Do all phases."""
        scenarios.require(self.run.measure)
        explaining.require(self.run.measure)
        built = self._build(self.run)
        self._keep_build(built)
        check_device(built.runtime, self.run.profile)
        if self.run.model.unscored:
            self.draft.notes.append(_UNSCORED_NOTE.format(self.run.model.unscored))
        inputs = self._score(built)
        baseline = built
        if not self.run.is_baseline and (self.run.measure.timed or self.run.measure.explain):
            baseline = self._build(dataclasses.replace(self.run, recipe=Recipe(name=BASELINE)))
        self._explain(baseline, built)
        if self.run.measure.timed:
            self._run_for_speed(baseline, built, inputs)

    def _run_for_speed(self, baseline: jobs.BuildResult, built: jobs.BuildResult, inputs: Path) -> None:
        """All phases that run the model for its speed, memory and energy."""
        self._probe(built, inputs)
        references = [self._reference(BASELINE, baseline, built), *self._references(built)]
        self._time_all(references, built, inputs)
        self._diagnose(baseline, built, inputs)
        self._energy(built, inputs)
        for scenario in self.run.measure.scenarios:
            self._scenario(built, scenario)

    def _modules(self, built: jobs.BuildResult) -> list[str]:
        """What the worker imports before its children measure `built`, so that not each of them does."""
        library = model_library(self.run.model.name)
        return [runtimes.module_of(built.runtime), *([library] if library else [])]

    def _limits(self) -> JobLimits:
        spent = time.monotonic() - self.draft.start
        return JobLimits(
            timeout_s=max(0.0, self.run.measure.timeout_s - spent),
            memory_bytes=self.run.profile.memory_limit_bytes,
        )

    def _on_event(self, event: Mapping[str, Any]) -> None:
        self.watch(Progress(stage=str(event["stage"]), done=float(event["done"]), text=str(event["text"])))

    def _build(self, run: RunSpec) -> jobs.BuildResult:
        job = jobs.BuildJob(
            run=run,
            data_root=self.data_root,
            artifacts=self.artifacts,
            environment_id=self.draft.provenance.environment_id,
            hardware_id=self.draft.provenance.hardware_id,
            cores=self.held.build_cores,
        )
        return self.held.worker.do(
            "paretoboard_runners.build:build",
            job,
            jobs.BuildResult,
            limits=self._limits(),
            on_event=self._on_event,
        )[0]

    def _keep_build(self, built: jobs.BuildResult) -> None:
        draft, cost = self.draft, built.cost
        draft.artifact = ArtifactInfo(
            build_id=self.run.build_ids[-1],
            digest=built.digest,
            file=built.file,
            runtime=built.runtime,
            form=built.form,
        )
        draft.add("build_time", cost.total_s, n=1)
        draft.add("images_seen", cost.images_seen, n=1)
        draft.add("parameters", cost.parameters, n=1)
        draft.add("nonzero_parameters", cost.nonzero_parameters, n=1)
        if cost.macs is not None:
            draft.add("macs", cost.macs, n=1)
        draft.add("file_size", cost.file_bytes, n=1)
        draft.add("compressed_size", cost.compressed_bytes, n=1)
        draft.notes += cost.notes
        draft.trials = cost.trials
        draft.metrics += cost.metrics
        if cost.energy_j is not None:
            draft.add("build_energy", cost.energy_j, n=1)
        self._keep_trainings(cost.trainings)

    def _keep_trainings(self, trainings: Sequence[Training]) -> None:
        """What training took, of all trainings that went into the artifact; the time to target is the last one's."""
        draft = self.draft
        draft.trainings = tuple(trainings)
        if not trainings:
            return
        draft.add("train_time", sum(training.seconds for training in trainings), n=len(trainings))
        if trainings[-1].seconds_to_target is not None:
            draft.add("time_to_target", trainings[-1].seconds_to_target, n=1)
        peaks = [training.peak_bytes for training in trainings if training.peak_bytes is not None]
        if len(peaks) == len(trainings):
            draft.add("train_memory", max(peaks), n=len(peaks))
        used_j = [training.energy_j for training in trainings if training.energy_j is not None]
        if len(used_j) == len(trainings):
            draft.add("train_energy", sum(used_j), n=len(used_j))

    def _score(self, built: jobs.BuildResult) -> Path:
        """Scores, answers, and the file with the inputs that are timed."""
        result, folder = self.held.worker.do(
            "paretoboard_runners.quality:score",
            self._quality_job(built),
            jobs.QualityResult,
            preload=self._modules(built),
            limits=self._limits(),
            on_event=self._on_event,
        )
        self.draft.metrics += [found for found in result.metrics if self._means_something(found)]
        kept, self.draft.answers = scoring.read(folder / PREDICTIONS)
        if self.run.model.unscored:
            return folder / INPUTS
        self.draft.notes += result.notes
        if isinstance(kept, Detections):
            self.draft.detections = kept
        else:
            self.draft.predictions = kept
        return folder / INPUTS

    def _explain(self, baseline: jobs.BuildResult, built: jobs.BuildResult) -> None:
        """How far the explanations moved, where the task asks for it; the baseline's are what they moved from."""
        if not self.run.measure.explain or self.run.is_baseline or self.run.model.unscored:
            return
        job = explaining.ExplainJob(
            artifact=built.folder,
            baseline=baseline.folder,
            dataset=self.run.dataset,
            preprocess=self.run.preprocess,
            data_root=self.data_root,
            images=self.run.measure.explain,
            threads=self.threads,
        )
        result, folder = self.held.worker.do(
            "paretoboard_runners.explaining:explain",
            job,
            explaining.ExplainResult,
            preload=[runtimes.module_of("eager")],
            limits=self._limits(),
            on_event=self._on_event,
        )
        self.draft.explanation = result.shift(folder)
        self.draft.metrics += result.metrics()

    def _quality_job(self, built: jobs.BuildResult) -> jobs.QualityJob:
        return jobs.QualityJob(
            artifact=built.folder,
            dataset=self.run.dataset,
            preprocess=self.run.preprocess,
            detection=self.run.detection,
            data_root=self.data_root,
            batches=self.run.measure.batches,
            threads=self.threads,
            corruptions=self.run.measure.corruptions,
            timed=self.run.measure.timed,
        )

    def _reference(self, name: str, other: jobs.BuildResult, built: jobs.BuildResult, number: int = 0) -> Reference:
        """What is timed beside the artifact `built`, with inputs of its own where it takes images of another size."""
        shapes = [artifact.read_manifest(each.folder).input_shape for each in (other, built)]
        if shapes[0] == shapes[1]:
            return Reference(name=name, artifact=other.folder, number=number)
        _, folder = self.held.worker.do(
            "paretoboard_runners.quality:first_inputs",
            self._quality_job(other),
            jobs.QualityResult,
            limits=self._limits(),
            on_event=self._on_event,
        )
        return Reference(name=name, artifact=other.folder, number=number, input_file=folder / INPUTS)

    def _probe(self, built: jobs.BuildResult, inputs: Path) -> None:
        job = jobs.ProbeJob(
            artifact=built.folder,
            runtime=built.runtime,
            batches=self.run.measure.batches,
            threads=self.threads,
            input_file=inputs,
        )
        result = self.held.worker.do(
            "paretoboard_runners.probe:probe",
            job,
            jobs.ProbeResult,
            limits=self._limits(),
            fresh_environment=controls.memory_environment(self.run.profile, self.held.worker.cores),
            on_event=self._on_event,
        )[0]
        draft = self.draft
        draft.add("peak_memory", result.peak_bytes - result.idle_bytes, n=1)
        draft.add("process_memory", result.peak_bytes, n=1)
        draft.add("idle_memory", result.idle_bytes, n=1)
        draft.add("load", result.load_s, n=1)
        draft.add("first_inference", result.first_inference_s, n=1)

    def _references(self, built: jobs.BuildResult) -> list[Reference]:
        """What the recipe is timed against besides the baseline, built; what can't be is a note and no failure."""
        found = []
        for number, recipe in enumerate(self.run.recipe.references, 1):
            with self._noting(recipe.name):
                other = self._build(dataclasses.replace(self.run, recipe=recipe))
                found.append(self._reference(recipe.name, other, built, number))
        ablation = self.run.recipe.ablation
        for variant in ablation.impossible if ablation else ():
            self.draft.notes.append(f"{variant.name} can't be made: {variant.reason}.")
        return found

    @contextmanager
    def _noting(self, reference: str) -> Iterator[None]:
        """Let a run go on without a reference that fails by its own fault."""
        try:
            yield
        except JobFailedError as error:
            kind = error.failure.kind if error.failure else ""
            from_outside = error.ending.timed_out or error.ending.signal == signal.SIGKILL
            if from_outside or kind in ("DataError", "InputError"):
                raise
            self.draft.notes.append(f"Not timed against {reference}: {error.reason}.")

    def _time_all(self, references: Sequence[Reference], built: jobs.BuildResult, inputs: Path) -> None:
        """Time every batch against the baseline, the smallest against every other reference too.

        What supervising all this costs is noted.
        """
        start, start_cpu_s = time.monotonic(), self._supervision_s()
        timing = Timing(
            worker=self.held.worker,
            run=self.run,
            candidate=built.folder,
            input_file=inputs,
            preload=self._modules(built),
            noise_floor=self.noise_floor,
            limits=self._limits,
            watch=lambda done, text: self.watch(Progress(stage="timing", done=done, text=text)),
            salt=self.salt,
        )
        baseline, *others = references
        for batch in self.run.measure.batches:
            self._time(timing, baseline, batch)
        for reference in others:
            with self._noting(reference.name):
                self._time(timing, reference, min(self.run.measure.batches))
        elapsed_s = time.monotonic() - start
        here_s, worker_s = (after - before for before, after in zip(start_cpu_s, self._supervision_s(), strict=True))
        self.draft.add("supervision", (here_s + worker_s) / elapsed_s, n=1)
        self.draft.notes.append(
            f"In the {elapsed_s:.1f} s of timing the supervising processes used {here_s + worker_s:.2f} s of CPU time, "
            f"{worker_s:.2f} s of it in the worker, which starts the timed processes and then waits on their cores."
        )

    def _diagnose(self, baseline: jobs.BuildResult, built: jobs.BuildResult, inputs: Path) -> None:
        self.draft.diagnosis = diagnose.explain(
            self.held.worker,
            self.draft,
            baseline=baseline,
            built=built,
            comparisons=tuple(timed.comparison for timed in self.draft.timed),
            input_file=inputs,
            rooflines=self.rooflines,
            limits=self._limits(),
        )

    def _supervision_s(self) -> tuple[float, float]:
        """CPU time so far of this process, and of the worker without its children."""
        worker = psutil.Process(self.held.worker.pid).cpu_times()
        return time.process_time(), worker.user + worker.system

    def _energy(self, built: jobs.BuildResult, inputs: Path) -> None:
        measure, device = self.run.measure, self.run.profile.device
        reason = energy.why_not(device)
        if reason:
            self.draft.notes.append(f"Energy of inference and of building was not measured: {reason}.")
            return
        for batch in measure.batches:
            job = energy.EnergyJob(
                artifact=built.folder,
                batch=batch,
                threads=self.threads,
                input_file=inputs,
                device=device,
                loop_s=energy.LOOP_S[measure.budget],
            )
            result = self.held.worker.do(
                "paretoboard_runners.energy:measure",
                job,
                energy.EnergyResult,
                preload=self._modules(built),
                limits=self._limits(),
                on_event=self._on_event,
            )[0]
            self.draft.metrics += energy.metrics_of(result.rounds, batch)
        self.draft.notes.append(
            f"Energy from {', '.join(result.counters)}: {energy.ROUNDS} loops of the recipe alone of {job.loop_s:g} s "
            "each, with the idle machine before each for as long."
        )

    def _time(self, timing: Timing, reference: Reference, batch: int) -> None:
        timed = timing.against(reference, batch)
        self.draft.timed.append(timed)
        assert self.draft.answers is not None
        self._check_answers(timed, self.draft.answers)
        calls = timed.calls
        call_s = float(np.median(calls.wall_ns[calls.arm == CANDIDATE])) / 1e9
        reason = repeats.caching(timed.repeat_effects, call_s)
        if reason:
            raise TimedOtherwiseError(f"batch {batch}: {reason}")

    def _scenario(self, built: jobs.BuildResult, scenario: Scenario) -> None:
        measure = self.run.measure
        job = scenarios.ScenarioJob(
            scenario=scenario,
            artifact=built.folder,
            dataset=self.run.dataset,
            preprocess=self.run.preprocess,
            data_root=self.data_root,
            largest_batch=max(measure.batches),
            threads=self.threads,
            durations=scenarios.DURATIONS[measure.budget],
            seed=self.run.seed,
            server_latency_s=measure.server_latency_s,
        )
        result = self.held.worker.do(
            "paretoboard_runners.scenarios:measure",
            job,
            scenarios.ScenarioResult,
            preload=self._modules(built),
            limits=self._limits(),
            on_event=self._on_event,
        )[0]
        self.draft.metrics += [found for found in result.metrics if self._means_something(found)]
        self.draft.notes += result.notes
        assert self.draft.answers is not None
        scored = self.draft.answers[list(result.positions)]
        same = int((scored == np.asarray(result.classes)).sum())
        self._judge_answers(f"scenario {scenario}", "of accuracy mode", same, len(scored))

    def _check_answers(self, timed: TimedComparison, scored: NDArray[np.int64]) -> None:
        """The timed run is the accurate run: kept outputs of timed calls against the scored ones (MLPerf's TEST01).

        Args:
            scored: (images,) the answer to each image of the subset, when it was scored.
        """
        answers = [
            (int(best), int(scored[(kept.position * timed.comparison.batch + offset) % len(scored)]))
            for kept in timed.outputs
            for offset, best in enumerate(kept.classes)
        ]
        same = sum(1 for best, right in answers if best == right)
        about = f"batch {timed.comparison.batch} against {timed.comparison.against}"
        self._judge_answers(about, "kept from timed calls", same, len(answers))

    def _means_something(self, found: MetricValue) -> bool:
        """Whether a metric is one of cost, or the network has its weights."""
        return not self.run.model.unscored or METRICS[found.name].kind not in ("quality", "behaviour")

    def _judge_answers(self, about: str, origin: str, same: int, answers: int) -> None:
        if answers - same > _MOST_DISAGREEMENT * answers:
            raise TimedOtherwiseError(
                f"{about}: {answers - same} of {answers} answers {origin} differ from the scored ones"
            )
        note = f"{about}: {same} of {answers} answers {origin} equal the scored ones."
        self.draft.notes.append(note[0].upper() + note[1:])
