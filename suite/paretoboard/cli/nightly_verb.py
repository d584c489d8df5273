"""`paretoboard nightly`: measure again under a budget, compare with the nights before, render, say what happened."""

from __future__ import annotations

import time
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from paretoboard.cli import options
from paretoboard.cli.progress import observer, say
from paretoboard.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from paretoboard.cli.nightly_summary import Summary
    from paretoboard.plan import RunSpec
    from paretoboard.regressions import Key as SeriesKey
    from paretoboard.store import Key, Known
    from paretoboard.store.nightlies import Nightly
    from paretoboard_runners.machine import Fingerprints

app = typer.Typer(add_completion=False, rich_markup_mode=None)
LOGS: Final = 30  # that are kept where --keep says nothing


@app.command()
def nightly(
    tasks: options.Tasks,
    budget: Annotated[
        str | None, typer.Option("--budget", metavar="TIME", help="Begin no run after this time: 15m, 2h.")
    ] = None,
    keep: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="NIGHTS",
            help="Remove records, logs and reports of older nights than so many; the newest record of every run stays. "
            "[default: all records stay]",
            show_default=False,
        ),
    ] = None,
    if_older: Annotated[
        str | None,
        typer.Option(
            "--if-older",
            metavar="TIME",
            help="Do nothing where a nightly that reached its end began less than this ago: for catching up after a "
            "missed night.",
        ),
    ] = None,
    self_check: Annotated[
        bool,
        typer.Option(
            "--self-check/--no-self-check",
            help="Begin with programs of known difference; a night that gets them wrong decides nothing.",
        ),
    ] = True,
    site: Annotated[
        Path | None,
        typer.Option("--site", metavar="FOLDER", help="Where the pages go. [default: site in the results]"),
    ] = None,
    no_site: Annotated[bool, typer.Option("--no-site", help="Render no pages.")] = False,
    profile: options.Profiles = None,
    only: options.Only = None,
    seeds: options.Seeds = None,
    results: options.Results = None,
    data_root: options.DataRoot = None,
) -> None:
    """Measure tasks again, compare with the nights before, render the site and write a summary.

    What may have become slower is measured first, and again at once; then what was measured longest ago. All state is
    in the folder of results, whose nightly/latest.md, latest.xml (JUnit) and latest.json say what happened. Killed at
    any moment, the next call goes on. Exit code 1 for a confirmed regression that acks.toml does not answer, and for a
    run that failed and was fine before.
    """
    call = _Call(
        tasks=tuple(tasks),
        results=options.results_folder(results),
        data_root=options.data_root_folder(data_root),
        budget_s=None if budget is None else options.seconds(budget),
        keep=keep,
        self_check=self_check,
        site=None if no_site else site or options.results_folder(results) / "site",
    )
    runs = options.runs_at_hand(options.chosen_runs(tasks, profile=profile, only=only, seeds=seeds), call.data_root)
    options.find_modules(runs)
    if if_older is not None and _young(call.results, timedelta(seconds=options.seconds(if_older)), tuple(tasks)):
        return
    try:
        code = call.carry_out(runs)
    except OSError as error:
        # Records and the nightly's own file are stored by then, or say for themselves that they are not.
        raise StoreError(f"{error.filename or call.results}: can't be written: {error.strerror or error}") from error
    raise typer.Exit(code)


def _young(results: Path, age: timedelta, tasks: tuple[str, ...]) -> bool:
    from paretoboard.store import nightlies
    from paretoboard_runners import machine

    hardware_id = machine.fingerprints().hardware_id
    before, _ = nightlies.read_all(results)
    own = [each for each in before if each.hardware_id == hardware_id and each.tasks == tasks and each.ended_at]
    if not own or not timedelta() <= datetime.now(UTC) - own[-1].started_at < age:
        return False
    say(f"Nothing to do: the last nightly began at {own[-1].started_at:%Y-%m-%d %H:%M} UTC.")
    return True


def _place(key: SeriesKey) -> tuple[str, str, str, str, str]:
    return key.task, key.profile, key.recipe, key.board_id, key.hardware_id


