"""Starts the ranks of a job on this node, as torchrun does, and ends with whoever started it.

    python -m paretoboard.training.parallel.launcher FOLDER DESCRIPTOR PARENT

The ranks are forked once torch is imported: importing it again in each would take longer than a small training.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.elastic.rendezvous.api import RendezvousError
from torch.distributed.launcher.api import LaunchConfig, elastic_launch

from paretoboard.process import die_with_parent
from paretoboard.training.parallel import job as jobs
from paretoboard.training.parallel import rank
from paretoboard.training.parallel.pulse import LAUNCHER

if TYPE_CHECKING:
    from paretoboard.training.parallel.job import Job

_MEETING_SHARE: Final = 0.5  # of the time limit


def main(folder: Path, descriptor: int, parent: int) -> int:
    """Start the ranks and wait for them; 0 if all went well, else the folder holds the reason."""
    die_with_parent(parent)
    job = jobs.read(jobs.Job, folder / jobs.JOB)
    rank.share_of(job.way)
    if job.nodes == 1:
        os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")  # else the machine's name must lead to an address
    where = f"{job.nodes} nodes at {job.rendezvous}" if job.nodes > 1 else "this node"
    sign = {"rank": LAUNCHER, "steps": 1, "place": f"the meeting of {where}", "share": 0.0, "text": ""}
    os.write(descriptor, json.dumps(sign).encode() + b"\n")
    try:
        elastic_launch(_config(job, folder), rank.run)(str(folder), descriptor, os.getpid())
    except ChildFailedError as error:
        number, failed = min(error.failures.items())
        if failed.exitcode < 0:
            _fail(folder, who=number, kind="signal", message=failed.signal_name())
        elif not (folder / jobs.FAILURE.format(number)).exists():  # where the rank itself could not say why
            _fail(folder, who=number, kind="SystemExit", message=str(failed.exitcode))
    except RendezvousError as error:
        message = f"not all of {job.nodes} nodes came to {job.rendezvous or 'the meeting'} in time: {error}"
        _fail(folder, who=LAUNCHER, kind=type(error).__name__, message=message)
    else:
        return 0
    return 1


def _fail(folder: Path, **failure: Any) -> None:
    jobs.write(folder / jobs.FAILURE.format("launcher"), jobs.Failure(at_s=time.monotonic(), **failure))


def _config(job: Job, folder: Path) -> LaunchConfig:
    # Well before whoever watches gives up, so that the reason is told.
    meeting_s = max(int(_MEETING_SHARE * job.timeout_s), 1)
    alone = job.nodes == 1
    here = alone or job.rendezvous.rpartition(":")[0] in ("localhost", "127.0.0.1")
    return LaunchConfig(
        min_nodes=job.nodes,
        max_nodes=job.nodes,
        nproc_per_node=job.local_ranks,
        run_id=job.meeting,
        rdzv_backend="c10d",
        rdzv_endpoint="localhost:0" if alone else job.rendezvous,
        rdzv_configs={
            "timeout": meeting_s,
            "join_timeout": meeting_s,
            "read_timeout": meeting_s,
            "last_call_timeout": 1,
        },
        local_addr="127.0.0.1" if here else None,  # else the machine's name
        logs_specs=DefaultLogsSpecs(log_dir=str(folder / "ranks")),
        max_restarts=0,
        monitor_interval=0.1,
        start_method="fork",
    )


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])))
