"""Distillation: its losses by hand, what the teacher is asked, and a comparison that differs in the teacher alone."""

from __future__ import annotations

import dataclasses
import functools
import math
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import pytest
import torch
from torch import nn

from paretoboard import models, taskfile
from paretoboard.artifact import Candidate, load, save
from paretoboard.errors import InputError, NotApplicableError, TaskFileError
from paretoboard.plan import expand
from paretoboard.spec import ModelUse, Recipe, TechniqueUse, TrainSettings
from paretoboard.techniques import Workbench
from paretoboard.techniques.distill import AttentionTransfer, DecoupledDistillation, Distillation, LogitsDistillation
from paretoboard.techniques.prune import MagnitudePruning, StructuredPruning
from paretoboard.training import Batch, CrossEntropy, train
from paretoboard.training.distillation import (
    Teaching,
    asked_once,
    attention,
    attention_gap,
    decoupled,
    in_bfloat16,
    soft_targets,
)
from paretoboard.training.feed import Feed
from paretoboard_runners.build import build
from paretoboard_runners.jobs import BuildJob
from small_models import PREPROCESS, candidate, fingerprint, images, module, workbench

KINDS: list[type[Distillation]] = [AttentionTransfer, DecoupledDistillation, LogitsDistillation]
STUDENT = torch.tensor([[1.0, 2.0, -1.0], [0.0, 0.5, 3.0]])
TEACHER = torch.tensor([[2.0, 0.0, 1.0], [-1.0, 1.0, 2.0]])


def softened(row: torch.Tensor, temperature: float) -> list[float]:
    powers = [math.exp(float(value) / temperature) for value in row]
    return [power / sum(powers) for power in powers]


def divergence(said: list[float], guessed: list[float]) -> float:
    return sum(p * math.log(p / q) for p, q in zip(said, guessed, strict=True))


def a_batch(inputs: torch.Tensor, *labels: int) -> Batch:
    count = len(labels)
    return Batch(
        images=inputs,
        labels=torch.tensor(labels),
        indices=torch.arange(count),
        variants=torch.zeros(count, dtype=torch.int64),
    )


@functools.cache
def structurally_pruned() -> Candidate:
    """The smallest network without 30 % of its parameters; techniques leave alone what they are applied to."""
    with tempfile.TemporaryDirectory() as scratch:
        return StructuredPruning(parameters=0.3).apply(candidate(), workbench(Path(scratch))).candidate


def apply(made: Distillation, scratch: Path, start: Candidate | None = None, **bench: Any) -> nn.Module:
    where: Workbench = dataclasses.replace(workbench(scratch), **bench)
    after = made.apply(start or candidate(), where).candidate.module
    assert after is not None
    return after


@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_soft_targets_are_the_divergence_by_hand(temperature: float) -> None:
    by_hand = [
        divergence(softened(said, temperature), softened(own, temperature))
        for own, said in zip(STUDENT, TEACHER, strict=True)
    ]
    found = float(soft_targets(STUDENT, TEACHER, temperature))
    assert found == pytest.approx(temperature**2 * sum(by_hand) / 2, rel=1e-5)


def test_decoupled_targets_are_the_two_divergences_by_hand() -> None:
    labels, temperature = torch.tensor([1, 2]), 2.0
    sure, compared = [], []
    for own, said, label in zip(STUDENT, TEACHER, labels.tolist(), strict=True):
        p, q = softened(said, temperature), softened(own, temperature)
        wrong = [index for index in range(3) if index != label]
        sure.append(divergence([p[label], 1 - p[label]], [q[label], 1 - q[label]]))
        compared.append(divergence([p[i] / (1 - p[label]) for i in wrong], [q[i] / (1 - q[label]) for i in wrong]))
    found = float(decoupled(STUDENT, TEACHER, labels, temperature, target=1.5, others=8.0))
    assert found == pytest.approx(temperature**2 * (1.5 * sum(sure) + 8.0 * sum(compared)) / 2, rel=1e-5)


def test_decoupled_targets_add_up_to_soft_targets_when_weighted_as_those_are() -> None:
    """Zhao et al. 2022, equation 5: KD = TCKD + (1 - p_t) NCKD, for one image."""
    own, said, label = STUDENT[:1], TEACHER[:1], torch.tensor([0])
    rest = 1 - softened(said[0], 3.0)[0]
    together = decoupled(own, said, label, 3.0, target=1.0, others=rest)
    assert float(together) == pytest.approx(float(soft_targets(own, said, 3.0)), rel=1e-5)


