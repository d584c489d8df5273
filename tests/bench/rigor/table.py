"""The table of PROTOCOL ab1 from judgements: counts, shares and errors, and the text that is printed."""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from bench.rigor import cost, judging, plan, recordings
from bench.rigor.judging import Judgement, Planted
from bench.rigor.recordings import Part
from paretoboard.errors import InputError
from paretoboard.stats import wilson

FALSE_ALARMS_AT_MOST: Final = 0.01
FOUND_AT_LEAST: Final = 0.95
COVERAGE_WITHIN: Final = (0.93, 0.97)
OUTSIDE_AT_MOST: Final = 0.35
BEYOND_CLOCKS_AT_MOST_US: Final = 1.0
POWER: Final = 0.8

_NOTES: Final = """\
ab1: CPU time decides; differences below 1.5 % do not count unless said. 10 s and 5 s are cut from the same launches.
  Both looks: 97.5 % intervals, and 8 more launches where the first look leaves it open; tried on a third.
pytest-benchmark: its rule on all rounds of a, then all of b, in one process (wall time).
pyperf: its t-test on up to 20 processes of a, then of b, with its defaults (1 warm-up, 3 values of 0.1 s).
asv: its own functions on samples of 10 ms cut from those processes.
hyperfine: the real program, 10 runs of each command, then Welch's test at 5 %; its runs include the start-up, which
  dilutes the slowdown. Where it is missing, it was not installed when this was recorded.
80 % power: the slowdown that 80 % of these comparisons would have found, from the same times with b stretched."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Count:
    """So many of so many."""

    hits: int
    of: int

    @property
    def share(self) -> float:
        return self.hits / self.of if self.of else math.nan

    def __str__(self) -> str:
        return f"{self.share:4.0%} {self.hits}/{self.of}" if self.of else "-"

    def with_interval(self) -> str:
        """With the 95 % interval of the share (Wilson)."""
        if not self.of:
            return "-"
        found = wilson(self.hits, self.of)
        return f"{self.share:.1%} ({self.hits} of {self.of}; {found.low:.1%} to {found.high:.1%})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One rule's figures; effects as shares."""

    rule: str
    false_alarms: Count  # A/A called slower or faster
    found: dict[int, Count]  # planted percentage -> called slower
    wrong_way: Count  # planted slowdowns called faster
    rmse: float  # of the effect
    smallest: float  # effect that would have been found in 80 % of the comparisons
    coverage: Count  # intervals that hold the truth; of none for a rule without interval


def rows(judgements: Iterable[Judgement]) -> list[Row]:
    """One row per rule, in the order of their first judgement."""
    by_rule: dict[str, list[Judgement]] = defaultdict(list)
    for judgement in judgements:
        by_rule[judgement.rule].append(judgement)
    return [row(rule, found) for rule, found in by_rule.items()]


def row(rule: str, judgements: Sequence[Judgement]) -> Row:
    """The figures of some judgements of one rule, at least one."""
    errors = np.asarray([judged.estimate - judged.truth for judged in judgements])
    planted = [judged for judged in judgements if judged.item.planted]
    bounded = [judged for judged in judgements if judged.low is not None and judged.high is not None]
    return Row(
        rule=rule,
        false_alarms=_count(judgements, lambda j: j.item.planted == 0, lambda j: j.called != "same"),
        found={
            percent: _count(
                planted, lambda j, percent=percent: j.item.planted == percent, lambda j: j.called == "slower"
            )
            for percent in plan.PLANTED
        },
        wrong_way=_count(planted, lambda j: True, lambda j: j.called == "faster"),
        rmse=float(np.sqrt(np.mean(np.expm1(errors) ** 2))),
        smallest=math.expm1(float(np.quantile([judged.needed for judged in judgements], POWER))),
        coverage=_count(bounded, lambda j: True, lambda j: j.low <= j.truth <= j.high),
    )


