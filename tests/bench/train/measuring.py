"""The jobs that time the trainer and the bare loop in turn, each in a fresh process."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np

from paretoboard.spec import Preprocess

if TYPE_CHECKING:
    from torch import nn

    from paretoboard.datasets import Images

BATCH: Final = 128
EPOCH: Final = 64  # steps; fewer than in most trainings, so what is done once an epoch counts more
SHORT_EPOCH: Final = 10  # steps, where the teacher is asked about all images before
TEACHER: Final = "cifar-resnet56"
NETWORKS: Final = ("cifar-resnet8", "cifar-resnet20")
Precision = Literal["float32", "bfloat16"]
PRECISIONS: Final[tuple[Precision, ...]] = ("float32", "bfloat16")
WARM_UP: Final = 3  # steps; the first are slower than all others
Kind = Literal["augmented", "taught", "kept"]
MemoryFormat = Literal["contiguous", "channels_last"]
KINDS: Final[dict[Kind, str]] = {
    "augmented": "crop and flip",
    "taught": "crop and flip, teacher asked",
    "kept": "teacher's answers kept",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Extent:
    """How long one comparison is."""

    turns: int  # of each loop, at most
    seconds: float  # of a turn, about: short, so that neighbours on the machine slow a turn of both loops
    enough_s: float  # no turn begins after so long, once there are FEWEST


FEWEST: Final = 8  # turns, seven of which lie between two of the bare loop and give an interval
EXTENTS: Final = {
    "full": Extent(turns=60, seconds=0.25, enough_s=20.0),
    "quick": Extent(turns=20, seconds=0.15, enough_s=5.0),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One comparison."""

    network: str
    precision: Precision
    kind: Kind
    memory_format: MemoryFormat
    extent: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Arm:
    """A way to compute the same steps."""

    precision: Precision
    memory_format: MemoryFormat

    def of(self, network: str) -> Case:
        """This way for a network."""
        return Case(
            network=network, precision=self.precision, kind="kept", memory_format=self.memory_format, extent="full"
        )


ARMS: Final = (  # the first is what the others are compared with
    Arm(precision="float32", memory_format="contiguous"),
    Arm(precision="float32", memory_format="channels_last"),
    Arm(precision="bfloat16", memory_format="contiguous"),
    Arm(precision="bfloat16", memory_format="channels_last"),
)
ARM_NETWORKS: Final = (*NETWORKS, "cifar-airbench-small", "cifar-airbench")


@dataclass(frozen=True, slots=True, kw_only=True)
class Timed:
    """Images per second of each turn, in the order they were taken: the trainer's first, then one of each."""

    trainer: tuple[float, ...]
    bare: tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Steps:
    """Seconds of some steps of the bare loop, in each turn, for every arm of ARMS."""

    of_arm: tuple[tuple[float, ...], ...]


class EnoughError(Exception):
    """Ends the training when all turns are taken."""


class Turns:
    """Told of the trainer's progress, it stops the clock after every few steps and gives the bare loop a turn."""

    def __init__(
        self, bare: Callable[[], None], extent: Extent, clock: Callable[[], float] = time.perf_counter
    ) -> None:
        self._bare, self._extent, self._clock = bare, extent, clock
        self._length = 0  # steps of a turn, found after warming up
        self._steps = 0
        self._started = 0.0
        self._began = 0.0  # the first turn
        self.trainer: list[float] = []
        self.bare: list[float] = []

    def __call__(self, done: float, text: str) -> None:
        """After each step, and before the first one while the teacher is asked.

        Raises: EnoughError after the last turn.
        """
        if done == 0:
            return
        now = self._clock()
        self._steps += 1
        if self._steps < (self._length or WARM_UP):
            return
        if self._length:
            self.trainer.append(self._rate(now - self._started))
            self.bare.append(self._rate(self._bare_steps(self._length)))
        else:
            self._bare_steps(WARM_UP)
            self._length = max(1, round(self._extent.seconds / self._bare_steps(1)))
            self._began = self._clock()
        turns, spent_s = len(self.trainer), self._clock() - self._began
        if turns == self._extent.turns or (turns >= FEWEST and spent_s >= self._extent.enough_s):
            raise EnoughError
        self._steps, self._started = 0, self._clock()

    def _bare_steps(self, count: int) -> float:
        """Do so many steps; the seconds that they took."""
        start = self._clock()
        for _ in range(count):
            self._bare()
        return self._clock() - start

    def _rate(self, seconds: float) -> float:
        return self._length * BATCH / seconds


