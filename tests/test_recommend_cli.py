"""`paretoboard recommend` and `paretoboard claims` as they are called, and snippets that are really run."""

from __future__ import annotations

import dataclasses
import functools
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from builders import board_records
from paretoboard import store
from paretoboard.artifact import Execution, read_manifest, save
from paretoboard.cli.amounts import BYTES, SECONDS, amount
from paretoboard.cli.artifacts import find
from paretoboard.errors import InputError
from paretoboard.runtimes.snippets import snippet
from paretoboard.techniques.run.openvino import OpenVino
from small_models import candidate, exported, workbench


@functools.cache
def call(*arguments: Any, columns: int = 118) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "paretoboard", *map(str, arguments)]
    environment = {**os.environ, "COLUMNS": str(columns), "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=120, check=False)


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of results with one board, and the file of one of its recipes."""
    folder = tmp_path_factory.mktemp("results")
    for record in board_records():
        if record.recipe == "ort-int8":
            assert record.artifact is not None
            place = folder / "artifacts" / f"{record.artifact.build_id[:32]}-0123456789"
            kept = save(dataclasses.replace(exported(), execution=Execution(runtime="onnxruntime")), place)
            record = dataclasses.replace(  # noqa: PLW2901
                record, artifact=dataclasses.replace(record.artifact, digest=kept.sha256, file=kept.file)
            )
        store.append(folder, record)
    return folder


@pytest.fixture(scope="module")
def task(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The path of a task file with the name that the results are of; only the name matters here."""
    file = tmp_path_factory.mktemp("work") / "tasks" / "quick" / "digits.toml"
    file.parent.mkdir(parents=True)
    file.touch()
    return file


def test_recommend_names_the_recipe_its_file_and_a_snippet_that_runs(results: Path, task: Path) -> None:
    done = call("recommend", task, "--max-drop", "0.01", "--results", results)
    assert done.returncode == 0, done.stderr
    assert "Take ort-int8: " in done.stdout
    assert "at most 1 point lost holds" in done.stdout
    head, _, code = done.stdout.partition("\n\n")
    file = Path(head.splitlines()[-1].removeprefix("File: "))
    assert file.is_file()
    assert len(code.strip().splitlines()) == 5
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.strip().startswith("[")


def test_recommend_says_what_builds_a_file_that_is_not_here(results: Path, task: Path) -> None:
    done = call("recommend", task, "--max-drop", "0.01", "--minimize", "size", "--results", results)
    assert done.returncode == 0, done.stderr
    again = f"--only ort-int8-dynamic --profile cpu-1 --fresh --results {results}"
    assert f"paretoboard run quick/digits {again}" in done.stdout


def test_the_file_of_an_ablation_is_built_with_its_recipe(tmp_path: Path) -> None:
    at = board_records()[0].started_at
    again = f"--profile cpu-1 --fresh --results {tmp_path}"
    assert find(tmp_path, "t", "stacked:first-1", "cpu-1", at).command == f"paretoboard run t --only stacked {again}"
    assert find(tmp_path, "t", "baseline", "cpu-1", at).command == f"paretoboard run t {again}"


def test_recommend_for_programs_has_the_same_in_the_units_of_the_records(results: Path, task: Path) -> None:
    done = call("recommend", task, "--max-latency", "0.4ms", "--minimize", "loss", "--results", results, "--json")
    [found] = json.loads(done.stdout)
    assert found["limits"] == {"loss": None, "latency": 0.0004}
    assert found["best"]["recipe"] == "ort-int8"
    assert found["best"]["costs"]["size"]["value"] == 104_000
    assert found["excluded"]["baseline"].startswith("takes 1.42")
    assert found["artifact"] is not None
    assert "InferenceSession" in found["snippet"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--max-latency", "5 parsecs"), "--max-latency: found '5 parsecs'; a number with one of s, ms, us, µs"),
        (("--max-size", "0"), "--max-size: found '0'"),
        (("--max-drop", "2"), "--max-drop: found 2; a share from 0 to 1"),
    ],
)
def test_a_limit_that_cannot_be_read_is_a_mistake_of_the_input(
    results: Path, task: Path, arguments: tuple[str, str], said: str
) -> None:
    done = call("recommend", task, "--results", results, *arguments)
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_recommend_without_results_says_what_makes_them(tmp_path: Path) -> None:
    done = call("recommend", "quick/digits", "--results", tmp_path)
    assert done.returncode == 2
    assert "`paretoboard run quick/digits` makes them" in done.stderr