def test_attention_is_the_sum_of_squares_over_channels_at_length_one() -> None:
    features = torch.tensor([[[[1.0, 0.0]], [[2.0, -2.0]]]])  # two channels, two places: 1 + 4 and 0 + 4
    torch.testing.assert_close(attention(features), torch.tensor([[5.0, 4.0]]) / math.sqrt(41))
    gap = attention_gap([torch.tensor([[0.6, 0.8]])] * 2, [torch.tensor([[1.0, 0.0]]), torch.tensor([[0.6, 0.8]])])
    assert float(gap) == pytest.approx((0.16 + 0.64) / 2)


def test_a_lesson_weighs_teacher_and_labels(tmp_path: Path) -> None:
    batch = a_batch(torch.zeros(2, 3, 32, 32), 1, 2)
    made = LogitsDistillation(epochs=1, temperature=2.0, alpha=0.25)
    with made.lesson(module(), module(), 0.0) as lesson:
        lesson.teaching = lambda asked: (TEACHER,)
        found = lesson(STUDENT, batch)
    labelled = -sum(math.log(softened(row, 1.0)[label]) for row, label in zip(STUDENT, (1, 2), strict=True)) / 2
    assert float(found) == pytest.approx(0.25 * float(soft_targets(STUDENT, TEACHER, 2.0)) + 0.75 * labelled, rel=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_a_student_that_is_its_own_teacher_has_only_the_labels_to_learn(kind: type[Distillation]) -> None:
    network, teacher, batch = module(), module(), a_batch(torch.rand(4, 3, 32, 32), 1, 2, 3, 4)
    with torch.no_grad(), kind(epochs=1).lesson(network, teacher, 0.1) as lesson:
        logits = network(batch.images)
        found = lesson(logits, batch)
    labelled = CrossEntropy(label_smoothing=0.1)(logits, batch)
    wanted = 0.1 * labelled if kind is LogitsDistillation else labelled
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-4)
    assert not any(layer._forward_hooks for layer in (*network.modules(), *teacher.modules()))


@pytest.mark.parametrize(
    ("augment", "epochs", "expected"),
    [
        ((), 3, 64 + 2),  # one image to see how many classes it knows, one to see what it says
        (("flip",), 3, 2 * 64 + 2),
        (("flip",), 1, 64 + 1),  # each image as one of its two variants
        (("crop", "flip"), 3, 3 * 64 + 1),
    ],
)
def test_the_teacher_is_asked_about_no_more_images_than_needed(
    augment: tuple[str, ...], epochs: int, expected: int, tmp_path: Path
) -> None:
    asked: list[int] = []
    teacher = module(seed=9)
    teacher.register_forward_hook(lambda layer, given, out: asked.append(len(given[0])))
    apply(LogitsDistillation(epochs=epochs, augment=augment), tmp_path, teacher=lambda: teacher)
    assert sum(asked) == expected


