"""`paretoboard doctor`: is this machine fit to measure, and what mends it."""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from paretoboard import locations, profiles
from paretoboard.cli import options

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console, RenderableType

    from paretoboard.records import Calibration
    from paretoboard.spec import HardwareProfile
    from paretoboard_runners.controls.findings import Finding
    from paretoboard_runners.controls.fitness import Diagnosis
    from paretoboard_runners.controls.knobs import Change
    from paretoboard_runners.controls.restore import Outcome

app = typer.Typer(add_completion=False, rich_markup_mode=None)

_MARKS = {"good": ("ok", "green"), "caveat": ("!", "yellow"), "unfit": ("x", "red")}
_VERDICTS = {
    "good": "fit to measure",
    "caveat": "usable for paired comparisons, with caveats",
    "unfit": "not fit to measure",
}


@app.command()
def doctor(
    profile: Annotated[str, typer.Option(help="By what this profile, or its file, asks for.")] = "cpu-1",
    apply: Annotated[
        bool, typer.Option("--apply", help="Set what the profile asks of the machine, until --restore.")
    ] = False,
    restore: Annotated[bool, typer.Option("--restore", help="Put back everything that --apply set.")] = False,
    calibrate: Annotated[
        bool,
        typer.Option("--calibrate", help="Compare programs with themselves, and store this machine's noise floor."),
    ] = False,
    comparisons: Annotated[
        int, typer.Option(min=4, max=1000, help="How many pairs of each kind --calibrate takes.")
    ] = 12,
    results: options.Results = None,
    seconds: Annotated[float, typer.Option(min=0.1, max=600, help="How long to watch the cores.")] = 2.0,
    as_json: Annotated[bool, typer.Option("--json", help="For programs to read.")] = False,
    state_file: Annotated[Path | None, typer.Option(help="Where the values to go back to are kept.")] = None,
    root: Annotated[Path, typer.Option(hidden=True, help="Where the kernel's files about the machine are.")] = Path(
        "/"
    ),
) -> None:
    """Is this machine fit to measure, what is in the way, and what mends it.

    Exit code 1 where it is not fit, or something could not be set or put back.
    """
    from paretoboard_runners.controls import restore as machine_settings

    if apply + restore + calibrate > 1:
        raise typer.BadParameter("--apply, --restore and --calibrate exclude each other")
    kept = state_file or machine_settings.default_state_file()
    chosen = profiles.find(profile, locations.profiles_folder())
    if calibrate:
        raise typer.Exit(_calibrated(chosen, options.results_folder(results), comparisons, as_json))
    if restore:
        raise typer.Exit(_told(machine_settings.restore(kept), "put back", as_json))
    if apply:
        raise typer.Exit(_told(_applied(chosen, kept, root), "set", as_json))
    pending = machine_settings.pending(kept)
    diagnosis = _examined(chosen, options.results_folder(results), seconds, root)
    if as_json:
        print(json.dumps(_as_json(diagnosis, pending), indent=2))
    else:
        _show(diagnosis, pending)
    raise typer.Exit(1 if diagnosis.level == "unfit" else 0)


def _calibrated(profile: HardwareProfile, results: Path, comparisons: int, as_json: bool) -> int:
    """Store a calibration and tell it; 1 where the protocol can't be trusted here."""
    from rich.console import Console
    from rich.progress import Progress

    from paretoboard.store import calibrations
    from paretoboard_runners import calibration, session

    with session.locked(results), Progress(console=Console(stderr=True), transient=True) as bars:
        bar = bars.add_task("calibrating", total=1.0)
        found = calibration.calibrate(
            profile,
            comparisons=comparisons,
            watch=lambda done, text: bars.update(bar, completed=done, description=text),
        )
        path = calibrations.keep(results, found)
    if as_json:
        plain = {**dataclasses.asdict(found), "measured_at": found.measured_at.isoformat()}
        print(json.dumps({**plain, **{f"{name}_interval": ends for name, ends in _intervals(found).items()}}, indent=2))
    else:
        ends = {name: f"95 % interval {low:.1%} to {high:.1%}" for name, (low, high) in _intervals(found).items()}
        alarms, twins = f"{found.false_alarms} of {found.identical}", f"{found.found} of {found.planted}"
        print(f"identical programs called different   {alarms}, {ends['false_alarms']}")
        print(f"{found.planted_extra:.0%} slower twins found              {twins}, {ends['found']}")
        print(f"of those in the wrong direction       {found.wrong_way}")
        print(f"noise floor                           {found.noise_floor:.2%}")
        print(f"smallest effect found at 80 % power   {found.smallest_effect:.2%}")
        print(f"each comparison                       {found.launches} launches of {found.launch_s:g} s")
        print(f"mean load                             {found.load1:.1f}")
        print(
            f"Stored in {path}; runs and nights under {profile.name} are now judged by its noise floor.",
            file=sys.stderr,
        )
    return 1 if _distrusted(found) else 0


