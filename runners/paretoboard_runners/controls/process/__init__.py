"""Controls that hold inside the measuring process, set in its environment, before or after its imports."""

from __future__ import annotations

from paretoboard_runners.controls.process.memory import (
    ALLOCATOR_VARIABLES,
    AddressRandomization,
    Allocator,
    HugePages,
)
from paretoboard_runners.controls.process.numa import MemoryNode, bind_memory, numa_nodes
from paretoboard_runners.controls.process.repeatability import Determinism, Float32Precision, Seeds
from paretoboard_runners.controls.process.scheduling import Cores, GarbageCollection, Priority
from paretoboard_runners.controls.process.threads import Threads, Waiting

__all__ = [
    "ALLOCATOR_VARIABLES",
    "AddressRandomization",
    "Allocator",
    "Cores",
    "Determinism",
    "Float32Precision",
    "GarbageCollection",
    "HugePages",
    "MemoryNode",
    "Priority",
    "Seeds",
    "Threads",
    "Waiting",
    "bind_memory",
    "numa_nodes",
]