def test_the_teacher_computes_in_the_precision_of_the_training(tmp_path: Path) -> None:
    dtypes = {}
    for precision in ("float32", "bfloat16"):
        teacher, seen = module(seed=9), set()
        teacher.linear.register_forward_hook(lambda layer, given, out, seen=seen: seen.add(out.dtype))  # type: ignore[union-attr]
        apply(LogitsDistillation(epochs=1, precision=precision), tmp_path / precision, teacher=lambda t=teacher: t)
        dtypes[precision] = seen
    assert dtypes["float32"] == {torch.float32}
    assert torch.bfloat16 in dtypes["bfloat16"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_kept_answers_are_those_that_asking_gives(
    kind: type[Distillation], precision: Literal["float32", "bfloat16"], tmp_path: Path
) -> None:
    """Equal bits for a batch as it was asked about, and but for the last digits for any other."""
    settings = TrainSettings(epochs=2, lr=0.1, augment=("flip",))
    feed = Feed(images(150), settings, PREPROCESS)
    with kind(epochs=1).lesson(module(), module(seed=9).to(memory_format=torch.channels_last), 0.0) as lesson:
        ask = in_bfloat16(lesson.teaching) if precision == "bfloat16" else lesson.teaching
        said = asked_once(ask, feed, epochs=2, folder=tmp_path, asks="", progress=lambda done, text: None)
        assert said is not ask
        alike = feed.take(torch.arange(128), torch.ones(128, dtype=torch.int64))
        for kept, wanted in zip(said(alike), ask(alike), strict=True):
            assert torch.equal(kept, wanted)
        mixed = feed.take(torch.tensor([140, 3, 77]), torch.tensor([0, 1, 1]))
        for kept, wanted in zip(said(mixed), ask(mixed), strict=True):
            rounding = 1e-5 if precision == "float32" else 0.05
            torch.testing.assert_close(kept, wanted, rtol=rounding, atol=rounding * float(wanted.abs().max()))


def test_answers_outlive_a_kill_and_are_those_of_one_teacher(tmp_path: Path) -> None:
    """A Teaching that counts what it is asked."""
    asked: list[int] = []

    def ask(batch: Batch) -> tuple[torch.Tensor, ...]:
        asked.append(len(batch.labels))
        return batch.images.mean((2, 3)), batch.images.amax((1, 2, 3))

    def kept(who: str, count: int = 150, told: Callable[[float, str], None] = lambda done, text: None) -> Teaching:
        feed = Feed(images(count), TrainSettings(epochs=1, lr=0.1), PREPROCESS)
        return asked_once(ask, feed, epochs=1, folder=tmp_path, asks=who, progress=told)

    first = kept("one")
    assert asked == [1, 128, 22]
    asked.clear()
    batch = Feed(images(150), TrainSettings(epochs=1, lr=0.1), PREPROCESS).take(torch.arange(3), torch.zeros(3).long())
    for before, after in zip(first(batch), kept("one")(batch), strict=True):
        assert torch.equal(before, after)
    assert asked == [1]
    kept("another")
    kept("one", 149)
    assert asked == [1, 1, 128, 22, 1, 128, 21]
    files = sorted(tmp_path.iterdir())
    assert len(files) == 3
    for file in files:
        file.write_bytes(file.read_bytes()[:-5])
    kept("one")
    assert asked[-2:] == [128, 22]  # what is damaged is asked again
    assert all(path.suffix == ".npy" for path in tmp_path.iterdir())


@pytest.mark.parametrize("augment", [("flip",), ("crop",)])  # answers kept, and not
@pytest.mark.parametrize("kind", KINDS)
def test_an_interrupted_distillation_goes_on_to_the_same_bits(
    kind: type[Distillation], augment: tuple[str, ...], tmp_path: Path
) -> None:
    class KilledError(Exception):
        pass

    def kill(done: float, text: str) -> None:
        if done > 0.6:
            raise KilledError

    def distilled(scratch: Path, progress: Callable[[float, str], None]) -> str:
        settings, data, student = made.settings(2, None), images(64), module()
        scratch.mkdir(exist_ok=True)
        with made.lesson(student, module(seed=9), 0.0) as lesson:
            feed = Feed(data, settings, PREPROCESS)
            lesson.teaching = asked_once(lesson.teaching, feed, epochs=2, folder=scratch, asks="", progress=progress)
            options: dict[str, Any] = {"checkpoint": scratch / "t.pt", "checkpoint_every_s": 0.0, "loss": lesson}
            train(student, data, settings, preprocess=PREPROCESS, seed=1, progress=progress, **options)
        return fingerprint(student)

    made = kind(epochs=2, batch=16, augment=augment)
    straight = distilled(tmp_path / "straight", lambda done, text: None)
    with pytest.raises(KilledError):
        distilled(tmp_path / "broken", kill)
    told: list[tuple[float, str]] = []
    assert distilled(tmp_path / "broken", lambda done, text: told.append((done, text))) == straight
    assert min(done for done, _ in told) > 0.5


def test_another_teacher_takes_up_no_checkpoint(tmp_path: Path) -> None:
    made = LogitsDistillation(epochs=1)
    first = apply(made, tmp_path / "a")
    other = apply(made, tmp_path / "a", teacher=lambda: module(seed=4))
    assert fingerprint(other) == fingerprint(apply(made, tmp_path / "b", teacher=lambda: module(seed=4)))
    assert fingerprint(other) != fingerprint(first)


def test_from_scratch_the_teacher_is_all_that_differs(tmp_path: Path) -> None:
    """With the teacher's share at zero the student is, to the bit, what the task's own training gives."""
    settings = TrainSettings(epochs=1, lr=0.05, batch=32, augment=("flip",), label_smoothing=0.1)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(17)  # the workbench's train_seed
        plain = models.build("cifar-resnet8", 10)
    train(plain, images(64, seed=1), settings, preprocess=PREPROCESS, seed=17)
    made = LogitsDistillation(from_scratch=True, alpha=0.0)
    alone = apply(made, tmp_path / "alone", train_settings=settings)
    taught = apply(dataclasses.replace(made, alpha=0.9), tmp_path / "taught", train_settings=settings)
    assert fingerprint(alone) == fingerprint(plain) != fingerprint(taught)


def test_from_scratch_keeps_the_structure_that_pruning_left(tmp_path: Path) -> None:
    pruned = structurally_pruned()
    settings = TrainSettings(epochs=1, lr=0.05)
    student = apply(LogitsDistillation(from_scratch=True), tmp_path / "s", pruned, train_settings=settings)
    assert pruned.module is not None
    shapes = {name: tensor.shape for name, tensor in pruned.module.state_dict().items()}
    assert {name: tensor.shape for name, tensor in student.state_dict().items()} == shapes


def test_distilling_after_pruning_keeps_the_zeros(tmp_path: Path) -> None:
    pruned = MagnitudePruning(sparsity=0.6).apply(candidate(), workbench(tmp_path)).candidate
    tuned = apply(LogitsDistillation(epochs=1, lr=0.05), tmp_path / "tuned", pruned)
    assert pruned.module is not None
    for name, weight in pruned.module.named_parameters():
        if weight.ndim > 1:
            assert torch.equal(weight == 0, tuned.get_parameter(name) == 0)


@pytest.mark.parametrize("kind", KINDS)
def test_a_network_of_fewer_filters_learns_from_a_deeper_teacher(kind: type[Distillation], tmp_path: Path) -> None:
    """Fine-tuning after pruning: the structure that pruning left is trained, kept, and reloads to the same outputs."""
    pruned = structurally_pruned()
    bench = dataclasses.replace(workbench(tmp_path), teacher=lambda: module("cifar-resnet20", seed=9))
    tuned = kind(epochs=1, lr=0.01, augment=("flip",)).apply(pruned, bench)
    assert pruned.module is not None
    assert tuned.candidate.module is not None
    before, after = pruned.module.state_dict(), tuned.candidate.module.state_dict()
    assert {name: tensor.shape for name, tensor in after.items()} == {name: one.shape for name, one in before.items()}
    assert before["layer3.0.conv1.weight"].shape[0] < 64
    assert not any(torch.equal(before[name], after[name]) for name in before if name.endswith("weight"))
    assert tuned.images_seen == 64
    save(tuned.candidate, tmp_path / "artifact")
    reloaded = load(tmp_path / "artifact").module
    assert reloaded is not None
    inputs = torch.rand(4, 3, 32, 32)
    with torch.inference_mode():
        torch.testing.assert_close(reloaded(inputs), tuned.candidate.module(inputs))


def test_learning_from_a_teacher_comes_nearer_to_it_than_learning_labels(tmp_path: Path) -> None:
    teacher = module(seed=9)
    inputs = torch.rand(64, 3, 32, 32)
    gaps = {}
    for alpha in (0.0, 1.0):
        student = apply(LogitsDistillation(epochs=4, lr=0.02, batch=16, alpha=alpha), tmp_path / str(alpha))
        with torch.inference_mode():
            gaps[alpha] = float(soft_targets(student(inputs), teacher(inputs), 1.0))
    assert gaps[1.0] < 0.5 * gaps[0.0]


@pytest.mark.parametrize(("given", "found"), [({}, "neither"), ({"epochs": 1, "from_scratch": True}, "both")])
def test_epochs_and_from_scratch_exclude_each_other(given: dict[str, Any], found: str) -> None:
    with pytest.raises(InputError, match=f"either 'epochs'.*or 'from_scratch = true'.*found {found}"):
        LogitsDistillation(**given)


def test_what_can_t_be_distilled_is_refused_with_a_reason(tmp_path: Path) -> None:
    with pytest.raises(NotApplicableError, match="name 'train' instead of 'weights'"):
        apply(LogitsDistillation(from_scratch=True), tmp_path)
    with pytest.raises(NotApplicableError, match="the teacher knows 7 classes and the student 10"):
        apply(LogitsDistillation(epochs=1), tmp_path, teacher=lambda: models.build("cifar-resnet8", 7))
    plain = nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 10))
    with pytest.raises(NotApplicableError, match="the teacher, a Sequential, names none"):
        apply(AttentionTransfer(epochs=1), tmp_path, teacher=lambda: plain)
    assert apply(LogitsDistillation(epochs=1), tmp_path / "s", teacher=lambda: plain) is not None


