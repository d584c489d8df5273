"""`python -m bench.subsets`: draw all subsets and print the table. `make bench-subsets` calls it."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import Final

from bench.subsets import studying, table

REPOSITORY: Final = Path(__file__).resolve().parents[3]
FILE: Final = Path("imagenet-predictions") / "val50k_top5.npz"
SUBSETS: Final = {"full": 400, "quick": 40}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.subsets", description=__doc__)
    parser.add_argument("--extent", choices=sorted(SUBSETS), default="full", help="how many subsets of each size")
    parser.add_argument("--out", type=Path, help="also write the table here")
    arguments = parser.parse_args()
    root = Path(os.environ.get("PARETOBOARD_DATA", REPOSITORY.parent / "shared" / "data"))
    if not (root / FILE).is_file():
        print(f"{root / FILE} is not there: set PARETOBOARD_DATA to a data root that has it", file=sys.stderr)
        return 2
    answers, subsets = studying.read(root / FILE), SUBSETS[arguments.extent]
    outcomes = [studying.study(answers, images, rule, subsets) for images in studying.SIZES for rule in studying.RULES]
    text = table.report(answers, outcomes, subsets)
    print(text)
    if arguments.out is not None:
        arguments.out.parent.mkdir(parents=True, exist_ok=True)
        arguments.out.write_text(text + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
