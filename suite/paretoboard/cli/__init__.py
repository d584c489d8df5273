"""The command line. Data goes to stdout, talk and progress to stderr.

Exit codes: 0 fine, 1 regression or failed runs, 2 the user's input, 3 damaged stored data.

Each verb is one module here; what it needs beyond checking its arguments it imports when it is called, so that
`--help`, `list` and `plan` stay fast.
"""

from __future__ import annotations

import importlib
import sys
from typing import Any, Final

import typer
import typer.core
import typer.main

from paretoboard import __version__
from paretoboard.errors import ParetoboardError

# verb -> (module below paretoboard.cli, one line). A module holds `app` (a typer.Typer of one command or a group).
VERBS: Final[dict[str, tuple[str, str]]] = {
    "list": ("list_verb", "What there is: tasks, recipes, techniques, models, datasets, metrics, profiles."),
    "plan": ("plan_verb", "What run would do: cells, cached or new, estimated time."),
    "run": ("run_verb", "Measure tasks; what was measured before is not measured again."),
    "board": ("board_verb", "The ranking table of a task, in the terminal."),
    "compare": ("compare_verb", "Two folders of results, sessions or recipes side by side."),
    "regressions": ("regressions_verb", "What changed between nights, and which nights confirm it."),
    "nightly": ("nightly_verb", "Measure again, compare with the nights before, render, and say what happened."),
    "bisect": ("bisect_verb", "The first commit that changed a speed, decided by paired measurements."),
    "report": ("report_verb", "Render the results as HTML."),
    "results": ("results_verb", "Stored records: verify, merge, compact, query, export."),
    "recommend": ("recommend_verb", "The best recipe under limits, and the path of its file."),
    "claims": ("claims_verb", "Published numbers beside the measured ones."),
    "new": ("new_verb", "Write a task file for a network and images of one's own."),
    "doctor": ("doctor_verb", "Is this machine fit to measure, what is in the way, and what mends it."),
    "data": ("data_verb", "Datasets and weights: list, fetch, verify, and write lists of images."),
}


class _LazyGroup(typer.core.TyperGroup):
    """Imports a verb's module only when that verb is called.

    Newer releases of typer carry a click of their own, older ones use the real one: hence Any for click's types.
    """

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002
        return list(VERBS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:  # noqa: ARG002
        if cmd_name not in VERBS:
            return None
        module = importlib.import_module(f"paretoboard.cli.{VERBS[cmd_name][0]}")
        command = typer.main.get_command(module.app)
        command.name = cmd_name
        return command

    def format_commands(self, ctx: Any, formatter: Any) -> None:  # noqa: ARG002
        with formatter.section("Verbs"):
            formatter.write_dl([(name, summary) for name, (_, summary) in VERBS.items()])


app = typer.Typer(
    cls=_LazyGroup,
    name="paretoboard",
    help="Which optimization pays off for my model on my hardware, at what cost, and is the gain real?",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"paretoboard {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: bool = typer.Option(False, "--version", callback=_print_version, is_eager=True, help="Show the version."),
) -> None:
    """Options before the verb."""


def main() -> None:
    """Run the command line and end the process with its exit code."""
    try:
        app()
    except ParetoboardError as error:
        print(f"paretoboard: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
