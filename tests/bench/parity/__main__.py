"""`python -m bench.parity`: compare, then print the table. `make bench-parity` calls it."""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
import sys
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Final

from bench.parity import measuring, table
from bench.parity.procedures import PROCEDURES, Procedure
from bench.parity.table import Machine, Report, Result, Skipped
from paretoboard import durable, profiles
from paretoboard.errors import ParetoboardError
from paretoboard.locations import DATA_VARIABLE, data_root, profiles_folder
from paretoboard_runners import controls, jobs, machine
from paretoboard_runners.client import JobFailedError, Worker

REPOSITORY: Final = Path(__file__).resolve().parents[3]
TESTS: Final = REPOSITORY / "tests"
PROFILE: Final = "cpu-1"
REPORT: Final = "report.json"
TABLE: Final = "table.txt"


def main() -> int:
    arguments = _parser().parse_args()
    out = arguments.out or REPOSITORY / "results" / "parity" / arguments.extent
    if not arguments.table_only:
        report = _report(arguments.only or list(PROCEDURES), arguments.extent)
        out.mkdir(parents=True, exist_ok=True)
        durable.write(out / REPORT, jobs.to_json(report).encode())
    text = table.render(jobs.from_json(Report, (out / REPORT).read_text()))
    durable.write(out / TABLE, text.encode())
    print(text, end="")
    return 0


def _report(names: list[str], extent: str) -> Report:
    cores = tuple(sorted(os.sched_getaffinity(0)))
    profile = profiles.load(PROFILE, profiles_folder())
    path = os.pathsep.join([str(TESTS), *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = controls.session_environment(profile, cores[-1:]) | {"PYTHONPATH": path}
    results = []
    with Worker(profile, cores=cores[-1:], environment=environment) as worker:
        for name in names:
            bench = measuring.Bench(
                worker=worker,
                data_root=_data_root(),
                folder=REPOSITORY / "results" / "parity",
                environment_id=machine.fingerprints().environment_id,
                build_cores=cores,
                watch=lambda text, name=name: print(f"{name}: {text}", file=sys.stderr, flush=True),  # type: ignore[misc]
            )
            results.append(_compared(name, PROCEDURES[name], bench, extent))
    return Report(machine=_machine(), results=tuple(results))


def _compared(name: str, procedure: Procedure, bench: measuring.Bench, extent: str) -> Result | Skipped:
    missing = [package for package in procedure.needs if not _is_installed(package)]
    if missing:
        return Skipped(name=name, procedure=procedure.title, reason=f"not installed: {', '.join(missing)}")
    try:
        return measuring.compare(name, procedure, bench, measuring.EXTENTS[extent])
    except (JobFailedError, ParetoboardError) as error:
        return Skipped(name=name, procedure=procedure.title, reason=str(error))


def _is_installed(package: str) -> bool:
    try:
        metadata.version(package)
    except metadata.PackageNotFoundError:
        return False
    return True


def _data_root() -> Path:
    """As tests find it: the variable, a folder beside the checkout, or the user's own."""
    beside = REPOSITORY.parent / "shared" / "data"
    return beside if DATA_VARIABLE not in os.environ and beside.is_dir() else data_root()


def _machine() -> Machine:
    commit = subprocess.run(
        ["git", "rev-parse", "--short=10", "HEAD"], capture_output=True, text=True, cwd=REPOSITORY
    ).stdout.strip()
    return Machine(
        cpu=str(machine.hardware()["cpu"]),
        kernel=platform.release(),
        python=platform.python_version(),
        commit=commit,
        date=datetime.now(UTC).date().isoformat(),
        load1=os.getloadavg()[0],
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench.parity", description=__doc__)
    parser.add_argument("--only", nargs="+", choices=list(PROCEDURES), help="these comparisons, not all")
    parser.add_argument("--extent", choices=sorted(measuring.EXTENTS), default="full", help="how much is measured")
    parser.add_argument("--out", type=Path, help="where report and table go")
    parser.add_argument("--table-only", action="store_true", help="print what is already recorded there")
    return parser


if __name__ == "__main__":
    sys.exit(main())
