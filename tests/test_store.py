"""Stored records: exact, whole or absent, and known from their names alone."""

from __future__ import annotations

import dataclasses
import math
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from builders import diagnosis
from paretoboard import store
from paretoboard.errors import StoreError
from paretoboard.records import (
    STATUSES,
    ArtifactInfo,
    Bandwidth,
    Calls,
    Comparison,
    ControlState,
    CorruptedGuesses,
    Diagnosis,
    ExplainedImage,
    ExplanationShift,
    MetricValue,
    OperatorCost,
    Peak,
    Predictions,
    Provenance,
    RunRecord,
    SearchTrial,
    TrainedEpoch,
    Training,
    WindowState,
)
from paretoboard.store import schema

if TYPE_CHECKING:
    from collections.abc import Iterator

STARTED = datetime(2026, 11, 21, 10, 11, 12, 345678, tzinfo=UTC)


def a_record(**changes: Any) -> RunRecord:
    fields: dict[str, Any] = {
        "run_id": "0123456789abcdef" * 4,
        "board_id": "b" * 64,
        "task": "cifar10/resnet20",
        "task_version": 1,
        "title": "ResNet-20 on CIFAR-10",
        "dataset": "cifar10",
        "subset": "test",
        "model": "cifar-resnet20",
        "recipe": "ort-fp32",
        "steps": ({"name": "run.onnxruntime", "version": 1, "parameters": {}},),
        "profile": "cpu-1",
        "seed": 0,
        "spec": {"task": "cifar10/resnet20"},
        "status": "ok",
        "reason": "",
        "started_at": STARTED,
        "duration_s": 12.5,
        "provenance": Provenance(
            hardware_id="aaaaaaaa11",
            hardware={"cpu": "Zen 4"},
            environment_id="eeeeeeee22",
            environment={},
            commit="",
        ),
    }
    return RunRecord(**(fields | changes))


def a_trial() -> SearchTrial:
    return SearchTrial(
        number=1, settings='{"lr":0.1}', value=0.5, ending="pruned", images_seen=96, seconds=1.5, best=None
    )


def some_calls(calls: int, seed: int = 0) -> Calls:
    """Calls of 3 ms or more, as many as asked for, in launches of 1,000 and windows of 100."""
    rng = np.random.default_rng(seed)
    index = np.arange(calls)
    wall_ns = (3e6 * np.exp(rng.gamma(1.5, 0.02, calls))).astype(np.int64)
    gap_ns = rng.integers(900, 1500, calls)
    return Calls(
        batch=np.full(calls, 1, np.int32),
        launch=(index // 1000).astype(np.int16),
        window=(index // 100 % 10).astype(np.int16),
        block=(index // 4).astype(np.int32),
        arm=np.where(index % 4 % 3 == 0, 0, 1).astype(np.int8),
        start_ns=np.cumsum(wall_ns + gap_ns),
        wall_ns=wall_ns,
        cpu_ns=(wall_ns * rng.uniform(0.99, 1, calls)).astype(np.int64),
        switches=rng.poisson(0.02, calls).astype(np.int32),
        reference=np.zeros(calls, np.int8),
    )


def assert_same(left: Any, right: Any) -> None:
    """Equal in every field, array dtypes and shapes included, a NaN being equal to a NaN."""
    assert type(left) is type(right)
    if dataclasses.is_dataclass(left):
        for field in dataclasses.fields(left):
            assert_same(getattr(left, field.name), getattr(right, field.name))
    elif isinstance(left, np.ndarray):
        assert left.dtype == right.dtype
        np.testing.assert_array_equal(left, right)
    elif isinstance(left, tuple):
        assert len(left) == len(right)
        for one, other in zip(left, right, strict=True):
            assert_same(one, other)
    else:
        assert left == right or (left != left and right != right)


# ---- strategies: any record that our types allow

text = st.text(st.characters(exclude_categories=("Cs",)), max_size=12)
number = st.floats(allow_nan=True, allow_infinity=True)
maybe = st.none() | number
small = st.integers(0, 2**15 - 1)
json_value = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False) | text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3),
    max_leaves=6,
)
json_mapping = st.dictionaries(text, json_value, max_size=3)
identifier = st.text("0123456789abcdef", min_size=8, max_size=64)


