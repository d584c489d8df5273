"""MixUp and CutMix, against torchvision's, and what losses and teachers make of mixed images."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from torch import Tensor, nn
from torchvision.transforms import v2

from paretoboard.errors import NotApplicableError
from paretoboard.spec import TrainSettings
from paretoboard.techniques.distill import AttentionTransfer, DecoupledDistillation, LogitsDistillation
from paretoboard.training import Batch, CrossEntropy, train
from paretoboard.training.distillation import asked_once, soft_targets
from paretoboard.training.feed import Feed
from paretoboard.training.mixing import Box, Mixing, box, cutmix, mixup
from small_models import PREPROCESS, fingerprint, images, module

Kind = Literal["mixup", "cutmix"]
SETTINGS = TrainSettings(epochs=1, lr=0.02, batch=32)


def batch(count: int = 16, *, size: tuple[int, int] = (32, 32)) -> Batch:
    generator = torch.Generator().manual_seed(count)
    return Batch(
        images=torch.randn((count, 3, *size), generator=generator).to(memory_format=torch.channels_last),
        labels=torch.randint(10, (count,), generator=generator),
        indices=torch.arange(count),
        variants=torch.zeros(count, dtype=torch.int64),
    )


def one_before(count: int) -> Tensor:
    """The partners that torchvision takes."""
    return torch.arange(count).roll(1)


def theirs(transform: v2.MixUp | v2.CutMix, found: Batch, **parameters: object) -> tuple[Tensor, Tensor]:
    parameters |= {"labels": found.labels, "batch_size": len(found.labels)}
    return transform.transform(found.images, parameters), transform.transform(found.labels, parameters)


@pytest.mark.parametrize("share", [0.0, 0.3, 0.5, 1.0])
def test_mixup_is_torchvision_s(share: float) -> None:
    plain = batch()
    found = mixup(plain, one_before(16), share, 10)
    wanted, labels = theirs(v2.MixUp(num_classes=10), plain, lam=share)
    torch.testing.assert_close(found.images, wanted)
    torch.testing.assert_close(found.labels, labels)


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("size", [(32, 32), (24, 41)])
def test_cutmix_is_torchvision_s(size: tuple[int, int], seed: int) -> None:
    plain, reference = batch(size=size), v2.CutMix(num_classes=10)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        parameters = reference.make_params([plain.images])
        torch.manual_seed(seed)  # what it drew
        share = float(reference._dist.sample(()))
        column, row = int(torch.randint(size[1], (1,))), int(torch.randint(size[0], (1,)))
    cut = box(share, (row, column), *size)
    assert (cut.left, cut.top, cut.right, cut.bottom) == parameters["box"]
    found = cutmix(plain, one_before(16), cut, 10)
    wanted, labels = theirs(reference, plain, **parameters)
    assert torch.equal(found.images, wanted)
    torch.testing.assert_close(found.labels, labels)


@given(
    share=st.floats(0, 1),
    height=st.integers(1, 64),
    width=st.integers(1, 64),
    row=st.floats(0, 1),
    column=st.floats(0, 1),
)
def test_a_box_lies_in_the_image_and_is_no_larger_than_asked(
    share: float, height: int, width: int, row: float, column: float
) -> None:
    cut = box(share, (int(row * (height - 1)), int(column * (width - 1))), height, width)
    assert 0 <= cut.top <= cut.bottom <= height
    assert 0 <= cut.left <= cut.right <= width
    assert cut.area <= (1 - share) * height * width + 1e-9


@pytest.mark.parametrize("kind", ["mixup", "cutmix"])
def test_mixing_changes_no_batch_and_keeps_its_memory_format(kind: Kind) -> None:
    plain = batch()
    images_before, labels_before = plain.images.clone(), plain.labels.clone()
    found = Mixing(kind=kind, alpha=1.0, classes=10)(plain, seed=1, epoch=0, step=0)
    assert torch.equal(plain.images, images_before)
    assert torch.equal(plain.labels, labels_before)
    assert not torch.equal(found.images, images_before)
    assert found.images.is_contiguous(memory_format=torch.channels_last)
    assert found.labels.shape == (16, 10)
    torch.testing.assert_close(found.labels.sum(1), torch.ones(16))
    assert torch.equal(found.indices, plain.indices)


def test_without_mixing_a_batch_is_as_it_was() -> None:
    plain = batch()
    assert Mixing(kind="none", alpha=1.0, classes=10)(plain, seed=1, epoch=0, step=0) is plain


@pytest.mark.parametrize("kind", ["mixup", "cutmix"])
def test_how_a_batch_is_mixed_follows_from_seed_epoch_and_step(kind: Kind) -> None:
    mixing, plain = Mixing(kind=kind, alpha=1.0, classes=10), batch()
    steps = [(1, 0, 0), (2, 0, 0), (1, 1, 0), (1, 0, 1)]
    found = [mixing(plain, seed=seed, epoch=epoch, step=step).labels for seed, epoch, step in steps]
    assert torch.equal(found[0], mixing(plain, seed=1, epoch=0, step=0).labels)
    assert not any(torch.equal(found[0], other) for other in found[1:])


@pytest.mark.parametrize("alpha", [0.2, 1.0, 4.0])
def test_proportions_are_drawn_from_the_beta_distribution(alpha: float) -> None:
    mixing = Mixing(kind="mixup", alpha=alpha, classes=10)
    plain = dataclasses.replace(batch(10), labels=torch.arange(10))
    # An image whose partner it is itself keeps its label whole; so the least share on the diagonal is what was drawn.
    shares = [float(mixing(plain, seed=0, epoch=0, step=step).labels.diagonal().min()) for step in range(400)]
    assert stats.kstest(shares, stats.beta(alpha, alpha).cdf).pvalue > 1e-3


@pytest.mark.parametrize("kind", ["mixup", "cutmix"])
def test_the_same_seed_gives_the_same_mixed_epoch_wherever_it_is_taken_up(kind: Kind) -> None:
    feed = Feed(images(100), dataclasses.replace(SETTINGS, augment=("crop", "flip"), mix=kind), PREPROCESS)
    plain = Feed(images(100), dataclasses.replace(SETTINGS, augment=("crop", "flip")), PREPROCESS)
    assert feed.mixes
    assert not plain.mixes
    whole = list(feed.epoch(1, 0))
    (last,) = feed.epoch(1, 0, after=2)
    assert torch.equal(last.images, whole[2].images)
    assert torch.equal(last.labels, whole[2].labels)
    for mixed, unmixed in zip(whole, plain.epoch(1, 0), strict=True):  # of the same images, as the same variants
        assert torch.equal(mixed.indices, unmixed.indices)
        assert torch.equal(mixed.variants, unmixed.variants)
        torch.testing.assert_close(mixed.images.mean(0), unmixed.images.mean(0), atol=1e-5, rtol=1e-4)
        assert not torch.equal(mixed.images, unmixed.images)


# Losses


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_the_loss_of_mixed_images_is_that_of_both_labels_in_proportion(smoothing: float) -> None:
    plain = batch()
    logits = torch.randn((16, 10), generator=torch.Generator().manual_seed(0))
    mixed = mixup(plain, one_before(16), 0.3, 10)
    reference = nn.CrossEntropyLoss(label_smoothing=smoothing)
    wanted = 0.3 * reference(logits, plain.labels) + 0.7 * reference(logits, plain.labels.roll(1))
    torch.testing.assert_close(CrossEntropy(label_smoothing=smoothing)(logits, mixed), wanted)


def test_a_network_learns_from_mixed_images() -> None:
    trained = []
    for mix in ("none", "mixup", "cutmix"):
        network = module()
        settings = TrainSettings(epochs=3, lr=0.02, batch=32, mix=mix)  # type: ignore[arg-type]
        losses = train(network, images(128), settings, preprocess=PREPROCESS, seed=1, threads=1).losses
        assert losses[-1] < losses[0]
        trained.append(fingerprint(network))
    assert len(set(trained)) == 3


# Teachers


@pytest.mark.parametrize("change", [{"mix": "mixup"}, {"augment": ("rotate",)}])
def test_a_teacher_of_images_that_are_never_the_same_again_is_asked_each_time(
    tmp_path: Path, change: dict[str, object]
) -> None:
    feed = Feed(images(64), dataclasses.replace(SETTINGS, **change), PREPROCESS)  # type: ignore[arg-type]
    with LogitsDistillation(epochs=3).lesson(module(), module(seed=9), 0.0) as lesson:
        asked = asked_once(
            lesson.teaching, feed, epochs=10**9, folder=tmp_path, asks="", progress=lambda done, text: None
        )
        assert asked is lesson.teaching
    assert not list(tmp_path.iterdir())


def test_a_teacher_s_logits_are_of_the_mixed_images() -> None:
    teacher, student = module(seed=9), module()
    [mixed, *_] = Feed(images(64), dataclasses.replace(SETTINGS, mix="mixup"), PREPROCESS).epoch(1, 0)
    with LogitsDistillation(epochs=1, alpha=0.7, temperature=3.0).lesson(student, teacher, 0.1) as lesson:
        logits = student(mixed.images)
        found = lesson(logits, mixed)
    soft = soft_targets(logits, teacher(mixed.images), 3.0)
    hard = nn.functional.cross_entropy(logits, mixed.labels, label_smoothing=0.1)
    torch.testing.assert_close(found, 0.7 * soft + 0.3 * hard)


def test_attention_is_compared_on_mixed_images() -> None:
    [mixed, *_] = Feed(images(64), dataclasses.replace(SETTINGS, mix="cutmix"), PREPROCESS).epoch(1, 0)
    student = module()
    with AttentionTransfer(epochs=1).lesson(student, module(), 0.0) as lesson:
        logits = student(mixed.images)
        found = lesson(logits, mixed)
    # A teacher with the student's own weights looks where the student looks: what is left is the labels' part.
    torch.testing.assert_close(found, CrossEntropy()(logits, mixed), rtol=1e-4, atol=1e-4)


def test_decoupled_distillation_refuses_mixed_images_with_the_reason() -> None:
    [mixed, *_] = Feed(images(64), dataclasses.replace(SETTINGS, mix="mixup"), PREPROCESS).epoch(1, 0)
    student = module()
    with (
        DecoupledDistillation(epochs=1).lesson(student, module(seed=9), 0.0) as lesson,
        pytest.raises(NotApplicableError, match=r"one right class.*distill\.logits"),
    ):
        lesson(student(mixed.images), mixed)


def test_a_box_of_no_area_leaves_images_as_they_are() -> None:
    plain = batch()
    found = cutmix(plain, one_before(16), Box(top=3, left=3, bottom=3, right=20), 10)
    assert torch.equal(found.images, plain.images)
    assert torch.equal(found.labels, nn.functional.one_hot(plain.labels, 10).float())
    assert np.isclose(float(found.labels.sum()), 16)
