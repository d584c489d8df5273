"""Reading datasets: the right images under the right names, and nothing from a file that is another one."""

from __future__ import annotations

import hashlib
import pickle
import struct
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conftest import REPOSITORY
from paretoboard import locations
from paretoboard.datasets import read_subset, subset_lists
from paretoboard.datasets.cifar10 import BINARY, PYTHON, Cifar10, binary_records
from paretoboard.datasets.digits import Digits, upscale
from paretoboard.datasets.integrity import Layout
from paretoboard.errors import DataError, InputError, UnknownNameError
from paretoboard.geometry import AS_STORED
from paretoboard.registry import DATASETS
from paretoboard.spec import Subset
from paretoboard.taskfile.subsets import ids_digest, read_ids
from pickles import FileMaker, python2_batch

TASKS = REPOSITORY / "tasks"
BATCH_1 = Path(BINARY.files["data_batch_1"].path)
TEST_BATCH = Path(BINARY.files["test_batch"].path)


@pytest.fixture
def partial_root(cifar10_root: Path, tmp_path: Path) -> Path:
    """A data root with the first training batch and the test batch of CIFAR-10, whatever the real one has."""
    (tmp_path / BATCH_1.parent).mkdir()
    for batch in (BATCH_1, TEST_BATCH):
        (tmp_path / batch).symlink_to(cifar10_root / batch)
    return tmp_path


def python_layout(**md5: str) -> Layout:
    """The python version as if the files named had these digests."""
    return replace(PYTHON, files={part: replace(PYTHON.files[part], md5=digest) for part, digest in md5.items()})


# CIFAR-10


def test_the_test_split_has_a_thousand_images_of_each_class(cifar10_root: Path) -> None:
    images = Cifar10(cifar10_root).read("test")
    assert images.pixels.shape == (10_000, 3, 32, 32)
    assert images.pixels.dtype == np.uint8
    assert images.pixels.flags.c_contiguous
    assert images.pixels.flags.writeable
    assert images.labels.dtype == np.int64
    assert np.bincount(images.labels).tolist() == [1000] * 10
    assert len(images.classes) == 10


def test_pixels_and_labels_are_those_of_the_file_read_by_hand(cifar10_root: Path) -> None:
    images = Cifar10(cifar10_root).read("train-batch-1")
    with (cifar10_root / BATCH_1).open("rb") as stream:
        for index in (0, 1, 9_999):
            stream.seek(index * 3073)
            label, *values = struct.unpack("3073B", stream.read(3073))
            assert images.labels[index] == label
            assert images.pixels[index].ravel().tolist() == values
            red, row, column = 0, 5, 7
            assert images.pixels[index, red, row, column] == values[row * 32 + column]


def test_ids_are_numbered_in_the_official_order(cifar10_root: Path) -> None:
    ids = Cifar10(cifar10_root).read("test").ids
    assert ids == tuple(f"test/{index:05d}" for index in range(10_000))
    assert Cifar10(cifar10_root).read("train-batch-1").ids[-1] == "train/09999"


def test_images_can_be_read_by_id_from_the_batches_that_are_there(partial_root: Path) -> None:
    cifar10 = Cifar10(partial_root)
    images = cifar10.read_ids(("test/00007", "train/00042", "test/00003"))
    assert images.ids == ("test/00007", "train/00042", "test/00003")
    assert (images.pixels[1] == cifar10.read("train-batch-1").pixels[42]).all()
    assert (images.pixels[2] == cifar10.read("test").pixels[3]).all()


@pytest.mark.parametrize("name", ["train/50000", "test/10000", "train/1", "test/00042 ", "valid/00001", ""])
def test_an_id_that_cifar10_does_not_have_is_named(name: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="train/00000 to train/49999") as caught:
        Cifar10(tmp_path).read_ids((name,))
    assert f"'{name}'" in str(caught.value)


def test_training_images_that_are_missing_are_named_with_the_command_that_brings_them(
    partial_root: Path,
) -> None:
    with pytest.raises(DataError) as caught:
        Cifar10(partial_root).read("train")
    message = str(caught.value)
    for number in (2, 3, 4, 5):
        assert str(partial_root / f"cifar-10-batches-bin/data_batch_{number}.bin") in message
    assert "data_batch_1.bin" not in message
    assert f"paretoboard data fetch cifar10 --data-root {partial_root}" in message


