"""Kill a running session again and again, at random moments, and see that nothing is lost and nothing doubled.

`python tests/killing.py TASK --results FOLDER --kills 20` does it to a whole task; test_run.py does it to a tiny one.
"""

from __future__ import annotations

import argparse
import os
import random
import secrets
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import psutil

from paretoboard import store


def command(task: str, results: Path, *options: str) -> list[str]:
    return [sys.executable, "-m", "paretoboard", "run", task, "--results", str(results), *options]


def begin_with_baseline(measured: Path, results: Path) -> tuple[Path, Path]:
    """Copy the baseline's record, without its artifact, from `measured` to `results`; both files."""
    [stored] = [path for path in store.record_files(measured) if store.read_one(path).recipe == "baseline"]
    kept = results / stored.relative_to(measured)
    kept.parent.mkdir(parents=True)
    shutil.copy(stored, kept)
    return stored, kept


def kill_again_and_again(task: str, results: Path, *, kills: int, longest_s: float, seed: int = 0) -> Iterator[str]:
    """Start a session, kill it or one of its processes after a random time, check the store, and start over.

    Yields one line for each kill.
    """
    rng = random.Random(seed)
    stored: set[Path] = set()
    for number in range(1, kills + 1):
        token = secrets.token_hex(8)
        environment = {**os.environ, "KILLED_SESSION": token}
        session = subprocess.Popen(command(task, results), stderr=subprocess.DEVNULL, env=environment)
        after_s = rng.uniform(0.2, longest_s)
        time.sleep(after_s)
        victim = _kill_one(session.pid, rng)
        if victim != "parent":
            time.sleep(rng.uniform(0.0, 1.0))
            _kill(session.pid)
        session.wait()
        assert _survivors(token) == []
        now = set(store.record_files(results))
        assert stored <= now, "a record is lost"
        stored = now
        damaged = store.verify(results)
        assert damaged == (), damaged
        yield f"kill {number}: {victim} after {after_s:.1f} s; {len(stored)} records, all readable"


def assert_each_run_once(results: Path) -> None:
    """Every run has exactly one record."""
    counts = Counter(key for path in store.record_files(results) if (key := _key(path)) is not None)
    assert counts, "no record at all"
    assert set(counts.values()) == {1}, counts


def _key(path: Path) -> object:
    from paretoboard.store.names import parse

    parsed = parse(path)
    return parsed[0] if parsed else None


def _kill_one(parent: int, rng: random.Random) -> str:
    """Kill the session's parent, its worker or whatever the worker does just now."""
    try:
        children = psutil.Process(parent).children(recursive=True)
    except psutil.NoSuchProcess:
        return "nobody, it had ended"
    processes = [
        ("parent", parent),
        *[("worker" if child.ppid() == parent else "job", child.pid) for child in children],
    ]
    name, pid = rng.choice(processes)
    _kill(pid)
    return name


def _kill(pid: int) -> None:
    try:
        os.kill(pid, 9)
    except ProcessLookupError:
        return


def _survivors(token: str) -> list[int]:
    """Processes of the session that are still there a while after its end."""
    deadline = time.monotonic() + 20.0
    while True:
        left = [process.pid for process in psutil.process_iter() if _carries(process, token)]
        if not left or time.monotonic() > deadline:
            return left
        time.sleep(0.1)


def _carries(process: psutil.Process, token: str) -> bool:
    try:
        return token.encode() in Path(f"/proc/{process.pid}/environ").read_bytes() and process.status() != "zombie"
    except (psutil.NoSuchProcess, OSError):
        return False


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("task")
    parser.add_argument("--results", type=Path, required=True)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--longest", type=float, default=15.0, help="seconds before a kill, at most")
    options = parser.parse_args()
    for line in kill_again_and_again(options.task, options.results, kills=options.kills, longest_s=options.longest):
        print(line, flush=True)
    code = subprocess.run(command(options.task, options.results), check=False).returncode
    assert_each_run_once(options.results)
    print(f"resumed to the end with exit code {code}; every run has one record")


if __name__ == "__main__":
    main()
