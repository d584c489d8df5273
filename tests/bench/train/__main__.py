"""`python -m bench.train`: take all turns and print the table. `make bench-train` calls it."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import Final

from bench.train import measuring, table
from paretoboard.spec import HardwareProfile
from paretoboard_runners import controls, machine
from paretoboard_runners.client import JobLimits, Worker

PROFILE: Final = HardwareProfile(name="train", title="all cores, as for building", cores="all")
TESTS: Final = Path(__file__).resolve().parents[2]
LIMITS: Final = JobLimits(timeout_s=600.0)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.train", description=__doc__)
    parser.add_argument(
        "--extent", choices=sorted(measuring.EXTENTS), default="full", help="how long each comparison is"
    )
    parser.add_argument("--networks", nargs="+", choices=measuring.NETWORKS, default=measuring.NETWORKS)
    parser.add_argument("--kinds", nargs="+", choices=sorted(measuring.KINDS), default=sorted(measuring.KINDS))
    arguments = parser.parse_args()
    chosen = [
        c for c in measuring.cases(arguments.extent) if c.network in arguments.networks and c.kind in arguments.kinds
    ]
    cores = tuple(sorted(os.sched_getaffinity(0)))
    print(
        f"The trainer beside a bare loop on {machine.hardware()['cpu']}, {len(cores)} threads, batch {measuring.BATCH}"
    )
    print(f"{'':9}{'network':16}{'precision':10}{'training':32}{'images/s':>9}{'bare':>9}{'share':>8}  (95 %)")
    path = os.pathsep.join([str(TESTS), *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = controls.session_environment(PROFILE, cores) | {"PYTHONPATH": path}
    with Worker(PROFILE, cores=cores, environment=environment) as worker:
        for case in chosen:
            timed = worker.do(
                "bench.train.measuring:measure", case, measuring.Timed, preload=["paretoboard.training"], limits=LIMITS
            )[0]
            print(table.line(case, timed), flush=True)
        print("precision and memory format, bare loop: images/s, and how many times the first line's (range)")
        for network in measuring.ARM_NETWORKS:
            steps = worker.do("bench.train.measuring:arms", network, measuring.Steps, limits=LIMITS)[0]
            print("\n".join(table.arm_lines(network, steps)), flush=True)
    print(f"load over the last minute: {os.getloadavg()[0]:.1f}")
    print(f"bar: the trainer sees at least {table.AT_LEAST:.0%} of the bare loop's images per second")
    return 0


if __name__ == "__main__":
    sys.exit(main())
