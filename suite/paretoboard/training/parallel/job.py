"""What ranks are asked to do and what they answer: plain values that travel as JSON."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, TypeVar

from pydantic import TypeAdapter

from paretoboard.durable import CHECKPOINT_EVERY_S
from paretoboard.plan import digest, plain
from paretoboard.spec import Preprocess, TrainSettings

if TYPE_CHECKING:
    from pathlib import Path

T = TypeVar("T")
Way = Literal["data", "sharded", "tensor", "pipeline"]
Schedule = Literal["gpipe", "1f1b"]
BatchNorm = Literal["synchronized", "local"]
Device = Literal["cpu", "cuda"]

# As a share of the gradient's largest entry. Sums in another order differ by some units in the last of float64's 53
# bits; in float32 they would turn a ReLU here and there, and the gradient jump by as much as a small mistake gives.
TOLERANCE: Final = 1e-6

# Files of a job's folder.
JOB: Final = "job.json"
NETWORK: Final = "network"  # an artifact: the network with its initial weights
PIXELS: Final = "pixels.npy"
LABELS: Final = "labels.npy"
WEIGHTS: Final = "weights.pt"  # what training left
ANSWER: Final = "answer.json"
FAILURE: Final = "failure-{}.json"  # of a rank, or of the launcher


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One training that several processes share."""

    way: Way
    ranks: int  # of all nodes
    nodes: int
    rendezvous: str  # host:port where the nodes meet; "" for one node
    device: Device
    threads: int  # of each rank
    all_threads: int  # of a node: what one process without ranks would use
    settings: TrainSettings
    preprocess: Preprocess
    seed: int
    timeout_s: float  # without any step before the training counts as hung
    rounds: int  # of timing against one process; 0 compares nothing
    batch_norm: BatchNorm = "synchronized"  # in data parallel: over the whole batch, or over the rank's part
    schedule: Schedule = "1f1b"  # of a pipeline
    microbatches: int = 1  # of a pipeline
    checkpoints: str = ""  # a folder of this node; "" keeps none
    checkpoint_every_s: float = CHECKPOINT_EVERY_S  # after the first whole epoch by then

    @property
    def local_ranks(self) -> int:
        """Ranks of each node."""
        return self.ranks // self.nodes

    @property
    def identity(self) -> str:
        """Digest of what all ranks must agree on; threads, time limits, addresses and folders are its node's own."""
        own = ("threads", "all_threads", "timeout_s", "rendezvous", "checkpoints", "checkpoint_every_s")
        return digest({name: value for name, value in plain(self).items() if name not in own})

    @property
    def meeting(self) -> str:
        """A name for the meeting of the nodes: those that do the same with other numbers of ranks meet, and say so."""
        return digest([self.way, plain(self.settings), plain(self.preprocess), self.seed])[:16]


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Some steps of the same training by the ranks and by one process, from the same weights."""

    gradient_difference: float  # largest of the first step, as a share of the largest entry of the gradient
    weight_difference: float  # largest after `steps` steps, as a share of the largest weight
    steps: int
    exact: bool  # whether one process does the same arithmetic but for the order of sums; else nothing is tolerated
    ranks_s: tuple[float, ...]  # seconds of a step, one value a round
    one_s: tuple[float, ...]  # the same for one process with the threads of one rank
    whole_s: tuple[float, ...]  # the same for one process with all threads

    @property
    def speedups(self) -> tuple[float, ...]:
        """Over one process with all threads, in each round."""
        return tuple(whole / ranks for whole, ranks in zip(self.whole_s, self.ranks_s, strict=True))

    @property
    def scaling(self) -> tuple[float, ...]:
        """Over one process with the threads of one rank, in each round; the number of ranks would be perfect."""
        return tuple(one / ranks for one, ranks in zip(self.one_s, self.ranks_s, strict=True))


@dataclass(frozen=True, slots=True, kw_only=True)
class RankReport:
    """What one rank saw."""

    rank: int
    memory_bytes: int  # peak resident memory while training, beyond what the process had before
    communication: float | None  # share of a step's time with a collective under way; None where it can't be seen
    loss_parts: tuple[float, ...]  # of each epoch; the sum over ranks is the mean training loss


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a training that went well gave, beside the weights."""

    reports: tuple[RankReport, ...]
    until_s: tuple[float, ...]  # seconds of training until the end of each epoch; start-up is not counted
    comparison: Comparison | None
    layout: str  # how the network was shared, in plain words

    @property
    def losses(self) -> tuple[float, ...]:
        """Mean training loss of each epoch."""
        return tuple(map(sum, zip(*(report.loss_parts for report in self.reports), strict=True)))

    @property
    def memory_bytes(self) -> int:
        """Of the rank that took most."""
        return max(report.memory_bytes for report in self.reports)

    @property
    def communication(self) -> float | None:
        """Mean over ranks of the share of a step with a collective under way; None where one could not see it."""
        shares = [report.communication for report in self.reports]
        seen = [share for share in shares if share is not None]
        return sum(seen) / len(seen) if seen and len(seen) == len(shares) else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """What ended a rank, or the launcher."""

    who: int  # the rank, or pulse.LAUNCHER
    kind: str  # name of the exception's class; "signal" for one that was killed
    message: str  # the exception's; of a signal, its name
    at_s: float  # on the machine's monotonic clock


def write(path: Path, value: Job | Answer | Failure) -> None:
    """As JSON."""
    path.write_text(json.dumps(plain(value)))


def read(kind: type[T], path: Path) -> T:
    """What `write` wrote.

    Raises: OSError where there is nothing, pydantic.ValidationError where it is something else.
    """
    return TypeAdapter(kind).validate_json(path.read_text())
