"""The training loop: it learns, repeats to the bit, survives being killed, and says how it goes."""

from __future__ import annotations

import dataclasses
import os
import re
import subprocess
import sys
from itertools import count
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import torch
from torch import nn

from paretoboard.datasets.preprocess import preprocess_images
from paretoboard.errors import DataError, DivergedError, InputError, UnknownNameError
from paretoboard.spec import Preprocess, TrainSettings
from paretoboard.training import TrainResult, train
from paretoboard.training.feed import Feed
from small_models import PREPROCESS, candidate, fingerprint, images

SETTINGS = TrainSettings(epochs=3, lr=0.02, batch=32, augment=("crop", "flip"))


def fresh(seed: int = 0) -> nn.Module:
    module = candidate(seed=seed).module
    assert module is not None
    return module


def run(module: nn.Module, settings: TrainSettings = SETTINGS, **options: object) -> TrainResult:
    arguments: dict[str, object] = {"preprocess": PREPROCESS, "seed": 1, "threads": 1, **options}
    return train(module, images(100), settings, **arguments)  # type: ignore[arg-type]


class KilledError(Exception):
    """Stands for a kill."""


def interrupt_at(share: float) -> object:
    def progress(done: float, text: str) -> None:
        if done >= share:
            raise KilledError

    return progress


def test_training_learns_what_can_be_learned() -> None:
    module = fresh()
    result = train(
        module, images(256), dataclasses.replace(SETTINGS, epochs=4, augment=()), preprocess=PREPROCESS, seed=0
    )
    others = images(200, seed=9)
    with torch.inference_mode():
        guesses = module(torch.from_numpy(preprocess_images(others.pixels, PREPROCESS))).argmax(1).numpy()
    assert result.losses[-1] < 0.6 * result.losses[0]
    assert (guesses == others.labels).mean() > 0.5
    assert not module.training


@pytest.mark.parametrize("memory_format", ["contiguous", "channels_last"])
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_the_same_training_gives_the_same_bits(
    precision: Literal["float32", "bfloat16"], memory_format: Literal["contiguous", "channels_last"]
) -> None:
    settings = dataclasses.replace(SETTINGS, precision=precision, memory_format=memory_format, epochs=1)
    one, two, other = fresh(), fresh(), fresh()
    run(one, settings)
    run(two, settings)
    run(other, settings, seed=2)
    assert fingerprint(one) == fingerprint(two) != fingerprint(other)


@pytest.mark.parametrize("schedule", ["constant", "cosine", "onecycle"])
@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_an_interrupted_training_goes_on_to_the_same_bits(
    tmp_path: Path,
    schedule: Literal["constant", "cosine", "onecycle"],
    optimizer: Literal["sgd", "adamw"],
) -> None:
    settings = dataclasses.replace(SETTINGS, schedule=schedule, optimizer=optimizer)
    straight, broken, resumed = fresh(), fresh(), fresh()
    whole = run(straight, settings)
    often: dict[str, object] = {"checkpoint": tmp_path / "training.pt", "checkpoint_every_s": 0.0}
    with pytest.raises(KilledError):  # at the second of three steps of the second epoch, whose first is kept
        run(broken, settings, **often, progress=interrupt_at(0.5))
    shares: list[float] = []
    rest = run(resumed, settings, **often, progress=lambda done, text: shares.append(done))
    assert fingerprint(resumed) == fingerprint(straight)
    assert rest.losses == whole.losses
    assert rest.images_seen == whole.images_seen
    assert shares == [pytest.approx(step / 9) for step in range(5, 10)]
    assert [path.name for path in tmp_path.iterdir()] == ["training.pt"]


def test_what_a_module_draws_itself_goes_on_after_an_interruption(tmp_path: Path) -> None:
    def dropping() -> nn.Module:
        return nn.Sequential(fresh(), nn.Dropout(0.5))

    straight, broken, resumed = dropping(), dropping(), dropping()
    run(straight)
    with pytest.raises(KilledError):
        run(broken, checkpoint=tmp_path / "t.pt", checkpoint_every_s=0.0, progress=interrupt_at(0.5))
    run(resumed, checkpoint=tmp_path / "t.pt")
    assert fingerprint(resumed) == fingerprint(straight)


