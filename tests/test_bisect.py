"""`paretoboard bisect` on real git repositories, with values whose truth is known and with real work."""

from __future__ import annotations

import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from builders import run_record
from paretoboard import regressions, store
from paretoboard_runners.bisecting import Apart, judged
from paretoboard_runners.commands import CommandFailedError, run

# Prints a number near that in the file `level`, off by 0.6 % of noise: another at each launch, the same in each test.
NOISY = """\
import os, random, sys
with open(os.environ["LAUNCHES"], "a+") as launches:
    launches.write("x")
    launch = launches.tell()
level = open("level").read().strip()
if level == "broken":
    sys.exit("can't be built: no such function")
factor = float(level) * random.Random(launch).gauss(1, 0.006)
print(f"done in {factor:.6f}")
"""
# Work that takes processor time in proportion to the number in `level`.
BUSY = """\
total = 0
for number in range(int(2_000_000 * float(open("level").read()))):
    total += number * number % 7
"""
COMMAND = [sys.executable, "measure.py"]
NEW = ("--value", "stdout", "--pairs", "6")


class Project:
    """A git repository of somebody else's."""

    def __init__(self, top: Path, script: str = NOISY) -> None:
        self.top = top
        top.mkdir()
        self.git("init", "--quiet", "--initial-branch", "main")
        (top / "measure.py").write_text(script)
        self.commits: list[str] = []

    def git(self, *arguments: str) -> str:
        settings = ["-c", "user.name=Ada", "-c", "user.email=ada@example.org", "-c", "commit.gpgsign=false"]
        command = ["git", *settings, "-C", str(self.top), *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    def commit(self, level: float | str, subject: str = "") -> str:
        (self.top / "level").write_text(f"{level}\n")
        (self.top / "counter").write_text(f"{len(self.commits)}\n")
        self.git("add", "--all")
        self.git("commit", "--quiet", "--message", subject or f"Commit {len(self.commits)} of {level}")
        self.commits.append(self.git("rev-parse", "HEAD"))
        return self.commits[-1]

    def state(self) -> tuple[str, ...]:
        """Everything that a search must leave as it is."""
        return (
            self.git("status", "--porcelain", "--branch"),
            self.git("worktree", "list"),
            self.git("for-each-ref"),
            self.git("diff"),
            self.git("stash", "list"),
        )


def started(project: Project, *arguments: str, name: str = "-", command: list[str] = COMMAND) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(os.path.abspath, sys.path)), "OMP_NUM_THREADS": "1"}
    environment["LAUNCHES"] = str(project.top.parent / "launches")
    call = [sys.executable, "-m", "paretoboard", "bisect", name, *arguments]
    call += ["--", *command] if command else []
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    # Whoever runs these tests in the background lets them ignore Ctrl-C, and what they start inherits that.
    return subprocess.Popen(call, cwd=project.top, env=environment, preexec_fn=heed_ctrl_c, **pipes)  # noqa: PLW1509 - there are no threads


def heed_ctrl_c() -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def bisect(
    project: Project, *arguments: str, name: str = "-", command: list[str] = COMMAND
) -> subprocess.CompletedProcess[str]:
    with started(project, *arguments, name=name, command=command) as process:
        out, err = process.communicate(timeout=300)
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


@pytest.fixture
def project(tmp_path):
    return Project(tmp_path / "project")


