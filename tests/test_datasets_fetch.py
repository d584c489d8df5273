"""Fetching: whatever source, network or kill do, a file is there whole and right, or it is not there."""

from __future__ import annotations

import fcntl
import hashlib
import io
import json
import os
import pickle
import signal
import subprocess
import sys
import tarfile
import time
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from paretoboard.datasets import cifar10
from paretoboard.datasets.download import Address, download
from paretoboard.datasets.fetch import DOWNLOADS, Listener, Source, fetch
from paretoboard.datasets.integrity import DataFile, Layout
from paretoboard.datasets.sources import CIFAR10, from_pickles, from_pngs
from paretoboard.datasets.unpack import read_members
from paretoboard.errors import DataError
from pickles import FileMaker, python2_batch
from rangeserver import RangeServer

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

PARTS = {"one": np.random.default_rng(1).bytes(300_000), "two": np.random.default_rng(2).bytes(200_000)}
LAYOUT = Layout(
    title="synthetic version",
    files={
        part: DataFile(path=f"synthetic/{part}.bin", md5=hashlib.md5(content).hexdigest(), most_bytes=400_000)
        for part, content in PARTS.items()
    },
)


def packed(members: Mapping[str, bytes], *, compression: int = 1) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz", compresslevel=compression) as tar:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return stream.getvalue()


PACKAGE = packed({f"package/{part}": content for part, content in PARTS.items()})


def source(url: str, name: str = "local") -> Source:
    def rebuild(members: Mapping[str, bytes]) -> Iterator[tuple[str, bytes]]:
        for path, content in members.items():
            yield Path(path).name, content

    return Source(
        name=name,
        archive=f"{name}.tgz",
        most_bytes=10_000_000,
        address=partial(Address, url=url),
        members={f"package/{part}": 400_000 for part in PARTS},
        rebuild=rebuild,
    )


class Log:
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.bytes_at_hand: list[tuple[int, int | None]] = []

    @property
    def listener(self) -> Listener:
        return Listener(say=self.said.append, progress=lambda *now: self.bytes_at_hand.append(now))


def assert_complete(root: Path) -> None:
    for part, content in PARTS.items():
        assert (root / f"synthetic/{part}.bin").read_bytes() == content
    assert [path.name for path in (root / DOWNLOADS).iterdir()] == ["lock"]
    assert sorted(path.name for path in (root / "synthetic").iterdir()) == ["one.bin", "two.bin"]


def assert_nothing(root: Path) -> None:
    assert not list(root.glob("synthetic/*"))


def test_files_are_brought_and_a_second_fetch_asks_for_nothing(tmp_path: Path) -> None:
    log = Log()
    with RangeServer(content=PACKAGE) as server:
        fetch(LAYOUT, [source(server.url)], tmp_path, log.listener)
        assert_complete(tmp_path)
        fetch(LAYOUT, [source(server.url)], tmp_path, log.listener)
        assert server.requests == [None]
    assert log.bytes_at_hand[-1] == (len(PACKAGE), len(PACKAGE))


def test_an_altered_file_is_replaced_and_a_right_one_is_left_alone(tmp_path: Path) -> None:
    with RangeServer(content=PACKAGE) as server:
        fetch(LAYOUT, [source(server.url)], tmp_path, Log().listener)
        before = (tmp_path / "synthetic/one.bin").stat()
        (tmp_path / "synthetic/two.bin").write_bytes(PARTS["two"][:-1])
        fetch(LAYOUT, [source(server.url)], tmp_path, Log().listener)
    assert_complete(tmp_path)
    after = (tmp_path / "synthetic/one.bin").stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_a_download_that_keeps_breaking_off_is_gone_on_with(tmp_path: Path) -> None:
    waits: list[float] = []
    target = tmp_path / "package.tgz"
    with RangeServer(content=PACKAGE, cut_bytes=100_000) as server:
        address = Address(url=server.url)
        download(address, target, most_bytes=10**7, progress=lambda *_: None, wait=waits.append)
        assert server.requests[:3] == [None, "bytes=100000-", "bytes=200000-"]
    assert target.read_bytes() == PACKAGE
    assert len(waits) == len(server.requests) - 1


def test_a_server_that_ignores_ranges_is_read_from_the_start(tmp_path: Path) -> None:
    target = tmp_path / "package.tgz"
    (tmp_path / "package.tgz.part").write_bytes(b"x" * 1000)
    with RangeServer(content=PACKAGE, ranges=False) as server:
        download(Address(url=server.url), target, most_bytes=10**7, progress=lambda *_: None)
        assert server.requests == ["bytes=1000-"]
    assert target.read_bytes() == PACKAGE


