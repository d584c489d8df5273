"""CIFAR-100: the right images under the right names, from whole files and from parts of a split."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest

from paretoboard.datasets import read_subset
from paretoboard.datasets.cifar100 import FOLDER, RECORD_BYTES, Cifar100
from paretoboard.datasets.integrity import inspect
from paretoboard.errors import DataError, UnknownNameError
from paretoboard.geometry import AS_STORED
from paretoboard.spec import Subset
from paretoboard.taskfile.subsets import ids_digest


@pytest.fixture(scope="session")
def real(data_root: Path) -> Path:
    """The data root, where it has the part of the test images."""
    if not (data_root / FOLDER / "test_first352.bin").exists():
        pytest.skip(f"no part of CIFAR-100 in {data_root}")
    return data_root


def records(count: int, *, seed: int = 0) -> np.ndarray:
    """Records as balanced as the published ones: fine class i lies in coarse class i // 5."""
    rng = np.random.default_rng(seed)
    fine = np.arange(count) % 100
    return np.concatenate(
        [(fine // 5)[:, None], fine[:, None], rng.integers(0, 256, (count, RECORD_BYTES - 2))], axis=1
    ).astype(np.uint8)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data root with made-up images in a whole test.bin."""
    root = tmp_path_factory.mktemp("cifar100")
    (root / FOLDER).mkdir()
    (root / FOLDER / "test.bin").write_bytes(records(10_000).tobytes())
    (root / FOLDER / "fine_label_names.txt").write_text("".join(f"class{index}\n" for index in range(100)))
    return root


def altered(whole: Path, folder: Path, change: bytes | None = None, at: int = 0) -> Path:
    """A copy of the whole file with some bytes changed; cut at `at` where none are given."""
    (folder / FOLDER).mkdir(parents=True)
    content = bytearray((whole / FOLDER / "test.bin").read_bytes())
    if change is None:
        del content[at:]
    else:
        content[at : at + len(change)] = change
    (folder / FOLDER / "test.bin").write_bytes(content)
    (folder / FOLDER / "fine_label_names.txt").write_bytes((whole / FOLDER / "fine_label_names.txt").read_bytes())
    return folder


# The part that is there


def test_a_part_has_the_published_images_under_their_own_numbers(real: Path) -> None:
    dataset = Cifar100(real)
    labels = dataset.labels("test")
    numbers = [int(line) for line in (real / FOLDER / "test_indices.txt").read_text().split()]
    assert list(labels) == [f"test/{number:05d}" for number in numbers]
    assert len(labels) == 352
    content = (real / FOLDER / "test_first352.bin").read_bytes()
    some = (f"test/{numbers[351]:05d}", f"test/{numbers[20]:05d}")
    images = dataset.read_ids(some)
    for image, label, record in zip(images.pixels, images.labels, (351, 20), strict=True):
        _, fine, *values = struct.unpack("3074B", content[record * 3074 : (record + 1) * 3074])
        assert label == fine == labels[some[0] if record == 351 else some[1]]
        assert image.ravel().tolist() == values
    assert images.classes[0] == "apple"
    assert (len(images.classes), images.classes[99]) == (100, "worm")


def test_a_part_is_never_taken_for_the_split(real: Path) -> None:
    with pytest.raises(DataError, match=r"only test_first352.bin with 352 of its 10,000 images") as caught:
        Cifar100(real).read("test")
    assert "paretoboard data subset cifar100 test --rule all" in str(caught.value)


def test_a_task_may_name_images_of_a_part_in_a_list(real: Path, tmp_path: Path) -> None:
    file = tmp_path / "few.txt"
    file.write_text("test/00019\ntest/00038\n")
    subset = Subset(name="few", file=file, digest=ids_digest(("test/00019", "test/00038")))
    assert read_subset("cifar100", subset, real, AS_STORED).ids == ("test/00019", "test/00038")
    file.write_text("test/00020\n")
    with pytest.raises(DataError, match="'test/00020'"):
        read_subset("cifar100", Subset(name="few", file=file, digest=ids_digest(("test/00020",))), real, AS_STORED)


def test_a_part_is_told_as_what_it_is(real: Path) -> None:
    [holding] = Cifar100(real).holdings()
    assert (holding.images, holding.expected, holding.problems) == (352, 10_000, ())
    assert list(Cifar100(real).check(lambda text: None)) == []


@pytest.mark.parametrize("numbers", ["", "1\n1\n", "10000\n2\n", "one\n2\n", "-1\n2\n"])
def test_numbers_that_are_no_images_are_refused(numbers: str, whole: Path, tmp_path: Path) -> None:
    root = altered(whole, tmp_path)
    (root / FOLDER / "test.bin").rename(root / FOLDER / "test_some.bin")
    (root / FOLDER / "test_some.bin").write_bytes(records(2).tobytes())
    (root / FOLDER / "test_indices.txt").write_text(numbers)
    with pytest.raises(DataError, match="different numbers from 0 to 9,999, one a line"):
        Cifar100(root).labels("test")
    (root / FOLDER / "test_indices.txt").write_text("7\n9\n8\n")
    with pytest.raises(DataError, match="6,148 bytes found, 9,222 expected for 3 images"):
        Cifar100(root).labels("test")
    [problem] = Cifar100(root).check(lambda text: None)
    assert "9,222 expected" in problem
    (root / FOLDER / "test_indices.txt").write_text("7\n9\n")
    assert Cifar100(root).labels("test") == {"test/00007": 0, "test/00009": 1}
    (root / FOLDER / "test_indices.txt").unlink()
    with pytest.raises(DataError, match=r"test_indices.txt: can't be read"):
        Cifar100(root).labels("test")


# Whole files


def test_a_whole_file_is_a_split(whole: Path) -> None:
    dataset = Cifar100(whole)
    images = dataset.read("test")
    expected = records(10_000)
    assert images.ids[:2] == ("test/00000", "test/00001")
    assert (images.pixels.reshape(10_000, -1) == expected[:, 2:]).all()
    assert (images.labels == expected[:, 1]).all()
    assert len(images) == dataset.count("test")
    assert dataset.read_ids(("test/00042",)).labels.tolist() == [42]
    assert dataset.holds("test", "test/00042")
    assert [inspect(whole, file).state for file in dataset.layouts[0].files.values()] == [
        "missing",
        "of the right size",
    ]


@pytest.mark.parametrize(
    ("change", "at", "message"),
    [
        (None, 30_739_999, "30,739,999 bytes found, 30,740,000 expected"),
        (b"\x14", 0, "labels 20 and 99 found; at most 19 and 99"),
        (b"\x64", 1, "labels 19 and 100 found; at most 19 and 99"),
        (b"\x05", 0, "a fine class lies in two coarse ones"),
        (b"\x00\x01", 0, "99 images of class 0, 100 of each expected"),
    ],
)
def test_a_damaged_file_is_refused_with_what_was_found(
    change: bytes | None, at: int, message: str, whole: Path, tmp_path: Path
) -> None:
    dataset = Cifar100(altered(whole, tmp_path, change, at))
    with pytest.raises(DataError, match=message):
        dataset.read("test")
    [problem] = dataset.check(lambda text: None)
    assert message in problem


def test_a_file_with_something_appended_is_refused(whole: Path, tmp_path: Path) -> None:
    root = altered(whole, tmp_path, b"\0", 30_740_000)
    with pytest.raises(DataError, match="more than 30,740,000 bytes found"):
        Cifar100(root).read("test")
    assert inspect(root, Cifar100.layouts[0].files["test"]).state == "wrong"


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"cifar-100-binary.tar.gz") as caught:
        Cifar100(tmp_path).read("train")
    assert str(tmp_path / FOLDER / "train.bin") in str(caught.value)


def test_names_of_classes_must_be_there_and_a_hundred(whole: Path, tmp_path: Path) -> None:
    root = altered(whole, tmp_path)
    names = root / FOLDER / "fine_label_names.txt"
    names.write_text("apple\napple\n")
    with pytest.raises(DataError, match="1 names found, 100 would be right"):
        _ = Cifar100(root).class_names
    names.unlink()
    with pytest.raises(DataError, match="It comes with CIFAR-100's binary version"):
        _ = Cifar100(root).class_names


@pytest.mark.parametrize("name", ["train/50000", "test/10000", "test/1", "valid/00001", ""])
def test_an_id_that_cifar100_does_not_have_is_named(name: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="train/00000 to train/49999"):
        Cifar100(tmp_path).read_ids((name,))


def test_an_unknown_split_gets_the_nearest_known_one(tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match="Did you mean 'train'"):
        Cifar100(tmp_path).read("trian")
