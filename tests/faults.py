"""Jobs that misbehave, each in its own way; performed in real processes by test_isolation.py."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class FaultJob:
    """What kind of trouble to make."""

    kind: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FaultResult:
    """The answer of a job that ended well after all."""

    text: str


def misbehave(job: FaultJob, folder: Path, emit: Callable[[dict[str, object]], None]) -> FaultResult:
    return FaultResult(text=FAULTS[job.kind](folder, emit) or "")


def _segmentation_fault(folder: Path, emit: object) -> None:
    ctypes.string_at(0)


def _abort(folder: Path, emit: object) -> None:
    os.abort()


def _native_loop(folder: Path, emit: object) -> None:
    # pause(2) in a loop inside libc never returns to the interpreter, whose signal handlers so never run.
    libc = ctypes.PyDLL(None)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    libc.sleep(3600)


def _out_of_memory(folder: Path, emit: object) -> None:
    held = [bytearray(64 << 20) for _ in range(1000)]
    raise AssertionError(f"{len(held)} blocks of 64 MiB were given")


def _fork_bomb(folder: Path, emit: object) -> str:
    for _ in range(50):
        if os.fork() == 0:
            os.setsid()
            if os.fork() == 0:
                time.sleep(3600)
            time.sleep(3600)
    return "bombed"


def _close_pipes(folder: Path, emit: object) -> str:
    os.closerange(1, 64)
    return "answered all the same"


def _flood(folder: Path, emit: object) -> str:
    block = b"x" * (1 << 20)
    for _ in range(1024):
        os.write(1, block)
    os.write(1, b"the end\n")
    return "flooded"


def _stop(folder: Path, emit: object) -> None:
    os.kill(os.getpid(), signal.SIGSTOP)


def _change_affinity(folder: Path, emit: object) -> str:
    os.sched_setaffinity(0, range(os.cpu_count() or 1))
    return "moved"


def _raise(folder: Path, emit: object) -> None:
    raise ValueError("no good")


def _exit(folder: Path, emit: object) -> None:
    os._exit(3)


def _system_exit(folder: Path, emit: object) -> None:
    sys.exit("enough")


def _send_garbage(folder: Path, emit: Callable[[dict[str, object]], None]) -> str:
    os.write(emit.descriptor, b"\xff\xfe not json\n[1,2]\n")  # type: ignore[attr-defined]
    emit({"stage": "test", "done": 1.0, "text": "after the garbage"})
    return "sent"


def _be_killed(folder: Path, emit: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _name_pid(folder: Path, emit: object) -> str:
    return str(os.getpid())


def _sleep(folder: Path, emit: Callable[[dict[str, object]], None]) -> None:
    child = os.fork()
    if child == 0:
        os.setsid()
        time.sleep(3600)
    emit({"stage": "test", "done": 0.0, "text": f"{os.getpid()} {child}"})
    time.sleep(3600)


def _nap(folder: Path, emit: Callable[[dict[str, object]], None]) -> str:
    emit({"stage": "test", "done": 0.0, "text": "asleep"})
    time.sleep(2.0)
    return "rested"


def _unrepeatable(folder: Path, emit: object) -> None:
    import torch

    torch.zeros(5).put_(torch.tensor([1, 2]), torch.ones(2), accumulate=False)


FAULTS: dict[str, Callable[..., str | None]] = {
    "segmentation fault": _segmentation_fault,
    "abort": _abort,
    "native loop": _native_loop,
    "out of memory": _out_of_memory,
    "fork bomb": _fork_bomb,
    "close pipes": _close_pipes,
    "flood": _flood,
    "stop": _stop,
    "change affinity": _change_affinity,
    "raise": _raise,
    "exit": _exit,
    "system exit": _system_exit,
    "send garbage": _send_garbage,
    "be killed": _be_killed,
    "name pid": _name_pid,
    "sleep": _sleep,
    "nap": _nap,
    "unrepeatable": _unrepeatable,
}
