"""What the training loop does beside learning: held-out images, budgets, precisions, orders, and where it begins."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from paretoboard.errors import InputError, NotApplicableError, RefusedError
from paretoboard.models import build
from paretoboard.plan import digest, plain
from paretoboard.records import TrainedEpoch
from paretoboard.spec import ModelUse, TrainSettings
from paretoboard.training import FitsImages, TrainResult, train, weights_digest
from paretoboard.training.feed import Feed, split
from paretoboard.training.judging import Best, score
from paretoboard.training.rates import rates
from small_models import PREPROCESS, fingerprint, images, module

SETTINGS = TrainSettings(epochs=3, lr=0.02, batch=16, schedule="onecycle")


class Small(nn.Module):
    """Learns in milliseconds what brightness tells."""

    frozen: tuple[str, ...] = ()

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.conv = nn.Conv2d(3, 8, 5, stride=4, bias=False)
            self.bn = nn.BatchNorm2d(8)
            self.drop = nn.Dropout(0.2)
            self.linear = nn.Linear(8, 10)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.linear(self.drop(torch.relu(self.bn(self.conv(x))).mean((2, 3))))
        return logits


def run(network: nn.Module, settings: TrainSettings = SETTINGS, number: int = 80, **options: Any) -> TrainResult:
    arguments: dict[str, Any] = {"preprocess": PREPROCESS, "seed": 1, "threads": 1, **options}
    return train(network, images(number), settings, **arguments)


def changed(**changes: Any) -> TrainSettings:
    return dataclasses.replace(SETTINGS, **changes)


class KilledError(Exception):
    """Stands for a kill."""


def killed_at(step: int) -> Callable[[float, str], None]:
    steps = count(1)

    def progress(share: float, text: str) -> None:
        if next(steps) == step:
            raise KilledError

    return progress


def timeless(result: TrainResult) -> TrainResult:
    """Without what a clock said."""
    curve = tuple(dataclasses.replace(point, seconds=0.0) for point in result.curve)
    return dataclasses.replace(result, seconds=0.0, seconds_to_target=None, curve=curve)


# Settings of later


def test_settings_of_later_change_no_id_until_they_are_used() -> None:
    use = ModelUse(name="cifar-resnet8", train=TrainSettings(epochs=3, lr=0.1))
    # As it was before there were any of them.
    assert digest(plain(use)) == "88da3ead2d4a134b37f2143a19103b2e21c97249b55ba16ef58d0c16edcf817f"
    other = ModelUse(name="cifar-resnet8", train=TrainSettings(epochs=3, lr=0.1, seconds=60.0))
    assert plain(other.train) == plain(use.train) | {"seconds": 60.0}
    assert TrainSettings(**plain(other.train) | {"augment": ()}) == other.train


@pytest.mark.parametrize(
    ("budget", "fair"), [({}, "images"), ({"seconds": 2.0}, "seconds"), ({"joules": 5.0}, "energy")]
)
def test_the_budget_says_what_is_equal_and_whether_a_training_repeats(budget: dict[str, float], fair: str) -> None:
    settings = changed(**budget)
    assert settings.fair == fair
    assert bool(settings.unrepeatable) == bool(budget)


@pytest.mark.parametrize("schedule", ["constant", "cosine", "onecycle"])
def test_learning_rates_are_those_of_torchs_schedulers(schedule: Any) -> None:
    optimizer = torch.optim.SGD([torch.zeros(1)], 0.3)
    torchs: dict[str, Any] = {
        "constant": lambda: torch.optim.lr_scheduler.ConstantLR(optimizer, factor=1.0),
        "cosine": lambda: torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=20),
        "onecycle": lambda: torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.3, total_steps=20, cycle_momentum=False),
    }
    scheduler = torchs[schedule]()
    wanted = []
    for _ in range(20):
        wanted.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    assert list(rates(changed(schedule=schedule, lr=0.3), 20)) == wanted


# Held-out images


def test_held_out_images_are_balanced_drawn_by_the_seed_and_never_trained_on() -> None:
    labels = torch.from_numpy(images(200).labels)
    trained, held = split(labels, 0.2, 7)
    assert sorted([*trained.tolist(), *held.tolist()]) == list(range(200))
    for label in range(10):
        members = int((labels == label).sum())
        assert int((labels[held] == label).sum()) == round(0.2 * members)
    assert not torch.equal(held, split(labels, 0.2, 8)[1])
    assert torch.equal(held, split(labels, 0.2, 7)[1])
    assert len(split(labels, 0.0, 7)[1]) == 0
    feed = Feed(images(200), changed(held_out=0.2), PREPROCESS, seed=7)
    seen = {int(place) for batch in feed.epoch(7, 0) for place in batch.indices}
    assert seen <= set(trained.tolist())
    assert len(seen) == feed.steps * feed.batch


def test_a_class_of_one_image_is_still_trained_on() -> None:
    trained, held = split(torch.tensor([0, 0, 0, 0, 1]), 0.25, 0)
    assert 4 in trained.tolist()
    assert len(held) == 1


def test_judging_changes_nothing_but_what_is_known() -> None:
    """The same images, with and without a look at those that both don't train on."""
    settings = changed(held_out=0.2)
    judged = Small()
    result = run(judged, settings)
    assert [point.epoch for point in result.curve] == [1, 2, 3]
    assert all(0 <= (point.held_out_top1 or 0) <= 1 and point.held_out_loss for point in result.curve)
    feed = Feed(images(80), settings, PREPROCESS, seed=1)
    assert (result.curve[-1].held_out_top1, result.curve[-1].held_out_loss) == score(judged, feed, settings)
    trained, _ = split(torch.from_numpy(images(80).labels), 0.2, 1)
    assert result.images_seen == 3 * (len(trained) // 16) * 16
    assert run(Small()).curve[-1].held_out_top1 is None


def test_a_planted_curve_stops_after_its_patience_and_keeps_its_best_weights() -> None:
    best, network = Best(changed(held_out=0.1, patience=2)), nn.Linear(1, 1)
    curve: list[TrainedEpoch] = []
    for epoch, top1 in enumerate([0.5, 0.7, 0.6, 0.7, 0.9], 1):
        if best.over:
            break
        nn.init.constant_(network.weight, float(epoch))
        curve.append(TrainedEpoch(epoch=epoch, images_seen=0, seconds=0.0, loss=1.0, held_out_top1=top1))
        best.look(network, curve)
    assert len(curve) == 4  # an equal value is not better
    assert best.epoch == 2
    best.settle(network)
    assert float(network.weight) == 2.0


def test_a_training_that_gets_no_better_stops_early_and_keeps_what_was_best() -> None:
    # A rate that ruins what the first epochs learned.
    settings = changed(epochs=12, lr=2.0, held_out=0.3, patience=2, schedule="constant", batch=8)
    network = Small()
    result = run(network, settings)
    assert result.stopped_at is not None
    assert result.best_epoch is not None
    assert len(result.curve) == result.stopped_at == result.best_epoch + 2 < 12
    feed = Feed(images(80), settings, PREPROCESS, seed=1)
    tops = [point.held_out_top1 for point in result.curve]
    assert score(network, feed, settings)[0] == max(top1 or 0.0 for top1 in tops) == tops[result.best_epoch - 1]
    assert result.weights == weights_digest(network)


@pytest.mark.parametrize("name", ["patience", "target"])
def test_judging_without_images_to_judge_on_is_refused(name: str) -> None:
    with pytest.raises(InputError, match=f"{name} needs images to judge on"):
        run(Small(), changed(**{name: 1}))


def test_the_time_to_target_is_when_it_is_first_reached_and_judging_is_not_counted() -> None:
    ticks = count()
    reached = run(Small(), changed(held_out=0.2, target=1e-9), clock=lambda: float(next(ticks)))
    # Four steps an epoch, a second for each look at the clock: one after each step, two around judging.
    assert [point.seconds for point in reached.curve] == [4.0, 9.0, 14.0]
    assert reached.seconds_to_target == 4.0
    assert reached.target == 1e-9
    missed = run(Small(), changed(held_out=0.2, target=1.0, epochs=1, lr=1e-6))
    assert missed.seconds_to_target is None


# Budgets


class Clock:
    """Moves on by a fixed time at each look."""

    def __init__(self, step_s: float) -> None:
        self.now, self.step_s = 0.0, step_s

    def __call__(self) -> float:
        self.now += self.step_s
        return self.now


def test_a_budget_of_seconds_ends_the_training_when_it_is_used_up() -> None:
    settings = changed(epochs=1000, seconds=12.0, schedule="cosine")
    texts: list[str] = []
    result = run(Small(), settings, clock=Clock(1.0), progress=lambda share, text: texts.append(f"{share:.2f} {text}"))
    assert result.images_seen == 12 * 16
    assert result.seconds == 12.0
    assert result.fair == "seconds"
    # Five steps an epoch: two whole ones, and a part of the third.
    assert [(point.epoch, point.images_seen) for point in result.curve] == [(1, 80), (2, 160), (3, 192)]
    assert texts[5].startswith("0.50 epoch 2 of 1000")
    assert texts[5].endswith("0:06 left")


def test_the_learning_rate_follows_the_share_of_the_budget_that_is_used() -> None:
    """With a budget that is as long as its epochs both are the same training but for the places between two steps."""
    by_epochs, by_seconds = Small(), Small()
    run(by_epochs, changed(schedule="cosine"))
    run(by_seconds, changed(schedule="cosine", seconds=15.0, epochs=30), clock=Clock(1.0))
    for one, other in zip(by_epochs.parameters(), by_seconds.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=0.02, atol=2e-3)


def test_epochs_end_a_training_whose_seconds_are_not_used_up() -> None:
    assert run(Small(), changed(seconds=1e6)).images_seen == 3 * 80


def test_an_interrupted_training_has_what_is_left_of_its_seconds(tmp_path: Path) -> None:
    settings = changed(epochs=1000, seconds=12.0)
    often: dict[str, Any] = {"checkpoint": tmp_path / "t.pt", "checkpoint_every_s": 0.0}
    with pytest.raises(KilledError):
        run(Small(), settings, clock=Clock(1.0), progress=killed_at(5), **often)
    # Four steps were kept, and the seconds until then: one for each look, of which a kept step has two.
    rest = run(Small(), settings, clock=Clock(1.0), **often)
    assert rest.seconds == pytest.approx(12.0, abs=1.0)
    assert 4 <= rest.images_seen // 16 < 12


def test_a_budget_of_energy_counts_what_the_counter_says() -> None:
    used = Clock(2.0)
    result = run(Small(), changed(epochs=1000, joules=20.0), joules=used)
    assert result.images_seen == 10 * 16
    assert result.fair == "energy"


def test_a_budget_of_energy_is_refused_where_nothing_counts_it() -> None:
    with pytest.raises(RefusedError, match="needs a counter"):
        run(Small(), changed(joules=20.0))


def test_two_budgets_are_refused() -> None:
    with pytest.raises(InputError, match="two budgets"):
        run(Small(), changed(seconds=1.0, joules=1.0), joules=Clock(1.0))


# Interruptions


@pytest.mark.parametrize("step", [1, 4, 5, 7, 12])
def test_with_all_there_is_to_keep_an_interrupted_training_ends_with_the_same_bits(step: int, tmp_path: Path) -> None:
    """Best weights, patience, curve, alternate flips, mixing and penalties; after a step, an epoch, and in between."""
    settings = changed(
        epochs=4,
        lr=0.2,
        held_out=0.2,
        patience=2,
        target=0.2,
        augment=("flip",),
        alternate_flip=True,
        mix="cutmix",
        l1=1e-4,
        l2=1e-3,
    )
    often: dict[str, Any] = {"checkpoint": tmp_path / "t.pt", "checkpoint_every_s": 0.0}
    straight, resumed = Small(), Small()
    whole = run(straight, settings)
    with pytest.raises(KilledError):
        run(Small(), settings, progress=killed_at(step), **often)
    rest = run(resumed, settings, **often)
    assert fingerprint(resumed) == fingerprint(straight)
    assert timeless(rest) == timeless(whole)


def test_a_training_that_stopped_early_is_not_taken_up_again(tmp_path: Path) -> None:
    settings = changed(epochs=12, lr=2.0, held_out=0.3, patience=2, schedule="constant", batch=8)
    first, again = Small(), Small()
    whole = run(first, settings, checkpoint=tmp_path / "t.pt")
    rest = run(again, settings, checkpoint=tmp_path / "t.pt", progress=killed_at(1))
    assert whole.stopped_at is not None
    assert timeless(rest) == timeless(whole)
    assert fingerprint(again) == fingerprint(first)


def test_another_curriculum_takes_up_no_checkpoint(tmp_path: Path) -> None:
    settings = changed(curriculum="easy-first", pacing_start=0.3)
    easy, hard = torch.arange(80.0), torch.arange(80.0).flip(0)
    run(Small(), settings, difficulty=easy, checkpoint=tmp_path / "t.pt")
    beside, alone = Small(), Small()
    run(beside, settings, difficulty=hard, checkpoint=tmp_path / "t.pt")
    run(alone, settings, difficulty=hard)
    assert fingerprint(beside) == fingerprint(alone)


# Precision


def run_in_float16(network: nn.Module, settings: TrainSettings) -> TrainResult:
    """Skips the test on a machine that says that it can't."""
    try:
        return run(network, dataclasses.replace(settings, precision="float16"))
    except NotApplicableError as error:
        pytest.skip(str(error))


def test_float16_trains_like_float32_where_the_machine_has_it() -> None:
    half, whole = Small(), Small()
    wanted = run(whole, changed(epochs=1))
    result = run_in_float16(half, changed(epochs=1))
    assert result.losses[0] == pytest.approx(wanted.losses[0], rel=0.02)
    for one, other in zip(half.parameters(), whole.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=0.05, atol=5e-3)
        assert one.dtype == torch.float32


def test_the_scale_of_float16s_loss_is_taken_up_too(tmp_path: Path) -> None:
    settings = changed(precision="float16")
    straight, resumed = Small(), Small()
    run_in_float16(straight, settings)
    often: dict[str, Any] = {"checkpoint": tmp_path / "t.pt", "checkpoint_every_s": 0.0}
    with pytest.raises(KilledError):
        run(Small(), settings, progress=killed_at(7), **often)
    run(resumed, settings, **often)
    assert fingerprint(resumed) == fingerprint(straight)


# Orders


def test_alternate_flips_mirror_each_image_in_every_second_epoch() -> None:
    settings = changed(augment=("shift", "flip", "crop"), alternate_flip=True)
    feed = Feed(images(80), settings, PREPROCESS, seed=1)
    places = 25  # of "shift" before it
    mirrored = torch.empty((4, 80), dtype=torch.int64)
    moved = set()
    for epoch in range(4):
        order, variants = feed.order(1, epoch)
        mirrored[epoch, order] = variants // places % 2
        assert int(variants.max()) < 25 * 2 * 81
        moved.add(int(variants[0] % places))
    assert torch.equal(mirrored[0], mirrored[2])
    assert torch.equal(mirrored[1], 1 - mirrored[0])
    assert torch.equal(mirrored[3], mirrored[1])
    assert 20 < int(mirrored[0].sum()) < 60
    assert len(moved) > 1


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"alternate_flip": True}, "needs 'flip'"),
        ({"curriculum": "easy-first"}, "how hard each image is"),
        ({"curriculum": "random", "seconds": 9.0}, "counted in steps"),
    ],
)
def test_orders_that_can_t_be_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        run(Small(), changed(**changes))