def test_a_killed_process_goes_on_in_another_to_the_same_bits(tmp_path: Path) -> None:
    """SIGKILL while a student learns from a teacher whose answers were kept."""
    program = """
import pathlib, sys
import torch
from paretoboard.techniques.distill import LogitsDistillation
from paretoboard.training import train
from paretoboard.training.distillation import asked_once
from paretoboard.training.feed import Feed
from small_models import PREPROCESS, fingerprint, images, module
torch.set_num_threads(1)
scratch = pathlib.Path(sys.argv[1])
scratch.mkdir(exist_ok=True)
def progress(done, text):
    print(f"{done:.3f} {text}", flush=True)
    if done >= 0.5 and sys.argv[2] == "killed":
        sys.stdin.read()  # waits for the kill
made = LogitsDistillation(epochs=3, batch=16, augment=("flip",), schedule="onecycle")
settings, data, student = made.settings(3, None), images(64), module()
with made.lesson(student, module(seed=9), 0.0) as lesson:
    feed = Feed(data, settings, PREPROCESS)
    lesson.teaching = asked_once(lesson.teaching, feed, epochs=3, folder=scratch, asks="", progress=progress)
    train(student, data, settings, preprocess=PREPROCESS, seed=1, checkpoint=scratch / "training.pt",
          checkpoint_every_s=0.0, loss=lesson, progress=progress)
print(fingerprint(student))
"""
    told = {}
    for scratch, how in (("a", "straight"), ("b", "killed"), ("b", "resumed")):
        command = [sys.executable, "-c", program, str(tmp_path / scratch), how]
        environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent)}
        with subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        ) as process:
            assert process.stdout is not None
            lines = []
            for line in process.stdout:
                lines.append(line.strip())
                if how == "killed" and line.startswith("0.5"):
                    process.kill()
        told[how] = lines
    assert process.returncode == 0
    assert told["resumed"][-1] == told["straight"][-1]
    assert any("asking" in line for line in told["straight"])
    assert not any("asking" in line for line in told["resumed"])
    assert len(told["resumed"]) == 1 + 12 - 5  # of 12 steps the first 5 were kept: the sixth was waited in


def test_a_finished_training_is_not_done_again(tmp_path: Path) -> None:
    first, again = fresh(), fresh()
    run(first, checkpoint=tmp_path / "training.pt")
    run(again, checkpoint=tmp_path / "training.pt", progress=interrupt_at(0))
    assert fingerprint(first) == fingerprint(again)


@pytest.mark.parametrize("change", [{"seed": 2}, {"settings": dataclasses.replace(SETTINGS, lr=0.03)}, {"weights": 5}])
def test_the_checkpoint_of_another_training_is_not_taken_up(tmp_path: Path, change: dict[str, object]) -> None:
    settings = change.get("settings", SETTINGS)
    weights, seed = change.get("weights", 0), change.get("seed", 1)
    assert isinstance(settings, TrainSettings)
    assert isinstance(weights, int)
    run(fresh(), checkpoint=tmp_path / "training.pt")
    straight, beside = fresh(weights), fresh(weights)
    run(straight, settings, seed=seed)
    run(beside, settings, seed=seed, checkpoint=tmp_path / "training.pt")
    assert fingerprint(straight) == fingerprint(beside)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 not a zip", b"\x80\x04K\x01."])
def test_a_damaged_checkpoint_is_begun_anew(tmp_path: Path, content: bytes) -> None:
    checkpoint = tmp_path / "training.pt"
    checkpoint.write_bytes(content)
    straight, anew = fresh(), fresh()
    run(straight)
    run(anew, checkpoint=checkpoint)
    assert fingerprint(straight) == fingerprint(anew)


def test_checkpoints_are_written_no_more_often_than_asked(tmp_path: Path) -> None:
    """A clock that adds a second with each look: three looks a step."""
    ticks, seen = count(), set()

    def look(done: float, text: str) -> None:
        if (tmp_path / "t.pt").exists():
            seen.add((tmp_path / "t.pt").stat().st_ino)

    def clock() -> float:
        return float(next(ticks))

    run(fresh(), checkpoint=tmp_path / "t.pt", checkpoint_every_s=4.0, progress=look, clock=clock)
    assert len(seen) == 2  # after steps 4 and 8 of 9


def test_progress_says_where_training_is_how_fast_and_how_long_it_takes() -> None:
    ticks = count()
    told: list[str] = []
    run(fresh(), progress=lambda done, text: told.append(text), clock=lambda: 2.0 * next(ticks))
    assert [text.split(",")[0] for text in told] == [f"epoch {epoch} of 3" for epoch in (1, 1, 1, 2, 2, 2, 3, 3, 3)]
    assert told[0].endswith(" 16 images/s, 0:16 left")  # 32 images in 2 s, eight more steps
    assert told[-1].endswith(" 16 images/s, 0:00 left")
    assert re.search(r"loss \d\.\d{3}, ", told[4])


def test_a_loss_that_is_not_a_number_names_epoch_and_step() -> None:
    with pytest.raises(DivergedError, match=r"epoch \d, step \d of 3: the loss is (nan|inf)"):
        run(fresh(), dataclasses.replace(SETTINGS, lr=1e30))


