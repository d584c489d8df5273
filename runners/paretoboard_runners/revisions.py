"""Revisions of somebody's git repository, each checked out in a folder of its own; their own checkout is never touched.

The search is git's own `git bisect`, run in a linked worktree, where its state is kept apart from the repository's: a
bisection that the user has under way goes on undisturbed.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

from paretoboard.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator

Mark = Literal["good", "bad", "skip"]
_FIRST_BAD: Final = re.compile(r"^# first bad commit: \[([0-9a-f]+)\]", re.MULTILINE)
_POSSIBLE: Final = re.compile(r"^# possible first bad commit: \[([0-9a-f]+)\]", re.MULTILINE)
# Of a git that called us, as from a hook: they would lead every call to another repository.
_FOREIGN: Final = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_PREFIX", "GIT_COMMON_DIR")


@dataclass(frozen=True, slots=True, kw_only=True)
class Commit:
    """One commit, as a person knows it."""

    id: str  # in full
    author: str
    date: str  # as ISO 8601
    subject: str


class Repository:
    """A git repository, and checkouts of its revisions below a temporary folder."""

    def __init__(self, top: Path, scratch: Path) -> None:
        self._top = top
        self._scratch = scratch

    def resolve(self, revision: str) -> Commit:
        """The commit that a revision names.

        Raises: InputError where it names none.
        """
        done = self._ask("rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}")
        if done.returncode:
            raise InputError(f"{self._top}: found revision '{revision}'; a commit, branch or tag of it would be right")
        return self.commit(done.stdout.strip())

    def commit(self, name: str) -> Commit:
        """What is known of a commit, by its id."""
        shown = self._git("log", "-1", "--no-show-signature", "--format=%H%x00%an <%ae>%x00%cI%x00%s", name)
        found, author, date, subject = shown.strip("\n").split("\0")
        return Commit(id=found, author=author, date=date, subject=subject)

    def leads_to(self, first: Commit, last: Commit) -> bool:
        """Whether `first` is an ancestor of `last`, and another commit."""
        return first.id != last.id and self._ask("merge-base", "--is-ancestor", first.id, last.id).returncode == 0

    def between(self, good: Commit, bad: Commit, *, first_parent: bool) -> int:
        """How many commits could be the first bad one."""
        kind = ["--first-parent"] if first_parent else []
        return int(self._git("rev-list", "--count", *kind, f"{good.id}..{bad.id}"))

    @contextmanager
    def checked_out(self, commit: Commit, *, empty: bool = False) -> Iterator[Path]:
        """A new folder with the files of a commit, gone afterwards.

        Fresh each time: compiled files of another revision that a build takes for its own would be measured.

        Args:
            empty: leave the files out.
        """
        folder = Path(tempfile.mkdtemp(prefix=f"{commit.id[:10]}-", dir=self._scratch))
        kind = ["--no-checkout"] if empty else []
        try:
            self._git("worktree", "add", "--quiet", "--force", "--detach", *kind, str(folder), commit.id)
            yield folder
        finally:
            self._ask("worktree", "remove", "--force", "--force", str(folder))
            # No `git worktree prune` here: it would forget worktrees of the user's that are only out of reach.
            shutil.rmtree(folder, ignore_errors=True)

    @contextmanager
    def searched(self, good: Commit, bad: Commit, *, first_parent: bool) -> Iterator[Search]:
        """A search for the first bad commit between two."""
        with self.checked_out(bad, empty=True) as folder:
            kind = ["--first-parent"] if first_parent else []
            search = Search(self, folder)
            search.git("start", "--no-checkout", *kind, bad.id, good.id)
            yield search

    def _git(self, *arguments: str) -> str:
        done = self._ask(*arguments)
        if done.returncode:
            raise InputError(f"{self._top}: git {arguments[0]} failed: {_last_line(done.stderr)}")
        return done.stdout

    def _ask(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return _run_git(self._top, *arguments)


class Search:
    """`git bisect` in a worktree of its own."""

    def __init__(self, repository: Repository, folder: Path) -> None:
        self._repository = repository
        self._folder = folder

    def next(self) -> Commit | None:
        """What is to be looked at next; None at the end."""
        if self.first_bad():
            return None
        done = _run_git(self._folder, "rev-parse", "--verify", "--quiet", "BISECT_HEAD")
        return self._repository.commit(done.stdout.strip())

    def mark(self, mark: Mark) -> None:
        """Say what the commit that `next` gave is."""
        self.git(mark)

    def first_bad(self) -> tuple[Commit, ...]:
        """The first bad commit; several where what was skipped hides which; none while the search goes on."""
        log = self.git("log")
        found = _FIRST_BAD.findall(log) or _POSSIBLE.findall(log)
        return tuple(self._repository.commit(name) for name in dict.fromkeys(found))

    def git(self, *arguments: str) -> str:
        """Call `git bisect`; what it prints."""
        done = _run_git(self._folder, "bisect", *arguments)
        # 2 says that only skipped commits are left.
        if done.returncode not in (0, 2):
            raise InputError(f"git bisect {arguments[0]} failed: {_last_line(done.stderr or done.stdout)}")
        return done.stdout


@contextmanager
def opened(folder: Path) -> Iterator[Repository]:
    """The repository that a folder lies in; all checkouts of it are gone afterwards.

    Raises: InputError where it lies in none, or git is missing.
    """
    try:
        done = _run_git(folder, "rev-parse", "--show-toplevel")
    except OSError as error:
        raise InputError(
            f"git can't be called in {folder}: {error}; an installed git and a folder are wanted"
        ) from error
    if done.returncode:
        raise InputError(f"{folder}: no git repository here; one with the commits to search would be right")
    with tempfile.TemporaryDirectory(prefix="paretoboard-bisect-", ignore_cleanup_errors=True) as scratch:
        yield Repository(Path(done.stdout.strip()), Path(scratch))


def _run_git(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if name not in _FOREIGN}
    environment = {**kept, "GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C"}
    # Hooks are the user's for work of theirs, and may do anything.
    command = ["git", "-c", "core.hooksPath=/dev/null", "-C", str(folder), *arguments]
    return subprocess.run(
        command,
        capture_output=True,
        text=True,
        errors="replace",
        env=environment,
        stdin=subprocess.DEVNULL,
        check=False,
    )


def _last_line(text: str) -> str:
    return (text.strip() or "no message").splitlines()[-1]
