"""`python -m bench.report`: make records, read them and render them, and hold it against its bars.

Everything is timed in a child process of its own: CPU seconds and peak memory are the kernel's, as `wait4` gives them.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import generated_results

MEBIBYTE: Final = 2**20
# rows: (CPU seconds, bytes) that rendering them all may take
BARS: Final = {100_000: (60.0, 10**9), 1_000_000: (300.0, None)}
HISTORY: Final = "import sys; from pathlib import Path; from paretoboard import store; store.history(Path(sys.argv[1]))"
NEWEST: Final = (
    "import sys; from pathlib import Path; from paretoboard import store; folder = Path(sys.argv[1]);"
    "store.pick(folder, store.newest(store.history(folder)), with_predictions=True)"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Spent:
    """What a child process took."""

    cpu_s: float
    peak_bytes: int
    code: int


def spend(*arguments: str) -> Spent:
    """Run python with these arguments to its end."""
    child = os.posix_spawn(sys.executable, [sys.executable, *arguments], os.environ)
    _, status, usage = os.wait4(child, 0)
    return Spent(
        cpu_s=usage.ru_utime + usage.ru_stime,
        peak_bytes=usage.ru_maxrss * 1024,  # Linux counts in KiB: getrusage(2)
        code=os.waitstatus_to_exitcode(status),
    )


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.report", description=__doc__)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--folder", type=Path, default=Path("build") / "bench-report")
    arguments = parser.parse_args()
    results = arguments.folder / f"results-{arguments.rows}"
    site = arguments.folder / f"site-{arguments.rows}"
    shutil.rmtree(results, ignore_errors=True)
    shutil.rmtree(site, ignore_errors=True)
    generated_results.write(results, arguments.rows)
    print(f"{arguments.rows:,} records of {generated_results.BOARDS} boards, {_bytes_below(results):,} bytes in packs")
    steps = {
        "history": ("-c", HISTORY, str(results)),
        "history and newest records": ("-c", NEWEST, str(results)),
        "the whole report": ("-m", "paretoboard", "report", "--results", str(results), "--out", str(site)),
    }
    spent = {}
    for name, command in steps.items():
        spent[name] = spend(*command)
        found = spent[name]
        print(f"{name:28} {found.cpu_s:7.1f} s CPU  {found.peak_bytes / MEBIBYTE:7.0f} MiB at most", flush=True)
        if found.code:
            print(f"{name} ended with exit code {found.code}")
            return 1
    print(f"the site: {_bytes_below(site):,} bytes, {len(list((site / 'boards').glob('*.html')))} boards")
    return _judge(arguments.rows, spent["the whole report"])


def _judge(rows: int, spent: Spent) -> int:
    if rows not in BARS:
        print(f"no bar for {rows:,} records; there is one for {' and '.join(f'{known:,}' for known in BARS)}")
        return 0
    most_s, most_bytes = BARS[rows]
    held = spent.cpu_s <= most_s and (most_bytes is None or spent.peak_bytes <= most_bytes)
    memory = "" if most_bytes is None else f" and {most_bytes / MEBIBYTE:.0f} MiB"
    print(f"bar for {rows:,} records: {most_s:.0f} s CPU{memory}: {'held' if held else 'NOT HELD'}")
    return 0 if held else 1


def _bytes_below(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


if __name__ == "__main__":
    sys.exit(main())
