"""What a night was like: one value, as Markdown for people, JUnit XML for CI and JSON for programs."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from xml.etree import ElementTree as ET

from paretoboard import durable
from paretoboard.regressions import Cut
from paretoboard.store import nightlies
from paretoboard.store.nightlies import Nightly
from paretoboard_reports.view.nights import Told

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from paretoboard.store.nightlies import NightlyRun

MOST_ROWS: Final = 50  # of a table; a job's summary has its limits
_FAILED: Final = ("failed", "timeout", "unstable")


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """A nightly and what the nights up to it say of its tasks on its machine."""

    nightly: Nightly
    confirmed: tuple[Told, ...]
    new: tuple[Told, ...]  # for the worse
    improved: tuple[Told, ...]  # in this night's reach
    cuts: tuple[Cut, ...]  # of this night
    left: int  # runs that the budget did not reach
    removed: int  # old records
    damaged: tuple[str, ...]
    site: str  # path of the first page, "" where none was made

    @property
    def last_runs(self) -> tuple[NightlyRun, ...]:
        """Of runs that were measured again at once the last time only."""
        last = {run.run_id: run for run in self.nightly.runs}
        return tuple(last.values())

    @property
    def broke(self) -> tuple[NightlyRun, ...]:
        """Runs that failed and were fine before."""
        return tuple(run for run in self.last_runs if run.broke)

    @property
    def exit_code(self) -> int:
        """1 for a confirmed regression and for a run that broke."""
        return 1 if self.confirmed or self.broke else 0

    @property
    def headline(self) -> str:
        """All of it in one line."""
        if self.exit_code:
            parts = [_count(self.confirmed, "confirmed regression"), _count(self.broke, "run broke", "runs broke")]
            return ", ".join(filter(None, parts))
        if self.nightly.distrust:
            return f"nothing can be concluded: {self.nightly.distrust}"
        return "no confirmed regression"


def write(results: Path, summary: Summary) -> tuple[Path, ...]:
    """Leave the three files of the newest nightly beside what is kept of all; their paths."""
    folder = results / nightlies.FOLDER
    content = {
        "md": markdown(summary).encode(),
        "xml": junit(summary),
        "json": (json.dumps(plain(summary), indent=1, ensure_ascii=False) + "\n").encode(),
    }
    paths = []
    for ending, text in content.items():
        paths.append(folder / f"latest.{ending}")
        durable.write(paths[-1], text)
    return tuple(paths)


def markdown(summary: Summary) -> str:
    """For a job summary, an issue or a mail."""
    return "\n".join(_markdown(summary)) + "\n"


def junit(summary: Summary) -> bytes:
    """A test case for each run and for each change for the worse, in the form that CI servers read.

    After the schema of the Apache Ant JUnit task, as pytest writes it.
    """
    nightly = summary.nightly
    suite = ET.Element("testsuite", name="paretoboard nightly", timestamp=nightly.started_at.isoformat())
    for run in summary.last_runs:
        name = f"{run.recipe}[{run.profile}-{run.seed}]"
        case = ET.SubElement(suite, "testcase", classname=run.task, name=name, time=f"{run.duration_s:.3f}")
        if run.status in _FAILED:
            ET.SubElement(case, "failure", message=_printable(f"{run.status}: {run.reason}"))
        elif run.status != "ok":
            ET.SubElement(case, "skipped", message=_printable(f"{run.status}: {run.reason}"))
    for each in summary.confirmed:
        name = each.change.series.key.name
        case = ET.SubElement(suite, "testcase", classname="paretoboard.regressions", name=name, time="0")
        ET.SubElement(case, "failure", message=_sentence(each)).text = each.command
    counts = Counter(child.tag for case in suite for child in case)
    suite.set("tests", str(len(suite)))
    suite.set("failures", str(counts["failure"]))
    suite.set("errors", "0")
    suite.set("skipped", str(counts["skipped"]))
    suites = ET.Element("testsuites")
    suites.append(suite)
    ET.indent(suites)
    content: bytes = ET.tostring(suites, encoding="utf-8", xml_declaration=True)
    return content + b"\n"


def plain(summary: Summary) -> dict[str, Any]:
    """Values that JSON has."""
    return {
        "headline": summary.headline,
        "exit_code": summary.exit_code,
        "confirmed": [_plain(each) for each in summary.confirmed],
        "new": [_plain(each) for each in summary.new],
        "improved": [_plain(each) for each in summary.improved],
        "broke": [run.run_id for run in summary.broke],
        "left": summary.left,
        "removed": summary.removed,
        "damaged": list(summary.damaged),
        "site": summary.site,
        "nightly": nightlies.as_plain(summary.nightly),
    }


def _plain(each: Told) -> dict[str, Any]:
    change = each.change
    return {
        "series": change.series.key.name,
        "share": change.share,
        "low": change.low,
        "high": change.high,
        "night": change.first.day.isoformat(),
        "confirmed": change.confirmed,
        "asked": change.asked,
        "command": each.command,
    }


def _markdown(summary: Summary) -> Iterator[str]:
    nightly = summary.nightly
    yield f"# Nightly {nightly.started_at:%Y-%m-%d}: {summary.headline}"
    yield ""
    yield _counts(summary)
    yield ""
    for note in (*nightly.notes, *(f"left out: {line}" for line in summary.damaged)):
        yield f"- {_cell(note)}"
    if nightly.self_check is not None:
        check = nightly.self_check
        yield (
            f"- Self-check: {check.false_alarms} of {check.identical} identical programs called different, "
            f"{check.found} of {check.planted} slowdowns of {check.planted_extra:.0%} found: "
            + ("passed." if check.passed else "**failed**. This night’s numbers are stored and decide nothing.")
        )
    if summary.removed:
        yield f"- {summary.removed} old records were removed, as --keep asks."
    for title, changes in (
        ("Confirmed regressions", summary.confirmed),
        ("New: the next nights will tell", summary.new),
        ("Improved", summary.improved),
    ):
        if changes:
            yield from ("", f"## {title}", "", *_changes(changes))
    if summary.cuts:
        yield from ("", "## Software changed: nothing is compared across", "", *_cuts(summary.cuts))
    failed = [run for run in summary.last_runs if run.status != "ok"]
    if failed:
        yield from ("", "## Runs that are not ok", "", "| run | status | reason |", "|---|---|---|")
        for run in sorted(failed, key=lambda run: not run.broke)[:MOST_ROWS]:
            broke = " (was ok before)" if run.broke else ""
            yield f"| {_cell(f'{run.task} / {run.recipe}')} | {run.status}{broke} | {_cell(run.reason)} |"
        if len(failed) > MOST_ROWS:
            yield f"\n{len(failed) - MOST_ROWS} more are on the site."


def _counts(summary: Summary) -> str:
    runs = summary.nightly.runs
    parts = [f"{len(summary.last_runs)} of {summary.nightly.planned} runs measured"]
    if again := sum(run.repeat > 0 for run in runs):
        parts.append(f"{again} measured again at once")
    if summary.left:
        parts.append(f"{summary.left} left for the next night, which begins with them")
    spent = sum(run.duration_s for run in runs)
    return f"{', '.join(parts)}; {spent / 60:.0f} minutes of measuring, begun {summary.nightly.started_at:%H:%M} UTC."


def _changes(changes: Sequence[Told]) -> Iterator[str]:
    yield "| series | from | to | change (95 % interval) | since | what says so | measure again |"
    yield "|---|---|---|---|---|---|---|"
    for each in changes[:MOST_ROWS]:
        change = each.change
        cells = (
            change.series.key.name,
            f"{each.before} {each.unit}",
            f"{each.after} {each.unit}",
            f"{each.by} {each.direction}",
            f"{change.first.day} {each.commits}",
            each.says_so,
        )
        yield f"| {' | '.join(_cell(cell.strip()) for cell in cells)} | `{each.command}` |"
    if len(changes) > MOST_ROWS:
        yield f"\n{len(changes) - MOST_ROWS} more: `paretoboard regressions`."


def _cuts(cuts: Sequence[Cut]) -> Iterator[str]:
    lines = Counter("; ".join(f"{name}: {old} → {new}" for name, old, new in cut.differs) for cut in cuts)
    for line, count in lines.items():
        yield f"- {_cell(line or 'nothing that is recorded by name')} ({_count(range(count), 'series', 'series')})"


def _sentence(each: Told) -> str:
    change = each.change
    return _printable(f"{each.by} {each.direction} since {change.first.day}; {each.says_so}")


def _count(things: Sequence[object], one: str, many: str = "") -> str:
    return f"{len(things)} {one if len(things) == 1 else many or one + 's'}" if things else ""


def _cell(text: str) -> str:
    return _printable(" ".join(text.split())).replace("|", "\\|").replace("<", "&lt;")


def _printable(text: str) -> str:
    """Without what XML can't hold."""
    return "".join(char if char >= " " or char in "\t\n" else "�" for char in text)
