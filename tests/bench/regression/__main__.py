"""`python -m bench.regression`: walk all rules through the histories, print the table. `make bench-regression`."""

from __future__ import annotations

import argparse
import multiprocessing
import os
import sys
from pathlib import Path
from typing import Final

from bench.regression import histories, rules, table, walking
from bench.regression.histories import History
from bench.regression.walking import Walk

REPOSITORY: Final = Path(__file__).resolve().parents[3]
RECORDED: Final = REPOSITORY / "results" / "reference" / "rigor"
TABLE: Final = "table.txt"
SERIES: Final = {"full": 400, "quick": 40}  # of each kind


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.regression", description=__doc__)
    parser.add_argument("--extent", choices=sorted(SERIES), default="full", help="how many series of each kind")
    parser.add_argument("--out", type=Path, help="where the table goes")
    parser.add_argument("--only-ours", action="store_true", help="leave the other tools out")
    arguments = parser.parse_args()
    series = SERIES[arguments.extent]
    installed, missing = rules.tools()
    for line in missing:
        print(line, file=sys.stderr)
    chosen = [tool.name for tool in installed if not arguments.only_ours or tool.name == "paretoboard"]
    effects = histories.recorded_effects(RECORDED)
    jobs = [
        (name, history)
        for name in chosen
        for kind in histories.KINDS
        for history in histories.planted(kind, round(rules.tool(name).share * series), effects)
    ]
    with multiprocessing.Pool(len(os.sched_getaffinity(0))) as pool:
        walks = []
        for done, found in enumerate(pool.imap(_walk, jobs, chunksize=10), 1):
            walks += found
            if done % 500 == 0 or done == len(jobs):
                print(f"{done} of {len(jobs)} walks", file=sys.stderr, flush=True)
    text = table.render(table.figures(walks), rules.versions(), missing)
    out = arguments.out or _default_out(arguments.extent)
    out.mkdir(parents=True, exist_ok=True)
    (out / TABLE).write_text(text, encoding="utf-8")
    print(text, end="")
    return 0


def _walk(job: tuple[str, History]) -> list[Walk]:
    name, history = job
    return walking.walk(rules.tool(name), history)


def _default_out(extent: str) -> Path:
    results = REPOSITORY / "results"
    return results / "reference" / "regressions" if extent == "full" else results / "regressions" / extent


if __name__ == "__main__":
    sys.exit(main())