def test_a_curriculum_begins_with_what_is_easy_and_shows_equally_many_images() -> None:
    settings = changed(epochs=4, curriculum="easy-first", pacing_start=0.25, pacing_increase=2.0, pacing_lengths=(0.5,))
    data = images(80)
    difficulty = torch.arange(80.0)
    feed = Feed(data, settings, PREPROCESS, seed=1, difficulty=difficulty)
    labels = torch.from_numpy(data.labels)
    first = torch.cat([batch.indices for batch in feed.epoch(1, 0)])
    last = torch.cat([batch.indices for batch in feed.epoch(1, 3)])
    assert len(first) == len(last) == 80
    # About the easiest quarter of each class.
    shares = [float((difficulty[labels == label] <= difficulty[place]).float().mean())
              for place in first for label in [int(labels[place])]]  # fmt: skip
    assert max(shares) < 0.5
    assert len(set(last.tolist())) > len(set(first.tolist()))
    assert run(Small(), settings, difficulty=difficulty).images_seen == run(Small(), changed(epochs=4)).images_seen


def test_a_curriculum_ranks_only_what_is_trained_on() -> None:
    settings = changed(curriculum="hard-first", held_out=0.25, pacing_start=0.5)
    feed = Feed(images(80), settings, PREPROCESS, seed=1, difficulty=torch.arange(80.0))
    seen = {int(place) for epoch in range(3) for batch in feed.epoch(1, epoch) for place in batch.indices}
    assert not seen & set(feed.held_out.tolist())