def test_a_download_that_was_complete_is_not_read_again(tmp_path: Path) -> None:
    target = tmp_path / "package.tgz"
    (tmp_path / "package.tgz.part").write_bytes(PACKAGE)
    with RangeServer(content=PACKAGE) as server:
        download(Address(url=server.url), target, most_bytes=10**7, progress=lambda *_: None)
    assert target.read_bytes() == PACKAGE


def test_what_lies_there_and_is_too_long_is_thrown_away(tmp_path: Path) -> None:
    target = tmp_path / "package.tgz"
    (tmp_path / "package.tgz.part").write_bytes(PACKAGE + b"more")
    with RangeServer(content=PACKAGE) as server:
        download(Address(url=server.url), target, most_bytes=10**7, progress=lambda *_: None, wait=lambda _: None)
    assert target.read_bytes() == PACKAGE


def test_a_busy_server_is_asked_again_and_a_refusal_is_final(tmp_path: Path) -> None:
    get = partial(download, target=tmp_path / "package.tgz", most_bytes=10**7, progress=lambda *_: None)
    with RangeServer(content=PACKAGE, statuses=[503, 429]) as server:
        get(Address(url=server.url), wait=lambda _: None)
        assert len(server.requests) == 3
    with RangeServer(content=PACKAGE, statuses=[403]) as server:
        with pytest.raises(DataError, match="HTTP 403"):
            get(Address(url=server.url))
        assert len(server.requests) == 1


def test_a_server_that_never_answers_well_is_given_up_on(tmp_path: Path) -> None:
    waits: list[float] = []
    get = partial(download, target=tmp_path / "package.tgz", most_bytes=10**7, progress=lambda *_: None)
    with RangeServer(content=PACKAGE, statuses=[500] * 9) as server, pytest.raises(DataError, match="HTTP 500"):
        get(Address(url=server.url), wait=waits.append)
    assert waits == [2.0, 4.0, 8.0]


def test_more_bytes_than_there_may_be_are_not_taken(tmp_path: Path) -> None:
    with RangeServer(content=PACKAGE) as server, pytest.raises(DataError, match="more than the 1000 bytes"):
        download(Address(url=server.url), tmp_path / "package.tgz", most_bytes=1000, progress=lambda *_: None)


@pytest.mark.parametrize("url", ["file:///etc/passwd", "ftp://somewhere/x", "/etc/passwd", ""])
def test_only_the_web_is_downloaded_from(url: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="https://"):
        download(Address(url=url), tmp_path / "x", most_bytes=10**7, progress=lambda *_: None)


FETCH_IN_A_PROCESS = """
import sys, test_datasets_fetch as tests
from pathlib import Path
tests.fetch(tests.LAYOUT, [tests.source(sys.argv[1])], Path(sys.argv[2]), tests.Log().listener)
"""


def test_a_killed_fetch_goes_on_where_it_was(tmp_path: Path) -> None:
    part = tmp_path / DOWNLOADS / "local.tgz.part"
    with RangeServer(content=PACKAGE, bytes_per_s=200_000) as server:
        command = [sys.executable, "-c", FETCH_IN_A_PROCESS, server.url, str(tmp_path)]
        child = subprocess.Popen(command, cwd=Path(__file__).parent)
        deadline = time.monotonic() + 30
        while not (part.exists() and part.stat().st_size > 50_000) and time.monotonic() < deadline:
            time.sleep(0.01)
        child.send_signal(signal.SIGKILL)
        child.wait()
        had_bytes = part.stat().st_size
        assert 50_000 < had_bytes < len(PACKAGE)
        assert_nothing(tmp_path)
        server.bytes_per_s = None
        fetch(LAYOUT, [source(server.url)], tmp_path, Log().listener)
        assert server.requests == [None, f"bytes={had_bytes}-"]
    assert_complete(tmp_path)


def test_an_archive_that_was_downloaded_before_a_kill_is_not_downloaded_again(tmp_path: Path) -> None:
    (tmp_path / DOWNLOADS).mkdir()
    (tmp_path / DOWNLOADS / "local.tgz").write_bytes(PACKAGE)
    (tmp_path / "synthetic").mkdir()
    (tmp_path / "synthetic/.one.bin.0.partial").write_bytes(b"half of it")
    fetch(LAYOUT, [source("http://127.0.0.1:9/")], tmp_path, Log().listener)
    assert_complete(tmp_path)