def measure(case: Case, folder: Path, emit: Callable[[dict[str, Any]], None]) -> Timed:
    """The job of one comparison, done in a fresh process."""

    from paretoboard.artifact import Candidate
    from paretoboard.models import build
    from paretoboard.techniques import Workbench

    hold_torch()
    data = made_up_images(BATCH * (SHORT_EPOCH if case.kind == "kept" else EPOCH))
    teacher = build(TEACHER, 10).eval()
    turns = Turns(
        bare_step(case, build(case.network, 10), teacher if case.kind == "taught" else None), EXTENTS[case.extent]
    )
    module = build(case.network, 10).eval()
    bench = Workbench(
        seed=0,
        preprocess=Preprocess(mean=(0.5,), std=(0.25,)),
        train_images=lambda: data,
        calibration_images=lambda: data,
        teacher=lambda: teacher,
        train_settings=None,
        train_seed=0,
        scratch=folder,
        progress=turns,
    )
    start = Candidate(architecture=case.network, classes=10, input_shape=(3, 32, 32), module=module)
    try:
        technique(case).apply(start, bench)
    except EnoughError:
        return Timed(trainer=tuple(turns.trainer), bare=tuple(turns.bare))
    raise AssertionError("the training ended before all turns were taken")


def hold_torch() -> None:
    """As for building: all cores, and deterministic operators where there are such."""
    import torch

    torch.set_num_threads(len(os.sched_getaffinity(0)))
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.utils.deterministic.fill_uninitialized_memory = False
    torch.manual_seed(0)


def technique(case: Case) -> Any:
    """What trains: the techniques of recipes, for longer than anyone waits."""
    from paretoboard.techniques.distill import LogitsDistillation
    from paretoboard.techniques.train import Finetune

    settings: dict[str, Any] = {
        "epochs": 100_000 if case.kind != "taught" else 161,  # crop and flip make 162 variants: asked each time
        "batch": BATCH,
        "precision": case.precision,
        "memory_format": case.memory_format,
        "augment": () if case.kind == "kept" else ("crop", "flip"),
    }
    return Finetune(**settings) if case.kind == "augmented" else LogitsDistillation(**settings)


def bare_step(case: Case, module: nn.Module, teacher: nn.Module | None = None) -> Callable[[], None]:
    """One step of the plainest loop, on a batch that stays: forward (of a teacher too), backward, step."""
    import torch

    from paretoboard.training.feed import MEMORY_FORMATS

    memory_format = MEMORY_FORMATS[case.memory_format]
    module.train().to(memory_format=memory_format)
    if teacher is not None:
        teacher.to(memory_format=memory_format)
    images = torch.rand(BATCH, 3, 32, 32).contiguous(memory_format=memory_format)
    labels = torch.randint(10, (BATCH,))
    optimizer = torch.optim.SGD(module.parameters(), 0.01, momentum=0.9, weight_decay=5e-4, nesterov=True)

    def step() -> None:
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=case.precision == "bfloat16"):
            if teacher is not None:
                with torch.no_grad():
                    teacher(images)
            logits = module(images)
        loss = torch.nn.functional.cross_entropy(logits.float(), labels)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()

    return step


def made_up_images(count: int) -> Images:
    """Noise: how fast a network is trained does not depend on what it sees."""
    from paretoboard.datasets import Images

    generator = np.random.default_rng(0)
    return Images(
        ids=tuple(f"made/{index}" for index in range(count)),
        pixels=generator.integers(0, 256, (count, 3, 32, 32), dtype=np.uint8),
        labels=generator.integers(0, 10, count),
        classes=tuple("abcdefghij"),
    )


def arms(network: str, folder: Path, emit: Callable[[dict[str, Any]], None]) -> Steps:
    """The job that times the bare loop in every precision and memory format, in turn."""
    from paretoboard.models import build

    hold_torch()
    steps = [bare_step(arm.of(network), build(network, 10)) for arm in ARMS]
    seconds: list[list[float]] = [[] for _ in ARMS]
    for turn in range(2 + FEWEST):
        for step, found in zip(steps, seconds, strict=True):
            start = time.perf_counter()
            for _ in range(WARM_UP):
                step()
            if turn >= 2:
                found.append(time.perf_counter() - start)
    return Steps(of_arm=tuple(map(tuple, seconds)))


def cases(extent: str) -> list[Case]:
    """Every network in both precisions and each kind of training."""
    return [
        Case(network=network, precision=precision, kind=kind, memory_format="channels_last", extent=extent)
        for network in NETWORKS
        for precision in PRECISIONS
        for kind in KINDS
    ]
