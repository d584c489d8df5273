"""What can go wrong, as a tree, with the exit code each branch ends the command line with.

ParetoboardError
├── InputError            2   the user's input: a task file, an option, a name, missing data
│   ├── TaskFileError     2   every mistake of one task file, each with its line
│   ├── UnknownNameError  2   a name that no registry knows, with the nearest known one
│   └── DataError         2   data that is missing, or is not what it should be
├── NotApplicableError    -   a technique refuses a model or a machine; becomes a `skipped` record
├── RefusedError          -   a profile requires what this machine can't hold; becomes a `refused` record
├── DivergedError         -   a loss or an output that is not a number; becomes a `failed` record
├── ParallelError         -   ranks that died, hung, never met or got it wrong; becomes a `failed` record
└── StoreError            3   stored data that is damaged or of an unknown version
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path  # noqa: TC004 - nothing resolves these annotations


def first_line(error: BaseException) -> str:
    """What an error of somebody else's says, in a line; its class where it says nothing."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]


class ParetoboardError(Exception):
    """Base of all errors that carry a message meant for a person."""

    exit_code = 1


class ParetoboardWarning(UserWarning):
    """Something a person should know that does not stop the work."""


class InputError(ParetoboardError):
    """The user's input is wrong; the message says what was found and what would be right."""

    exit_code = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One mistake in a file."""

    file: Path
    line: int  # 1-based
    key: str  # dotted path of the key, "" for the file as a whole
    message: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: " + (f"{self.key}: {self.message}" if self.key else self.message)


class TaskFileError(InputError):
    """All mistakes of one task file at once."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(sorted(problems, key=lambda problem: (str(problem.file), problem.line)))
        super().__init__("\n".join(str(problem) for problem in self.problems))


class UnknownNameError(InputError):
    """A name that nothing is registered under."""

    def __init__(self, kind: str, name: str, known: Iterable[str]) -> None:
        self.kind, self.name, self.known = kind, name, tuple(sorted(known))
        super().__init__(f"unknown {kind} '{name}'." + suggestion(name, self.known))


class DataError(InputError):
    """Data is missing or not what it should be; the message says which files go where."""


class NotApplicableError(ParetoboardError):
    """A technique can't be applied to this model or on this machine, with the reason."""


class RefusedError(ParetoboardError):
    """The profile requires a control that this machine can't hold."""


class DivergedError(ParetoboardError):
    """A loss or an output is not a finite number."""


class ParallelError(ParetoboardError):
    """Processes that share a training died, hung, did not meet, or computed something else than one process."""


class StoreError(ParetoboardError):
    """Stored results are damaged or were written by an unknown version."""

    exit_code = 3


def suggestion(name: str, known: Iterable[str]) -> str:
    """' Did you mean ...?' for the nearest of `known`, or the list of them when nothing is near."""
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.6)
    if near:
        return f" Did you mean '{near[0]}'?"
    return f" Known: {', '.join(names)}." if names else ""
