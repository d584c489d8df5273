"""Other people's work: busy processes on one core, each in a session of its own.

Linux may share a core between sessions and not between processes (autogroup): in one session four busy processes
would weigh no more than one. Run as `python -m bench.rigor.load CORE SEED`.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np


@contextmanager
def busy(core: int, count: int, seed: int) -> Iterator[None]:
    """Keep `count` processes busy on `core` while the block runs."""
    started = [
        subprocess.Popen(
            [sys.executable, "-m", "bench.rigor.load", str(core), str(seed + number)],
            stdout=subprocess.PIPE,
            env={**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
            start_new_session=True,
        )
        for number in range(count)
    ]
    try:
        for process in started:
            assert process.stdout is not None
            process.stdout.readline()
        yield
    finally:
        for process in started:
            process.kill()
            process.wait()


def main() -> None:
    """Never idle: arithmetic, memory and interpreter by turns, 5 to 50 ms of each."""
    core, seed = map(int, sys.argv[1:])
    parent = os.getppid()
    os.sched_setaffinity(0, [core])
    rng = random.Random(seed)
    square = np.random.default_rng(seed).random((160, 160), dtype=np.float32)
    field = np.zeros(4 << 20, dtype=np.float32)
    works = (lambda: square @ square, lambda: np.add(field, 1.0, out=field), lambda: sum(range(20_000)))
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    while os.getppid() == parent:  # nobody else ends an orphan
        work, end = rng.choice(works), time.perf_counter() + rng.uniform(0.005, 0.05)
        while time.perf_counter() < end:
            work()


if __name__ == "__main__":
    main()