def test_amounts_are_read_in_the_units_that_people_type() -> None:
    assert amount("--x", "5ms", SECONDS, "") == pytest.approx(0.005)
    assert amount("--x", "1.5 MiB", BYTES, "") == 1.5 * 2**20
    assert amount("--x", "300", BYTES, "") == 300
    for wrong in ("ms", "-5ms", "5 m s", "nan", "1e9", ""):
        with pytest.raises(InputError):
            amount("--x", wrong, SECONDS, "5ms")


def made(kind: str, tmp_path: Path) -> Path:
    """A small artifact of one runtime."""
    held = candidate()
    match kind:
        case "eager":
            built = held
        case "channels-last":
            built = dataclasses.replace(held, execution=Execution(memory_format="channels_last"))
        case "bf16":
            assert held.module is not None
            halved = held.module.to(torch.bfloat16)
            built = dataclasses.replace(held, module=halved, execution=Execution(dtype="bfloat16"))
        case "onnxruntime":
            built = dataclasses.replace(
                exported(), execution=Execution(runtime="onnxruntime", options={"graph": "all"})
            )
        case "onnxruntime, other options":
            options = {"graph": "basic"}
            built = dataclasses.replace(exported(), execution=Execution(runtime="onnxruntime", options=options))
        case "openvino":
            pytest.importorskip("openvino")
            built = OpenVino().apply(exported(), workbench(tmp_path / "scratch")).candidate
        case _:
            raise ValueError(kind)
    save(built, tmp_path / "artifact's folder")  # a quote, as paths may have
    return tmp_path / "artifact's folder"


@pytest.mark.parametrize(
    ("kind", "uses"),
    [
        ("eager", "import torch"),
        ("channels-last", "channels_last"),
        ("bf16", "runtimes.open"),
        ("onnxruntime", "onnxruntime.InferenceSession"),
        ("onnxruntime, other options", "runtimes.open"),
        ("openvino", "openvino.compile_model"),
    ],
)
def test_a_snippet_loads_the_file_and_calls_it(kind: str, uses: str, tmp_path: Path) -> None:
    folder = made(kind, tmp_path)
    code = snippet(folder, read_manifest(folder))
    assert uses in code
    assert len(code.splitlines()) == 5
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()


def test_claims_prints_a_table_and_the_counts(tmp_path: Path) -> None:
    done = call("claims", "--set", "resnet50-case-study", "--results", tmp_path)
    assert done.returncode == 0, done.stderr
    assert "The case study of ResNet-50 on ImageNet" in done.stdout
    assert "0 confirmed, 0 falls short, 0 better, 0 undecided, 0 not comparable; 6 not measured." in done.stdout
    assert "paretoboard run imagenet/resnet50-case-study --only pruned-30" in " ".join(done.stdout.split())


def test_claims_for_programs_holds_every_number_of_every_set(tmp_path: Path) -> None:
    found = json.loads(call("claims", "--results", tmp_path, "--json").stdout)
    assert [one["set"] for one in found] == ["claims", "resnet50-case-study"]
    assert len({line["claim"].partition(".")[0] for line in found[0]["numbers"]}) == 65
    assert all(line["verdict"] == "not measured" and line["reason"] for one in found for line in one["numbers"])


def test_an_unknown_set_of_claims_is_a_mistake_of_the_input(tmp_path: Path) -> None:
    done = call("claims", "--set", "claimz", "--results", tmp_path)
    assert done.returncode == 2
    assert "unknown set of claims 'claimz'. Did you mean 'claims'?" in done.stderr