@st.composite
def calls_of(draw: st.DrawFn) -> Calls:
    length = draw(st.integers(0, 9))
    dtypes = {
        "batch": np.int32,
        "launch": np.int16,
        "window": np.int16,
        "block": np.int32,
        "arm": np.int8,
        "start_ns": np.int64,
        "wall_ns": np.int64,
        "cpu_ns": np.int64,
        "switches": np.int32,
        "reference": np.int8,
    }
    return Calls(**{name: draw(hnp.arrays(dtype, length)) for name, dtype in dtypes.items()})


@st.composite
def predictions_of(draw: st.DrawFn) -> Predictions:
    shape = (draw(st.integers(0, 5)), draw(st.integers(1, 5)))
    guesses = st.builds(CorruptedGuesses, corruption=text, best=hnp.arrays(np.int16, shape[0]))
    return Predictions(
        labels=draw(hnp.arrays(np.int16, shape[0])),
        top_classes=draw(hnp.arrays(np.int16, shape)),
        top_scores=draw(hnp.arrays(np.float32, shape, elements=st.floats(0, 1, width=32))),
        ids=draw(st.just(()) | st.lists(text, min_size=shape[0], max_size=shape[0]).map(tuple)),
        corrupted=draw(several(guesses)),
    )


def several(strategy: st.SearchStrategy[Any]) -> st.SearchStrategy[tuple[Any, ...]]:
    return st.lists(strategy, max_size=2).map(tuple)


any_explanation = st.builds(
    ExplanationShift,
    method=text,
    images=several(st.builds(ExplainedImage, image=text, similarity=number, picture=st.binary(max_size=9))),
    reason=text,
)

any_diagnosis = st.builds(
    Diagnosis,
    batch=small,
    source=text,
    call_s=number,
    operator_s=number,
    operators=several(
        st.builds(
            OperatorCost,
            type=text,
            kind=text,
            dtype=text,
            calls=small,
            share=number,
            macs=st.integers(0, 2**62),
            bytes=st.integers(0, 2**62),
            attainable_s=maybe,
        )
    ),
    attainable_s=maybe,
    peaks=several(st.builds(Peak, dtype=text, macs_per_s=number)),
    bandwidths=several(st.builds(Bandwidth, working_set_bytes=st.integers(0, 2**62), bytes_per_s=number)),
    int8_exact=st.none() | st.booleans(),
    instruction_sets=several(text),
    fallbacks=several(text),
    sentence=text,
)

any_training = st.builds(
    Training,
    step=text,
    seconds=number,
    images_seen=st.integers(0, 2**62),
    fair=text,
    weights=identifier,
    best_epoch=st.none() | small,
    stopped_early=st.booleans(),
    target=maybe,
    seconds_to_target=maybe,
    peak_bytes=st.none() | st.integers(0, 2**62),
    energy_j=maybe,
    curve=several(
        st.builds(
            TrainedEpoch,
            epoch=small,
            images_seen=st.integers(0, 2**62),
            seconds=number,
            loss=number,
            held_out_top1=maybe,
            held_out_loss=maybe,
        )
    ),
)

