"""How a child process does one job: whatever happens, a file says how it went."""

from __future__ import annotations

import os
import sys
import tempfile
import traceback
from pathlib import Path
from typing import Any

from paretoboard import durable
from paretoboard.registry import load_object
from paretoboard_runners import jobs
from paretoboard_runners.supervise import Emitter


def perform(function: str, kind: str, folder: Path, emit: Emitter) -> int:
    """Do the job in `folder/job.json` and write `result.json` or `failure.json`; the exit code.

    Args:
        function: `module:function` that takes (job, folder, emit) and gives the result.
        kind: `module:class` of the job.
    """
    # Temporary files go with the job's folder, also those of a job that is killed.
    elsewhere, tempfile.tempdir = tempfile.tempdir, str(folder)
    try:
        job = jobs.from_json(load_object(kind, "job"), (folder / jobs.JOB).read_text())
        result: Any = load_object(function, "job")(job, folder, emit)
    except BaseException as error:  # noqa: BLE001 - the runner's one broad except: every failure becomes a record
        failure = jobs.Failure(kind=type(error).__name__, message=str(error), traceback=traceback.format_exc())
        durable.write(folder / jobs.FAILURE, jobs.to_json(failure).encode())
        return 1
    finally:
        tempfile.tempdir = elsewhere
    durable.write(folder / jobs.RESULT, jobs.to_json(result).encode())
    return 0


def main() -> None:
    """Do one job in a process of its own: `python -m paretoboard_runners.phases FUNCTION KIND FOLDER DESCRIPTOR`."""
    function, kind, folder, descriptor = sys.argv[1:]
    code = perform(function, kind, Path(folder), Emitter(int(descriptor)))
    sys.stdout.flush()
    sys.stderr.flush()
    # Not sys.exit: threads of a runtime must not delay or break the end of a process whose result is written.
    os._exit(code)


if __name__ == "__main__":
    main()
