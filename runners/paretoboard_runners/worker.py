"""The server that measuring processes are forked from.

Pinned before anything heavy is imported, it imports torch and the runtimes once, and then forks one fresh process for
each job, watches it, and answers how it ended. It never runs a model itself, so its children start clean. When the
socket to its parent closes, it ends what it started and itself: no orphan survives a killed parent.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import socket
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from paretoboard.process import adopt_orphans, die_with_parent, outlive_parent
from paretoboard.spec import HardwareProfile
from paretoboard_runners import controls, jobs, phases, supervise

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

# What jobs import; those that are missing are a job's own problem.
_PRELOAD: Final = (
    "numpy",
    "torch",
    "onnxruntime",
    "sklearn.metrics",
    "scipy.stats",
    "paretoboard_runners.launch",
)


def main() -> None:
    """Serve until the parent closes its end: `python -m paretoboard_runners.worker DESCRIPTOR PARENT`."""
    control = socket.socket(fileno=int(sys.argv[1]))
    # Importing takes seconds in which nobody listens to the socket. Later the socket tells, since then there may be
    # children to end first.
    die_with_parent(int(sys.argv[2]))
    adopt_orphans()
    try:
        _serve(control)
    except (supervise.ControlClosedError, BrokenPipeError, ConnectionResetError):
        pass
    finally:
        supervise.kill_descendants()
        os._exit(0)


def _serve(control: socket.socket) -> None:
    requests = _lines(control)
    setup = next(requests, None)
    if setup is None:
        return
    profile = jobs.from_json(HardwareProfile, json.dumps(setup["profile"]))
    cores, seed = tuple(setup["cores"]), setup["seed"]
    early = controls.apply_in_process(profile, cores, seed)
    _preload(_PRELOAD)
    late = controls.apply_after_imports(profile, cores, seed)
    outlive_parent()
    _reply(control, {"controls": [asdict(state) for state in controls.states(early, late)]})
    for request in requests:
        _preload(request["preload"])
        _leave_garbage_to_jobs()
        ending = _perform(control, request)
        _reply(control, {"ended": asdict(ending)})


def _perform(control: socket.socket, request: Mapping[str, Any]) -> supervise.Ending:
    function, kind, folder = request["function"], request["kind"], request["folder"]

    def body(emit: supervise.Emitter) -> int:
        control.close()
        if request["fresh"]:
            os.set_inheritable(emit.descriptor, True)
            module = "paretoboard_runners.phases"
            command = [sys.executable, "-m", module, function, kind, folder, str(emit.descriptor)]
            os.execve(sys.executable, command, request["environment"])
        return phases.perform(function, kind, Path(folder), emit)

    child = supervise.fork(body, memory_limit_bytes=request["memory_limit_bytes"])
    return supervise.watch(
        child,
        timeout_s=request["timeout_s"],
        on_event=lambda event: _reply(control, {"event": event}),
        control=control,
    )


def _preload(modules: Iterable[str]) -> None:
    for name in modules:
        try:
            importlib.import_module(name)
        except Exception:  # noqa: BLE001, S112 - the job meets the same error, and there it becomes a record
            continue


def _leave_garbage_to_jobs() -> None:
    """Exempt what is imported by now from garbage collection, here and in the processes forked from here.

    A launch collects before each window. Walking torch's objects every time, and copying the pages they share with
    this process, left only 40 % of a launch to timed calls; without it they have 84 % (calls of 2.5 ms, two busy Zen 4
    cores, 2026-11-22).
    """
    gc.collect()
    gc.freeze()


def _lines(control: socket.socket) -> Iterator[dict[str, Any]]:
    with control.makefile("rb") as stream:
        for line in stream:
            yield json.loads(line)


def _reply(control: socket.socket, message: Mapping[str, Any]) -> None:
    control.sendall(json.dumps(message).encode() + b"\n")


if __name__ == "__main__":
    main()
