"""Curricula: planted losses come out in the planted order, every pace is a rising staircase, every arm sees as much."""

from __future__ import annotations

import dataclasses
import math
from collections import Counter

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from paretoboard.datasets import Images
from paretoboard.errors import DivergedError, InputError
from paretoboard.training.curriculum import Curriculum, Order, Pacing, image_losses, ranked
from small_models import PREPROCESS, fingerprint, images, module

ORDERS: tuple[Order, ...] = ("easy-first", "hard-first", "random")
PACINGS = st.builds(
    Pacing,
    growth=st.sampled_from(["exponential", "single-step"]),
    start=st.floats(0.01, 1),
    increase=st.floats(1.01, 10),
    lengths=st.lists(st.floats(0.01, 1), min_size=1, max_size=4).map(tuple),
)
ALL_AT_ONCE = Pacing(start=1.0)


def one_class(count: int) -> Tensor:
    return torch.zeros(count, dtype=torch.int64)


def shuffled(count: int, seed: int = 0) -> Tensor:
    return torch.randperm(count, generator=torch.Generator().manual_seed(seed))


# The order


@given(losses=st.lists(st.floats(0, 100, width=32), min_size=1, max_size=50))
def test_planted_losses_come_out_in_the_planted_order(losses: list[float]) -> None:
    planted = torch.tensor(losses)
    easy = ranked(planted, one_class(len(losses)), "easy-first", seed=0)
    hard = ranked(planted, one_class(len(losses)), "hard-first", seed=0)
    assert easy.tolist() == sorted(range(len(losses)), key=lambda place: losses[place])
    assert hard.tolist() == sorted(range(len(losses)), key=lambda place: -losses[place])


@given(
    labels=st.lists(st.integers(0, 3), min_size=1, max_size=60), order=st.sampled_from(ORDERS), seed=st.integers(0, 99)
)
def test_every_part_of_a_ranking_has_each_class_in_its_share(labels: list[int], order: Order, seed: int) -> None:
    own = torch.tensor(labels)
    ranking = ranked(torch.rand(len(labels), generator=torch.Generator().manual_seed(seed)), own, order, seed=seed)
    assert sorted(ranking.tolist()) == list(range(len(labels)))
    whole, seen = Counter(labels), Counter[int]()
    for count, place in enumerate(ranking.tolist(), start=1):
        seen[labels[place]] += 1
        for label, total in whole.items():
            fair = total * count / len(labels)
            assert abs(seen[label] - fair) <= len(whole)


def test_within_a_class_and_within_a_turn_the_order_is_kept() -> None:
    """As the paper's own code balances: the next of each class, the easiest of them first."""
    losses = torch.tensor([0.9, 0.1, 0.5, 0.3, 0.2, 0.4])
    labels = torch.tensor([0, 0, 0, 1, 1, 1])
    assert ranked(losses, labels, "easy-first", seed=0).tolist() == [1, 4, 3, 2, 5, 0]
    assert ranked(losses, labels, "hard-first", seed=0).tolist() == [0, 5, 2, 3, 4, 1]


def test_a_random_order_is_one_of_the_seed_and_not_of_the_losses() -> None:
    first = ranked(torch.arange(50.0), one_class(50), "random", seed=1)
    assert torch.equal(first, ranked(-torch.arange(50.0), one_class(50), "random", seed=1))
    assert not torch.equal(first, ranked(torch.arange(50.0), one_class(50), "random", seed=2))
    assert not torch.equal(first, torch.arange(50))


# The pace


@given(pacing=PACINGS, steps=st.integers(1, 300), count=st.integers(1, 1000))
def test_every_pace_is_a_staircase_that_never_goes_down(pacing: Pacing, steps: int, count: int) -> None:
    opened = [pacing.open_images(step, steps=steps, images=count) for step in range(steps)]
    assert opened == sorted(opened)
    assert opened[0] == math.ceil(pacing.start * count)
    assert opened[-1] <= count
    if pacing.growth == "single-step":
        assert set(opened) <= {opened[0], count}


def test_the_three_paces_of_the_paper_by_hand() -> None:
    def stairs(pacing: Pacing) -> list[int]:
        return [pacing.open_images(step, steps=10, images=100) for step in range(10)]

    fixed = Pacing(start=0.1, increase=2.0, lengths=(0.2,))
    assert stairs(fixed) == [10, 10, 20, 20, 40, 40, 80, 80, 100, 100]
    varied = Pacing(start=0.1, increase=2.0, lengths=(0.4, 0.1, 0.2))
    assert stairs(varied) == [10, 10, 10, 10, 20, 40, 40, 80, 80, 100]
    single = Pacing(growth="single-step", start=0.3, lengths=(0.5,))
    assert stairs(single) == [30] * 5 + [100] * 5


def test_the_default_opens_all_images_before_a_fifth_of_the_training() -> None:
    """The authors' code: 4 % at first, times 1.9 each 100 of 3,500 steps, so all of 2,500 images after 600."""
    authors = Pacing(lengths=(100 / 3500,))
    assert authors.open_images(0, steps=3500, images=2500) == 100
    assert authors.open_images(100, steps=3500, images=2500) == 190
    assert authors.open_images(599, steps=3500, images=2500) < 2500
    assert authors.open_images(600, steps=3500, images=2500) == 2500
    opened = [Pacing().open_images(step, steps=1000, images=2500) for step in range(1000)]
    assert opened.index(2500) == 180


