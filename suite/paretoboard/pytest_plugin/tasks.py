"""Tasks as tests: with `--paretoboard`, each run of a task file is an item, measured as `paretoboard run` does."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest
from typing_extensions import override

from paretoboard.errors import InputError, ParetoboardError
from paretoboard.pytest_plugin.fixture import results_folder

if TYPE_CHECKING:
    from collections.abc import Iterator

    from paretoboard.plan import RunSpec
    from paretoboard.spec import TaskSpec

FOUND: Final = pytest.StashKey[dict[Path, "TaskSpec"]]()
BENCH: Final = pytest.StashKey["Bench"]()
BESIDE: Final = (
    "--paretoboard does not measure in workers of pytest-xdist: runs beside each other would time each other. "
    "Leave out -n, or say -n0."
)


def configure(config: pytest.Config) -> None:
    """Find the tasks among the arguments; names of tasks become the files that they stand for.

    Raises: pytest.UsageError for what leads to no task, and with every mistake of all task files.
    """
    if hasattr(config, "workerinput") or config.getoption("numprocesses", None) or config.getoption("tx", None):
        raise pytest.UsageError(BESIDE)
    if config.args_source is not pytest.Config.ArgsSource.ARGS:
        raise pytest.UsageError("--paretoboard: name task files or folders of them, as in --paretoboard tasks/quick")
    from paretoboard import taskfile

    wanted: list[str] = []
    arguments: list[str] = []
    try:
        for argument in config.args:
            base, separator, rest = argument.partition("::")
            if base.endswith(".py"):
                arguments.append(argument)
                continue
            wanted.append(base)
            # A name below the shipped tasks is no path that pytest would find.
            bases = [base] if Path(base).exists() else taskfile.find([base])
            arguments += [f"{found}{separator}{rest}" for found in bases]
        config.stash[FOUND] = {spec.file.resolve(): spec for spec in taskfile.load_all(wanted)}
    except InputError as error:
        raise pytest.UsageError(f"--paretoboard: {error}") from None
    config.args[:] = arguments
    config.stash[BENCH] = Bench(config)


def collect_file(file_path: Path, parent: pytest.Collector) -> TaskFile | None:
    """The task in a file, None where there is none."""
    spec = parent.config.stash[FOUND].get(file_path.resolve())
    if spec is None:
        return None
    inside = file_path.is_relative_to(parent.config.rootpath)
    # Of a file elsewhere, as the shipped tasks are in other people's projects, pytest would leave the name away.
    named: dict[str, Any] = {} if inside else {"nodeid": f"tasks/{spec.name}.toml"}
    return TaskFile.from_parent(parent, path=file_path, spec=spec, **named)


class TaskFile(pytest.File):
    """A task file; its runs are the tests."""

    def __init__(self, *, spec: TaskSpec, **given: Any) -> None:
        super().__init__(**given)
        self._spec = spec

    @override
    def collect(self) -> Iterator[RunItem]:
        from paretoboard.plan import expand

        for run in expand([self._spec]):
            name = f"{run.recipe.name}[{run.profile.name}-{run.seed}]"
            yield RunItem.from_parent(self, name=name, run=run)


class RunItem(pytest.Item):
    """One run: recipe x profile x seed."""

    def __init__(self, *, run: RunSpec, **given: Any) -> None:
        super().__init__(**given)
        self._run = run
        self.add_marker("paretoboard")
        # -k finds 'quantize' as well as 'quantize.static', whatever the recipe is called.
        for step in run.recipe.steps:
            self.extra_keyword_matches |= {step.name, step.name.partition(".")[0]}

    @override
    def runtest(self) -> None:
        from paretoboard.pytest_plugin.measuring import outcome

        found = outcome(self._run, self.config.stash[BENCH])
        self.user_properties += [("run_id", self._run.run_id), ("status", found.status)]
        if found.text:
            self.add_report_section("call", "paretoboard", found.text)
        if found.status in ("skipped", "refused"):
            pytest.skip(found.why)
        if found.why:
            pytest.fail(found.why, pytrace=False)

    @override
    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        if isinstance(excinfo.value, ParetoboardError):
            return str(excinfo.value)
        return super().repr_failure(excinfo, style)

    @override
    def reportinfo(self) -> tuple[Path, int | None, str]:
        return self.path, None, f"{self._run.task} / {self.name}"


class Bench:
    """What runs of one session share: the results folder, held once, and this machine's runner."""

    def __init__(self, config: pytest.Config) -> None:
        self.results = results_folder(config)
        self._ends = ExitStack()
        self._opened: Any = None

    def opened(self) -> Any:
        """The runner with the machine's fingerprints; the first call takes hold of the folder.

        Raises: InputError where another session measures into it.
        """
        if self._opened is None:
            from paretoboard.pytest_plugin.measuring import open_bench

            self._opened = open_bench(self.results, self._ends)
        return self._opened

    def close(self) -> None:
        """End the runner, and let go of the folder."""
        self._ends.close()
