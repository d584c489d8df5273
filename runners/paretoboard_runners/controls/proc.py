"""What the kernel says about another process, through /proc."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from paretoboard_runners.machine import parse_cpus

PROC: Final = Path("/proc")


def environment(pid: int) -> dict[str, str]:
    """The variables that `pid` was started with; later changes of its own are not seen.

    Raises: OSError if there is no such process, or it is somebody else's.
    """
    entries = (PROC / str(pid) / "environ").read_bytes().split(b"\0")
    pairs = (entry.split(b"=", 1) for entry in entries if b"=" in entry)
    return {key.decode(errors="replace"): value.decode(errors="replace") for key, value in pairs}


def status(pid: int, name: str, thread: int | None = None) -> str:
    """A field of /proc/<pid>/status, "" where this kernel does not have it."""
    folder = PROC / str(pid) if thread is None else PROC / str(pid) / "task" / str(thread)
    for line in (folder / "status").read_text().splitlines():
        key, _, value = line.partition(":")
        if key == name:
            return value.strip()
    return ""


def threads(pid: int) -> tuple[int, ...]:
    """Ids of the threads of `pid`, its own first."""
    return tuple(sorted(int(entry.name) for entry in (PROC / str(pid) / "task").iterdir()))


def affinity(pid: int) -> dict[int, tuple[int, ...]]:
    """The cores that each thread of `pid` may run on. A thread that ends meanwhile is left out."""
    seen = {}
    for thread in threads(pid):
        try:
            seen[thread] = parse_cpus(status(pid, "Cpus_allowed_list", thread))
        except FileNotFoundError:
            continue
    return seen


def personality(pid: int) -> int:
    """Flags of personality(2)."""
    return int((PROC / str(pid) / "personality").read_text(), 16)


def memory_policies(pid: int) -> frozenset[str]:
    """NUMA policies of the mappings of `pid`: "default", "bind:0", ...; empty on a kernel without NUMA."""
    try:
        lines = (PROC / str(pid) / "numa_maps").read_text().splitlines()
    except FileNotFoundError:
        return frozenset()
    return frozenset(line.split()[1] for line in lines)


def has_mapped(pid: int, library: str) -> bool:
    """Whether a file whose name begins with `library` is mapped into `pid`."""
    lines = (PROC / str(pid) / "maps").read_text().splitlines()
    return any(line.rpartition("/")[2].startswith(library) for line in lines)


def thread_names(pid: int) -> dict[int, str]:
    """The name of each thread of `pid`. A thread that ends meanwhile is left out."""
    return _of_threads(pid, "comm")


def cpu_times_ns(pid: int) -> dict[int, int]:
    """Nanoseconds that each thread of `pid` has computed. A thread that ends meanwhile is left out.

    Raises: OSError on a kernel without scheduler statistics.
    """
    return {thread: int(text.split()[0]) for thread, text in _of_threads(pid, "schedstat").items()}


def _of_threads(pid: int, file: str) -> dict[int, str]:
    seen = {}
    for thread in threads(pid):
        try:
            seen[thread] = (PROC / str(pid) / "task" / str(thread) / file).read_text().strip()
        except (FileNotFoundError, ProcessLookupError):
            continue
    return seen
