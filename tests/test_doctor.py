"""`paretoboard doctor` as a person uses it: the command line, on this machine and on a tree of a kernel's files."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from paretoboard import profiles
from paretoboard.locations import profiles_folder
from paretoboard.store import calibrations
from paretoboard_runners import controls, machine
from paretoboard_runners.controls import fitness
from paretoboard_runners.controls.findings import MENDS
from paretoboard_runners.controls.spin import spin
from test_calibration import stored
from test_controls_machine import CPU, PROFILE, contents, machine_tree

if TYPE_CHECKING:
    from collections.abc import Iterator

KIB = 2**10
CORES = controls.choose_cores(replace(PROFILE, cores=1))


def doctor(*arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(os.path.abspath, sys.path)), "COLUMNS": "100"}
    command = [sys.executable, "-c", "from paretoboard.cli import main; main()", "doctor", *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=60)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Files of a machine whose cores include this one's, with 8 GiB free."""
    root = machine_tree(tmp_path / "machine")
    core = CORES[0]
    for name, text in {
        f"{CPU}/cpu{core}/cpufreq/scaling_governor": "powersave\n",
        f"{CPU}/cpu{core}/cpufreq/scaling_cur_freq": "3400000\n",
        f"{CPU}/cpu{core}/cpufreq/cpuinfo_max_freq": "3500000\n",
        f"{CPU}/cpu{core}/topology/thread_siblings_list": f"{core}\n",
        "proc/meminfo": f"MemTotal: {16 * KIB**2} kB\nMemAvailable: {8 * KIB**2} kB\n",
        "proc/cpuinfo": "flags\t\t: fpu vme\n",
        "proc/self/cgroup": "0::/\n",
        "proc/sys/kernel/randomize_va_space": "2\n",
        "sys/kernel/mm/transparent_hugepage/enabled": "always [madvise] never\n",
        "sys/devices/system/clocksource/clocksource0/current_clocksource": "tsc\n",
    }.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def findings(done: subprocess.CompletedProcess[str]) -> dict[str, dict[str, str]]:
    return {finding["name"]: finding for finding in json.loads(done.stdout)["findings"]}


def test_one_page_tells_what_is_in_the_way_and_what_mends_it() -> None:
    done = doctor("--seconds", "0.3")
    assert done.returncode in (0, 1), done.stderr
    assert done.stderr == ""
    assert len(done.stdout.splitlines()) < 70
    for name in ("share of the core", "steal", "other load", "governor", "boost", "swap", "isolated cores"):
        assert name in done.stdout


def test_json_says_the_same_as_the_page() -> None:
    done = doctor("--seconds", "0.3", "--json")
    told = json.loads(done.stdout)
    assert told["cores"] == list(CORES)
    assert told["spin"]["pieces"] > 10
    assert (told["level"] == "unfit") == (done.returncode == 1)
    assert {finding["level"] for finding in told["findings"]} <= {"good", "caveat", "unfit"}
    in_the_way = [finding for finding in told["findings"] if finding["level"] != "good"]
    assert all(finding["why"] and finding["mend"] for finding in in_the_way)


@pytest.fixture
def neighbour() -> Iterator[int]:
    """A process that works on the measured core all the time."""
    code = f"import os; os.sched_setaffinity(0, {{{CORES[0]}}})\nwhile True: pass"
    busy = subprocess.Popen([sys.executable, "-c", code])
    yield busy.pid
    busy.kill()
    busy.wait()


def test_a_neighbour_on_the_core_is_seen_in_the_share_and_named(neighbour: int) -> None:
    told = json.loads(doctor("--seconds", "1", "--json").stdout)
    assert told["spin"]["cpu_share"] < 0.8
    assert told["spin"]["switches"] > 5
    by_name = {finding["name"]: finding for finding in told["findings"]}
    assert by_name["share of the core"]["level"] != "good"
    assert by_name["other load"]["level"] == "caveat"
    assert neighbour in [task["pid"] for task in told["others"]]


def test_spinning_puts_the_affinity_back_and_counts_equal_pieces() -> None:
    before = os.sched_getaffinity(0)
    seen = spin(CORES, 0.2)
    assert os.sched_getaffinity(0) == before
    assert 0 < seen.cpu_share <= 1
    assert seen.cpu_jitter >= 0
    assert 5 < seen.pieces < 2000


def test_every_caveat_of_the_kernels_files_has_a_command(tree: Path) -> None:
    seen = findings(doctor("--seconds", "0.2", "--json", "--root", str(tree)))
    assert seen["governor"]["found"] == "powersave, asked for performance"
    assert "cpupower frequency-set --governor performance" in seen["governor"]["mend"]
    assert "cpufreq/boost" in seen["boost"]["mend"]
    assert f"isolcpus={CORES[0]} nohz_full={CORES[0]}" in seen["isolated cores"]["mend"]
    assert seen["swap"]["level"] == seen["frequency"]["level"] == seen["huge pages"]["level"] == "good"
    assert "virtual machine" not in seen


