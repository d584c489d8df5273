"""What is compared: kernels x loads x planted slowdowns, spread so that a run cut short still covers everything."""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Final, Literal

Kind = Literal["reference", "ours", "others"]
KERNELS: Final = ("matmul", "memory", "onnx")
LOADS: Final = (0, 1, 4)  # busy processes beside the measured one, on its core
PLANTED: Final = (1, 2, 3, 5)  # percent
# Of a third of these comparisons: a second look takes as long as the first.
TWO_LOOKS: Final = (0, 3)
LAUNCHES: Final = 8  # of the `standard` budget
LAUNCH_S: Final = 2.5
SIDE_S: Final = 10.0  # for each of two programs that are timed one after the other


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One thing to record."""

    index: int
    kind: Kind
    kernel: str
    load: int
    planted: int  # percent
    seconds: float  # of a launch (reference, ours) or of a side (others)
    launches: int
    looks: int  # 2 where a second look is taken if the protocol wants one
    seed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Extent:
    """How much of everything."""

    reference_s: float
    launch_s: float
    side_s: float
    ours: Mapping[int, int]  # planted percentage -> comparisons in each cell of kernel and load
    ours_loads: tuple[int, ...]
    others: Mapping[int, int]
    others_loads: tuple[int, ...]


EXTENTS: Final = {
    # 108 A/A and 108 planted of ours, 9 of the others: an hour on two cores.
    "full": Extent(
        reference_s=4.0,
        launch_s=LAUNCH_S,
        side_s=SIDE_S,
        ours={0: 12, 1: 2, 2: 2, 3: 6, 5: 2},
        ours_loads=LOADS,
        others={0: 1, 3: 1, 5: 1},
        others_loads=(1,),
    ),
    # 8 minutes on two cores.
    "quick": Extent(
        reference_s=1.0,
        launch_s=LAUNCH_S,
        side_s=SIDE_S,
        ours={0: 2, 3: 2},
        ours_loads=(0, 4),
        others={0: 1, 3: 1},
        others_loads=(1,),
    ),
    # Whether everything works at all, in two minutes; its figures mean nothing.
    "tiny": Extent(
        reference_s=0.3,
        launch_s=0.3,
        side_s=1.0,
        ours={0: 1, 3: 1},
        ours_loads=(0, 1),
        others={3: 1},
        others_loads=(1,),
    ),
}


def items(extent: Extent, seed: int = 1) -> list[Item]:
    """All items, references first, then each cell's repetitions spread evenly over the whole."""
    rng = random.Random(seed)
    placed = []
    kinds: tuple[tuple[Kind, Mapping[int, int], tuple[int, ...]], ...] = (
        ("ours", extent.ours, extent.ours_loads),
        ("others", extent.others, extent.others_loads),
    )
    for kind, counts, loads in kinds:
        for kernel in KERNELS:
            for load in loads:
                for planted, count in counts.items():
                    looks = [2 if planted in TWO_LOOKS and n % 3 == 0 else 1 for n in range(count)]
                    placed += [
                        ((n + rng.random()) / count, kind, kernel, load, planted, looks[n]) for n in range(count)
                    ]
    references = [("reference", kernel, 0, planted, 1) for kernel in KERNELS for planted in PLANTED]
    order = references + [key[1:] for key in sorted(placed)]
    seconds = {"reference": extent.reference_s, "ours": extent.launch_s, "others": extent.side_s}
    return [
        Item(
            index=index,
            kind=kind,
            kernel=kernel,
            load=load,
            planted=planted,
            seconds=seconds[kind],
            launches=2 if kind == "reference" else LAUNCHES,
            looks=looks,
            seed=rng.randrange(1 << 30),
        )
        for index, (kind, kernel, load, planted, looks) in enumerate(order)
    ]


def digest(chosen: list[Item]) -> str:
    """Eight hex digits that change with the plan, so that recordings of two plans are never mixed."""
    return hashlib.sha256(json.dumps([asdict(item) for item in chosen]).encode()).hexdigest()[:8]
