"""Decoded images that are kept: decoded once, found again by content, whole or not there, for two processes too."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from paretoboard.datasets import packs
from paretoboard.datasets.contents import Contents
from paretoboard.datasets.folder import Folder
from paretoboard.errors import DataError
from paretoboard.spec import Preprocess
from pictures import encoded, folder_of, pixels, written

SHAPE = (3, 4, 5)
SMALL = Preprocess(resize=32, squash=True)


def key(number: int) -> bytes:
    return number.to_bytes(32, "big")


def image(number: int) -> np.ndarray:
    return np.full(SHAPE, number, np.uint8)


class Decoder:
    """Makes images of their numbers, and counts how often it does."""

    def __init__(self, numbers: list[int]) -> None:
        self.numbers, self.decoded = numbers, [0] * len(numbers)

    def __call__(self, index: int) -> np.ndarray:
        self.decoded[index] += 1
        return image(self.numbers[index])


def read(numbers: list[int], folder: Path, decode: Callable[[int], np.ndarray] | None = None) -> np.ndarray:
    return packs.read([key(number) for number in numbers], SHAPE, decode or Decoder(numbers), folder)


def test_images_come_back_in_order_and_are_decoded_once(tmp_path: Path) -> None:
    decoder = Decoder([3, 1, 2])
    first = read([3, 1, 2], tmp_path, decoder)
    second = read([3, 1, 2], tmp_path, decoder)
    assert decoder.decoded == [1, 1, 1]
    for found in (first, second):
        assert found.shape == (3, *SHAPE)
        assert found[:, 0, 0, 0].tolist() == [3, 1, 2]
        assert not found.flags.writeable
    [pack] = tmp_path.glob("*.pixels")
    assert pack.stat().st_size == 4096 + first.nbytes


def test_more_images_than_are_decoded_at_a_time_stay_in_order(tmp_path: Path) -> None:
    numbers = [number % 251 for number in range(1000)]
    found = packs.read([key(number) for number in range(1000)], SHAPE, Decoder(numbers), tmp_path)
    assert found[:, 2, 3, 4].tolist() == numbers


def test_another_subset_is_copied_from_what_was_decoded_before(tmp_path: Path) -> None:
    read([1, 2, 3], tmp_path)
    decoder = Decoder([3, 4, 1])
    assert read([3, 4, 1], tmp_path, decoder)[:, 0, 0, 0].tolist() == [3, 4, 1]
    assert decoder.decoded == [0, 1, 0]


def test_the_same_content_twice_is_two_images(tmp_path: Path) -> None:
    assert read([7, 7, 8], tmp_path)[:, 0, 0, 0].tolist() == [7, 7, 8]


def test_images_of_another_shape_are_others(tmp_path: Path) -> None:
    read([1], tmp_path)
    found = packs.read([key(1)], (1, 2, 2), lambda index: np.zeros((1, 2, 2), np.uint8), tmp_path)
    assert found.shape == (1, 1, 2, 2)


def test_a_decoder_that_gives_another_shape_leaves_no_pack(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"shape \(1, 2, 2\), \(3, 4, 5\) expected"):
        read([1], tmp_path, lambda index: np.zeros((1, 2, 2), np.uint8))
    assert [path.name for path in tmp_path.iterdir()] == ["lock"]


@pytest.mark.parametrize("damage", ["cut", "header", "empty", "other keys"])
def test_a_damaged_pack_is_written_anew(damage: str, tmp_path: Path) -> None:
    read([1, 2], tmp_path)
    [pack] = tmp_path.glob("*.pixels")
    content = pack.read_bytes()
    broken = {
        "cut": content[:-1],
        "header": b"?" + content[1:],
        "empty": b"",
        "other keys": content.replace(key(2), key(9)),
    }
    pack.write_bytes(broken[damage])
    decoder = Decoder([1, 2])
    assert read([1, 2], tmp_path, decoder)[:, 0, 0, 0].tolist() == [1, 2]
    assert decoder.decoded[1] == 1
    assert pack.read_bytes() == content


def test_what_a_killed_writer_left_is_removed_by_the_next(tmp_path: Path) -> None:
    (tmp_path / ".gone.pixels.partial").write_bytes(b"half")
    read([1], tmp_path)
    assert not list(tmp_path.glob(".*.partial"))


def test_every_image_that_cant_be_decoded_is_told_and_nothing_is_kept(tmp_path: Path) -> None:
    def decode(index: int) -> np.ndarray:
        if index % 2:
            raise DataError(f"image {index}: damaged")
        return image(index)

    with pytest.raises(DataError, match="25 of 50 images can't be used") as caught:
        read(list(range(50)), tmp_path, decode)
    assert "image 1: damaged" in str(caught.value)
    assert str(caught.value).endswith("and 5 more")
    assert [path.name for path in tmp_path.iterdir()] == ["lock"]


def test_a_folder_that_cant_be_written_to_is_an_error_that_names_the_way_out(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match=r"decoded images can't be kept there.*XDG_CACHE_HOME"):
        read([1], tmp_path / "file" / "below")


# Two processes

WRITER = """
import sys, time
from pathlib import Path
import numpy as np
from paretoboard.datasets import packs