def test_a_truncated_file_is_refused_with_both_digests(cifar10_root: Path, tmp_path: Path) -> None:
    content = (cifar10_root / TEST_BATCH).read_bytes()[:-1]
    (tmp_path / TEST_BATCH).parent.mkdir()
    (tmp_path / TEST_BATCH).write_bytes(content)
    with pytest.raises(DataError) as caught:
        Cifar10(tmp_path).read("test")
    assert hashlib.md5(content).hexdigest() in str(caught.value)
    assert "803d5f7f4d78ea53de84dbe85f74fb6d" in str(caught.value)


def test_a_file_with_one_pixel_changed_is_refused(cifar10_root: Path, tmp_path: Path) -> None:
    content = bytearray((cifar10_root / TEST_BATCH).read_bytes())
    content[12_345] ^= 1
    (tmp_path / TEST_BATCH).parent.mkdir()
    (tmp_path / TEST_BATCH).write_bytes(content)
    with pytest.raises(DataError, match="803d5f7f4d78ea53de84dbe85f74fb6d expected"):
        Cifar10(tmp_path).read("test")


def test_a_file_with_something_appended_is_refused(cifar10_root: Path, tmp_path: Path) -> None:
    (tmp_path / TEST_BATCH).parent.mkdir()
    (tmp_path / TEST_BATCH).write_bytes((cifar10_root / TEST_BATCH).read_bytes() + b"\0")
    with pytest.raises(DataError, match="larger than the 30730000 bytes"):
        Cifar10(tmp_path).read("test")


def test_a_folder_where_a_file_should_be_is_refused(tmp_path: Path) -> None:
    (tmp_path / TEST_BATCH).mkdir(parents=True)
    with pytest.raises(DataError, match="can't be read"):
        Cifar10(tmp_path).read("test")


def test_an_unknown_split_gets_the_nearest_known_one(tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match="Did you mean 'train'"):
        Cifar10(tmp_path).read("trian")


# CIFAR-10's python version


def test_the_python_version_gives_the_same_images(cifar10_root: Path, tmp_path: Path) -> None:
    pickled = python2_batch((cifar10_root / TEST_BATCH).read_bytes())
    path = tmp_path / PYTHON.files["test_batch"].path
    path.parent.mkdir()
    path.write_bytes(pickled)
    layout = python_layout(test_batch=hashlib.md5(pickled).hexdigest())
    images, expected = Cifar10(tmp_path, python=layout).read("test"), Cifar10(cifar10_root).read("test")
    assert images.ids == expected.ids
    assert (images.pixels == expected.pixels).all()
    assert (images.labels == expected.labels).all()


