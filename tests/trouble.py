"""What an outside distribution could bring: a technique that misbehaves, and runtimes that cheat in timed calls."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import faults
from paretoboard.artifact import Candidate
from paretoboard.runtimes.eager import Eager, TorchSession, ready_module
from paretoboard.techniques import Applied, Technique, Workbench

ENTRY_POINTS = """
[paretoboard.techniques]
trouble.make = trouble:Trouble
trouble.run = trouble:RunWith
[paretoboard.runtimes]
trouble.careless = trouble:Careless
trouble.caching = trouble:Caching
"""


def install(folder: Path) -> None:
    """Leave in `folder` what an installer leaves of a distribution with these entry points."""
    metadata = folder / "trouble-1.0.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: trouble\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text(ENTRY_POINTS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble(Technique):
    """Leaves the model as it is, and does each of `kinds` on the way."""

    source = "made up for a test"
    takes = ("torch",)
    kinds: tuple[str, ...] = ()

    def apply(self, candidate: Candidate, bench: Workbench) -> Applied:
        for kind in self.kinds:
            faults.FAULTS[kind](bench.scratch, lambda event: None)
        return Applied(candidate=candidate)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunWith(Technique):
    """Chooses a runtime by its name."""

    source = "made up for a test"
    takes = ("torch",)
    name: str

    def apply(self, candidate: Candidate, bench: Workbench) -> Applied:
        execution = dataclasses.replace(candidate.execution, runtime=self.name)
        return Applied(candidate=dataclasses.replace(candidate, execution=execution))


class CarelessSession(TorchSession):
    """Answers as it should until its buffers are refreshed, which only happens where it is timed."""

    careless = False

    def refresh(self) -> None:
        super().refresh()
        self.careless = True

    def run(self, native: Any) -> Any:
        answer = super().run(native)
        return -answer if self.careless else answer


class CachingSession(TorchSession):
    """Remembers what it answered."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.known: dict[bytes, Any] = {}

    def run(self, native: Any) -> Any:
        question = native.numpy().tobytes()
        if question not in self.known:
            self.known[question] = super().run(native)
        return self.known[question]


class Careless(Eager):
    session = CarelessSession

    def open(self, folder: Any, manifest: Any, *, threads: int, **rest: Any) -> TorchSession:
        module = ready_module(folder, manifest, threads)
        return self.session(module, module, manifest.execution)


class Caching(Careless):
    session = CachingSession
