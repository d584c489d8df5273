"""The command that hyperfine times: `python -m bench.rigor.command KERNEL UNITS CALLS MODEL`; imports little."""

from __future__ import annotations

import sys
from pathlib import Path

from bench.rigor import kernels


def main() -> None:
    name, units, calls, model = sys.argv[1:]
    work = kernels.build(name, Path(model)).work
    for _ in range(int(calls)):
        work(int(units))


if __name__ == "__main__":
    main()
