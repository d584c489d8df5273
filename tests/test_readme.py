"""The README stays true: its commands exist, and every command stands in it."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from conftest import REPOSITORY
from paretoboard.cli import VERBS

README = (REPOSITORY / "README.md").read_text()


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_help_and_stands_in_the_readme(verb: str) -> None:
    done = subprocess.run([sys.executable, "-m", "paretoboard", verb, "--help"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "Usage:" in done.stdout
    assert re.search(rf"paretoboard {verb}\b", README)


def test_every_make_target_of_the_readme_exists() -> None:
    makefile = (REPOSITORY / "Makefile").read_text()
    targets = set(re.findall(r"^([a-z-]+):", makefile, re.MULTILINE))
    named = set(re.findall(r"\bmake ([a-z]+(?:-[a-z]+)*)\b", README)) - {"alone"}
    assert named
    assert named <= targets


def test_every_folder_that_the_readme_draws_is_there() -> None:
    section = README.split("## How it is built")[1].split("## Development")[0]
    folders = re.findall(r"^    ((?:suite|runners|reports|results|tests)/[\w/]*)", section, re.MULTILINE)
    assert len(folders) >= 5
    assert all((REPOSITORY / folder).is_dir() for folder in folders)