def render(folder: Path) -> str:
    """The whole page on what was recorded in `folder`."""
    parts = list(recordings.read(folder))
    facts = json.loads((folder / cost.FILE).read_text())
    references = judging.planted(parts)
    truths = {(found.kernel, found.planted): found.truth for found in references}
    compared = [part for part in parts if part.item.kind != "reference"]
    floors = judging.noise_floors(compared)
    judgements = []
    for part in compared:
        truth = truths.get((part.item.kernel, part.item.planted), judging.meant(part.item))
        judgements += judging.judge(part, truth, floors[part.item.index % 2])
    sections = (
        _header(facts["machine"], compared),
        _main(judgements, floors),
        _cells([judged for judged in judgements if judged.rule == judging.AB1]),
        _planted(references),
        _cost(facts, parts),
        _bars(judging.AB1, judgements, facts),
        _bars(judging.AB1_FLOOR, judgements, facts),
    )
    return "\n\n".join("\n".join(line.rstrip() for line in section) for section in sections) + "\n"


def _header(machine: dict[str, Any], parts: Sequence[Part]) -> list[str]:
    software = {"Python": machine["python"], **machine["versions"]}
    versions = ", ".join(f"{name} {version}" for name, version in software.items())
    counts = {
        name: sum(part.item.kind == kind and bool(part.item.planted) == planted for part in parts)
        for name, kind, planted in (("aa", "ours", False), ("planted", "ours", True))
    }
    others = sum(part.item.kind == "others" for part in parts)
    lines = [
        f"Rigor of protocol ab1 on {machine['cpu']}, {machine['logical_cpus']} cores, Linux {machine['kernel']}",
        f"commit {machine['commit']}, {machine['date']}; {versions}, {machine['hyperfine']}",
        f"{counts['aa']} A/A and {counts['planted']} planted comparisons of ab1 (8 launches of 2.5 s), {others} of the",
        "others (10 s a side for each of three recordings); matrix product, memory pass, ResNet-8 in ONNX Runtime",
    ]
    for load in plan.LOADS:
        seen = [part.facts["load1_after"] for part in parts if part.item.load == load]
        if seen:
            name = "no load of ours" if load == 0 else f"{load} busy beside it"
            lines.append(
                f"  {name:16} n {len(seen):3}, one-minute load of the machine: median {np.median(seen):.1f}, "
                f"{min(seen):.1f} to {max(seen):.1f}"
            )
    return [
        *lines,
        'Streams run on all cores at once, and the machine may serve others: "no load of ours" is not idle.',
        "All of it, the others too, with the controls of ab1 that need no privilege, and without huge pages.",
    ]


def _main(judgements: Sequence[Judgement], floors: tuple[float, float]) -> list[str]:
    columns = (
        "A/A different",
        "+1 %",
        "+2 %",
        "+3 % found",
        "+5 % found",
        "wrong way",
        "RMSE",
        "80 % power",
        "coverage",
    )
    lines = [f"{'rule':26}" + "".join(f"{column:>15}" for column in columns)]
    for found in rows(judgements):
        cells = [
            str(found.false_alarms),
            *(str(found.found[percent]) for percent in plan.PLANTED),
            str(found.wrong_way),
            f"{found.rmse:.1%}",
            f"{found.smallest:.1%}" if found.smallest < math.expm1(judging.LARGEST) * 0.9 else "> 600%",
            str(found.coverage),
        ]
        lines.append(f"{found.rule:26}" + "".join(f"{cell:>15}" for cell in cells))
    even, odd = floors
    return [
        *lines,
        f"noise floor: 95th percentile of the A/A effects among the other half ({even:.1%}, {odd:.1%});",
        "  as on a calibrated machine, differences below it do not count.",
        *_NOTES.splitlines(),
    ]