TASK = """
version = 1
title = "A student"
quality = {{ metric = "top1" }}
profiles = ["cpu-1"]
[dataset]
name = "digits"
subset = "test"
[model]
name = "cifar-resnet8"
train = {{ epochs = 1, lr = 0.1, batch = 64 }}
{teacher}
[recipes.taught]
steps = [{{ technique = "distill.logits", {parameters} }}]
"""
TEACHER_TABLE = '[teacher]\nname = "cifar-resnet8"\ntrain = { epochs = 1, lr = 0.05 }\n'


def write(folder: Path, teacher: str = TEACHER_TABLE, parameters: str = "from_scratch = true") -> Path:
    for name, first in (("train", 0), ("test", 64)):
        (folder / f"{name}.txt").write_text("".join(f"digits/{first + index:04d}\n" for index in range(64)))
    path = folder / "student.toml"
    path.write_text(TASK.format(teacher=teacher, parameters=parameters))
    return path


def test_a_task_names_its_teacher_and_only_what_is_taught_depends_on_it(tmp_path: Path) -> None:
    task = taskfile.load(write(tmp_path))
    assert task.teacher == ModelUse(name="cifar-resnet8", train=TrainSettings(epochs=1, lr=0.05))
    _, taught = expand([task])
    _, other = expand([dataclasses.replace(task, teacher=task.model)])
    assert taught.build_ids[0] == other.build_ids[0]
    assert taught.build_ids[1] != other.build_ids[1]
    assert taught.run_id != other.run_id