def test_a_python_file_that_is_not_the_official_one_is_not_unpickled(tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    path = tmp_path / PYTHON.files["test_batch"].path
    path.parent.mkdir()
    path.write_bytes(pickle.dumps(FileMaker(trace)))
    with pytest.raises(DataError, match="40351d587109b95175f43aff81a1287e expected"):
        Cifar10(tmp_path).read("test")
    assert not trace.exists()


def test_the_malicious_pickle_of_these_tests_would_do_its_harm_elsewhere(tmp_path: Path) -> None:
    pickle.loads(pickle.dumps(FileMaker(tmp_path / "trace")))
    assert (tmp_path / "trace").exists()


def test_even_a_pickle_with_the_expected_digest_can_call_nothing(tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    content = pickle.dumps(FileMaker(trace))
    path = tmp_path / PYTHON.files["test_batch"].path
    path.parent.mkdir()
    path.write_bytes(content)
    layout = python_layout(test_batch=hashlib.md5(content).hexdigest())
    with pytest.raises(DataError, match="it names"):
        Cifar10(tmp_path, python=layout).read("test")
    assert not trace.exists()


def test_python_batches_must_hold_the_official_images(cifar10_root: Path, tmp_path: Path) -> None:
    records = bytearray((cifar10_root / TEST_BATCH).read_bytes())
    records[3073] ^= 1  # one label
    pickled = python2_batch(bytes(records))
    path = tmp_path / PYTHON.files["test_batch"].path
    path.parent.mkdir()
    path.write_bytes(pickled)
    layout = python_layout(test_batch=hashlib.md5(pickled).hexdigest())
    with pytest.raises(DataError, match="803d5f7f4d78ea53de84dbe85f74fb6d expected"):
        Cifar10(tmp_path, python=layout).read("test")


@pytest.mark.parametrize("content", [b"", b"\x80\x02}.", pickle.dumps({"data": 1, "labels": [1]}), b"garbage"])
def test_pickles_that_are_no_batch_are_an_error_of_the_data(content: bytes) -> None:
    with pytest.raises(DataError, match="not a batch of images"):
        binary_records(content)


# Digits


def test_digits_are_coloured_32x32_images_of_ten_classes(tmp_path: Path) -> None:
    images = Digits(tmp_path).read("all")
    assert images.pixels.shape == (1797, 3, 32, 32)
    assert images.pixels.dtype == np.uint8
    assert (images.pixels[:, 0] == images.pixels[:, 1]).all()
    assert (images.pixels[:, 0] == images.pixels[:, 2]).all()
    assert (images.pixels.min(), images.pixels.max()) == (0, 255)
    assert images.ids[42] == "digits/0042"
    assert np.bincount(images.labels).tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]


def test_upscaled_digits_have_the_same_bits_everywhere(tmp_path: Path) -> None:
    pixels = Digits(tmp_path).read("all").pixels
    found = hashlib.sha256(pixels.tobytes()).hexdigest()
    assert found == "6b72b28023b654e8edef11695f7e285e0832aa3a235ae14fca22da9b908835cb"


@settings(max_examples=30)
@given(st.lists(st.integers(0, 16), min_size=64, max_size=64))
def test_upscaling_is_torchs_bilinear_interpolation_rounded(levels: list[int]) -> None:
    import torch
    from torch.nn.functional import interpolate

    image = np.array(levels, dtype=np.uint8).reshape(1, 8, 8)
    exact = torch.tensor(image, dtype=torch.float64)[None] * 255 / 16
    expected = interpolate(exact, scale_factor=4, mode="bilinear", align_corners=False)[0].numpy()
    assert np.abs(upscale(image) - expected).max() <= 0.5 + 1e-9


# Committed lists


def test_the_committed_lists_of_digits_follow_their_rule(tmp_path: Path) -> None:
    for path, found in subset_lists.digits_lists(tmp_path).items():
        assert (TASKS / path).read_text() == found.text, path


def test_the_committed_lists_of_cifar10_follow_their_rule(cifar10_root: Path) -> None:
    for path, found in subset_lists.cifar10_lists(cifar10_root).items():
        assert (TASKS / path).read_text() == found.text, path


def test_the_committed_lists_of_imagenet_follow_their_rule(imagenet_root: Path) -> None:
    for path, found in subset_lists.imagenet_lists(imagenet_root).items():
        assert (TASKS / path).read_text() == found.text, path


def test_digits_are_split_without_overlap_and_calibrated_on_training_images(tmp_path: Path) -> None:
    train, test, calibration = (set(read_ids(TASKS / f"quick/{name}.txt")) for name in ("train", "test", "calibration"))
    assert (len(train), len(test), len(calibration)) == (1200, 597, 100)
    assert not train & test
    assert calibration < train
    assert train | test == set(Digits(tmp_path).read("all").ids)


def test_lists_of_digits_have_equally_many_images_of_each_class(tmp_path: Path) -> None:
    train = Digits(tmp_path).read_ids(read_ids(TASKS / "quick/train.txt"))
    calibration = Digits(tmp_path).read_ids(read_ids(TASKS / "quick/calibration.txt"))
    assert np.bincount(train.labels).tolist() == [120] * 10
    assert np.bincount(calibration.labels).tolist() == [10] * 10


def test_the_list_of_cifar10_has_almost_equally_many_images_of_each_class(cifar10_root: Path) -> None:
    cifar10 = Cifar10(cifar10_root).read_ids(read_ids(TASKS / "cifar10/train-512.txt"))
    assert np.bincount(cifar10.labels).tolist() == [52, 52] + [51] * 8
    assert all(name.startswith("train/0") for name in cifar10.ids)


def test_writing_the_lists_gives_the_committed_files(tmp_path: Path) -> None:
    for folder in ("quick", "train", "scenarios"):
        (tmp_path / folder).mkdir()
    subset_lists.write(tmp_path, subset_lists.digits_lists(tmp_path))
    for name in ("train", "test", "calibration"):
        written = (tmp_path / f"quick/{name}.txt").read_bytes()
        assert written == (TASKS / f"quick/{name}.txt").read_bytes()


LABELS = st.dictionaries(st.text("abcdef", min_size=1, max_size=6), st.integers(0, 3), min_size=1, max_size=60)


@given(LABELS, st.integers(0, 60), st.randoms())
def test_a_balanced_list_is_even_and_does_not_depend_on_order(label_of: dict[str, int], count: int, random) -> None:
    labels = list(label_of.values())
    if count > len(set(labels)) * min(labels.count(label) for label in set(labels)):
        return
    chosen = subset_lists.balanced(label_of, count)
    counts = [sum(label_of[name] == label for name in chosen) for label in set(labels)]
    assert len(chosen) == len(set(chosen)) == count
    assert max(counts) - min(counts) <= 1
    shuffled = list(label_of.items())
    random.shuffle(shuffled)
    assert subset_lists.balanced(dict(shuffled), count) == chosen
    if count:
        assert set(subset_lists.balanced(label_of, count - 1)) < set(chosen)


def test_a_class_with_too_few_images_is_named() -> None:
    with pytest.raises(ValueError, match="class 1 has 1 images, 2 wanted"):
        subset_lists.balanced({"a": 0, "b": 0, "c": 1}, 4)


# What a task names


def listed(file: Path) -> Subset:
    return Subset(name=file.stem, file=file, digest=ids_digest(read_ids(file)))


def test_a_task_may_name_a_split(cifar10_root: Path) -> None:
    images = read_subset("cifar10", Subset(name="test"), cifar10_root, AS_STORED)
    assert len(images) == 10_000


def test_a_task_may_name_a_list(partial_root: Path) -> None:
    file = TASKS / "cifar10/train-512.txt"
    assert read_subset("cifar10", listed(file), partial_root, AS_STORED).ids == read_ids(file)


def test_a_list_that_changed_since_the_task_was_read_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "few.txt"
    file.write_text("digits/0001\ndigits/0002\n")
    subset = listed(file)
    file.write_text("digits/0001\ndigits/0003\n")
    with pytest.raises(DataError, match="the list has changed"):
        read_subset("digits", subset, tmp_path, AS_STORED)


def test_a_list_with_an_id_that_is_not_in_the_dataset_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "few.txt"
    file.write_text("digits/0001\ndigits/1797\n")
    with pytest.raises(DataError, match="'digits/1797'"):
        read_subset("digits", listed(file), tmp_path, AS_STORED)


def test_a_list_that_is_gone_is_an_error_of_the_input(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="gone"):
        read_subset("digits", Subset(name="gone", file=tmp_path / "gone.txt", digest="0"), tmp_path, AS_STORED)


@pytest.mark.parametrize("name", [name for name in DATASETS if not DATASETS.load(name).takes_path])
def test_every_dataset_refuses_a_split_that_it_does_not_name(name: str, tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match="unknown split"):
        read_subset(name, Subset(name="no-such-split"), tmp_path, AS_STORED)


@pytest.mark.parametrize("name", list(DATASETS))
def test_every_dataset_says_what_planning_needs_without_heavy_imports(name: str) -> None:
    code = (
        "import sys; from paretoboard.registry import DATASETS;"
        f"d = DATASETS.load({name!r}); assert d.splits and d.channels == 3;"
        "assert d.takes_path or d.classes and set(d.sizes) == set(d.splits);"
        "heavy = {'torch', 'numpy', 'sklearn', 'pandas', 'pyarrow', 'pydantic', 'PIL'} & set(sys.modules);"
        "sys.exit(', '.join(heavy) or None)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


ARRAYS = [name for name in DATASETS if DATASETS.load(name).image_shape is not None and name != "cifar100"]


@pytest.mark.parametrize("name", ARRAYS)
def test_every_datasets_images_are_what_the_class_says(
    name: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    kind = DATASETS.load(name)
    dataset = kind(request.getfixturevalue("cifar10_root") if kind.layouts else tmp_path)
    split = dataset.splits[-1]
    images = dataset.read(split)
    assert images.pixels.shape == (len(images), *dataset.image_shape)
    assert images.classes == dataset.class_names
    named = images.labels if images.objects is None else images.objects.classes
    assert len(images.classes) == dataset.classes == len(set(named.tolist()))
    assert len(set(images.ids)) == len(images.ids) == len(images.labels) == dataset.count(split)
    assert dataset.labels(split) == dict(zip(images.ids, images.labels.tolist(), strict=True))
    assert all(dataset.holds(split, image) for image in images.ids)
    some = images.ids[5:2:-1]
    assert (dataset.read_ids(some).pixels == images.select(some).pixels).all()


# The data root


def test_the_data_root_is_the_option_then_the_variable_then_the_cache_folder(tmp_path: Path) -> None:
    environ = {"PARETOBOARD_DATA": "/from/variable", "XDG_CACHE_HOME": "/cache"}
    assert locations.data_root(tmp_path, environ) == tmp_path
    assert locations.data_root(None, environ) == Path("/from/variable")
    assert locations.data_root(None, {"XDG_CACHE_HOME": "/cache"}) == Path("/cache/paretoboard/data")
    assert locations.data_root(None, {}) == Path.home() / ".cache/paretoboard/data"
    assert locations.data_root(None, {"PARETOBOARD_DATA": ""}) == Path.home() / ".cache/paretoboard/data"