@pytest.mark.parametrize(
    ("file", "text", "name"),
    [
        ("sys/kernel/mm/transparent_hugepage/enabled", "[always] madvise never\n", "huge pages"),
        (f"{CPU}/cpu{CORES[0]}/cpufreq/scaling_cur_freq", "1200000\n", "frequency"),
        ("proc/swaps", "Filename\tType\n/dev/sda2\tpartition\n", "swap"),
        ("proc/cpuinfo", "flags\t\t: fpu hypervisor\n", "virtual machine"),
        ("proc/sys/kernel/randomize_va_space", "0\n", "address randomization"),
        ("sys/devices/system/clocksource/clocksource0/current_clocksource", "hpet\n", "clock source"),
        ("sys/fs/cgroup/cpu.max", "50000 100000\n", "CPU quota"),
        (f"{CPU}/cpu{CORES[0]}/topology/thread_siblings_list", f"{CORES[0]},{CORES[0] + 2}\n", "smt"),
    ],
)
def test_what_is_in_the_way_is_found(tree: Path, file: str, text: str, name: str) -> None:
    (tree / file).parent.mkdir(parents=True, exist_ok=True)
    (tree / file).write_text(text)
    diagnosis = fitness.diagnose(profiles.load("cpu-1", profiles_folder()), seconds=0.05, root=tree)
    [found] = [finding for finding in diagnosis.findings if finding.name == name]
    assert found.level == "caveat"
    assert found.why
    assert found.mend


def test_what_the_machine_has_no_knob_for_says_so_instead_of_a_command_that_fails(tree: Path) -> None:
    (tree / f"{CPU}/cpufreq/boost").unlink()
    boost = findings(doctor("--seconds", "0.1", "--json", "--root", str(tree)))["boost"]
    assert boost["mend"].startswith("nothing to be done from in here: the kernel has no say over the clock")


def test_every_command_that_can_be_told_names_the_cores_and_values_it_is_about() -> None:
    for name, mend in MENDS.items():
        told = mend.format(cores="2,3", value="7")
        assert "{" not in told
        assert told.startswith(("sudo ", "echo ", "nvidia-smi ")), name


def test_a_calibration_is_told_and_one_that_is_missing_is_asked_for(tmp_path: Path) -> None:
    where = ("--seconds", "0.1", "--json", "--results", str(tmp_path))
    missing = findings(doctor(*where))["calibration"]
    assert (missing["level"], missing["found"]) == ("caveat", "none")
    assert missing["mend"] == "paretoboard doctor --calibrate --profile cpu-1"
    here = machine.fingerprints().hardware_id
    calibrations.keep(tmp_path, stored(hardware_id=here, noise_floor=0.0123))
    known = findings(doctor(*where))["calibration"]
    assert (known["level"], known["found"]) == ("good", "2026-11-21: noise floor 1.2%, 0 of 12 false alarms")
    later = datetime(2026, 11, 23, tzinfo=UTC)
    calibrations.keep(tmp_path, stored(hardware_id=here, false_alarms=9, measured_at=later))
    assert findings(doctor(*where))["calibration"]["level"] == "caveat"


def test_a_machine_without_memory_is_unfit(tree: Path) -> None:
    (tree / "proc/meminfo").write_text("MemAvailable: 204800 kB\n")
    done = doctor("--seconds", "0.1", "--root", str(tree))
    assert done.returncode == 1
    assert "not fit to measure" in done.stdout


def test_a_machine_without_what_the_profile_requires_is_unfit(tree: Path) -> None:
    profile = replace(PROFILE, cores=1, require=("governor",))
    diagnosis = fitness.diagnose(profile, seconds=0.1, root=tree)
    assert diagnosis.level == "unfit"
    assert [found.name for found in diagnosis.findings if found.level == "unfit"] == ["governor"]


def test_applied_settings_are_told_as_pending_and_put_back(tree: Path, tmp_path: Path) -> None:
    before, where = contents(tree), ("--state-file", str(tmp_path / "run" / "controls.json"))
    governor = tree / CPU / f"cpu{CORES[0]}/cpufreq/scaling_governor"

    applied = doctor("--apply", "--root", str(tree), *where)
    assert applied.returncode == 0, applied.stdout + applied.stderr
    assert "set: governor performance" in applied.stdout
    assert "not set: isolated_cores on: cores are isolated when the kernel starts" in applied.stdout
    assert "doctor --restore" in applied.stderr
    assert governor.read_text() == "performance"

    page = doctor("--seconds", "0.1", "--root", str(tree), *where)
    assert "Still set by an earlier --apply" in page.stdout
    assert json.loads(doctor("--seconds", "0.1", "--json", "--root", str(tree), *where).stdout)["pending_restore"]

    assert doctor("--restore", *where).returncode == 0
    assert contents(tree) == before
    assert "nothing to be put back" in doctor("--restore", *where).stdout


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everything")
def test_settings_that_are_not_permitted_are_told_and_exit_with_1(tree: Path, tmp_path: Path) -> None:
    (tree / CPU / "smt/control").chmod(0o444)
    done = doctor("--apply", "--root", str(tree), "--state-file", str(tmp_path / "controls.json"))
    assert done.returncode == 1
    assert "only root may change it" in done.stdout


def test_an_unknown_profile_is_the_users_input() -> None:
    done = doctor("--profile", "cpu-11")
    assert done.returncode == 2
    assert "Did you mean 'cpu-1'?" in done.stderr


def test_apply_and_restore_together_are_the_users_input() -> None:
    assert doctor("--apply", "--restore").returncode == 2


def test_a_damaged_state_file_is_told_with_exit_code_3(tmp_path: Path) -> None:
    (tmp_path / "controls.json").write_text("{")
    done = doctor("--state-file", str(tmp_path / "controls.json"))
    assert done.returncode == 3
    assert "Traceback" not in done.stderr
