"""What a board says about itself: task, machine, settings, software, and what could not be held."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Any

from paretoboard.plan import METRICS_VERSION, PROTOCOL, digest
from paretoboard_reports.view.details import metric_label
from paretoboard_reports.view.model import Facts
from paretoboard_reports.view.numbers import significant

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from paretoboard.records import RunRecord
    from paretoboard_reports.view.model import Effect, Row
    from paretoboard_reports.view.rows import Columns
    from paretoboard_reports.view.select import Group

# More than this of the CPU time taken by the hypervisor is said aloud.
_STEAL_WORTH_SAYING = 0.01


def hardware_line(record: RunRecord) -> str:
    """The machine in one line: "AMD EPYC 9R14, 2 cores, 8 GiB"."""
    hardware = record.provenance.hardware
    parts = [_cpu(hardware), f"{hardware.get('logical_cpus', '?')} cores", _memory(hardware)]
    return ", ".join(part for part in (*parts, *_accelerators(hardware)) if part)


def about(record: RunRecord, rows: Sequence[Row]) -> str:
    """What is measured, in one line."""
    images = _images(rows)
    counted = f", {images:,} images" if images else ""
    return f"{record.model} on {record.dataset} ({record.subset}{counted})"


def facts(group: Group, columns: Columns, rows: Sequence[Row]) -> tuple[Facts, ...]:
    """Everything a number on the board depends on, in four short lists."""
    return (
        Facts(title="Task", items=_task(group, columns, rows)),
        Facts(title="Machine", items=_machine(group.latest)),
        Facts(title="Held to", items=_settings(group)),
        Facts(title="Software", items=_software(group)),
    )


def warnings(group: Group, self_check: Effect | None) -> tuple[str, ...]:
    """What a reader should know before believing a number."""
    found = []
    if reason := unscored(group.latest):
        found.append(f"{reason.capitalize()}. Costs are those of the network with initial weights.")
    if self_check is not None and self_check.verdict in ("better", "worse"):
        found.append(
            f"Self-check failed: the baseline timed against itself came out {self_check.words}. "
            "Do not trust differences of this size on this board."
        )
    records = [record for cell in group.cells for record in cell.records]
    measured = [record for record in records if record.status == "ok"]
    found += _not_held(measured)
    steal = max((window.steal for record in measured for window in record.windows), default=0.0)
    if steal > _STEAL_WORTH_SAYING:
        found.append(f"The hypervisor took up to {significant(100 * steal, 2)} % of the cores' time in a window.")
    found += _mixed(records)
    return tuple(found)


def unscored(record: RunRecord) -> str:
    """Why a record has no quality, as in "quality not measured: weights missing"; "" where it could have one."""
    weights = record.spec.get("model", {}).get("weights") or {}
    return "quality not measured: weights missing" if weights.get("missing") else ""


def resolution(columns: Columns, rows: Sequence[Row]) -> str:
    """What difference in quality this subset can show, given how often the recipes disagree with the baseline."""
    effects = [row.quality_effect for row in rows if row.quality_effect is not None]
    # Recipes that answer alike say nothing about how far apart others have to be.
    telling = [effect for effect in effects if effect.quantity.value != 0] or effects
    found = [effect.resolves for effect in telling if effect.resolves is not None]
    if not found:
        return ""
    # The middle one of those that are there, so that its three numbers are of one recipe.
    middle = sorted(found, key=lambda resolves: resolves.decided.value)[len(found) // 2]
    decided, true = (significant(100 * found.value, 2) for found in (middle.decided, middle.found))
    where = (
        f", where only one of the two is right on {middle.discordant.text} % of them, as is usual here"
        if middle.discordant
        else ""
    )
    return (
        f"{_images(rows):,} images tell a recipe from the baseline in {metric_label(columns.quality)} from a "
        f"difference of about {decided} points on{where}; smaller differences stay undecided. A true difference of "
        f"{true} points is found four times in five. Open a row for its own figures."
    )


def _task(group: Group, columns: Columns, rows: Sequence[Row]) -> tuple[tuple[str, str], ...]:
    record = group.latest
    images = _images(rows)
    return (
        ("Task", f"{record.task}, version {record.task_version}"),
        ("Model", record.model),
        ("Dataset", record.dataset),
        ("Scored on", record.subset + (f", {images:,} images" if images else "")),
        ("Quality", metric_label(columns.quality)),
        ("Seeds", ", ".join(str(seed) for seed in sorted({r.seed for c in group.cells for r in c.records}))),
    )


def _machine(record: RunRecord) -> tuple[tuple[str, str], ...]:
    hardware = record.provenance.hardware
    found = [
        ("CPU", _cpu(hardware)),
        ("Usable cores", str(hardware.get("logical_cpus", "?"))),
        ("Memory", _memory(hardware)),
        ("Accelerators", ", ".join(_accelerators(hardware)) or "none"),
        ("Fingerprint", record.provenance.hardware_id[:12]),
    ]
    return tuple((label, text) for label, text in found if text)


def _settings(group: Group) -> tuple[tuple[str, str], ...]:
    record = group.latest
    profile, measure = record.spec["profile"], record.spec["measure"]
    controls = [control for cell in group.cells for run in cell.measured for control in run.controls]
    names = sorted({control.name for control in controls})
    held = [name for name in names if all(control.held for control in controls if control.name == name)]
    return (
        ("Profile", record.profile),
        ("Device", str(profile.get("device", ""))),
        ("Cores and threads", str(profile.get("cores", ""))),
        ("Batches", ", ".join(str(batch) for batch in measure["batches"])),
        ("Protocol", f"{_protocol(record)}, budget {measure.get('budget', '?')}"),
        ("Controls held", f"{len(held)} of {len(names)}" if names else "none asked for"),
    )


def _software(group: Group) -> tuple[tuple[str, str], ...]:
    record = group.latest
    environment = record.provenance.environment
    libraries = environment.get("libraries", {})
    first = [name for name in ("torch", "onnxruntime", "openvino", "numpy") if name in libraries]
    rest = sorted(name for name in libraries if name not in first)
    times = [run.started_at for cell in group.cells for run in cell.records]
    return (
        *((name, str(libraries[name])) for name in first),
        ("also", ", ".join(f"{name} {libraries[name]}" for name in rest) or "–"),
        ("Python", f"{environment.get('python', '?')}, {environment.get('libc', '')}".rstrip(", ")),
        ("Kernel", str(environment.get("kernel", "?"))),
        ("Commit", _commit(record)),
        ("Measured", _when(times)),
    )


def _not_held(measured: Sequence[RunRecord]) -> Iterable[str]:
    missed = Counter(
        (control.name, control.requested, control.observed)
        for record in measured
        for control in record.controls
        if not control.held
    )
    by_count: defaultdict[int, list[str]] = defaultdict(list)
    for (name, requested, observed), count in sorted(missed.items()):
        by_count[count].append(f"{name} (asked for {requested}, observed {observed})")
    for count, names in sorted(by_count.items(), reverse=True):
        yield f"Controls not held in {count} of {len(measured)} runs: {', '.join(names)}."


def _mixed(records: Sequence[RunRecord]) -> Iterable[str]:
    environments = {record.provenance.environment_id for record in records}
    if len(environments) > 1:
        yield (
            f"{len(environments)} software environments are on this board. Verdicts compare within one "
            "environment; rows of older ones are tagged."
        )
    commits = {record.provenance.commit for record in records}
    if len(commits) > 1:
        yield f"The runs were made with {len(commits)} different commits of the project."
    if any(commit.endswith("+dirty") for commit in commits):
        yield "Some runs were made with files that differ from their commit."


def _images(rows: Sequence[Row]) -> int:
    return max((row.quality.n for row in rows if row.quality is not None), default=0)


def _protocol(record: RunRecord) -> str:
    content = {key: value for key, value in record.spec.items() if key not in ("recipe", "seed")}
    current = digest({"protocol": PROTOCOL, "metrics": METRICS_VERSION, **content}) == record.board_id
    return PROTOCOL if current else "an earlier one"


def _cpu(hardware: Any) -> str:
    return str(hardware.get("cpu", "unknown CPU"))


def _memory(hardware: Any) -> str:
    size = hardware.get("memory_bytes")
    return f"{size / 2**30:.3g} GiB" if isinstance(size, int | float) and size > 0 else ""


def _accelerators(hardware: Any) -> list[str]:
    return [
        str(found.get("model", found)) if hasattr(found, "get") else str(found)
        for found in hardware.get("accelerators") or ()
    ]


def _commit(record: RunRecord) -> str:
    commit, plus, dirty = record.provenance.commit.partition("+")
    return f"{commit[:12]}{plus}{dirty}" if commit else "not in a checkout"


def _when(times: Sequence[Any]) -> str:
    first, last = min(times), max(times)
    if f"{first:%Y-%m-%d}" == f"{last:%Y-%m-%d}":
        return f"{first:%Y-%m-%d %H:%M} to {last:%H:%M} UTC"
    return f"{first:%Y-%m-%d %H:%M} to {last:%Y-%m-%d %H:%M} UTC"
