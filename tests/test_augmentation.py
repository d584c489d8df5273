"""Augmentations: what each does, against libraries where they do it, and that it depends on image and number alone."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path

import jsonschema
import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor, nn
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as reference

from conftest import REPOSITORY
from paretoboard import taskfile
from paretoboard.augmentations import AUGMENTATIONS, SCHEMA, parse
from paretoboard.errors import InputError, TaskFileError
from paretoboard.locations import tasks_folder
from paretoboard.spec import TrainSettings
from paretoboard.training import train
from paretoboard.training.augmentation import NUMBERS, Chain, augmentation
from paretoboard.training.augmentation.affine import rotations, transformed
from paretoboard.training.augmentation.color import black, blended, grey, mean_grey
from paretoboard.training.augmentation.draws import below, others, uniform, words
from paretoboard.training.augmentation.randaugment import OPERATIONS
from paretoboard.training.feed import Feed
from small_models import PREPROCESS, fingerprint, images, module

SETTINGS = TrainSettings(epochs=3, lr=0.02, batch=32)
FINITE = ("crop", "cutout", "cutout:0.25", "flip", "shift", "shift:0.3")
# With every strength at its default, at its least and at its most.
EVERY = (*AUGMENTATIONS, "brightness:1", "contrast:1", "cutout:1", "noise:0.5", "randaugment:3:0", "randaugment:2:30")
EVERY += ("rotate:0.5", "rotate:180", "saturation:1", "shift:0.01", "shift:0.5")
ANGLES = (-180.0, -33.3, -1.0, 0.0, 0.5, 15.0, 45.0, 90.0, 171.0)


def pixels(count: int, *, size: tuple[int, int] = (32, 32), channels: int = 3) -> Tensor:
    """Smooth images with some noise, so that colours, borders and directions differ."""
    generator = torch.Generator().manual_seed(count)
    coarse = torch.rand((count, channels, 4, 4), generator=generator)
    smooth = nn.functional.interpolate(coarse, size, mode="bilinear", align_corners=False)
    return (smooth * 235 + torch.rand(smooth.shape, generator=generator) * 20).to(torch.uint8)


def numbers(count: int) -> Tensor:
    return torch.randint(NUMBERS, (count,), generator=torch.Generator().manual_seed(count))


def assert_same_pixels(found: Tensor, wanted: Tensor) -> None:
    """But for one in a thousand, which another order of sums may round to the level beside."""
    assert found.dtype == wanted.dtype == torch.uint8
    assert found.shape == wanted.shape
    gaps = (found.int() - wanted.int()).abs()
    assert int(gaps.max()) <= 1
    assert float((gaps > 0).float().mean()) < 0.001


# Names and strengths


def test_a_name_alone_has_its_default_strengths() -> None:
    assert parse("flip") == ("flip", ())
    assert parse("rotate") == parse("rotate:15") == ("rotate", (15.0,))
    assert parse("randaugment") == parse("randaugment:2") == parse("randaugment:2:9") == ("randaugment", (2, 9))
    assert parse("randaugment:1:5.0") == ("randaugment", (1.0, 5.0))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("rotat:15", "unknown augmentation 'rotat'. Did you mean 'rotate'?"),
        ("", "unknown augmentation ''."),
        ("flip:1", "'flip:1': found 1 strengths; 'flip' would be right"),
        ("rotate:1:2", "'rotate:<degrees to either side>' would be right"),
        ("rotate:", "found '' for degrees to either side; more than 0 and at most 180 would be right"),
        ("rotate:-3", "found '-3' for degrees to either side; more than 0 and at most 180 would be right"),
        ("rotate:nan", "found 'nan' for degrees"),
        ("rotate: 5", "found ' 5' for degrees"),
        ("rotate:181", "at most 180"),
        ("rotate:0", "more than 0"),
        ("randaugment:2:9.5", "found '9.5' for magnitude of each; a whole number, at least 0 and at most 30"),
        ("randaugment:0", "found '0' for operations on an image; a whole number, at least 1 and at most 14"),
    ],
)
def test_what_is_wrong_with_a_name_or_a_strength_is_said(text: str, message: str) -> None:
    with pytest.raises(InputError, match=re.escape(message)):
        parse(text)
    with pytest.raises(InputError, match=re.escape(message)):
        augmentation(text)


def test_a_task_file_names_augmentations_with_their_strengths_wherever_something_trains(tmp_path: Path) -> None:
    text = (tasks_folder() / "quick" / "digits.toml").read_text()
    for name in ("train", "test", "calibration"):
        (tmp_path / f"{name}.txt").write_text((tasks_folder() / "quick" / f"{name}.txt").read_text())
    file = tmp_path / "task.toml"

    def load(model: str, step: str) -> taskfile.TaskSpec:
        changed = text.replace('schedule = "onecycle" }', f'schedule = "onecycle", augment = {model} }}')
        file.write_text(changed.replace("epochs = 4, lr = 0.02 }", f"epochs = 4, augment = {step} }}", 1))
        return taskfile.load(file)

    task = load('["rotate:15", "flip"]', '["randaugment:1:5"]')
    assert task.model.train is not None
    assert task.model.train.augment == ("rotate:15", "flip")
    [tuned] = [recipe for recipe in task.recipes if recipe.name == "pruned-30-finetuned"]
    assert tuned.steps[1].parameters["augment"] == ("randaugment:1:5",)
    with pytest.raises(TaskFileError) as caught:
        load('["flip", "rotate:999"]', '["rotte:5"]')
    one, two = map(str, caught.value.problems)
    assert "model.train.augment" in one
    assert "'rotate:999': found '999' for degrees to either side; more than 0 and at most 180 would be right" in one
    assert "recipes.pruned-30-finetuned.steps" in two
    assert "unknown augmentation 'rotte'. Did you mean 'rotate'?" in two


def test_editors_accept_what_is_right() -> None:
    right = [*EVERY, "randaugment:3", "noise:0.05"]
    wrong = ["rotte", "flip:1", "rotate:", "rotate:x", "rotate:1:2", "randaugment:1:2:3", "rotate:15 "]
    schema = jsonschema.Draft202012Validator(json.loads(json.dumps(SCHEMA)))
    assert [text for text in right + wrong if schema.is_valid(text)] == right


def test_the_readme_lists_all_augmentations_with_their_defaults_and_ranges() -> None:
    rows = re.findall(
        r"^\| `([a-z0-9.:]+)` \| (.*?) \| (.*?) \| (.*?) \|$", (REPOSITORY / "README.md").read_text(), re.MULTILINE
    )
    found = {}
    for text, does, strengths, source in rows:
        name, values = parse(text)
        declared = AUGMENTATIONS[name]
        assert values == tuple(strength.default for strength in declared.strengths)
        assert strengths == ("; ".join(f"{one.means}, {one.range}" for one in declared.strengths) or "none")
        found[name] = (does, source)
    assert found == {name: (declared.does, declared.source) for name, declared in AUGMENTATIONS.items()}


# A function of image and number


@pytest.mark.parametrize("size", [(32, 32), (24, 40)])
@pytest.mark.parametrize("channels", [3, 1])
@pytest.mark.parametrize("text", EVERY)
def test_what_becomes_of_an_image_depends_on_its_number_alone(text: str, channels: int, size: tuple[int, int]) -> None:
    made = augmentation(text)
    given = pixels(50, channels=channels, size=size)
    which = numbers(50) % (made.variants(*size) or NUMBERS)
    before = given.clone()
    whole = made(given, which)
    assert whole.shape == given.shape
    assert whole.dtype == torch.uint8
    assert torch.equal(given, before)
    order = torch.randperm(50, generator=torch.Generator().manual_seed(0))[:17]
    assert torch.equal(made(given[order], which[order]), whole[order])
    for place in (0, 49):
        assert torch.equal(made(given[place : place + 1], which[place : place + 1])[0], whole[place])


@pytest.mark.parametrize("text", ["brightness", "contrast", "noise", "randaugment", "rotate", "saturation"])
def test_other_numbers_give_other_images(text: str) -> None:
    made = augmentation(text)
    assert made.variants(32, 32) is None
    same = pixels(1).expand(200, -1, -1, -1)
    different = len({one.numpy().tobytes() for one in made(same, numbers(200))})
    assert different > (120 if text == "randaugment" else 190)
    neighbours = len({one.numpy().tobytes() for one in made(same, torch.arange(200))})
    assert neighbours > (100 if text == "randaugment" else 150)


@pytest.mark.parametrize("text", FINITE)
def test_an_augmentation_makes_as_many_variants_as_it_says(text: str) -> None:
    made = augmentation(text)
    image = torch.randint(1, 256, (1, 3, 12, 16), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    number = made.variants(12, 16)
    assert number is not None
    every = made(image.expand(number, -1, -1, -1), torch.arange(number))
    assert every.shape == (number, 3, 12, 16)
    assert len({one.numpy().tobytes() for one in every}) == number


def test_every_combination_of_augmentations_is_one_variant() -> None:
    feed = Feed(images(2), dataclasses.replace(SETTINGS, augment=("shift", "flip")), PREPROCESS)
    assert feed.variants == 25 * 2
    indices = torch.zeros(50, dtype=torch.int64)
    made = feed.take(indices, torch.arange(50)).images
    assert len({one.numpy().tobytes() for one in made}) == 50
    plain = Feed(images(2), SETTINGS, PREPROCESS)
    assert plain.variants == 1
    untouched = plain.take(torch.arange(2), torch.zeros(2, dtype=torch.int64)).images
    assert torch.equal(made[12], untouched[0])  # not moved, not mirrored


def test_combinations_without_a_finite_number_draw_each_part_on_its_own() -> None:
    chain = Chain([augmentation("flip"), augmentation("rotate"), augmentation("flip")])
    assert chain.variants(32, 32) is None
    assert Chain([augmentation("cutout")] * 7).variants(32, 32) is None  # 2**70 of them
    assert Chain([augmentation("cutout")] * 6).variants(32, 32) == 2**60
    which = numbers(2000)
    flips = [others(which, place) % 2 for place in (0, 2)]
    image = pixels(1).expand(2000, -1, -1, -1)
    by_hand = augmentation("flip")(image, flips[0])
    by_hand = augmentation("rotate")(by_hand, others(which, 1))
    assert torch.equal(chain(image, which), augmentation("flip")(by_hand, flips[1]))
    table = np.histogram2d(flips[0].numpy(), flips[1].numpy(), bins=2)[0]
    assert stats.chisquare(table.ravel()).pvalue > 1e-3  # half of them mirrored, and independently


def test_the_same_seed_gives_the_same_epoch_wherever_it_is_taken_up() -> None:
    feed = Feed(
        images(100), dataclasses.replace(SETTINGS, augment=("crop", "rotate", "randaugment", "noise")), PREPROCESS
    )
    assert feed.variants is None
    _, drawn = feed.order(1, 0)
    assert int(drawn.max()) > 0.9 * NUMBERS
    whole, again = list(feed.epoch(1, 0)), list(feed.epoch(1, 0))
    (last,) = feed.epoch(1, 0, after=2)
    for one, other in ((whole[0], again[0]), (whole[2], last)):
        assert torch.equal(one.images, other.images)
    assert not torch.equal(whole[0].images, next(feed.epoch(2, 0)).images)
    assert not torch.equal(whole[0].images, next(feed.epoch(1, 1)).images)


def test_an_interrupted_training_with_every_augmentation_goes_on_to_the_same_bits(tmp_path: Path) -> None:
    class KilledError(Exception):
        pass

    def kill(done: float, text: str) -> None:
        if done >= 0.5:
            raise KilledError

    def trained(**options: object) -> str:
        network = module()
        settings = dataclasses.replace(SETTINGS, augment=tuple(AUGMENTATIONS), mix="cutmix")
        train(network, images(64), settings, preprocess=PREPROCESS, seed=1, threads=1, **options)  # type: ignore[arg-type]
        return fingerprint(network)

    kept: dict[str, object] = {"checkpoint": tmp_path / "t.pt", "checkpoint_every_s": 0.0}
    with pytest.raises(KilledError):
        trained(**kept, progress=kill)
    shares: list[float] = []
    assert trained(**kept, progress=lambda done, text: shares.append(done)) == trained()
    assert min(shares) >= 0.5


# What each does


def test_flip_mirrors_and_crop_moves_with_black_around() -> None:
    given = pixels(81).clamp(min=1)
    flipped = augmentation("flip")(given[:2], torch.tensor([0, 1]))
    assert torch.equal(flipped, torch.stack([given[0], given[1].flip(-1)]))
    cropped = augmentation("crop")(given, torch.arange(81))
    padded = nn.functional.pad(given, (4, 4, 4, 4))
    for number, image in enumerate(cropped):
        down, right = divmod(number, 9)
        assert torch.equal(image, padded[number, :, down : down + 32, right : right + 32])


@pytest.mark.parametrize("size", [(32, 32), (20, 30)])
def test_shift_is_torchvision_s_affine_translation(size: tuple[int, int]) -> None:
    y, x = size[0] // 5, size[1] // 5
    made = augmentation("shift:0.2")
    number = made.variants(*size)
    assert number == (2 * y + 1) * (2 * x + 1)
    given = pixels(number, size=size)
    for place, image in enumerate(made(given, torch.arange(number))):
        row, column = divmod(place, 2 * x + 1)
        moved = reference.affine(given[place], angle=0, translate=[x - column, y - row], scale=1, shear=[0, 0])
        assert torch.equal(image, moved)


@pytest.mark.parametrize(("text", "half"), [("cutout", 8), ("cutout:0.25", 4)])
def test_cutout_is_torchvision_s_erasing(text: str, half: int) -> None:
    given = pixels(1).clamp(min=1).expand(32 * 32, -1, -1, -1)
    for place, image in enumerate(augmentation(text)(given, torch.arange(32 * 32))):
        row, column = divmod(place, 32)
        top, left = max(row - half, 0), max(column - half, 0)
        height, width = min(row + half, 32) - top, min(column + half, 32) - left
        wanted = reference.erase(given[place], top, left, height, width, torch.zeros(1, dtype=torch.uint8))
        assert torch.equal(image, wanted)


@pytest.mark.parametrize("size", [(32, 32), (24, 40)])
def test_rotation_is_torchvision_s(size: tuple[int, int]) -> None:
    given = pixels(len(ANGLES), size=size)
    found = transformed(given, rotations(torch.tensor(ANGLES)))
    for image, turned, angle in zip(given, found, ANGLES, strict=True):
        # A hair beside it, since torchvision moves whole pixels where it can at multiples of 90 degrees.
        wanted = reference.rotate(image, angle + 1e-5, interpolation=v2.InterpolationMode.BILINEAR)
        assert_same_pixels(turned, wanted)


def test_rotation_draws_angles_evenly_up_to_its_strength_to_either_side() -> None:
    given, which = pixels(500), numbers(500)
    angles = (2 * uniform(which, 0) - 1) * 40
    assert torch.equal(augmentation("rotate:40")(given, which), transformed(given, rotations(angles)))
    assert stats.kstest(angles.numpy(), stats.uniform(-40, 80).cdf).pvalue > 1e-3


@pytest.mark.parametrize("factor", [0.0, 0.317, 1.0, 1.137, 2.0])  # no whole level times them ends on a half
@pytest.mark.parametrize(
    ("plain", "wanted"),
    [
        (black, reference.adjust_brightness),
        (mean_grey, reference.adjust_contrast),
        (grey, reference.adjust_saturation),
    ],
)
@pytest.mark.parametrize("channels", [3, 1])
def test_colour_is_torchvision_s(plain, wanted, factor: float, channels: int) -> None:  # type: ignore[no-untyped-def]
    """As it is for floats: for whole levels torchvision cuts off the fractions, of greys on the way as well."""
    given = pixels(20, channels=channels)
    found = blended(given, plain(given), torch.full((20,), factor))
    assert_same_pixels(found, (wanted(given / 255, factor) * 255).round().to(torch.uint8))


@pytest.mark.parametrize("name", ["brightness", "contrast", "saturation"])
def test_colour_draws_factors_evenly_about_one(name: str) -> None:
    given, which = pixels(300), numbers(300)
    factors = 1 + (2 * uniform(which, 0) - 1) * 0.25
    plain = {"brightness": black, "contrast": mean_grey, "saturation": grey}[name]
    assert torch.equal(augmentation(f"{name}:0.25")(given, which), blended(given, plain(given), factors))
    assert stats.kstest(factors.numpy(), stats.uniform(0.75, 0.5).cdf).pvalue > 1e-3


@pytest.mark.parametrize("share", [0.05, 0.1])
def test_noise_has_the_moments_that_it_should(share: float) -> None:
    plain = torch.full((100, 3, 32, 32), 128, dtype=torch.uint8)
    noise = augmentation(f"noise:{share}")(plain, numbers(100)).double().numpy() - 128
    every = noise.ravel()
    error = 1 / np.sqrt(every.size)
    rounding = 1 / 12  # the variance of what rounding to whole levels adds
    assert abs(every.mean()) < 4 * error * share * 255
    assert every.std() == pytest.approx(np.sqrt((share * 255) ** 2 + rounding), rel=4 * error / np.sqrt(2))
    assert abs(stats.skew(every)) < 4 * error * np.sqrt(6)
    assert abs(stats.kurtosis(every)) < 4 * error * np.sqrt(24)
    for one, other in (
        (noise[:, 0], noise[:, 1]),  # channels
        (noise[:-1], noise[1:]),  # images
        (noise[..., :-1], noise[..., 1:]),  # neighbours
    ):
        assert abs(np.corrcoef(one.ravel(), other.ravel())[0, 1]) < 4 / np.sqrt(one.size)


def test_noise_is_cut_off_at_black_and_white() -> None:
    for level in (0, 255):
        given = torch.full((20, 3, 32, 32), level, dtype=torch.uint8)
        gaps = (augmentation("noise:0.1")(given, numbers(20)).double() - level).abs()
        assert float((gaps == 0).double().mean()) == pytest.approx(
            0.5 + 0.5 / (0.1 * 255) / np.sqrt(2 * np.pi), abs=0.02
        )
        # Of the half that is not cut off, the mean of a folded normal distribution.
        assert float(gaps.mean()) == pytest.approx(0.1 * 255 / np.sqrt(2 * np.pi), rel=0.02)


@pytest.mark.parametrize("channels", [3, 1])
@pytest.mark.parametrize("magnitude", [0, 9, 22, 30])
@pytest.mark.parametrize("name", list(OPERATIONS))
def test_every_operation_of_randaugment_is_torchvision_s(name: str, magnitude: int, channels: int) -> None:
    """But that blending rounds where torchvision cuts off, which may differ by a level, by two where greys are cut."""
    theirs = v2.RandAugment(interpolation=v2.InterpolationMode.BILINEAR)
    magnitudes, signed = theirs._AUGMENTATION_SPACE[name]
    given = pixels(10, size=(24, 32), channels=channels)
    for sign in (1, -1):
        strength = magnitudes(31, 24, 32)
        strength = 0.0 if strength is None else float(strength[magnitude]) * (sign if signed else 1)
        wanted = theirs._apply_image_or_video_transform(given, name, strength, theirs.interpolation, {})
        found = OPERATIONS[name](given, torch.full((10,), sign), magnitude / 30)
        if name in ("Brightness", "Color", "Contrast"):
            assert int((found.int() - wanted.int()).abs().max()) <= (1 if name == "Brightness" else 2)
        else:
            assert_same_pixels(found, wanted)


def test_the_operations_are_those_of_torchvision_s_randaugment() -> None:
    assert list(OPERATIONS) == list(v2.RandAugment._AUGMENTATION_SPACE)


def test_randaugment_applies_drawn_operations_one_after_the_other() -> None:
    which, given = numbers(60), pixels(60)
    found = augmentation("randaugment:2:9")(given, which)
    table = list(OPERATIONS.values())
    for place in range(60):
        number, image = which[place : place + 1], given[place : place + 1]
        for turn in (0, 1):
            operation = table[int(below(14, number, 2 * turn))]
            image = operation(image, 1 - 2 * below(2, number, 2 * turn + 1), 0.3)
        assert torch.equal(image[0], found[place])
    drawn = below(14, numbers(14_000), 0)
    assert stats.chisquare(np.bincount(drawn.numpy(), minlength=14)).pvalue > 1e-3


# Draws


def test_words_are_those_of_splitmix64() -> None:
    """The first five for the seed 1234567, as Rosetta Code's many implementations agree on them."""
    known = [
        6457827717110365317,
        3203168211198807973,
        9817491932198370423,
        4593380528125082431,
        16408922859458223821,
    ]
    assert words(torch.tensor([1234567]), 0, 5).tolist() == [known]


def test_draws_of_different_lanes_and_numbers_are_independent_and_even() -> None:
    which = torch.arange(5000)
    one, two = uniform(which, 0).numpy(), uniform(which, 1).numpy()
    assert one.dtype == np.float32
    assert stats.kstest(one, "uniform").pvalue > 1e-3
    for other in (two, uniform(which + 1, 0).numpy(), uniform(others(which, 0), 0).numpy()):
        assert abs(np.corrcoef(one, other)[0, 1]) < 4 / np.sqrt(5000)
    assert int(others(which, 3).min()) >= 0