def test_weights_that_are_zero_stay_zero_when_asked() -> None:
    pruned, free = fresh(), fresh()
    masks = {}
    for module in (pruned, free):
        for name, weight in module.named_parameters():
            if name.endswith("conv1.weight"):
                masks[name] = torch.rand(weight.shape, generator=torch.Generator().manual_seed(0)) < 0.5
                weight.data[masks[name]] = 0
    run(pruned, keep_zeros=True)
    run(free)
    for name, mask in masks.items():
        assert bool((pruned.get_parameter(name)[mask] == 0).all())
        assert bool((pruned.get_parameter(name)[~mask] != 0).all())
        assert bool((free.get_parameter(name)[mask] != 0).any())


def test_training_leaves_generator_threads_and_memory_format_as_they_were() -> None:
    module = fresh()
    before, threads = torch.get_rng_state(), torch.get_num_threads()
    run(module, dataclasses.replace(SETTINGS, epochs=1), threads=2)
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.get_num_threads() == threads
    assert all(parameter.is_contiguous() for parameter in module.parameters())


def test_images_seen_counts_repeats_and_what_filled_no_batch_is_left_out() -> None:
    assert run(fresh()).images_seen == 3 * 3 * 32  # of 100 images, batches of 32
    assert run(fresh(), dataclasses.replace(SETTINGS, batch=500)).images_seen == 3 * 100


def test_training_is_like_plain_torch() -> None:
    """One epoch without augmentation against the textbook loop, on the same order of images."""
    settings = TrainSettings(epochs=1, lr=0.02, batch=25, schedule="constant", label_smoothing=0.1)
    ours, theirs = fresh(), fresh().to(memory_format=torch.channels_last)
    run(ours, settings)
    data = images(100)
    pixels = torch.from_numpy(preprocess_images(data.pixels, PREPROCESS)).to(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(theirs.parameters(), 0.02, momentum=0.9, weight_decay=5e-4, nesterov=True)
    loss_of = nn.CrossEntropyLoss(label_smoothing=0.1)
    theirs.train()
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # as `run` does: another order of sums grows to 0.003 within four steps
    order, _ = Feed(data, settings, PREPROCESS).order(1, 0)
    for chosen in order.split(25):
        optimizer.zero_grad()
        loss_of(theirs(pixels[chosen]), torch.from_numpy(data.labels)[chosen]).backward()
        optimizer.step()
    torch.set_num_threads(threads)
    for mine, reference in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(mine, reference, rtol=1e-5, atol=1e-6)


def test_an_epoch_shows_every_image_once_in_an_order_of_seed_and_epoch() -> None:
    feed = Feed(images(100), SETTINGS, PREPROCESS)
    order, variants = feed.order(1, 0)
    assert sorted(order.tolist()) == list(range(100))
    assert 0 <= int(variants.min()) < 40
    assert 120 < int(variants.max()) < feed.variants == 162
    for other in (feed.order(1, 1), feed.order(2, 0)):
        assert not torch.equal(order, other[0])
        assert not torch.equal(variants, other[1])
    whole = list(feed.epoch(1, 0))
    assert [len(batch.labels) for batch in whole] == [32, 32, 32]
    (last,) = feed.epoch(1, 0, after=2)
    assert torch.equal(last.images, whole[2].images)
    assert torch.equal(last.labels, torch.from_numpy(images(100).labels)[order[64:96]])


def test_an_unknown_augmentation_is_named() -> None:
    with pytest.raises(UnknownNameError, match="Did you mean 'flip'"):
        run(fresh(), dataclasses.replace(SETTINGS, augment=("flp",)))


def test_no_images_are_an_input_error() -> None:
    with pytest.raises(InputError, match="no images"):
        train(fresh(), images(0), SETTINGS, preprocess=PREPROCESS, seed=0)


def test_preprocessing_is_scale_then_mean_then_std() -> None:
    pixels = images(3).pixels
    unit = preprocess_images(pixels, PREPROCESS)
    mean, std = np.reshape(PREPROCESS.mean, (1, 3, 1, 1)), np.reshape(PREPROCESS.std, (1, 3, 1, 1))
    np.testing.assert_allclose(unit, (pixels / 255 - mean) / std, rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(preprocess_images(pixels, Preprocess(range="byte")), pixels.astype(np.float32))
    assert unit.dtype == np.float32
    with pytest.raises(DataError, match=r"preprocess\.std has 2 values and the images have 3 channels"):
        preprocess_images(pixels, Preprocess(std=(1.0, 2.0)))