@pytest.mark.parametrize(
    "wrong",
    [
        {"start": 0.0},
        {"start": 1.1},
        {"increase": 1.0},
        {"lengths": ()},
        {"lengths": (0.1, 0.0)},
        {"start": math.nan},
    ],
)
def test_a_pace_that_makes_no_sense_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(InputError, match="would be right"):
        Pacing(**wrong)  # type: ignore[arg-type]


# The images of an epoch


@given(
    pacing=PACINGS,
    order=st.sampled_from(ORDERS),
    count=st.integers(1, 80),
    batch=st.integers(1, 80),
    epochs=st.integers(1, 5),
    seed=st.integers(0, 99),
)
@settings(max_examples=150)
def test_every_arm_sees_equally_many_images_and_only_open_ones(
    pacing: Pacing, order: Order, count: int, batch: int, epochs: int, seed: int
) -> None:
    batch = min(batch, count)
    steps = count // batch
    losses = torch.rand(count, generator=torch.Generator().manual_seed(seed))
    curriculum = Curriculum(ranking=ranked(losses, one_class(count), order, seed=seed), pacing=pacing)
    rank = {place: number for number, place in enumerate(curriculum.ranking.tolist())}
    for epoch in range(epochs):
        shown = curriculum.epoch(shuffled(count, epoch), epoch=epoch, epochs=epochs, batch=batch, seed=seed)
        assert len(shown) == steps * batch
        for step, part in enumerate(shown.split(batch)):
            opened = max(batch, pacing.open_images(epoch * steps + step, steps=epochs * steps, images=count))
            assert len(set(part.tolist())) == batch
            assert max(rank[place] for place in part.tolist()) < opened


def test_where_all_images_are_open_an_epoch_is_the_one_without_a_curriculum() -> None:
    whole = shuffled(100)
    curriculum = Curriculum(ranking=shuffled(100, 1), pacing=ALL_AT_ONCE)
    assert torch.equal(curriculum.epoch(whole, epoch=3, epochs=5, batch=32, seed=1), whole[:96])


def test_few_open_images_are_shown_equally_often_and_in_other_orders() -> None:
    """10 of 100 images, in batches of 5 without remainder: each 10 times an epoch."""
    pacing = Pacing(growth="single-step", start=0.1, lengths=(1.0,))
    ranking = shuffled(100, 1)
    shown = Curriculum(ranking=ranking, pacing=pacing).epoch(shuffled(100), epoch=0, epochs=2, batch=5, seed=1)
    assert Counter(shown.tolist()) == Counter(dict.fromkeys(ranking[:10].tolist(), 10))
    assert len({tuple(cycle.tolist()) for cycle in shown.split(10)}) == 10


def test_an_epoch_is_a_function_of_seed_and_epoch() -> None:
    curriculum = Curriculum(ranking=shuffled(100, 1), pacing=Pacing(start=0.1, lengths=(0.5,)))
    whole = shuffled(100)
    first = curriculum.epoch(whole, epoch=0, epochs=4, batch=10, seed=1)
    assert torch.equal(first, curriculum.epoch(whole, epoch=0, epochs=4, batch=10, seed=1))
    assert not torch.equal(first, curriculum.epoch(whole, epoch=1, epochs=4, batch=10, seed=1))
    assert not torch.equal(first, curriculum.epoch(whole, epoch=0, epochs=4, batch=10, seed=2))


def test_whatever_decides_the_images_is_in_the_identity() -> None:
    curriculum = Curriculum(ranking=shuffled(10), pacing=Pacing())
    assert curriculum.identity == Curriculum(ranking=shuffled(10), pacing=Pacing()).identity
    assert curriculum.identity != Curriculum(ranking=shuffled(10, 1), pacing=Pacing()).identity
    assert curriculum.identity != Curriculum(ranking=shuffled(10), pacing=Pacing(start=0.5)).identity


# How hard an image is


def test_losses_are_those_of_each_image_as_it_is_stored() -> None:
    network, data = module(), images(30)
    before = fingerprint(network)
    losses = image_losses(network, data, PREPROCESS, batch=7)
    pixels = torch.from_numpy(data.pixels).float() / 255
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (PREPROCESS.mean, PREPROCESS.std))
    with torch.no_grad():
        logits = network((pixels - mean) / std)
    expected = -logits.log_softmax(1)[torch.arange(30), torch.from_numpy(data.labels)]
    torch.testing.assert_close(losses, expected, rtol=1e-4, atol=1e-5)
    assert fingerprint(network) == before
    assert not network.training
    assert not losses.is_inference()


class Bright(nn.Module):
    """Is the surer of class 1, the brighter the image."""

    def forward(self, pixels: Tensor) -> Tensor:
        brightness = pixels.mean((1, 2, 3))
        return torch.stack([torch.zeros_like(brightness), brightness], 1)


def brighter_and_brighter() -> Images:
    """Of class 1, so that the later an image stands, the easier it is for Bright."""
    made = images(20)
    pixels = made.pixels * 0
    for place in range(20):
        pixels[place] = 10 * place
    return dataclasses.replace(made, pixels=pixels, labels=made.labels * 0 + 1)


def test_what_a_teacher_is_surest_of_comes_first() -> None:
    data = brighter_and_brighter()
    losses = image_losses(Bright(), data, PREPROCESS)
    ranking = ranked(losses, torch.from_numpy(data.labels), "easy-first", seed=0)
    assert ranking.tolist() == list(reversed(range(20)))


def test_a_teacher_that_says_nothing_of_an_image_is_refused_with_its_name() -> None:
    network = module()
    with torch.no_grad():
        network.get_parameter("linear.weight").fill_(math.nan)
    with pytest.raises(DivergedError, match="loss of image made/0000 is not finite"):
        image_losses(network, images(3), PREPROCESS)