# Where training begins, and what it leaves alone


def test_what_needs_no_gradient_stays_and_so_do_its_statistics() -> None:
    network = Small()
    for layer in (network.conv, network.bn):
        layer.requires_grad_(False)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    run(network, changed(held_out=0.1))
    after = network.state_dict()
    same = {name for name in before if torch.equal(before[name], after[name])}
    assert same == {name for name in before if name.startswith(("conv", "bn"))}


def test_what_a_network_names_as_frozen_stays_while_its_batch_norm_learns_statistics() -> None:
    class Fixed(Small):
        frozen = ("bn.weight", "not.there")

    network = Fixed()
    run(network)
    assert torch.equal(network.bn.weight, torch.ones(8))
    assert bool((network.bn.bias != 0).all())
    assert bool((network.bn.running_mean != 0).any())  # type: ignore[union-attr]


def test_a_network_is_fitted_to_its_images_before_the_first_step_and_never_again() -> None:
    network = build("cifar-airbench-small", 10)
    assert isinstance(network, FitsImages)
    run(network, changed(epochs=1))
    assert bool(network.whitened)  # type: ignore[arg-type]
    first = network.get_parameter("whiten.weight").clone()
    run(network, changed(epochs=1), 40)
    assert torch.equal(network.get_parameter("whiten.weight"), first)
    assert not isinstance(module(), FitsImages)


