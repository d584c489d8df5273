"""The training loop: it learns, repeats to the bit, survives being killed, and says when it diverges."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import torch
from torch import nn

from paretoboard.datasets.preprocess import preprocess_images
from paretoboard.errors import DataError, DivergedError, InputError, UnknownNameError
from paretoboard.spec import Preprocess, TrainSettings
from paretoboard.training import AUGMENTATIONS, TrainResult, train
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


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_the_same_training_gives_the_same_bits(precision: Literal["float32", "bfloat16"]) -> None:
    settings = dataclasses.replace(SETTINGS, precision=precision, epochs=1)
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
    with pytest.raises(KilledError):  # in the third epoch, two are kept
        run(broken, settings, checkpoint=tmp_path / "training.pt", progress=interrupt_at(0.8))
    shares: list[float] = []
    rest = run(resumed, settings, checkpoint=tmp_path / "training.pt", progress=lambda done, text: shares.append(done))
    assert fingerprint(resumed) == fingerprint(straight)
    assert rest.losses == whole.losses
    assert rest.images_seen == whole.images_seen
    assert min(shares) > 2 / 3
    assert [path.name for path in tmp_path.iterdir()] == ["training.pt"]


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
    torch.manual_seed(1)
    theirs.train()
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # as `run` does: another order of sums grows to 0.003 within four steps
    for chosen in torch.randperm(100).split(25):
        optimizer.zero_grad()
        loss_of(theirs(pixels[chosen]), torch.from_numpy(data.labels)[chosen]).backward()
        optimizer.step()
    torch.set_num_threads(threads)
    for mine, reference in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(mine, reference, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", list(AUGMENTATIONS))
def test_an_augmentation_keeps_shape_and_depends_on_the_seed_alone(name: str) -> None:
    pixels = torch.from_numpy(images(40).pixels)
    untouched = pixels.clone()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        one = AUGMENTATIONS[name](pixels)
        torch.manual_seed(0)
        two = AUGMENTATIONS[name](pixels)
        other = AUGMENTATIONS[name](pixels)
    assert one.shape == pixels.shape
    assert one.dtype == torch.uint8
    assert torch.equal(one, two)
    assert not torch.equal(one, other)
    assert torch.equal(pixels, untouched)


def test_flip_mirrors_about_half_and_crop_only_moves() -> None:
    pixels = torch.randint(1, 256, (400, 3, 16, 16), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        flipped = AUGMENTATIONS["flip"](pixels)
        cropped = AUGMENTATIONS["crop"](pixels)
    same = (flipped == pixels).flatten(1).all(1)
    mirrored = (flipped == pixels.flip(-1)).flatten(1).all(1)
    assert bool((same ^ mirrored).all())
    assert 150 < int(mirrored.sum()) < 250
    padded = nn.functional.pad(pixels, (2, 2, 2, 2))
    places = set()
    for image, around in zip(cropped, padded, strict=True):
        fits = [(y, x) for y in range(5) for x in range(5) if torch.equal(image, around[:, y : y + 16, x : x + 16])]
        assert len(fits) == 1
        places.add(fits[0])
    assert len(places) == 25


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