@dataclass(frozen=True, slots=True, kw_only=True)
class _Call:
    """What one call asks for."""

    tasks: tuple[str, ...]
    results: Path
    data_root: Path
    budget_s: float | None
    keep: int | None
    self_check: bool
    site: Path | None  # where pages go, None for none

    def carry_out(self, runs: Sequence[RunSpec]) -> int:
        """All of a night; its exit code."""
        from paretoboard import store
        from paretoboard.cli import nightly_summary
        from paretoboard.cli.logfile import logged
        from paretoboard.store import nightlies
        from paretoboard_runners import machine, session
        from paretoboard_runners import nightly as night

        deadline = None if self.budget_s is None else time.monotonic() + self.budget_s
        prints = machine.fingerprints()
        with ExitStack() as held:
            held.enter_context(session.locked(self.results))
            before, damaged = nightlies.read_all(self.results)
            known = store.known(self.results, tasks={run.task for run in runs})
            begun = night.begin(
                runs,
                tasks=self.tasks,
                before=before,
                known=known,
                prints=prints,
                commit=machine.project_commit(),
                now=datetime.now(UTC),
            )
            log = self.results / nightlies.FOLDER / Path(begun.file_name).with_suffix(".log").name
            held.enter_context(logged(log, keep=self.keep or LOGS))
            for note in begun.notes:
                say(note)
            nightlies.write(self.results, begun)
            done = self._measure(runs, begun, before, known, prints, deadline)
            summary = self._conclude(runs, done, damaged)
            say(f"{len(summary.last_runs)} of {done.planned} runs measured; {summary.headline}.")
            for path in nightly_summary.write(self.results, summary):
                print(path)
            if summary.site:
                print(summary.site)
        return summary.exit_code

    def _measure(
        self,
        runs: Sequence[RunSpec],
        begun: Nightly,
        before: Sequence[Nightly],
        known: Mapping[Key, Known],
        prints: Fingerprints,
        deadline: float | None,
    ) -> Nightly:
        from paretoboard import regressions, store
        from paretoboard.store import nightlies
        from paretoboard_runners import nightly as night
        from paretoboard_runners.judging import local_runner

        goes_on = any(each.file_name == begun.file_name for each in before)
        begun = self._checked(runs, begun)
        history = store.history(self.results, tasks={run.task for run in runs})
        judge = regressions.judge_of(self.results)
        found = judge(history)
        first = night.awaited(found, prints.hardware_id)
        todo = night.ordered(runs, known, prints, first=first, since=begun.started_at if goes_on else None)
        try:
            with local_runner(self.results, self.data_root, prints, fresh_seeds=True) as runner, observer() as told:
                held = night.Night(
                    results=self.results,
                    runner=runner,
                    observer=told,
                    nightly=begun,
                    history=history,
                    judge=judge,
                    known=known,
                )
                if goes_on:
                    held.resume()
                if not begun.distrust:
                    held.decide(night.drifting(found, runs, prints.hardware_id), deadline=deadline)
                done = held.measure(todo, deadline=deadline)
        except KeyboardInterrupt:
            say("Interrupted. Every finished run is stored; the same command goes on from here.")
            raise typer.Exit(130) from None
        done = replace(done, ended_at=datetime.now(UTC))
        nightlies.write(self.results, done)
        return done

    def _checked(self, runs: Sequence[RunSpec], begun: Nightly) -> Nightly:
        """With what the self-check says, unless it was made before an interruption or nobody wants it."""
        from paretoboard.store import nightlies
        from paretoboard_runners import nightly as night

        if not self.self_check or begun.self_check is not None or not runs:
            return begun
        profile = runs[0].profile
        seed = int(begun.started_at.timestamp())
        say("Self-check: comparing programs of known difference ...")
        found = night.self_check(profile, seed=seed, watch=lambda done, text: None)
        if found is None:
            note = f"No self-check: profile {profile.name} can’t be held on this machine."
            checked = replace(begun, notes=(*begun.notes, note))
        else:
            wrong = "" if found.passed else "the self-check failed"
            checked = replace(begun, self_check=found, distrust=begun.distrust or wrong)
            say(f"Self-check: {'passed' if found.passed else 'failed; this night decides nothing'}.")
        nightlies.write(self.results, checked)
        return checked

    def _conclude(self, runs: Sequence[RunSpec], done: Nightly, damaged: tuple[str, ...]) -> Summary:
        """Old records removed, pages rendered, and what there is to say."""
        from paretoboard import regressions, store
        from paretoboard.cli.nightly_summary import Summary
        from paretoboard_reports.view.nights import told
        from paretoboard_runners.nightly import cell_of

        removed = self._prune(runs, done)
        everything = store.history(self.results, tasks={run.task for run in runs})
        found = regressions.judge_of(self.results)(everything)
        # Of what is still measured: a series that is not, nobody can mend.
        measured = {(*cell_of(run), run.board_id, done.hardware_id) for run in runs}
        here = [change for change in found.changes if _place(change.series.key) in measured]
        tonight = done.started_at.date()
        site, unreadable = self._render()
        return Summary(
            nightly=done,
            confirmed=tuple(told(change) for change in here if change.state == "confirmed"),
            new=tuple(told(change) for change in here if change.state == "new"),
            improved=tuple(
                told(change) for change in here if change.state == "improved" and (tonight - change.first.day).days <= 1
            ),
            cuts=tuple(cut for cut in found.cuts if cut.after.day >= tonight and _place(cut.series.key) in measured),
            left=done.planned - done.measured,
            removed=removed,
            damaged=tuple(dict.fromkeys((*damaged, *everything.attrs["damaged"], *unreadable))),
            site=site,
        )

    def _prune(self, runs: Sequence[RunSpec], done: Nightly) -> int:
        from paretoboard.store import nightlies, pruning

        if self.keep is None:
            return 0
        before, _ = nightlies.read_all(self.results)
        own = [each for each in before if each.hardware_id == done.hardware_id]
        old, kept = own[: -self.keep], own[-self.keep :]
        if not old:
            return 0
        try:
            removed = pruning.prune(
                self.results,
                before=kept[0].started_at,
                hardware_id=done.hardware_id,
                tasks={run.task for run in runs},
            )
            for each in old:
                (self.results / nightlies.FOLDER / each.file_name).unlink(missing_ok=True)
        except StoreError as error:
            say(f"Nothing more was removed: {error}")
            return 0
        return removed

    def _render(self) -> tuple[str, tuple[str, ...]]:
        from paretoboard_reports import output, pages
        from paretoboard_reports import site as sites

        if self.site is None:
            return "", ()
        found = sites.read(self.results)
        target = output.write(pages.files(found), self.site)
        return str(target), found.damaged