def _cells(judgements: Sequence[Judgement]) -> list[str]:
    lines = [f"{judging.AB1} by kernel and load      A/A different     +3 % found      RMSE  80 % power       coverage"]
    for kernel in plan.KERNELS:
        for load in plan.LOADS:
            chosen = [judged for judged in judgements if (judged.item.kernel, judged.item.load) == (kernel, load)]
            if chosen:
                found = row(judging.AB1, chosen)
                lines.append(
                    f"  {kernel:8} {load} busy {'':12}{found.false_alarms!s:>17}{found.found[3]!s:>15}"
                    f"{found.rmse:>10.2%}{found.smallest:>12.1%}{found.coverage!s:>15}"
                )
    return lines


def _planted(references: Sequence[Planted]) -> list[str]:
    lines = ["planted slowdowns: meant by the count of units, and measured on shared buffers without load (95 %)"]
    for found in references:
        note = "" if found.low <= found.meant <= found.high else "  excluded: the measured one is taken for the truth"
        lines.append(
            f"  {found.kernel:8} +{found.planted} %  meant {math.expm1(found.meant):6.2%}  measured "
            f"{math.expm1(found.measured):6.2%} ({math.expm1(found.low):.2%} to {math.expm1(found.high):.2%}){note}"
        )
    return lines


def _cost(facts: dict[str, Any], parts: Sequence[Part]) -> list[str]:
    standard, loop = facts["standard_comparison"], facts["loop"]
    if not any(part.item.kind == "ours" for part in parts):
        raise InputError("nothing of ab1 is recorded yet")
    walls = [sum(part.facts["wall_s"][: plan.LAUNCHES]) for part in parts if part.item.kind == "ours"]
    again = sum(len(part.facts["wall_s"]) > plan.LAUNCHES for part in parts if part.item.kind == "ours")
    return [
        "cost of measuring",
        f"  `standard` comparison of a {standard['call_ms']:.1f} ms model (ResNet-8, batch {standard['batch']}, ONNX "
        f"Runtime): {standard['wall_s']:.1f} s,",
        f"    of it outside timed calls {standard['outside_share']:.1%} (processes {standard['processes_share']:.1%}), "
        f"at load {standard['load1']:.1f}",
        f"  loop around a call: {loop['beyond_us']:.2f} us beyond the two pairs of clock reads "
        f"({loop['clock_reads_us']:.2f} us); median of {loop['calls']} calls, CPU time",
        f"  a comparison here took {np.mean(walls):.1f} s for its first look ({min(walls):.1f} to {max(walls):.1f}); "
        f"{again} of {len(walls)} took a second",
    ]


def _bars(rule: str, judgements: Sequence[Judgement], facts: dict[str, Any]) -> list[str]:
    found = row(rule, [judged for judged in judgements if judged.rule == rule])
    low, high = COVERAGE_WITHIN
    outside, beyond = facts["standard_comparison"]["outside_share"], facts["loop"]["beyond_us"]
    bars = (
        (
            "false alarms at most 1 %",
            found.false_alarms.share <= FALSE_ALARMS_AT_MOST,
            found.false_alarms.with_interval(),
        ),
        ("+3 % found at least 95 %", found.found[3].share >= FOUND_AT_LEAST, found.found[3].with_interval()),
        ("wrong direction 0", found.wrong_way.hits == 0, found.wrong_way.with_interval()),
        ("coverage 93 to 97 %", low <= found.coverage.share <= high, found.coverage.with_interval()),
        ("outside timed calls at most 35 %", outside <= OUTSIDE_AT_MOST, f"{outside:.1%}"),
        ("loop at most 1.0 us beyond clocks", beyond <= BEYOND_CLOCKS_AT_MOST_US, f"{beyond:.2f} us"),
    )
    return [
        f"bars, {rule}",
        *(f"  {'met   ' if met else 'MISSED'} {name:36} {value}" for name, met, value in bars),
    ]


def _count(
    judgements: Iterable[Judgement], among: Callable[[Judgement], bool], hit: Callable[[Judgement], bool]
) -> Count:
    chosen = [judged for judged in judgements if among(judged)]
    return Count(hits=sum(map(hit, chosen)), of=len(chosen))