def test_two_fetches_at_once_do_not_mix(tmp_path: Path) -> None:
    (tmp_path / DOWNLOADS).mkdir()
    with (tmp_path / DOWNLOADS / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(DataError, match="another fetch is under way"):
            fetch(LAYOUT, [source("http://127.0.0.1:9/")], tmp_path, Log().listener)


def test_a_tampered_package_leaves_no_file_and_is_not_kept(tmp_path: Path) -> None:
    evil = packed({"package/one": PARTS["one"][:-1] + b"!", "package/two": PARTS["two"]})
    with RangeServer(content=evil) as server, pytest.raises(DataError, match="MD5") as caught:
        fetch(LAYOUT, [source(server.url)], tmp_path, Log().listener)
    assert LAYOUT.files["one"].md5 in str(caught.value)
    assert_nothing(tmp_path)
    assert [path.name for path in (tmp_path / DOWNLOADS).iterdir()] == ["lock"]


def test_the_next_source_is_asked_when_one_fails(tmp_path: Path) -> None:
    log = Log()
    with RangeServer(content=b"not an archive") as bad, RangeServer(content=PACKAGE) as good:
        fetch(LAYOUT, [source(bad.url, "bad"), source(good.url, "good")], tmp_path, log.listener)
    assert_complete(tmp_path)
    assert any(text.startswith("bad: ") and "not a whole .tar.gz" in text for text in log.said)


def test_when_all_sources_fail_every_reason_is_given(tmp_path: Path) -> None:
    with RangeServer(content=b"", statuses=[404]) as gone, RangeServer(content=PACKAGE[:-500]) as short:
        sources = [source(gone.url, "gone"), source(short.url, "short")]
        with pytest.raises(DataError, match=r"(?s)gone: .*HTTP 404.*short: .*not a whole"):
            fetch(LAYOUT, sources, tmp_path, Log().listener)


def test_a_root_that_can_not_be_written_to_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="can't be written"):
        fetch(LAYOUT, [source("http://127.0.0.1:9/")], tmp_path / "file", Log().listener)


# Archives


def archived(tmp_path: Path, content: bytes) -> Path:
    (tmp_path / "archive.tgz").write_bytes(content)
    return tmp_path / "archive.tgz"


@pytest.mark.parametrize("name", ["../../evil", "/tmp/evil-by-paretoboard-test", "package/../../evil"])
def test_an_archive_with_a_member_that_leads_out_is_refused_and_writes_nothing(name: str, tmp_path: Path) -> None:
    folder = tmp_path / "in" / "here"
    folder.mkdir(parents=True)
    with pytest.raises(DataError, match="would lead out of its folder, refused"):
        read_members(archived(folder, packed({name: b"1", "package/one": b"fine"})), {"package/one": 10})
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["archive.tgz", "here", "in"]
    assert not Path("/tmp/evil-by-paretoboard-test").exists()


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.DIRTYPE])
def test_a_member_that_is_no_plain_file_is_refused(kind: bytes, tmp_path: Path) -> None:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as tar:
        member = tarfile.TarInfo("package/one")
        member.type, member.linkname = kind, "/etc/passwd"
        tar.addfile(member)
    with pytest.raises(DataError, match="not a plain file"):
        read_members(archived(tmp_path, stream.getvalue()), {"package/one": 10})


def test_a_member_that_is_too_large_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="has 11 bytes, 10 at most"):
        read_members(archived(tmp_path, packed({"package/one": bytes(11)})), {"package/one": 10})


def test_an_archive_that_unpacks_to_far_too_much_is_refused(tmp_path: Path) -> None:
    bomb = archived(tmp_path, packed({"package/zeros": bytes(80_000_000), "package/one": b"fine"}))
    assert bomb.stat().st_size < 1_000_000
    with pytest.raises(DataError, match="refused"):
        read_members(bomb, {"package/one": 10})


def test_a_member_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no member package/one"):
        read_members(archived(tmp_path, packed({"package/two": b""})), {"package/one": 10})


# CIFAR-10's two sources


def as_png(records: bytes) -> bytes:
    images = np.frombuffer(records, np.uint8).reshape(-1, 3073)
    pixels = np.ascontiguousarray(images[:, 1:].reshape(-1, 3, 1024).transpose(0, 2, 1))
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG", compress_level=0)
    return stream.getvalue()


def test_batches_are_rebuilt_from_pictures_bit_for_bit(cifar10_root: Path) -> None:
    first, test = (
        (cifar10_root / cifar10.BINARY.files[part].path).read_bytes() for part in ("data_batch_1", "test_batch")
    )
    members = {
        "package/data_batch_1.png": as_png(first),
        "package/test_batch.png": as_png(test),
        "package/train_lables.json": json.dumps(list(first[::3073]) + [0] * 40_000).encode(),
        "package/test_lables.json": json.dumps(list(test[::3073])).encode(),
    }
    rebuilt = dict(from_pngs(members, ("data_batch_1", "test_batch")))
    assert rebuilt == {"data_batch_1": first, "test_batch": test}


