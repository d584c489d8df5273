"""`python -m bench.rigor`: record what is missing, then print the table. `make bench-rigor` calls it."""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Final

from bench.rigor import cost, kernels, plan, recordings, table
from bench.rigor.stream import MODEL

REPOSITORY: Final = Path(__file__).resolve().parents[3]
TABLE: Final = "table.txt"


def main() -> int:
    arguments = _parser().parse_args()
    # A terminated run ends its streams like an interrupted one; at most one comparison of each is lost.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    out = arguments.out or _default_out(arguments.extent)
    if not arguments.table_only:
        _record(arguments, out)
    text = table.render(out)
    (out / TABLE).write_text(text)
    print(text, end="")
    return 0


def _record(arguments: argparse.Namespace, out: Path) -> None:
    items = plan.items(plan.EXTENTS[arguments.extent])
    parts = REPOSITORY / "results" / "rigor" / "parts" / f"{arguments.extent}-{plan.digest(items)}"
    parts.mkdir(parents=True, exist_ok=True)
    if shutil.which("hyperfine") is None:
        print("hyperfine is not installed (`make debian` brings it): its row is left out", file=sys.stderr)
    kernels.export_model(parts / MODEL)
    cores = sorted(os.sched_getaffinity(0))
    if not (parts / cost.FILE).exists():
        cost.record(parts / cost.FILE, parts / MODEL, cores[-1])
    until = time.time() + 60 * arguments.minutes
    streams = [
        subprocess.Popen(
            [sys.executable, "-m", "bench.rigor.stream", arguments.extent]
            + [str(value) for value in (core, share, len(cores), parts, until, arguments.looks)]
        )
        for share, core in enumerate(cores)
    ]
    try:
        while any(stream.poll() is None for stream in streams):
            done = sum(recordings.is_recorded(parts, item) for item in items)
            print(f"{time.strftime('%H:%M:%S')} {done} of {len(items)} recorded", file=sys.stderr, flush=True)
            time.sleep(30)
    finally:
        for stream in streams:
            stream.terminate()
            stream.wait()
    recordings.publish(parts, out)
    (out / cost.FILE).write_bytes((parts / cost.FILE).read_bytes())


def _default_out(extent: str) -> Path:
    results = REPOSITORY / "results"
    return results / "reference" / "rigor" if extent == "full" else results / "rigor" / extent


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench.rigor", description=__doc__)
    parser.add_argument("--extent", choices=sorted(plan.EXTENTS), default="full", help="how much is recorded")
    parser.add_argument("--minutes", type=float, default=600.0, help="begin nothing new after so long")
    parser.add_argument(
        "--looks", type=int, choices=(1, 2), default=2, help="1: never take a second look, to save time"
    )
    parser.add_argument("--out", type=Path, help="where calls and table go")
    parser.add_argument("--table-only", action="store_true", help="judge what is already recorded there")
    return parser


if __name__ == "__main__":
    sys.exit(main())
