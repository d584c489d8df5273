"""COCO's files and scenes of digits: what is read is what lies there, and what is wrong is named."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from paretoboard.datasets import digit_scenes, read_subset
from paretoboard.datasets.coco import CocoDetection
from paretoboard.datasets.digit_scenes import CANVAS, INK, SPLITS, DigitScenes
from paretoboard.errors import DataError
from paretoboard.spec import Preprocess, Subset

SQUASHED = Preprocess(resize=32, squash=True)

# Scenes of digits


@pytest.fixture(scope="module")
def scenes() -> Any:
    return DigitScenes(Path()).read_ids(tuple(f"test/{index:04d}" for index in range(60)))


def test_a_scene_follows_from_its_id_alone(scenes: Any) -> None:
    again = DigitScenes(Path()).read_ids(scenes.ids[10:12])
    np.testing.assert_array_equal(again.pixels, scenes.pixels[10:12])
    chosen = scenes.select(scenes.ids[10:12])
    for column in ("sizes", "image", "boxes", "classes", "areas", "crowd"):
        np.testing.assert_array_equal(getattr(again.objects, column), getattr(chosen.objects, column))


def test_boxes_hold_all_ink_and_end_where_it_ends(scenes: Any) -> None:
    found = scenes.objects
    for image in range(len(scenes)):
        outside = scenes.pixels[image, 0].copy()
        boxes = found.boxes[found.image == image].astype(int)
        assert 1 <= len(boxes) <= digit_scenes.MOST_DIGITS
        for left, top, width, height in boxes:
            assert 0 <= left < left + width <= CANVAS
            assert 0 <= top < top + height <= CANVAS
            outside[top : top + height, left : left + width] = 0
        assert outside.max() < INK
        for left, top, width, height in boxes:
            inside = scenes.pixels[image, 0, top : top + height, left : left + width]
            # The dimmest ink that can begin a box.
            least = INK * 160 // 255
            assert all(edge.max() >= least for edge in (inside[0], inside[-1], inside[:, 0], inside[:, -1]))


def test_a_scene_shows_the_very_digits_that_it_names() -> None:
    enlarged, labels = digit_scenes._digits()
    canvas, boxes, classes = digit_scenes._compose("test/0007")
    for (left, top, width, height), name in zip(boxes.astype(int), classes, strict=True):
        cut = canvas[top : top + height, left : left + width].astype(float)
        best = max(
            (likeness(cut, digit_scenes._ink(digit, 0, 0), digit), int(labels[place]))
            for of_factor in enlarged
            for place, digit in enumerate(of_factor)
        )
        assert best[0] > 0.95
        assert best[1] == name


def likeness(cut: np.ndarray, box: tuple[int, int, int, int], digit: np.ndarray) -> float:
    left, top, width, height = box
    if (height, width) != cut.shape:
        return -1.0
    own = digit[top : top + height, left : left + width].astype(float)
    return float(np.corrcoef(cut.ravel(), own.ravel())[0, 1])


def test_scenes_to_train_on_have_other_digits_than_scenes_to_test_on() -> None:
    train, test = digit_scenes._places()
    assert not set(train) & set(test)
    assert len(train) == digit_scenes.TRAIN_DIGITS
    assert len(train) + len(test) == 1797


def test_every_class_and_two_sizes_of_objects_occur_in_every_split() -> None:
    for split, count in SPLITS.items():
        found = DigitScenes(Path()).read_ids(tuple(f"{split}/{index:04d}" for index in range(min(count, 100)))).objects
        assert found is not None
        assert set(found.classes.tolist()) == set(range(10))
        assert found.areas.min() < 32**2 < found.areas.max()


def test_scenes_of_another_size_keep_their_boxes(scenes: Any, own_cache: Path) -> None:
    larger = DigitScenes(Path()).read_ids(scenes.ids[:3], Preprocess(resize=192, squash=True))
    assert larger.pixels.shape == (3, 3, 192, 192)
    np.testing.assert_array_equal(larger.objects.boxes, scenes.select(scenes.ids[:3]).objects.boxes)
    assert DigitScenes(Path()).stored("test/0000").shape == (3, CANVAS, CANVAS)


@pytest.mark.parametrize("name", ["test/0400", "test/1", "all/0000", "test/-001", "../test/0001"])
def test_an_id_that_there_is_not_is_named_with_those_that_there_are(name: str) -> None:
    with pytest.raises(DataError, match="test/0000 to test/0399"):
        DigitScenes(Path()).read_ids((name,))


# COCO


def picture(folder: Path, name: str, size: tuple[int, int], mode: str = "RGB") -> None:
    folder.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size, 100).save(folder / name, "JPEG")


def annotations() -> dict[str, Any]:
    return {
        "images": [
            {"id": 7, "file_name": "000000000007.jpg", "height": 30, "width": 40},
            {"id": 3, "file_name": "000000000003.jpg", "height": 60, "width": 20},
            {"id": 9, "file_name": "000000000009.jpg", "height": 10, "width": 10},
        ],
        "categories": [{"id": 18, "name": "dog"}, {"id": 1, "name": "person"}],
        "annotations": [
            {"id": 1, "image_id": 7, "category_id": 18, "bbox": [1, 2, 3, 4], "area": 9.5, "iscrowd": 0},
            {"id": 2, "image_id": 3, "category_id": 1, "bbox": [0, 0, 20, 60], "area": 900, "iscrowd": 1},
            {"id": 3, "image_id": 7, "category_id": 1, "bbox": [5.5, 6, 7, 8], "area": 50, "iscrowd": 0},
        ],
    }


@pytest.fixture
def coco(tmp_path: Path, own_cache: Path) -> Path:
    """Three small photographs in COCO's layout, one of them grey."""
    picture(tmp_path / "coco/val2017", "000000000007.jpg", (40, 30))
    picture(tmp_path / "coco/val2017", "000000000003.jpg", (20, 60), mode="L")
    picture(tmp_path / "coco/val2017", "000000000009.jpg", (10, 10), mode="CMYK")
    write(tmp_path, annotations())
    return tmp_path