@cache
def picture(size: tuple[int, int], mode: str = "RGB") -> bytes:
    stream = io.BytesIO()
    Image.new(mode, size).save(stream, "PNG")
    return stream.getvalue()


LABELS = json.dumps([0] * 10_000).encode()


@pytest.mark.parametrize(
    ("png", "labels", "message"),
    [
        (picture((32, 32)), LABELS, r"RGB \(32, 32\) found"),
        (picture((1024, 10_000), "L"), LABELS, r"L \(1024, 10000\) found"),
        (picture((1024, 10_000))[:-2000], LABELS, "not a whole PNG"),
        (b"GIF89a", LABELS, "not a whole PNG"),
        (b"", LABELS, "not a whole PNG"),
        (picture((1024, 10_000)), LABELS[:-4] + b"]", "9999 labels found for 10000 images"),
        (picture((1024, 10_000)), b"[1, 256]", "a list of digits"),
        (picture((1024, 10_000)), b"{", "a list of digits"),
        (picture((1024, 10_000)), b'"words"', "a list of digits"),
        (picture((1024, 10_000)), b"[" * 100_000, "a list of digits"),
        (picture((1024, 10_000)), b"10000", "a list of digits"),
    ],
    ids=range(11),
)
def test_pictures_and_labels_that_are_no_batch_are_refused(png: bytes, labels: bytes, message: str) -> None:
    members = {
        "package/test_batch.png": png,
        "package/train_lables.json": LABELS,
        "package/test_lables.json": labels,
    }
    with pytest.raises(DataError, match=message):
        list(from_pngs(members, ("test_batch",)))


def test_pickles_are_converted_bit_for_bit_and_only_with_the_official_digest(
    cifar10_root: Path, tmp_path: Path
) -> None:
    records = (cifar10_root / cifar10.BINARY.files["test_batch"].path).read_bytes()
    pickled = python2_batch(records)
    file = replace(cifar10.PYTHON.files["test_batch"], md5=hashlib.md5(pickled).hexdigest())
    layout = replace(cifar10.PYTHON, files={"test_batch": file})
    assert dict(from_pickles({file.path: pickled}, layout)) == {"test_batch": records}
    evil = pickle.dumps(FileMaker(tmp_path / "trace"))
    with pytest.raises(DataError, match="MD5"):
        list(from_pickles({file.path: evil}, layout))
    assert not (tmp_path / "trace").exists()


def test_digests_and_names_of_the_python_version_are_torchvisions() -> None:
    from torchvision.datasets import CIFAR10 as theirs  # noqa: N811

    files = cifar10.PYTHON.files
    assert {part: file.md5 for part, file in files.items()} == dict(theirs.train_list + theirs.test_list)
    assert {file.path for file in files.values()} == {f"{theirs.base_folder}/{part}" for part in files}
    assert CIFAR10[0].archive == theirs.filename


# The npm client


def fake_npm(folder: Path, script: str) -> None:
    (folder / "npm").write_text(f"#!/bin/sh\n{script}\n")
    (folder / "npm").chmod(0o755)


def ask_npm(folder: Path) -> subprocess.CompletedProcess[str]:
    """What `npm_package` gives in a process whose only npm client is the one in `folder`."""
    code = "from paretoboard.datasets.sources import npm_package; print(npm_package('some@1'))"
    environ = {**os.environ, "PATH": str(folder)}
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environ)


def test_the_npm_client_says_where_a_package_is_and_how_to_get_there(tmp_path: Path) -> None:
    fake_npm(
        tmp_path,
        'case "$*" in "view some@1 dist.tarball") echo https://registry.example/some.tgz;;'
        ' "config get cafile") echo /etc/own.pem;; *) echo null;; esac',
    )
    expected = Address(url="https://registry.example/some.tgz", cafile="/etc/own.pem", proxy=None)
    assert ask_npm(tmp_path).stdout.strip() == str(expected)


@pytest.mark.parametrize(
    ("script", "message"),
    [("exit 0", "npm knows no package some@1"), ("echo E404 not there >&2; exit 1", "E404 not there")],
)
def test_a_package_that_npm_does_not_find_is_an_error_of_the_data(script: str, message: str, tmp_path: Path) -> None:
    fake_npm(tmp_path, script)
    last_line = ask_npm(tmp_path).stderr.splitlines()[-1]
    assert last_line.startswith("paretoboard.errors.DataError: npm ")
    assert message in last_line


def test_without_an_npm_client_the_message_says_so(tmp_path: Path) -> None:
    assert "the npm client, which knows where some@1 is, is not installed" in ask_npm(tmp_path).stderr