def _intervals(found: Calibration) -> dict[str, tuple[float, float]]:
    """The 95 % intervals of its shares."""
    from paretoboard.stats import wilson

    counts = {"false_alarms": (found.false_alarms, found.identical), "found": (found.found, found.planted)}
    ends = {name: wilson(*count) for name, count in counts.items()}
    return {name: (interval.low, interval.high) for name, interval in ends.items()}


def _distrusted(found: Calibration) -> bool:
    return found.wrong_way > 0 or found.false_alarms > found.identical / 4


def _applied(profile: HardwareProfile, state_file: Path, root: Path) -> list[Outcome]:
    from paretoboard_runners import controls
    from paretoboard_runners.controls import restore as machine_settings

    setting = controls.Setting(profile=profile, cores=controls.choose_cores(profile), root=root)
    changes, refused = machine_settings.plan(setting)
    return [*machine_settings.apply(changes, state_file), *refused]


def _told(outcomes: Sequence[Outcome], done: str, as_json: bool) -> int:
    if as_json:
        print(json.dumps([dataclasses.asdict(outcome) for outcome in outcomes], indent=2))
    for outcome in () if as_json else outcomes:
        what = f"{outcome.control} {outcome.value}" + (f"  {outcome.target}" if outcome.target else "")
        print(f"not {done}: {what}: {outcome.error}" if outcome.error else f"{done}: {what}")
    if not outcomes and not as_json:
        print(f"nothing to be {done}")
    if done == "set" and any(not outcome.error for outcome in outcomes):
        print("paretoboard doctor --restore puts it back", file=sys.stderr)
    # What the machine does not have is told and is no failure of setting it; a refused write is one.
    return 1 if any(outcome.error and outcome.target for outcome in outcomes) else 0


def _examined(profile: HardwareProfile, results: Path, seconds: float, root: Path) -> Diagnosis:
    """What is to be seen of the machine now, and what its last calibration said."""
    from paretoboard_runners.controls import fitness

    diagnosis = fitness.diagnose(profile, seconds=seconds, root=root)
    return dataclasses.replace(diagnosis, findings=(*diagnosis.findings, _calibration_finding(profile, results)))


def _calibration_finding(profile: HardwareProfile, results: Path) -> Finding:
    from paretoboard.store import calibrations
    from paretoboard_runners import machine
    from paretoboard_runners.controls.findings import Finding

    command = f"paretoboard doctor --calibrate --profile {profile.name}"
    known = calibrations.latest(results, hardware_id=machine.fingerprints().hardware_id, profile=profile.name)
    if known is None:
        why = "how small a difference this machine can show is not known; runs judge as if it were a quiet one"
        return Finding(name="calibration", level="caveat", found="none", why=why, mend=command)
    alarms = f"{known.false_alarms} of {known.identical} false alarms"
    trusted = not _distrusted(known)
    return Finding(
        name="calibration",
        level="good" if trusted else "caveat",
        found=f"{known.measured_at:%Y-%m-%d}: noise floor {known.noise_floor:.1%}, {alarms}",
        why="" if trusted else "identical programs were called different: small differences can't be believed here",
        mend="" if trusted else f"{command}    (once more, when what is above is mended)",
    )


def _as_json(diagnosis: Diagnosis, pending: Sequence[Change]) -> dict[str, Any]:
    return {
        "level": diagnosis.level,
        **dataclasses.asdict(diagnosis),
        "pending_restore": [dataclasses.asdict(change) for change in pending],
    }


def _show(diagnosis: Diagnosis, pending: Sequence[Change]) -> None:
    from rich.console import Console

    console = Console(highlight=False, emoji=False, markup=False)
    style = _MARKS[diagnosis.level][1]
    cores = ", ".join(map(str, diagnosis.cores))
    console.print(f"Profile {diagnosis.profile}, core {cores}: {_VERDICTS[diagnosis.level]}", style=f"bold {style}")
    if pending:
        what = ", ".join(dict.fromkeys(change.control for change in pending))
        console.print(f"Still set by an earlier --apply: {what}. Put back with: paretoboard doctor --restore")
    console.print(_table(diagnosis.findings))
    _show_mends(console, [finding for finding in diagnosis.findings if finding.level != "good"])


def _table(findings: Sequence[Finding]) -> RenderableType:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in ("", "what", "found"):
        table.add_column(name, overflow="fold")
    for finding in findings:
        mark, style = _MARKS[finding.level]
        table.add_row(Text(mark, style=style), finding.name, Text(finding.found))
    return table


def _show_mends(console: Console, findings: Sequence[Finding]) -> None:
    if not findings:
        return
    console.print("In the way, and what mends it", style="bold")
    for finding in findings:
        console.print(f"  {finding.name}: {finding.why}", soft_wrap=True)
        console.print(f"      {finding.mend}", soft_wrap=True)
    console.print(
        "\nAll that this program may set: sudo $(command -v paretoboard) doctor --apply, and --restore puts it back."
    )