def write(root: Path, content: Any) -> None:
    path = root / "coco/annotations/instances_val2017.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content))


def test_photographs_come_by_id_with_their_objects_and_crowds(coco: Path) -> None:
    images = read_subset("coco", Subset(name="val2017"), coco, SQUASHED)
    assert images.ids == ("val2017/000000000003", "val2017/000000000007", "val2017/000000000009")
    assert images.pixels.shape == (3, 3, 32, 32)
    assert images.classes == CocoDetection.class_names
    assert CocoDetection.class_names[0] == "person"
    assert len(CocoDetection.class_names) == 80
    found = images.objects
    assert found is not None
    assert found.sizes.tolist() == [[60, 20], [30, 40], [10, 10]]
    assert found.image.tolist() == [0, 1, 1]
    assert found.boxes.tolist() == [[0, 0, 20, 60], [1, 2, 3, 4], [5.5, 6, 7, 8]]
    assert found.classes.tolist() == [0, 16, 0]  # persons and a dog, by name: the file lists these two only
    assert found.crowd.tolist() == [True, False, False]
    assert found.areas.tolist() == [900, 9.5, 50]
    assert CocoDetection(coco).stored("val2017/000000000003").shape == (3, 60, 20)


def test_photographs_without_a_size_to_bring_them_to_are_refused(coco: Path) -> None:
    with pytest.raises(DataError, match="sizes of their own"):
        read_subset("coco", Subset(name="val2017"), coco, Preprocess())


@pytest.mark.parametrize(
    ("break_it", "said"),
    [
        (lambda root: (root / "coco/val2017/000000000007.jpg").unlink(), "000000000007.jpg: there is no such file"),
        (
            lambda root: picture(root / "coco/val2017", "000000000007.jpg", (41, 30)),
            "41x30 pixels, the annotations say 40x30",
        ),
        (
            lambda root: (root / "coco/val2017/000000000007.jpg").write_bytes(b"no picture"),
            "000000000007.jpg: not an image",
        ),
        (lambda root: write(root, "{"), "can't be read as JSON"),
        (lambda root: write(root, "[]"), "not COCO's annotations"),
        (lambda root: write(root, {"images": []}), "not COCO's annotations"),
        (lambda root: (root / "coco/annotations/instances_val2017.json").unlink(), "annotations_trainval2017.zip"),
    ],
)
def test_what_is_missing_or_broken_is_named(break_it: Any, said: str, coco: Path) -> None:
    break_it(coco)
    with pytest.raises(DataError, match=said):
        read_subset("coco", Subset(name="val2017"), coco, SQUASHED)


