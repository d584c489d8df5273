"""One stream records its share of the items on one core.

`python -m bench.rigor.stream EXTENT CORE SHARE OF PARTS UNTIL LOOKS`: SHARE of OF streams; PARTS is the folder of
recordings; nothing new is begun after UNTIL (seconds since 1970); no item is looked at more than LOOKS times.
"""

from __future__ import annotations

import os
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from bench.rigor import load, others, ours, plan, recordings
from bench.rigor.plan import Item
from paretoboard_runners.client import JobFailedError, Worker

MODEL: Final = "resnet8.onnx"


def main() -> None:
    parent = os.getppid()
    extent, core, share, of, parts, until, looks = sys.argv[1:]
    chosen = plan.items(plan.EXTENTS[extent])[int(share) :: int(of)]
    # The stream itself only waits; on its own core it is there when the worker is not.
    os.sched_setaffinity(0, [int(core)])
    with ours.start_worker(int(core), seed=1) as worker:
        for item in chosen:
            if recordings.is_recorded(Path(parts), item):
                continue
            if time.time() > float(until) or os.getppid() != parent:
                return
            record(worker, item, Path(parts), int(core), int(looks))


def record(worker: Worker, item: Item, parts: Path, core: int, looks: int) -> None:
    """Record one item under its load; one that fails is told and left out, to be tried again by the next run."""
    facts: dict[str, Any] = {
        "started_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "core": core,
        "looks": min(looks, item.looks),
        "load1_before": os.getloadavg()[0],
    }
    start = time.perf_counter()
    try:
        with load.busy(core, item.load, item.seed):
            if item.kind == "others":
                times = others.record(worker, item, parts / MODEL)
            else:
                recorded = ours.record(worker, item, parts / MODEL, facts["looks"])
    except JobFailedError as error:
        print(f"{item}: {error.reason}", file=sys.stderr)
        return
    facts |= {"load1_after": os.getloadavg()[0], "seconds": round(time.perf_counter() - start, 2)}
    if item.kind == "others":
        recordings.write_others(parts, item, times, facts)
    else:
        recordings.write_ours(parts, item, recorded, facts)


if __name__ == "__main__":
    main()
