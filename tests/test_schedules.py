"""The ready-made files for systemd, cron and GitHub Actions: they are what those read, and what they call works."""

from __future__ import annotations

import configparser
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import paretoboard
from paretoboard.cli import nightly_verb

FOLDER = Path(paretoboard.__file__).parents[1] / "schedules"
BRANCH = "paretoboard-results"


def workflow() -> dict:
    yaml = pytest.importorskip("yaml", reason="no YAML reader is installed")
    return yaml.safe_load((FOLDER / "github-actions.yml").read_text())


def commands() -> dict[str, list[str]]:
    """The arguments of `paretoboard nightly` in each file, without the shell around them."""
    service = configparser.ConfigParser(interpolation=None)
    service.optionxform = str
    service.read(FOLDER / "paretoboard-nightly.service")
    cron = [line for line in (FOLDER / "crontab").read_text().splitlines() if "paretoboard nightly" in line]
    measured = next(step["run"] for step in workflow()["jobs"]["nightly"]["steps"] if step.get("name") == "Measure")
    lines = [service["Service"]["ExecStart"], *cron, measured]
    names = ["systemd", "cron", "cron after a start", "GitHub Actions"]
    found = [re.search(r"paretoboard nightly ([^>&]*)", line).group(1) for line in lines]
    return dict(zip(names, map(shlex.split, found), strict=True))


@pytest.mark.parametrize("name", ["systemd", "cron", "cron after a start", "GitHub Actions"])
def test_every_option_that_a_schedule_gives_is_one(name: str) -> None:
    import typer.main

    known = {option for parameter in typer.main.get_command(nightly_verb.app).params for option in parameter.opts}
    given = {word for word in commands()[name] if word.startswith("--")}
    assert given
    assert given <= known


def test_systemd_finds_nothing_wrong_with_its_units(tmp_path: Path) -> None:
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        pytest.skip("no systemd-analyze here")
    (tmp_path / "paretoboard" / ".venv" / "bin").mkdir(parents=True)
    program = tmp_path / "paretoboard" / ".venv" / "bin" / "paretoboard"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    for name in ("paretoboard-nightly.service", "paretoboard-nightly.timer"):
        text = (FOLDER / name).read_text().replace("%h", str(tmp_path))
        (tmp_path / name).write_text(text)
    done = subprocess.run(
        [analyze, "verify", "--man=no", *(str(path) for path in tmp_path.glob("paretoboard-nightly.*"))],
        capture_output=True,
        text=True,
        env={**os.environ, "SYSTEMD_UNIT_PATH": f"{tmp_path}:"},
    )
    about_ours = [line for line in done.stderr.splitlines() if "paretoboard" in line]
    assert about_ours == []
    assert done.returncode == 0, done.stderr


def test_cron_lines_have_five_fields_or_a_name_and_then_a_command() -> None:
    lines = [line for line in (FOLDER / "crontab").read_text().splitlines() if line and not line.startswith("#")]
    assert lines[0] == "CRON_TZ=UTC"
    assert re.fullmatch(r"17 2 \* \* \* cd .*", lines[1])
    assert lines[2].startswith("@reboot ")
    # In a crontab a percent sign is a line break.
    assert not any("%" in line for line in lines)
    for line in lines[1:]:
        command = line.split(maxsplit=5)[5] if line[0].isdigit() else line.split(maxsplit=1)[1]
        assert subprocess.run(["sh", "-n", "-c", command], capture_output=True, text=True).stderr == ""


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A clone of a repository whose `paretoboard` is a stand-in that leaves one record a night."""
    origin = tmp_path / "origin.git"
    folder = tmp_path / "checkout"
    git(tmp_path, "init", "--quiet", "--bare", str(origin))
    git(tmp_path, "clone", "--quiet", str(origin), str(folder))
    program = folder / ".venv" / "bin" / "paretoboard"
    program.parent.mkdir(parents=True)
    program.write_text(
        f"""#!{sys.executable}
import pathlib, sys
if sys.argv[1] == "nightly":
    results = pathlib.Path(sys.argv[sys.argv.index("--results") + 1])
    kept = results / "records"
    kept.mkdir(parents=True, exist_ok=True)
    (kept / f"night-{{len(list(kept.iterdir()))}}").write_text("measured")
    for name, text in (("nightly/latest.md", "# Nightly\\n"), ("artifacts/big", "built"), ("nightly/1.log", "said")):
        (results / name).parent.mkdir(exist_ok=True)
        (results / name).write_text(text)
"""
    )
    program.chmod(0o755)
    (folder / ".gitignore").write_text(".venv\n")
    (folder / "code.py").write_text("pass\n")
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--message", "Begin")
    git(folder, "push", "--quiet", "origin", "HEAD:refs/heads/main")
    return folder


def git(folder: Path, *arguments: str) -> str:
    names = ["-c", "user.name=Ada", "-c", "user.email=ada@example.org"]
    done = subprocess.run(["git", "-C", str(folder), *names, *arguments], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_workflow_keeps_night_after_night_in_a_branch_that_has_nothing_else(checkout: Path, tmp_path: Path) -> None:
    job = workflow()["jobs"]["nightly"]
    steps = [step for step in job["steps"] if "run" in step and step["name"] != "Install"]
    assert [step["name"] for step in steps] == ["Fetch the nights before", "Measure", "Keep what was measured"]
    summary = tmp_path / "summary.md"
    environment = {**os.environ, **job["env"], "GITHUB_STEP_SUMMARY": str(summary)}
    for night in range(3):
        for step in steps:
            done = subprocess.run(
                ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step["run"]],
                cwd=checkout,
                env=environment,
                capture_output=True,
                text=True,
            )
            assert done.returncode == 0, f"{step['name']}: {done.stderr}"
        kept = git(checkout, "ls-tree", "-r", "--name-only", f"origin/{BRANCH}" if night else BRANCH).split()
        assert "code.py" not in kept
        shutil.rmtree(checkout / "nights")  # the next night begins in a fresh checkout
        git(checkout, "worktree", "prune")
        git(checkout, "fetch", "--quiet", "origin", f"{BRANCH}:refs/remotes/origin/{BRANCH}")
    kept = git(checkout, "ls-tree", "-r", "--name-only", f"origin/{BRANCH}").split()
    assert sorted(kept) == [".gitignore", "nightly/latest.md", "records/night-0", "records/night-1", "records/night-2"]
    assert summary.read_text() == "# Nightly\n" * 3
    assert git(checkout, "rev-list", "--count", f"origin/{BRANCH}").strip() == "3"
