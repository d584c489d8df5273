"""Resizing and cropping: torchvision's own to the bit, and only what gives every picture the same size."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from paretoboard import datasets, geometry
from paretoboard.datasets.cifar10 import Cifar10
from paretoboard.datasets.decoding import fit, planes
from paretoboard.datasets.digits import Digits
from paretoboard.errors import DataError
from paretoboard.plan import plain
from paretoboard.spec import Preprocess
from pictures import pixels

SIDES = st.integers(1, 90)


@settings(max_examples=60)
@given(SIDES, SIDES, st.integers(8, 40), st.integers(1, 8), st.sampled_from(["bilinear", "bicubic"]), st.booleans())
def test_pictures_are_resized_and_cropped_as_torchvision_does(
    height: int, width: int, resize: int, crop: int, interpolation: str, squash: bool
) -> None:
    from torchvision.transforms import v2

    picture = Image.fromarray(pixels(height, width))
    preprocess = Preprocess(resize=resize, crop=crop, interpolation=interpolation, squash=squash)
    side = (resize, resize) if squash else resize
    expected = v2.CenterCrop(crop)(v2.Resize(side, v2.InterpolationMode(interpolation))(picture))
    found = fit(picture, preprocess)
    assert found.size == expected.size == (crop, crop)
    assert (np.asarray(found) == np.asarray(expected)).all()
    assert geometry.output_size((height, width), preprocess) == (crop, crop)


def test_the_long_side_keeps_its_proportion_rounded_down() -> None:
    preprocess = Preprocess(resize=256)
    assert geometry.output_size((375, 500), preprocess) == (256, 341)
    assert geometry.output_size((500, 375), preprocess) == (341, 256)
    assert geometry.output_size((227, 227), preprocess) == (256, 256)
    assert fit(Image.fromarray(pixels(375, 500)), preprocess).size == (341, 256)


@pytest.mark.parametrize(
    ("preprocess", "size"),
    [
        (Preprocess(), None),
        (Preprocess(resize=64), None),
        (Preprocess(resize=64, crop=32), (32, 32)),
        (Preprocess(crop=32), (32, 32)),
        (Preprocess(resize=64, squash=True), (64, 64)),
        (Preprocess(resize=64, squash=True, crop=32), (32, 32)),
    ],
)
def test_a_size_is_fixed_by_a_crop_or_by_squashing(preprocess: Preprocess, size: tuple[int, int] | None) -> None:
    assert geometry.fixed_size(preprocess) == size


def test_a_picture_smaller_than_the_crop_is_refused_with_both_sizes() -> None:
    with pytest.raises(DataError, match="60 x 40 pixels can't be cropped to 48 x 48: a larger 'resize'"):
        fit(Image.fromarray(pixels(40, 60)), Preprocess(crop=48))


def test_a_picture_that_resizing_would_make_huge_is_refused_before_that() -> None:
    with pytest.raises(DataError, match="50,000 x 1 pixels: with a short side of 256 the long one would be 12,800,000"):
        fit(Image.new("RGB", (50_000, 1)), Preprocess(resize=256, crop=224))


def test_planes_are_channels_first() -> None:
    picture = pixels(4, 6)
    assert (planes(Image.fromarray(picture)) == picture.transpose(2, 0, 1)).all()
    assert planes(Image.fromarray(picture[..., 0])).shape == (1, 4, 6)


# Images that are stored as arrays


@pytest.mark.usefixtures("own_cache")
def test_stored_images_are_resized_on_demand_and_by_the_same_rule(tmp_path: Path) -> None:
    digits = Digits(tmp_path)
    preprocess = Preprocess(resize=48, crop=40, interpolation="bicubic")
    some = ("digits/0007", "digits/0003")
    found, stored = digits.read_ids(some, preprocess), digits.read_ids(some)
    assert found.pixels.shape == (2, 3, 40, 40)
    for image, before in zip(found.pixels, stored.pixels, strict=True):
        expected = fit(Image.fromarray(before.transpose(1, 2, 0)), preprocess)
        assert (image == np.asarray(expected).transpose(2, 0, 1)).all()
    assert (found.ids, found.labels.tolist()) == (stored.ids, stored.labels.tolist())
    again = digits.read_ids(some, preprocess)
    assert (again.pixels == found.pixels).all()


def test_images_that_are_taken_as_stored_are_not_kept_a_second_time(own_cache: Path, cifar10_root: Path) -> None:
    Cifar10(cifar10_root).read("test", Preprocess(range="byte"))
    assert not own_cache.exists()


@pytest.mark.parametrize(
    ("name", "preprocess", "shape"),
    [
        ("cifar10", Preprocess(), (3, 32, 32)),
        ("digits", Preprocess(resize=64), (3, 64, 64)),
        ("cifar100", Preprocess(resize=40, crop=36), (3, 36, 36)),
        ("imagenet", Preprocess(resize=256, crop=224), (3, 224, 224)),
        ("folder", Preprocess(resize=96, squash=True), (3, 96, 96)),
    ],
)
def test_the_shape_of_images_follows_from_dataset_and_preprocessing(
    name: str, preprocess: Preprocess, shape: tuple[int, int, int]
) -> None:
    assert datasets.image_shape(name, preprocess) == shape


@pytest.mark.parametrize(("name", "preprocess"), [("imagenet", Preprocess()), ("folder", Preprocess(resize=64))])
def test_files_without_a_fixed_size_have_no_shape(name: str, preprocess: Preprocess) -> None:
    with pytest.raises(DataError, match="images have sizes of their own"):
        datasets.image_shape(name, preprocess)


# Ids


def test_geometry_stands_in_an_id_only_where_it_is_set() -> None:
    assert plain(Preprocess()) == {"range": "unit", "mean": [0.0], "std": [1.0]}
    changed = Preprocess(resize=256, interpolation="bicubic", crop=224)
    assert plain(changed) == {**plain(Preprocess()), "resize": 256, "interpolation": "bicubic", "crop": 224}
    assert plain(dataclasses.replace(changed, squash=True))["squash"] is True