@pytest.mark.parametrize(
    ("teacher", "parameters", "message"),
    [
        ("", "epochs = 1", "needs a teacher; name its network and weights under [teacher]"),
        ('[teacher]\nname = "resnet8"\ntrain = { epochs = 1, lr = 0.1 }', "epochs = 1", "teacher.name: unknown model"),
        ('[teacher]\nname = "cifar-resnet8"', "epochs = 1", "exactly one of 'weights' and 'train', found neither"),
        (TEACHER_TABLE, "epochs = 1, from_scratch = true", "needs either 'epochs'"),
        (TEACHER_TABLE, "alpha = 1.5, epochs = 1", "alpha"),
    ],
)
def test_a_task_file_that_can_t_be_taught_says_why(teacher: str, parameters: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(TaskFileError) as caught:
        taskfile.load(write(tmp_path, teacher, parameters))
    assert message in str(caught.value)


def test_a_teacher_is_trained_once_and_charged_to_no_step(tmp_path: Path) -> None:
    _, run = expand([taskfile.load(write(tmp_path))])
    job = BuildJob(
        run=run,
        data_root=tmp_path,
        artifacts=tmp_path / "artifacts",
        environment_id="0" * 64,
        cores=tuple(sorted(os.sched_getaffinity(0))),
    )
    texts: list[str] = []
    first = build(job, tmp_path, lambda event: texts.append(event["text"]))
    assert any(text.startswith("teacher: epoch") for text in texts)
    made = sorted(path.name for path in job.artifacts.iterdir() if path.is_dir())
    assert len(made) == 3  # the student as it is, the teacher, the taught student
    other = dataclasses.replace(run, recipe=Recipe(name="more", steps=(use(epochs=1),)))
    texts.clear()
    second = build(dataclasses.replace(job, run=other), tmp_path, lambda event: texts.append(event["text"]))
    assert not any(text.startswith("teacher") for text in texts)
    assert first.cost.images_seen == second.cost.images_seen == 2 * 64  # the student's own training and the teaching


def use(**parameters: Any) -> TechniqueUse:
    made = LogitsDistillation(**parameters)
    fields = {field.name: getattr(made, field.name) for field in dataclasses.fields(made)}
    return TechniqueUse(name="distill.logits", version=1, parameters=fields)