any_record = st.builds(
    RunRecord,
    run_id=identifier,
    board_id=identifier,
    task=st.sampled_from(["quick", "cifar10/resnet20", "a b/Ä/c-d_e.f"]),
    task_version=st.integers(1, 2**31 - 1),
    title=text,
    dataset=text,
    subset=text,
    model=text,
    recipe=text,
    steps=several(json_mapping),
    profile=text,
    seed=st.integers(-(2**63), 2**63 - 1),
    spec=json_mapping,
    status=st.sampled_from(STATUSES),
    reason=text,
    started_at=st.timedeltas(timedelta(0), timedelta(days=80_000)).map(
        lambda since: datetime.fromtimestamp(0, UTC) + since
    ),
    duration_s=number,
    provenance=st.builds(
        Provenance,
        hardware_id=identifier,
        hardware=json_mapping,
        environment_id=identifier,
        environment=json_mapping,
        commit=text,
    ),
    artifact=st.none() | st.builds(ArtifactInfo, build_id=text, digest=text, file=text, runtime=text, form=text),
    metrics=several(
        st.builds(
            MetricValue,
            name=text,
            scope=text,
            value=number,
            low=maybe,
            high=maybe,
            n=st.integers(0, 2**62),
            unit=text,
        )
    ),
    comparisons=several(
        st.builds(
            Comparison,
            batch=small,
            against=text,
            ratio=number,
            low=number,
            high=number,
            confidence=number,
            launches=small,
            windows=small,
            clock=st.sampled_from(["cpu", "wall"]),
            tolerance=number,
            p_value=maybe,
            verdict=st.sampled_from(["better", "worse", "same", "undecided"]),
            reason=text,
        )
    ),
    controls=several(
        st.builds(ControlState, name=text, requested=text, applied=text, observed=text, held=st.booleans())
    ),
    windows=several(
        st.builds(
            WindowState,
            batch=small,
            launch=small,
            window=small,
            steal=number,
            load1=number,
            pressure=maybe,
            clock_mhz=maybe,
            temperature_c=maybe,
        )
    ),
    calls=st.none() | calls_of(),
    predictions=st.none() | predictions_of(),
    diagnosis=st.none() | any_diagnosis,
    trainings=several(any_training),
    explanation=st.none() | any_explanation,
    trials=several(
        st.builds(
            SearchTrial,
            number=small,
            settings=text,
            value=number,
            ending=st.sampled_from(["whole", "pruned", "diverged"]),
            images_seen=st.integers(0, 2**62),
            seconds=number,
            best=maybe,
        )
    ),
    notes=several(text),
    log_tail=text,
)


@settings(max_examples=80)
@given(record=any_record)
def test_a_record_comes_back_exactly_as_it_was_stored(
    tmp_path_factory: pytest.TempPathFactory, record: RunRecord
) -> None:
    folder = tmp_path_factory.mktemp("results")
    path = store.append(folder, record)
    assert_same(store.read_one(path), record)
    (read_back,) = store.read(folder, with_samples=True, with_predictions=True).records
    assert_same(read_back, record)
    key = store.key_of(record.run_id, record.provenance.hardware_id, record.provenance.environment_id)
    assert store.known(folder) == {
        key: store.Known(status=record.status, started_at=record.started_at, path=path),
    }
    shutil.rmtree(folder)


# ---- writing


def test_a_record_lies_below_its_task_under_a_name_that_tells_what_it_is(tmp_path: Path) -> None:
    path = store.append(tmp_path, a_record(status="timeout"))
    assert path.parent == tmp_path / "records/cifar10/resnet20"
    assert path.name == "20261121T101112.345678Z-0123456789abcdef-aaaaaaaa-eeeeeeee-timeout.parquet"
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]


def test_a_stored_record_is_never_rewritten(tmp_path: Path) -> None:
    path = store.append(tmp_path, a_record(log_tail="first"))
    with pytest.raises(StoreError, match=r"already there\. Result files are never rewritten\.") as raised:
        store.append(tmp_path, a_record(log_tail="second"))
    assert str(path) in str(raised.value)
    assert store.read_one(path).log_tail == "first"
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]


def test_a_time_of_another_zone_is_stored_as_the_same_moment_in_utc(tmp_path: Path) -> None:
    east = STARTED.astimezone(timezone(timedelta(hours=5, minutes=30)))
    path = store.append(tmp_path, a_record(started_at=east))
    assert path.name.startswith("20261121T101112.345678Z-")
    assert store.read_one(path).started_at == STARTED


@pytest.mark.parametrize("task", ["", "..", "../up", "a/../../b", "/etc", "a\\b"])
def test_a_task_name_can_not_lead_out_of_the_results(tmp_path: Path, task: str) -> None:
    with pytest.raises(StoreError, match="can't be a task's name"):
        store.append(tmp_path / "results", a_record(task=task))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"started_at": STARTED.replace(tzinfo=None)}, "no time zone"),
        ({"run_id": "not/a/digest"}, "letters and digits"),
        ({"spec": {"path": Path("x")}}, "spec: .*not JSON serializable"),
        ({"spec": {"loss": math.nan}}, "spec: .*not JSON compliant"),
        ({"seed": 2**63}, "seed: "),
    ],
)
def test_what_does_not_fit_is_named_and_nothing_is_stored(tmp_path: Path, changes: dict[str, Any], named: str) -> None:
    with pytest.raises(StoreError, match=named):
        store.append(tmp_path, a_record(**changes))
    assert store.record_files(tmp_path) == []