def patches_of(network: nn.Module, given: Tensor) -> Iterator[Tensor]:
    said = nn.functional.conv2d(given, network.get_parameter("whiten.weight"))  # without its bias
    yield said[:, :12].permute(1, 0, 2, 3).flatten(1)
    yield said[:, 12:].permute(1, 0, 2, 3).flatten(1)


def test_the_first_layer_of_airbench_whitens_patches_both_ways() -> None:
    given = torch.rand(300, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    given = given + given.mean(1, keepdim=True) + nn.functional.avg_pool2d(given, 3, 1, 1)  # channels and places alike
    network = build("cifar-airbench", 10)
    with torch.no_grad():
        network.fit_images(given)  # type: ignore[operator]
        one, other = patches_of(network, given)
    moments = one.double() @ one.double().T / one.shape[1]
    torch.testing.assert_close(moments, torch.eye(12, dtype=torch.float64), rtol=0.0, atol=0.05)
    torch.testing.assert_close(one, -other)


def test_an_interrupted_training_of_a_fitted_network_ends_with_the_same_bits(tmp_path: Path) -> None:
    def fresh() -> nn.Module:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            return build("cifar-airbench-small", 10)

    settings = changed(epochs=1, precision="bfloat16")
    straight, resumed = fresh(), fresh()
    run(straight, settings, 48)
    often: dict[str, Any] = {"checkpoint": tmp_path / "t.pt", "checkpoint_every_s": 0.0}
    with pytest.raises(KilledError):
        run(fresh(), settings, 48, progress=killed_at(2), **often)
    run(resumed, settings, 48, **often)
    assert fingerprint(resumed) == fingerprint(straight)