def test_a_photograph_that_ends_too_early_is_named(coco: Path) -> None:
    path = coco / "coco/val2017/000000000007.jpg"
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 256, (30, 40, 3), dtype=np.uint8)).save(path, "JPEG")
    path.write_bytes(path.read_bytes()[:-400])
    with pytest.raises(DataError, match=r"000000000007\.jpg: damaged"):
        read_subset("coco", Subset(name="val2017"), coco, SQUASHED)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"file_name": "../../../etc/passwd"}, "leads out of the folder"),
        ({"file_name": "/etc/passwd"}, "leads out of the folder"),
        ({"height": 20_000, "width": 20_000}, "20000x20000 pixels; at most 89,478,485"),
        ({"height": 0}, "40x0 pixels"),
    ],
)
def test_an_entry_that_can_t_be_is_refused(change: dict[str, Any], said: str, coco: Path) -> None:
    content = annotations()
    content["images"][0] |= change
    write(coco, content)
    with pytest.raises(DataError, match=said):
        read_subset("coco", Subset(name="val2017"), coco, SQUASHED)


def test_an_object_of_no_listed_category_is_refused(coco: Path) -> None:
    content = annotations()
    content["annotations"][0]["category_id"] = 5
    write(coco, content)
    with pytest.raises(DataError, match="object 1 is of category 5, which is not listed"):
        read_subset("coco", Subset(name="val2017"), coco, SQUASHED)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"bbox": [1, 2, 3]}, "object 1: bbox of 3 numbers, 4 would be right"),
        ({"bbox": [1, 2, -3, 4]}, r"object 1: bbox \[1.0, 2.0, -3.0, 4.0\] and area 9.5; finite numbers"),
        ({"bbox": [1, 2, float("nan"), 4]}, "object 1: .*finite numbers"),
        ({"bbox": [1, 2, "wide", 4]}, "not COCO's annotations of objects: ValueError"),
        ({"area": None}, "not COCO's annotations of objects: TypeError"),
    ],
)
def test_an_object_whose_numbers_are_no_box_is_refused(change: dict[str, Any], said: str, coco: Path) -> None:
    content = annotations()
    content["annotations"][0] |= change
    write(coco, content)
    with pytest.raises(DataError, match=said):
        CocoDetection(coco).labels("val2017")


def test_a_category_that_is_none_of_cocos_and_a_photograph_listed_twice_are_refused(coco: Path) -> None:
    content = annotations()
    content["categories"][0]["name"] = "unicorn"
    write(coco, content)
    with pytest.raises(DataError, match="category 'unicorn' is none of COCO's 80"):
        CocoDetection(coco).labels("val2017")
    content = annotations()
    content["images"][1]["file_name"] = "000000000007.png"
    write(coco, content)
    with pytest.raises(DataError, match="image 3: 'val2017/000000000007' is listed twice"):
        CocoDetection(coco).labels("val2017")


def test_a_list_is_drawn_from_the_photographs_that_are_there_and_can_be_decoded(coco: Path) -> None:
    source = CocoDetection(coco)
    (coco / "coco/val2017/000000000003.jpg").unlink()
    (coco / "coco/val2017/000000000009.jpg").write_bytes(b"no picture")
    there = source.labels("val2017")
    assert list(there) == ["val2017/000000000007", "val2017/000000000009"]
    ((name, reason),) = source.unreadable(there, lambda text: None).items()
    assert name == "val2017/000000000009"
    assert "000000000009.jpg: not an image" in reason
    with pytest.raises(DataError, match=r"paretoboard data subset coco val2017 --rule all --out val2017-2\.txt"):
        source.read("val2017", SQUASHED)


def test_verifying_names_every_photograph_that_does_not_hold(coco: Path) -> None:
    assert list(CocoDetection(coco).check(lambda text: None)) == []
    (coco / "coco/val2017/000000000003.jpg").unlink()
    picture(coco / "coco/val2017", "000000000007.jpg", (41, 30))
    missing, other = sorted(CocoDetection(coco).check(lambda text: None))
    assert "000000000003.jpg: No such file" in missing
    assert "41x30 pixels" in other
    (holding, nothing) = CocoDetection(coco).holdings()
    assert (holding.images, holding.expected, nothing.images) == (2, 5000, 0)


def test_an_id_of_no_photograph_is_named(coco: Path) -> None:
    with pytest.raises(DataError, match="no image 'val2017/1'"):
        CocoDetection(coco).read_ids(("val2017/1",))
    with pytest.raises(DataError, match="ids begin with val2017/"):
        CocoDetection(coco).read_ids(("elsewhere/1",))