def test_calls_of_unlike_length_and_predictions_about_other_images_are_refused(tmp_path: Path) -> None:
    calls = dataclasses.replace(some_calls(4), wall_ns=np.zeros(3, np.int64))
    with pytest.raises(StoreError, match="calls: columns of unlike length"):
        store.append(tmp_path, a_record(calls=calls))
    predictions = Predictions(
        labels=np.zeros(3, np.int16),
        top_classes=np.zeros((2, 5), np.int16),
        top_scores=np.zeros((2, 5), np.float32),
    )
    with pytest.raises(StoreError, match=r"predictions: .*not about the same images"):
        store.append(tmp_path, a_record(predictions=predictions))
    for changes in (
        {"ids": ("a", "b")},
        {"corrupted": (CorruptedGuesses(corruption="noise:3", best=np.zeros(2, np.int16)),)},
    ):
        with pytest.raises(StoreError, match=r"predictions: .*not about the same images"):
            store.append(tmp_path, a_record(predictions=dataclasses.replace(some_predictions(), **changes)))


def test_the_last_words_of_a_crashed_process_need_not_be_unicode(tmp_path: Path) -> None:
    path = store.append(tmp_path, a_record(status="failed", log_tail="half a character: \udce2"))
    assert store.read_one(path).log_tail == "half a character: \\udce2"


def test_twenty_thousand_calls_of_each_arm_take_less_than_420_kB(tmp_path: Path) -> None:
    path = store.append(tmp_path, a_record(calls=some_calls(40_000)))
    assert path.stat().st_size < 420_000


def test_leftovers_of_killed_writers_are_ignored_and_removed_once_an_hour_old(tmp_path: Path) -> None:
    path = store.append(tmp_path, a_record())
    old, fresh = (path.with_name(f".{path.name}.{letter}.partial") for letter in "of")
    for leftover in (old, fresh):
        leftover.write_bytes(path.read_bytes()[:100])
    os.utime(old, (time.time() - 3700,) * 2)
    reading = store.read(tmp_path)
    assert (len(reading.records), reading.damaged, store.verify(tmp_path)) == (1, (), ())
    store.append(tmp_path, a_record(started_at=STARTED + timedelta(seconds=1)))
    assert not old.exists()
    assert fresh.exists()


# Forks a writer per line of its input; each appends records and says so after each, until it is killed.
WRITERS = """
import dataclasses, os, sys
import pyarrow.parquet
sys.path.insert(0, sys.argv[2])
from datetime import timedelta
from pathlib import Path
from test_store import a_record, some_calls
from paretoboard import store
from paretoboard.store import codec
codec.encode(a_record())  # imports what it needs before the fork: a writer is to be killed while it writes
folder, calls, count = Path(sys.argv[1]), some_calls(2000), 0
for line in sys.stdin:
    pid = os.fork()
    if pid == 0:
        record = a_record(calls=calls, run_id=f"{int(line):016x}")
        while True:
            path = store.append(folder, record)
            os.write(1, f"stored {path}\\n".encode())
            record = dataclasses.replace(record, started_at=record.started_at + timedelta(seconds=1))
    os.write(1, f"writer {pid}\\n".encode())
    os.waitpid(pid, 0)
    os.write(1, b"ended\\n")
"""


