"""Fingerprints: what they are made of, what they are not made of, and what they cost."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from fakes.nvml import Device, FakeNvml
from paretoboard.plan import digest
from paretoboard_runners import machine, nvml

if TYPE_CHECKING:
    from pathlib import Path

CPUINFO = """processor	: 0
vendor_id	: AuthenticAMD
cpu family	: 25
model		: 17
model name	: AMD EPYC 9354
stepping	: 1
microcode	: 0xa101148
cpu MHz		: {mhz}
bogomips	: 6490.1

processor	: 1
model name	: something else
"""


def tree(root: Path, *, mhz: float = 3249.9, kib: int = 16_310_000, nodes: int = 1) -> Path:
    (root / "proc/self").mkdir(parents=True, exist_ok=True)
    (root / "proc/cpuinfo").write_text(CPUINFO.format(mhz=mhz))
    (root / "proc/meminfo").write_text(f"MemTotal:       {kib} kB\nMemFree:  100 kB\n")
    (root / "proc/self/cgroup").write_text("0::/user/job\n")
    for node in range(nodes):
        (root / f"sys/devices/system/node/node{node}").mkdir(parents=True, exist_ok=True)
    return root


def test_hardware_of_this_machine_is_seen_without_importing_torch() -> None:
    code = """
import sys
from paretoboard_runners import machine
found = machine.fingerprints()
assert len(found.hardware_id) == len(found.environment_id) == 64
print(sorted({"torch", "numpy", "pandas", "pyarrow", "pydantic"} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_same_machine_gives_the_same_fingerprints_twice() -> None:
    assert machine.fingerprints() == machine.fingerprints()


def test_clocks_and_free_memory_do_not_change_the_hardware(tmp_path: Path) -> None:
    before = machine.hardware(tree(tmp_path))
    after = machine.hardware(tree(tmp_path, mhz=1500.0, kib=16_200_000))
    assert before == after


def test_memory_is_told_by_its_class(tmp_path: Path) -> None:
    assert machine.hardware(tree(tmp_path, kib=16_310_000))["memory_bytes"] == 16 * 2**30
    assert machine.hardware(tree(tmp_path, kib=32_500_000))["memory_bytes"] == 32 * 2**30


def test_the_cpu_is_told_by_name_family_model_and_stepping(tmp_path: Path) -> None:
    assert machine.hardware(tree(tmp_path))["cpu"] == "AMD EPYC 9354 (25/17/1)"


def test_numa_nodes_are_part_of_the_hardware(tmp_path: Path) -> None:
    one = machine.hardware(tree(tmp_path / "one"))
    two = machine.hardware(tree(tmp_path / "two", nodes=2))
    assert (one["numa_nodes"], two["numa_nodes"]) == (1, 2)
    assert digest(one) != digest(two)


@pytest.mark.parametrize(
    "changed",
    [
        Device(uuid="GPU-aaaa", name="NVIDIA A100"),
        Device(uuid="GPU-aaaa", memory_total=40 * 2**30),
        Device(uuid="GPU-aaaa", power_limit=400_000),
        Device(uuid="GPU-aaaa", mig=1, partitions=(10 * 2**30,)),
    ],
)
def test_another_accelerator_is_another_hardware(tmp_path: Path, changed: Device) -> None:
    def ids(device: Device) -> str:
        return digest(machine.hardware(tree(tmp_path), lambda: nvml.opened(FakeNvml([device]))))

    assert ids(Device(uuid="GPU-aaaa")) != ids(changed)


def test_which_of_two_equal_accelerators_it_is_and_how_hot_does_not_matter(tmp_path: Path) -> None:
    def ids(device: Device) -> str:
        return digest(machine.hardware(tree(tmp_path), lambda: nvml.opened(FakeNvml([device]))))

    assert ids(Device(uuid="GPU-aaaa")) == ids(Device(uuid="GPU-zzzz", temperature=80, sm_clock=345))


@pytest.mark.parametrize(
    ("files", "cpus"),
    [
        ({}, None),
        ({"cpu.max": "max 100000\n"}, None),
        ({"cpu.max": "150000 100000\n"}, 1.5),
        ({"user/cpu.max": "400000 100000\n", "user/job/cpu.max": "200000 100000\n"}, 2.0),
        ({"user/cpu.max": "50000 100000\n", "user/job/cpu.max": "max 100000\n"}, 0.5),
    ],
)
def test_the_smallest_quota_on_the_way_to_the_top_binds(
    tmp_path: Path, files: dict[str, str], cpus: float | None
) -> None:
    root = tree(tmp_path)
    for name, text in files.items():
        path = root / "sys/fs/cgroup" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    assert machine.cpu_quota(root) == cpus


def test_quotas_of_the_first_version_of_cgroups_are_read(tmp_path: Path) -> None:
    root = tree(tmp_path)
    (root / "proc/self/cgroup").write_text("3:cpu,cpuacct:/job\n0::/\n")
    folder = root / "sys/fs/cgroup/cpu,cpuacct/job"
    folder.mkdir(parents=True)
    (folder / "cpu.cfs_quota_us").write_text("300000\n")
    (folder / "cpu.cfs_period_us").write_text("100000\n")
    assert machine.cpu_quota(root) == 3.0


def test_cores_without_a_share_of_time_are_not_usable(tmp_path: Path) -> None:
    root = tree(tmp_path)
    (root / "sys/fs/cgroup").mkdir(parents=True)
    (root / "sys/fs/cgroup/cpu.max").write_text("250000 100000\n")
    assert machine.usable_cpus(root, allowed=(4, 5, 6, 7)) == (4, 5)


def test_usable_cores_are_within_the_affinity_of_the_process() -> None:
    assert set(machine.usable_cpus()) <= os.sched_getaffinity(0)


@pytest.mark.parametrize(("text", "cpus"), [("", ()), ("0\n", (0,)), ("0-3,8", (0, 1, 2, 3, 8)), ("2,4-5", (2, 4, 5))])
def test_the_kernels_lists_are_read(text: str, cpus: tuple[int, ...]) -> None:
    assert machine.parse_cpus(text) == cpus


def test_the_environment_names_versions_that_are_installed() -> None:
    import numpy as np

    seen = machine.environment()
    assert seen["libraries"]["numpy"] == np.__version__
    assert seen["kernel"] == os.uname().release


def git(folder: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
    done = subprocess.run(["git", "-C", str(folder), *identity, *arguments], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_the_commit_is_named_and_called_dirty_once_a_file_changes(tmp_path: Path) -> None:
    package = tmp_path / "suite" / "paretoboard"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    assert machine.project_commit(tmp_path) == ""
    git(tmp_path, "init", "--quiet")
    assert machine.project_commit(tmp_path) == ""
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "--quiet", "--message", "first")
    commit = git(tmp_path, "rev-parse", "HEAD")
    assert machine.project_commit(tmp_path) == commit
    (package / "__init__.py").write_text("changed = True\n")
    assert machine.project_commit(tmp_path) == f"{commit}+dirty"


def test_a_copy_installed_inside_another_projects_checkout_has_no_commit(tmp_path: Path) -> None:
    git(tmp_path, "init", "--quiet")
    (tmp_path / "other.txt").write_text("theirs")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "--quiet", "--message", "theirs")
    assert machine.project_commit(tmp_path) == ""


def test_provenance_holds_the_ids_of_what_it_shows() -> None:
    seen = machine.provenance()
    assert seen.hardware_id == digest(dict(seen.hardware))
    assert seen.environment_id == digest(dict(seen.environment))


@pytest.mark.parametrize(
    ("line", "sets"),
    [
        ("flags : fpu avx2 avx512f avx512_bf16 avx512_vnni", ("AVX512-VNNI", "AVX512-BF16")),
        ("flags : fpu avx2 avx_vnni amx_int8", ("AVX-VNNI", "AMX-INT8")),
        ("flags : fpu avx2", ()),
        ("Features : fp asimd asimddp i8mm bf16", ("ARM dot product", "ARM I8MM", "ARM BF16")),
    ],
)
def test_instruction_sets_for_few_bits_are_read_from_the_processor_s_flags(
    tmp_path: Path, line: str, sets: tuple[str, ...]
) -> None:
    (tree(tmp_path) / "proc/cpuinfo").write_text(f"processor : 0\n{line}\n\nprocessor : 1\nflags : avx_vnni\n")
    assert machine.instruction_sets(root=tmp_path) == sets


@pytest.mark.parametrize(("capability", "sets"), [((6, 0), ()), ((6, 1), ("DP4A",)), ((9, 0), ("DP4A",))])
def test_a_gpu_has_dot_products_of_int8_from_capability_6_1_on(
    capability: tuple[int, int], sets: tuple[str, ...]
) -> None:
    library = FakeNvml([Device(uuid="GPU-aaaa", capability=capability)])
    assert machine.instruction_sets("cuda", open_nvml=lambda: nvml.opened(library)) == sets
    broken = FakeNvml(driver=False)
    assert machine.instruction_sets("cuda", open_nvml=lambda: nvml.opened(broken)) == ()