folder, log = map(Path, sys.argv[1:3])

def decode(index):
    with log.open("a") as stream:
        stream.write(f"{index}\\n")
    time.sleep(float(sys.argv[3]))
    return np.full((3, 4, 5), index, np.uint8)

print("begins", flush=True)
found = packs.read([number.to_bytes(32, "big") for number in range(40)], (3, 4, 5), decode, folder)
assert found[:, 0, 0, 0].tolist() == list(range(40))
"""


def writer(folder: Path, log: Path, seconds: float) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", WRITER, str(folder), str(log), str(seconds)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "begins\n"
    return process


def test_two_processes_decode_what_both_want_once(tmp_path: Path) -> None:
    log = tmp_path / "log"
    processes = [writer(tmp_path / "packs", log, 0.02) for _ in range(2)]
    assert [process.wait(60) for process in processes] == [0, 0]
    assert sorted(map(int, log.read_text().split())) == list(range(40))


def test_a_writer_that_is_killed_leaves_neither_a_pack_nor_the_lock(tmp_path: Path) -> None:
    log = tmp_path / "log"
    killed = writer(tmp_path / "packs", log, 0.2)
    while not log.exists():
        time.sleep(0.01)
    killed.send_signal(signal.SIGKILL)
    killed.wait(60)
    assert not list((tmp_path / "packs").glob("*.pixels"))
    assert writer(tmp_path / "packs", log, 0.0).wait(60) == 0
    assert not list((tmp_path / "packs").glob(".*.partial"))


# Digests of files


def book_of(root: Path, clock: Callable[[], float] = time.time) -> Contents:
    return Contents(root=root, book=root.parent / "book.txt", clock=clock)


def later() -> float:
    return time.time() + 60


def test_digests_are_those_of_the_contents_and_remembered(tmp_path: Path) -> None:
    root = folder_of(tmp_path / "photos", ("cat",))
    names = ["cat/0.png", "cat/2.png"]
    expected = [hashlib.sha256((root / name).read_bytes()).digest() for name in names]
    assert book_of(root, later).digests(names) == expected
    book = (tmp_path / "book.txt").read_text()
    assert expected[0].hex() in book
    assert [line.split()[-1] for line in book.splitlines()] == names


def test_a_remembered_file_is_not_read_again(tmp_path: Path) -> None:
    root = folder_of(tmp_path / "photos", ("cat",))
    [digest] = book_of(root, later).digests(["cat/0.png"])
    book = tmp_path / "book.txt"
    book.write_text(book.read_text().replace(digest.hex(), "ab" * 32))
    assert book_of(root, later).digests(["cat/0.png"]) == [bytes.fromhex("ab" * 32)]


@pytest.mark.parametrize("change", ["content of the same size", "another file", "times set back"])
def test_a_file_that_changed_has_another_digest(change: str, tmp_path: Path) -> None:
    root = folder_of(tmp_path / "photos", ("cat",))
    path = root / "cat" / "0.png"
    before = book_of(root, later).digests(["cat/0.png"])
    was, content = path.stat(), path.read_bytes()
    time.sleep(0.05)  # some ticks of the file system's clock
    changed = content[:-1] + bytes([content[-1] ^ 1])
    if change == "another file":
        path.rename(root / "cat" / "old.png")
    path.write_bytes(changed)
    if change == "times set back":
        os.utime(path, ns=(was.st_atime_ns, was.st_mtime_ns))
    assert book_of(root, later).digests(["cat/0.png"]) != before


def test_a_file_that_was_only_just_written_is_not_remembered(tmp_path: Path) -> None:
    root = folder_of(tmp_path / "photos", ("cat",))
    book_of(root).digests(["cat/0.png"])
    assert not (tmp_path / "book.txt").exists()


@pytest.mark.parametrize("content", [b"\xff\xfe", b"garbage\n\n1 2 3\n", b"zz 1 2 3 4 cat/0.png\n"])
def test_a_damaged_book_costs_only_time(content: bytes, tmp_path: Path) -> None:
    root = folder_of(tmp_path / "photos", ("cat",))
    expected = book_of(root, later).digests(["cat/0.png"])
    (tmp_path / "book.txt").write_bytes(content)
    assert book_of(root, later).digests(["cat/0.png"]) == expected


def test_files_that_cant_be_read_are_told_at_once(tmp_path: Path) -> None:
    root = folder_of(tmp_path / "photos", ("cat",))
    with pytest.raises(DataError, match="2 of 3 images can't be read") as caught:
        book_of(root).digests(["cat/0.png", "cat/gone.png", "cat"])
    assert f"{root / 'cat' / 'gone.png'}: No such file or directory" in str(caught.value)


def test_a_file_larger_than_any_picture_is_not_read(tmp_path: Path) -> None:
    root = folder_of(tmp_path / "photos", ("cat",))
    with (root / "cat" / "0.png").open("r+b") as stream:
        stream.truncate((1 << 28) + 1)  # a hole: it takes no room
    with pytest.raises(DataError, match="268,435,457 bytes, 268,435,456 at most are read"):
        book_of(root).digests(["cat/0.png"])


# Images of a folder


def test_a_second_reading_takes_what_is_kept_and_decodes_nothing(tmp_path: Path, own_cache: Path) -> None:
    root = folder_of(tmp_path / "photos")
    before = Folder(root).read("all", SMALL)
    [pack] = own_cache.rglob("*.pixels")
    marked = bytearray(pack.read_bytes())
    marked[-1] ^= 1
    pack.write_bytes(marked)
    after = Folder(root).read("all", SMALL)
    assert after.ids == before.ids
    assert np.asarray(after.pixels).tobytes() == bytes(marked[-after.pixels.nbytes :])


@pytest.mark.usefixtures("own_cache")
def test_a_picture_that_is_replaced_is_decoded_anew_and_the_others_are_not(tmp_path: Path) -> None:
    root = folder_of(tmp_path / "photos")
    before = Folder(root).read("all", SMALL)
    written(root / "cat" / "1.png", encoded(255 - pixels(seed=1)))
    after = Folder(root).read("all", SMALL)
    same = (after.pixels == before.pixels).all(axis=(1, 2, 3))
    assert same.tolist() == [True, False, True, True, True, True]


def test_each_geometry_has_packs_of_its_own(tmp_path: Path, own_cache: Path) -> None:
    root = folder_of(tmp_path / "photos")
    for preprocess in (
        SMALL,
        Preprocess(resize=32, crop=32),
        Preprocess(resize=32, squash=True, interpolation="bicubic"),
    ):
        Folder(root).read("all", preprocess)
    Folder(root).read("all", dataclasses.replace(SMALL, range="byte", mean=(0.5,)))  # the same pixels
    assert len(list(own_cache.glob("decoded/*/*.pixels"))) == 3