def test_a_writer_killed_at_any_moment_loses_no_record_and_leaves_no_half_one(tmp_path: Path) -> None:
    moments = random.Random(0)
    stored: list[Path] = []
    with subprocess.Popen(
        [sys.executable, "-c", WRITERS, str(tmp_path), str(Path(__file__).parent)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as server:
        assert server.stdin is not None
        assert server.stdout is not None
        for round_number in range(30):
            server.stdin.write(f"{round_number}\n")
            server.stdin.flush()
            writer = 0
            # Every other writer is killed only after its first record, so that a slow machine stores some too.
            after_a_record = round_number % 2 == 1
            for line in server.stdout:
                word, _, rest = line.strip().partition(" ")
                if word == "ended":
                    break
                if word == "writer":
                    writer = int(rest)
                else:
                    stored.append(Path(rest))
                if writer and word == ("stored" if after_a_record else "writer"):
                    time.sleep(moments.uniform(0.0, 0.12))
                    os.kill(writer, signal.SIGKILL)
                    writer = 0
        server.stdin.close()
    found = set(store.record_files(tmp_path))
    assert len(stored) >= 15
    assert set(stored) <= found
    assert store.verify(tmp_path) == ()
    # A killed writer may have published one record more than it had time to speak of.
    assert len(found) <= len(stored) + 30


APPEND_ONE = """
import resource, sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from test_store import a_record, some_calls
from paretoboard import store
from paretoboard.errors import StoreError
folder = Path(sys.argv[1])
limit = int(sys.argv[3])
if limit:
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
try:
    store.append(folder, a_record(calls=some_calls(200_000)))
except StoreError as error:
    print(error)
    sys.exit(error.exit_code)
"""


def append_a_large_one(folder: Path, *, limit_bytes: int = 0) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", APPEND_ONE, str(folder), str(Path(__file__).parent), str(limit_bytes)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


def test_a_file_over_the_size_limit_is_a_clear_error_and_leaves_nothing(tmp_path: Path) -> None:
    result = append_a_large_one(tmp_path, limit_bytes=100_000)
    assert result.returncode == 3, result.stderr
    assert "can't be stored: File too large. Nothing was left behind." in result.stdout
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of half a megabyte."""
    mounted = shutil.which("mount") and subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=512k", "none", str(tmp_path)],
        capture_output=True,
    )
    if not mounted or mounted.returncode != 0:
        pytest.skip("a small file system can be mounted by root only")
    yield tmp_path
    subprocess.run(["umount", str(tmp_path)], check=True)


def test_a_full_disk_is_a_clear_error_and_costs_no_stored_record(small_disk: Path) -> None:
    path = store.append(small_disk, a_record())
    result = append_a_large_one(small_disk)
    assert result.returncode == 3, result.stderr
    assert "can't be stored: No space left on device. Nothing was left behind." in result.stdout
    assert [found for found in small_disk.rglob("*") if found.is_file()] == [path]
    assert store.verify(small_disk) == ()


# ---- known


def test_of_several_records_of_one_run_the_latest_is_known(tmp_path: Path) -> None:
    later = a_record(status="ok", started_at=STARTED + timedelta(microseconds=1))
    path = store.append(tmp_path, later)
    store.append(tmp_path, a_record(status="failed"))
    (entry,) = store.known(tmp_path).values()
    assert (entry.status, entry.path) == ("ok", path)


def test_known_keeps_hardware_and_software_apart(tmp_path: Path) -> None:
    provenance = a_record().provenance
    for number, change in enumerate(
        [{}, {"hardware_id": "cccccccc"}, {"environment_id": "dddddddd"}],
    ):
        changed = dataclasses.replace(provenance, **change)
        store.append(tmp_path, a_record(provenance=changed, started_at=STARTED + timedelta(seconds=number)))
    assert len(store.known(tmp_path)) == 3


def test_records_of_one_task_can_be_listed_without_those_of_tasks_below_it(tmp_path: Path) -> None:
    above = store.append(tmp_path, a_record(task="cifar10"))
    below = store.append(tmp_path, a_record(task="cifar10/resnet20"))
    assert store.record_files(tmp_path) == [above, below]
    assert store.record_files(tmp_path, tasks=["cifar10"]) == [above]
    assert [record.task for record in store.read(tmp_path, tasks=["cifar10/resnet20"]).records] == ["cifar10/resnet20"]
    assert store.known(tmp_path, tasks=["none"]) == {}


def test_other_files_and_a_missing_folder_are_nobodys_records(tmp_path: Path) -> None:
    path = store.append(tmp_path, a_record())
    for name in ("notes.txt", "other.parquet", path.name.replace("-ok", "-fine"), "2026" + path.name):
        (path.parent / name).write_text("not a record")
    (path.parent / path.name.replace("1121T", "1199T")).write_text("no such day")
    (tmp_path / "reference").mkdir()
    assert len(store.known(tmp_path)) == 1
    assert store.known(tmp_path / "nowhere") == {}
    assert store.read(tmp_path / "nowhere") == store.Reading(records=(), damaged=())


def test_known_needs_neither_pyarrow_nor_numpy(tmp_path: Path) -> None:
    store.append(tmp_path, a_record())
    script = (
        "import sys; from pathlib import Path; from paretoboard import store; "
        "assert len(store.known(Path(sys.argv[1]))) == 1; "
        "print([name for name in ('pyarrow', 'numpy', 'pandas', 'torch') if name in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", script, str(tmp_path)], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


# ---- reading


def test_raw_calls_and_predictions_are_read_only_when_asked_for(tmp_path: Path) -> None:
    predictions = Predictions(
        labels=np.zeros(2, np.int16),
        top_classes=np.ones((2, 5), np.int16),
        top_scores=np.ones((2, 5), np.float32),
    )
    store.append(tmp_path, a_record(calls=some_calls(100), predictions=predictions))
    (light,) = store.read(tmp_path).records
    assert (light.calls, light.predictions) == (None, None)
    (sampled,) = store.read(tmp_path, with_samples=True).records
    assert_same(sampled.calls, some_calls(100))
    assert sampled.predictions is None
    (predicted,) = store.read(tmp_path, with_predictions=True).records
    assert predicted.calls is None
    assert_same(predicted.predictions, predictions)


def truncated(content: bytes) -> bytes:
    return content[: len(content) // 2]


def zero_bytes(content: bytes) -> bytes:
    return b""


def garbage(content: bytes) -> bytes:
    return random.Random(1).randbytes(len(content))


def without_its_footer(content: bytes) -> bytes:
    return content[:-8]


def with_zeroed_data(content: bytes) -> bytes:
    return content[:200] + bytes(1000) + content[1200:]


@pytest.mark.parametrize("harm", [truncated, zero_bytes, garbage, without_its_footer, with_zeroed_data])
def test_a_damaged_file_is_reported_and_costs_nothing_of_the_rest(tmp_path: Path, harm: Any) -> None:
    paths = [
        store.append(tmp_path, a_record(calls=some_calls(5000), started_at=STARTED + timedelta(seconds=second)))
        for second in range(3)
    ]
    paths[1].write_bytes(harm(paths[1].read_bytes()))
    reading = store.read(tmp_path, with_samples=True)
    assert len(reading.records) == 2
    assert [damaged.path for damaged in reading.damaged] == [paths[1]]
    assert [damaged.path for damaged in store.verify(tmp_path)] == [paths[1]]
    with pytest.raises(StoreError, match=paths[1].name):
        store.read_one(paths[1])
    with pytest.raises(StoreError, match=paths[1].name):
        store.table(tmp_path, schema.SCHEMA.names)


@settings(max_examples=60)
@given(at=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
def test_a_flipped_bit_is_found_or_changes_nothing(
    tmp_path_factory: pytest.TempPathFactory, at: float, bit: int
) -> None:
    folder = tmp_path_factory.mktemp("results")
    record = a_record(calls=some_calls(3000))
    path = store.append(folder, record)
    # The footer has no checksum in this format; only what lies before it can be promised.
    content = bytearray(path.read_bytes())
    data_bytes = len(content) - 8 - int.from_bytes(content[-8:-4], "little")
    content[int(at * data_bytes)] ^= 1 << bit
    path.write_bytes(bytes(content))
    try:
        found = store.read_one(path)
    except StoreError:
        pass
    else:
        assert_same(found, record)
    shutil.rmtree(folder)


def rewritten(path: Path, table: pa.Table, **metadata: str) -> None:
    kept = table.schema.metadata | {key.encode(): value.encode() for key, value in metadata.items()}
    path.unlink()
    pq.write_table(table.replace_schema_metadata(kept), path)


def test_a_file_of_a_newer_version_is_named_with_both_versions(tmp_path: Path) -> None:
    path = store.append(tmp_path, a_record())
    rewritten(path, pq.read_table(path), **{schema.VERSION_KEY.decode(): "99"})
    with pytest.raises(StoreError, match=rf"{path.name}: schema version 99; this program reads 1 to {schema.VERSION}"):
        store.read_one(path)
    (damaged,) = store.read(tmp_path).damaged
    assert damaged.path == path


def test_a_field_that_this_version_does_not_know_is_refused(tmp_path: Path) -> None:
    path = store.append(tmp_path, a_record())
    rewritten(path, pq.read_table(path).append_column("colour", [["red"]]).drop_columns(["title"]))
    with pytest.raises(StoreError, match="no column 'title'; unknown column 'colour'"):
        store.read_one(path)


def test_a_parquet_file_of_someone_else_under_our_name_is_no_record(tmp_path: Path) -> None:
    path = store.append(tmp_path, a_record())
    path.unlink()
    pq.write_table(pa.table({"x": [1]}), path)
    with pytest.raises(StoreError, match="names no schema version"):
        store.read_one(path)


def test_an_older_table_passes_through_every_migration_on_its_way() -> None:
    old = pa.table({"seconds": [1.5]})
    migrations = {
        1: lambda table: table.rename_columns(["duration_s"]),
        2: lambda table: table.append_column("reason", [["none"]]),
    }
    assert schema.migrate(old, 1, migrations=migrations, target=3).to_pylist() == [
        {"duration_s": 1.5, "reason": "none"}
    ]
    assert sorted(schema.MIGRATIONS) == list(range(1, schema.VERSION))


def some_predictions(images: int = 3) -> Predictions:
    return Predictions(
        labels=np.arange(images, dtype=np.int16),
        top_classes=np.zeros((images, 5), np.int16),
        top_scores=np.full((images, 5), 0.2, np.float32),
        ids=tuple(f"test/{number}" for number in range(images)),
        corrupted=(CorruptedGuesses(corruption="noise:3", best=np.ones(images, np.int16)),),
    )


def as_version_5(table: pa.Table) -> pa.Table:
    """A record's table as version 5 wrote it: no ids, corrupted guesses, explanations and boxes."""
    table = table.drop_columns(["explanation", "detections"])
    predictions = table.column("predictions").combine_chunks()
    kept = [field for field in predictions.type if field.name not in ("ids", "corrupted")]
    arrays = [predictions.field(field.name) for field in kept]
    column = pa.StructArray.from_arrays(arrays, fields=kept, mask=predictions.is_null())
    return table.set_column(table.schema.get_field_index("predictions"), "predictions", column)


@pytest.mark.parametrize("predictions", [None, some_predictions()], ids=["without", "with"])
def test_a_record_of_version_5_is_read_without_ids_corruptions_explanations_and_detections(
    tmp_path: Path, predictions: Predictions | None
) -> None:
    shift = ExplanationShift(method="m", images=(ExplainedImage(image="test/1", similarity=0.5, picture=b"\x89PNG"),))
    record = a_record(predictions=predictions, explanation=shift)
    path = store.append(tmp_path, record)
    assert_same(store.read_one(path), record)
    rewritten(path, as_version_5(pq.read_table(path)), **{schema.VERSION_KEY.decode(): "5"})
    if predictions is not None:
        predictions = dataclasses.replace(predictions, ids=(), corrupted=())
    assert_same(store.read_one(path), dataclasses.replace(record, predictions=predictions, explanation=None))
    (light,) = store.read(tmp_path).records
    assert light.predictions is None
    assert store.table(tmp_path, ["detections.scores"]).to_pylist() == [{"detections.scores": None}]


def test_predictions_of_a_file_that_are_about_other_images_are_no_record(tmp_path: Path) -> None:
    path = store.append(tmp_path, a_record(predictions=some_predictions()))
    table = pq.read_table(path)
    whole = table.column("predictions").combine_chunks()
    parts = {field.name: whole.field(field.name) for field in whole.type}
    parts["ids"] = pa.array([["test/0"]], type=parts["ids"].type)
    column = pa.StructArray.from_arrays(list(parts.values()), fields=list(whole.type))
    rewritten(path, table.set_column(table.schema.get_field_index("predictions"), "predictions", column))
    with pytest.raises(StoreError, match=r"no valid record: .*1 ids.* are not about the same images"):
        store.read_one(path)


def as_version_4(table: pa.Table) -> pa.Table:
    """A record's table as version 4 wrote it: nothing was searched."""
    return as_version_5(table).drop_columns(["trials"])


def test_a_record_of_version_4_is_read_without_trials(tmp_path: Path) -> None:
    record = a_record(trials=(a_trial(),))
    path = store.append(tmp_path, record)
    assert_same(store.read_one(path), record)
    rewritten(path, as_version_4(pq.read_table(path)), **{schema.VERSION_KEY.decode(): "4"})
    assert_same(store.read_one(path), dataclasses.replace(record, trials=()))


def as_version_3(table: pa.Table) -> pa.Table:
    """A record's table as version 3 wrote it: nobody said how the model was trained."""
    return as_version_4(table).drop_columns(["trainings"])


def test_a_record_of_version_3_is_read_without_trainings(tmp_path: Path) -> None:
    training = Training(step="model", seconds=1.5, images_seen=64, fair="images", weights="a" * 64)
    record = a_record(trainings=(training,))
    path = store.append(tmp_path, record)
    assert_same(store.read_one(path), record)
    rewritten(path, as_version_3(pq.read_table(path)), **{schema.VERSION_KEY.decode(): "3"})
    assert_same(store.read_one(path), dataclasses.replace(record, trainings=()))


def as_version_2(table: pa.Table) -> pa.Table:
    """A record's table as version 2 wrote it: nobody said where the time goes."""
    return as_version_3(table).drop_columns(["diagnosis"])


def test_a_record_of_version_2_is_read_without_a_diagnosis_and_without_raw_calls_unless_asked(tmp_path: Path) -> None:
    record = a_record(calls=some_calls(300), diagnosis=diagnosis())
    path = store.append(tmp_path, record)
    rewritten(path, as_version_2(pq.read_table(path)), **{schema.VERSION_KEY.decode(): "2"})
    assert_same(store.read_one(path), dataclasses.replace(record, diagnosis=None))
    (light,) = store.read(tmp_path).records
    assert light.calls is None
    assert store.table(tmp_path, ["diagnosis.sentence"]).to_pylist() == [{"diagnosis.sentence": None}]


def as_version_1(table: pa.Table) -> pa.Table:
    """A record's table as version 1 wrote it: no call said whom the recipe was timed with, and nobody said why."""
    table = as_version_2(table)
    calls = table.column("calls").combine_chunks()
    kept = [field for field in calls.type if field.name != "reference"]
    arrays = [calls.field(field.name) for field in kept]
    column = pa.StructArray.from_arrays(arrays, fields=kept, mask=calls.is_null())
    return table.set_column(table.schema.get_field_index("calls"), "calls", column)


@pytest.mark.parametrize("calls", [None, 0, 1, 300])
def test_a_record_of_version_1_is_read_as_timed_with_the_baseline(tmp_path: Path, calls: int | None) -> None:
    record = a_record(calls=None if calls is None else some_calls(calls))
    path = store.append(tmp_path, record)
    rewritten(path, as_version_1(pq.read_table(path)), **{schema.VERSION_KEY.decode(): "1"})
    assert_same(store.read_one(path), record)
    assert store.verify(tmp_path) == ()
    assert store.table(tmp_path, ["calls.reference"]).num_rows == 1


def test_verify_finds_a_record_under_another_records_name_or_place(tmp_path: Path) -> None:
    path = store.append(tmp_path, a_record(status="failed"))
    flattering = path.rename(path.with_name(path.name.replace("-failed", "-ok")))
    (damaged,) = store.verify(tmp_path)
    assert damaged.path == flattering
    assert "-failed.parquet" in damaged.reason
    elsewhere = tmp_path / "records/other"
    elsewhere.mkdir()
    shutil.copy(flattering, elsewhere / path.name)
    assert len(store.verify(tmp_path)) == 2


def test_a_table_has_a_row_per_record_and_parts_of_structs_under_their_dotted_name(tmp_path: Path) -> None:
    store.append(tmp_path, a_record(calls=some_calls(300)))
    store.append(tmp_path, a_record(status="failed", started_at=STARTED + timedelta(seconds=1)))
    table = store.table(tmp_path, ["status", "calls.wall_ns", "artifact.digest"])
    assert table.column_names == ["status", "calls.wall_ns", "artifact.digest"]
    assert table.column("status").to_pylist() == ["ok", "failed"]
    first, second = table.column("calls.wall_ns")
    np.testing.assert_array_equal(first.values.to_numpy(), some_calls(300).wall_ns)
    assert not second.is_valid
    assert store.table(tmp_path / "nowhere", ["calls.wall_ns"]).num_rows == 0
    with pytest.raises(StoreError, match=r"no column 'calls\.walls_ns'"):
        store.table(tmp_path, ["calls.walls_ns"])