def test_the_first_slow_commit_of_twelve_is_found_and_nothing_of_the_users_is_touched(project):
    commits = [project.commit(1.0 if number < 8 else 1.3) for number in range(12)]
    # A worktree of the user's whose folder is out of reach for now.
    project.git("worktree", "add", "--quiet", "--detach", str(project.top.parent / "away"))
    (project.top.parent / "away").rename(project.top.parent / "unmounted")
    (project.top / "level").write_text("7.0\n")
    (project.top / "untracked").write_text("mine")
    (project.top / ".git" / "hooks" / "post-checkout").write_text("#!/bin/sh\ntouch ../hooked\n")
    (project.top / ".git" / "hooks" / "post-checkout").chmod(0o755)
    project.git("bisect", "start")
    before = project.state()
    done = bisect(project, "--good", commits[0], "--bad", "main", *NEW, "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert [commit["id"] for commit in found["first_bad"]] == [commits[8]]
    assert found["first_bad"][0]["author"] == "Ada <ada@example.org>"
    assert found["apart"]["low"] < 0.3 < found["apart"]["high"]
    assert 0.1 < found["beyond"] < 0.16
    for step in found["steps"]:
        assert step["mark"] == ("bad" if commits.index(step["commit"]["id"]) >= 8 else "good")
        assert step["apart"]["pairs"] in (6, 12)
    assert len(found["steps"]) <= 4
    assert project.state() == before
    assert (project.top / "level").read_text() == "7.0\n"
    assert not (project.top.parent / "hooked").exists()


def test_a_commit_that_made_it_faster_is_found_as_well(project):
    commits = [project.commit(1.0 if number < 3 else 0.8) for number in range(6)]
    done = bisect(project, "--good", commits[0], "--bad", commits[-1], *NEW)
    assert done.returncode == 0, done.stderr
    # Good and bad, and two or three of the five commits between which the first bad one is sought.
    assert re.search(r"a launch takes about [\d.]+ s: 6 pairs of each of about 4 revisions take about", done.stdout)
    assert commits[3] in done.stdout
    assert "less than the good revision" in done.stdout


def test_on_a_loud_machine_a_commit_that_stays_open_is_measured_again_and_not_skipped(tmp_path):
    project = Project(tmp_path / "loud", NOISY.replace("0.006", "0.12"))
    commits = [project.commit(1.0 if number < 5 else 1.3) for number in range(8)]
    done = bisect(project, "--good", commits[0], "--bad", commits[-1], *NEW, "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert [commit["id"] for commit in found["first_bad"]] == [commits[5]]
    assert max(step["apart"]["pairs"] for step in found["steps"]) > 2 * 6


def test_commits_that_can_t_be_built_are_skipped_with_what_they_said(project):
    levels = [1.0, 1.0, 1.0, "broken", "broken", 1.0, 1.2, 1.2]
    commits = [project.commit(level) for level in levels]
    done = bisect(project, "--good", commits[0], "--bad", commits[-1], *NEW)
    assert done.returncode == 0, done.stderr
    assert f"{commits[6]}\n" in done.stdout
    assert "skip" in done.stdout
    assert "can't be built: no such function" in done.stdout


def test_where_skipped_commits_hide_the_first_bad_one_all_that_could_be_it_are_named(project):
    commits = [project.commit(level) for level in (1.0, 1.0, "broken", "broken", 1.2, 1.2)]
    done = bisect(project, "--good", commits[0], "--bad", commits[-1], *NEW, "--json")
    assert done.returncode == 1, done.stderr
    found = json.loads(done.stdout)["first_bad"]
    assert {commit["id"] for commit in found} == {*commits[2:5]}


def test_good_and_bad_that_do_not_differ_are_told_and_nothing_is_searched(project):
    commits = [project.commit(1.0) for _ in range(4)]
    before = project.state()
    done = bisect(project, "--good", commits[0], "--bad", commits[-1], *NEW)
    assert done.returncode == 1
    assert "can't be told apart" in done.stderr
    assert "first bad commit" not in done.stdout
    assert project.state() == before


def test_neighbours_need_no_search(project):
    commits = [project.commit(level) for level in (1.0, 1.2)]
    done = bisect(project, "--good", commits[0], "--bad", commits[1], *NEW, "--json")
    assert done.returncode == 0, done.stderr
    assert [commit["id"] for commit in json.loads(done.stdout)["first_bad"]] == [commits[1]]
    assert json.loads(done.stdout)["steps"] == []


@pytest.mark.parametrize("first_parent", [False, True])
def test_behind_a_merge_the_very_commit_is_found_or_the_merge_where_only_the_main_line_is_asked(project, first_parent):
    good = project.commit(1.0)
    project.git("switch", "--quiet", "--create", "side")
    project.commit(1.0, "On the side")
    slow = project.commit(1.25, "Slow, on the side")
    project.commit(1.25, "Still on the side")
    project.git("switch", "--quiet", "main")
    (project.top / "other").write_text("x")
    project.git("add", "--all")
    project.git("commit", "--quiet", "--message", "On the main line")
    project.git("merge", "--quiet", "--no-ff", "--message", "Merge side", "side")
    merge = project.git("rev-parse", "HEAD")
    project.commit(1.25, "After")
    options = ["--first-parent"] if first_parent else []
    done = bisect(project, "--good", good, "--bad", "HEAD", *NEW, *options, "--json")
    assert done.returncode == 0, done.stderr
    assert [commit["id"] for commit in json.loads(done.stdout)["first_bad"]] == [merge if first_parent else slow]


def test_setup_runs_once_in_each_new_checkout_and_a_checkout_is_never_used_twice(project, tmp_path):
    commits = [project.commit(1.0 if number < 3 else 1.2) for number in range(5)]
    log = tmp_path / "log"
    code = (
        f"import os; open({str(log)!r}, 'a').write(os.getcwd() + ' ' + os.environ['PARETOBOARD_BISECT_REV'] + chr(10))"
    )
    setup = f'{sys.executable} -c "{code}"'
    done = bisect(project, "--good", commits[0], "--bad", commits[-1], *NEW, "--setup", setup, "--json")
    assert done.returncode == 0, done.stderr
    lines = [line.split() for line in log.read_text().splitlines()]
    steps = [step["commit"]["id"] for step in json.loads(done.stdout)["steps"]]
    assert [revision for _, revision in lines] == [commits[0], commits[-1], *steps]
    assert len({folder for folder, _ in lines}) == len(lines)
    assert not any(Path(folder).exists() for folder, _ in lines)


BAD_INPUT = {
    "no such revision": (("--good", "nowhere", "--bad", "HEAD"), COMMAND, "found revision 'nowhere'"),
    "good after bad": (("--good", "HEAD", "--bad", "HEAD~1"), COMMAND, "descends from"),
    "the same": (("--good", "HEAD", "--bad", "HEAD"), COMMAND, "descends from"),
    "no command": (("--good", "HEAD~1", "--bad", "HEAD"), [], "a command after --"),
    "no such command": (("--good", "HEAD~1", "--bad", "HEAD"), ["no-such-command"], "no-such-command can't be started"),
    "it fails": (("--good", "HEAD~1", "--bad", "HEAD"), ["false"], "ended with exit code 1"),
    "no number": (("--good", "HEAD~1", "--bad", "HEAD", "--value", "stdout"), ["true"], "printed no number"),
    "quotes": (("--good", "HEAD~1", "--bad", "HEAD", "--setup", "'x"), COMMAND, "No closing quotation"),
    "time": (("--good", "HEAD~1", "--bad", "HEAD", "--timeout", "soon"), COMMAND, "found 'soon'"),
    "record": (("--good", "HEAD~1", "--bad", "HEAD", "--value", "record"), COMMAND, "--value record"),
}


@pytest.mark.parametrize("case", BAD_INPUT)
def test_a_mistake_is_told_with_what_would_be_right(project, case):
    project.commit(1.0)
    project.commit(1.2)
    arguments, command, message = BAD_INPUT[case]
    done = bisect(project, *arguments, command=command)
    assert done.returncode == 2, done.stderr
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert len(project.git("worktree", "list").splitlines()) == 1


def test_outside_a_repository_the_folder_is_named(tmp_path, project):
    project.commit(1.0)
    done = bisect(project, "--good", "a", "--bad", "b", "--repo", str(tmp_path))
    assert done.returncode == 2
    assert "no git repository here" in done.stderr


def test_an_unknown_series_is_told_with_the_nearest(project, tmp_path):
    project.commit(1.0)
    store.append(tmp_path / "results", run_record("ort-int8"))
    name = next(
        each.key.name for each in regressions.of_folder(tmp_path / "results").series if each.key.what == "speed"
    )
    wrong = name.replace("speed", "sped")
    done = bisect(project, "--good", "a", "--bad", "b", "--results", str(tmp_path / "results"), name=wrong)
    assert done.returncode == 2
    assert f"Did you mean '{name}'?" in done.stderr


def test_the_value_of_a_series_is_read_from_the_record_that_the_command_stores(project, tmp_path):
    results = tmp_path / "results"
    record = run_record("ort-int8")
    store.append(results, record)
    (project.top / "measure.py").write_text(
        "import datetime, pathlib, random, os\n"
        "from builders import run_record\n"
        "from paretoboard import store\n"
        "launches = open(os.environ['LAUNCHES'], 'a+')\n"
        "launches.write('x')\n"
        "level = float(open('level').read()) * random.Random(launches.tell()).gauss(1, 0.002)\n"
        "now = datetime.datetime.now(datetime.UTC)\n"
        "store.append(pathlib.Path('results'), run_record('ort-int8', speedup=2 / level, started_at=now))\n"
    )
    commits = [project.commit(level) for level in (1.0, 1.2)]
    arguments = ["--good", commits[0], "--bad", commits[1], "--value", "record", "--pairs", "4"]
    done = bisect(project, *arguments, "--results", str(results), "--json", name=record.run_id[:12])
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["apart"]["low"] < 0.2 < found["apart"]["high"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_one_that_is_stopped_leaves_no_checkout_and_no_process(project, tmp_path, number):
    (project.top / "measure.py").write_text(
        f"import os, time\nopen({str(tmp_path / 'pid')!r}, 'w').write(str(os.getpid()))\ntime.sleep(600)\n"
    )
    project.commit(1.0)
    project.commit(1.2)
    before = project.state()
    with started(project, "--good", "HEAD~1", "--bad", "HEAD") as process:
        for _ in range(600):
            if (tmp_path / "pid").exists() and (tmp_path / "pid").read_text():
                break
            time.sleep(0.1)
        child = int((tmp_path / "pid").read_text())
        process.send_signal(number)
        try:
            process.communicate(timeout=60)
        finally:
            process.kill()
    assert process.returncode != 0
    assert project.state() == before
    assert not Path(f"/proc/{child}").exists()


def test_a_command_that_hangs_is_ended_with_all_that_it_started(tmp_path):
    script = f"sleep 600 & echo $! > {tmp_path / 'pid'}; echo stuck >&2; wait"
    with pytest.raises(CommandFailedError, match=r"(?s)time limit of 2 s.*stuck"):
        run(["sh", "-c", script], folder=tmp_path, environment={}, timeout_s=2)
    child = Path(f"/proc/{(tmp_path / 'pid').read_text().strip()}")
    assert not child.exists() or "Z" in (child / "stat").read_text().rpartition(")")[2]


def test_the_time_of_a_command_counts_the_processes_that_it_waits_for(tmp_path):
    work = f"{sys.executable} -c 'sum(range(20_000_000))'"
    alone = run(["sh", "-c", "true"], folder=tmp_path, environment={}, timeout_s=60)
    done = run(["sh", "-c", f"{work}; true"], folder=tmp_path, environment={}, timeout_s=60)
    assert done.cpu_s > alone.cpu_s + 0.05


@pytest.mark.parametrize(
    ("low", "high", "beyond", "mark"),
    [
        (0.12, 0.18, 0.1, "bad"),
        (-0.01, 0.05, 0.1, "good"),
        (0.05, 0.15, 0.1, "skip"),
        (-0.18, -0.12, -0.1, "bad"),
        (-0.05, 0.01, -0.1, "good"),
        (0.3, 0.4, -0.1, "good"),
    ],
)
def test_an_interval_on_one_side_of_half_the_difference_decides(low, high, beyond, mark):
    assert judged(Apart(share=(low + high) / 2, low=low, high=high, pairs=8), beyond) == mark


@pytest.mark.alone
def test_real_work_that_became_slower_is_found_by_its_processor_time(tmp_path):
    project = Project(tmp_path / "busy", BUSY)
    at = random.Random(3).randrange(2, 11)
    commits = [project.commit(1.0 if number < at else 2.0) for number in range(12)]
    done = bisect(project, "--good", commits[0], "--bad", commits[-1], "--json")
    assert done.returncode == 0, done.stderr
    assert [commit["id"] for commit in json.loads(done.stdout)["first_bad"]] == [commits[at]]
