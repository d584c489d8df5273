"""Comparisons for people: the report of a test that fails, the table at the end, and the file for programs."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from paretoboard import durable

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from paretoboard.pytest_plugin.verdict import Verdict

_UNDECIDED = (
    "Run it again where less is going on, with --paretoboard-budget release, or with a larger tolerance; without "
    "--paretoboard-strict it would not fail."
)
_SLOWER = (
    "If the slowdown is meant, make the new code the baseline, or allow it with "
    "@pytest.mark.paretoboard(tolerance=...) or --paretoboard-tolerance."
)


def report(verdict: Verdict) -> str:
    """Why a test fails, and what can be done."""
    word = "is slower than" if verdict.slower else "can't be told from"
    lines = [
        f"candidate {word} baseline: {verdict.effect}",
        f"  counts from {verdict.tolerance:.1%} on; the interval is one of {verdict.confidence:.1%}",
        f"  {verdict.launches} launches with {verdict.windows} windows in {verdict.looks} "
        f"look{'s' if verdict.looks > 1 else ''}, budget '{verdict.budget}', {verdict.elapsed_s:.0f} s",
        f"  {_machine()}, load {verdict.load1:.1f}",
        *([f"  {verdict.reason}"] if verdict.reason else []),
        _SLOWER if verdict.slower else _UNDECIDED,
    ]
    return "\n".join(lines)


def table(verdicts: Sequence[Verdict]) -> Iterator[str]:
    """A line for each comparison, then what was inconclusive and why."""
    width = max(len(verdict.test) for verdict in verdicts)
    for verdict in verdicts:
        yield f"{verdict.test:<{width}}  {verdict.verdict:<9}  {verdict.effect}  (counts from {verdict.tolerance:.1%})"
    inconclusive = [verdict for verdict in verdicts if verdict.undecided]
    if inconclusive:
        yield f"{len(inconclusive)} of {len(verdicts)} inconclusive, neither passed nor failed:"
        for verdict in inconclusive:
            yield f"  {verdict.test}: {verdict.reason}"


def write_json(path: Path, verdicts: Sequence[Verdict]) -> None:
    """All comparisons of a session, in one step, with the machine they were made on."""
    from paretoboard_runners import machine

    seen: dict[str, Any] = {"hardware": machine.hardware(), "environment": machine.environment()}
    content = {"version": 1, "machine": seen, "comparisons": [verdict.as_dict() for verdict in verdicts]}
    path.parent.mkdir(parents=True, exist_ok=True)
    durable.write(path, (json.dumps(content, indent=1) + "\n").encode())


def _machine() -> str:
    from paretoboard_runners import machine

    seen = machine.hardware()
    return f"{seen['cpu']}, {seen['logical_cpus']} logical CPUs"
