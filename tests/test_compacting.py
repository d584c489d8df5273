"""Records in packs: the same as in files of their own, and never fewer, whatever happens in between."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from datetime import timedelta
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import generated_results
from builders import MEASURED_AT, board_records, run_record, run_spec
from paretoboard import store
from paretoboard.errors import StoreError
from paretoboard.store import packing, packs
from paretoboard.store.alike import same
from test_store import any_record, assert_same

if TYPE_CHECKING:
    from pathlib import Path

    from paretoboard.records import RunRecord


def stored(folder: Path, records: list[RunRecord] | None = None) -> list[Path]:
    return [store.append(folder, record) for record in (records or board_records())]


def whole(folder: Path) -> tuple[RunRecord, ...]:
    return store.read(folder, with_samples=True, with_predictions=True).records


def light(folder: Path) -> pd.DataFrame:
    return store.history(folder).drop(columns="path")


def test_packed_records_are_the_same_in_every_way_of_asking(tmp_path):
    files = stored(tmp_path) + stored(tmp_path, [run_record(spec=run_spec(task="other"))])
    before, rows, known = whole(tmp_path), light(tmp_path), store.known(tmp_path)
    numbers = store.table(tmp_path, ["run_id", "calls.wall_ns"])
    done = store.compact(tmp_path)
    assert (len(done.packs), done.records, done.removed) == (1, len(files) - 1, len(files) - 1)
    assert store.record_files(tmp_path) == files[-1:]  # one record is not worth a pack
    assert_same(whole(tmp_path), before)
    pd.testing.assert_frame_equal(light(tmp_path), rows)
    assert store.table(tmp_path, ["run_id", "calls.wall_ns"]).equals(numbers)
    assert store.verify(tmp_path) == ()
    packed = store.known(tmp_path)
    assert {key: (found.status, found.started_at) for key, found in packed.items()} == {
        key: (found.status, found.started_at) for key, found in known.items()
    }
    assert {tmp_path / path for path in store.history(tmp_path).path} == {found.path for found in packed.values()}
    for key, found in known.items():
        record = store.read_one(packed[key].path)
        assert_same(record, store.read_one(found.path))  # the old path finds it in the pack
        assert (record.run_id[:16], record.status) == (key[0], found.status)


@settings(max_examples=20)
@given(records=st.lists(any_record, min_size=2, max_size=4))
def test_any_records_come_back_from_a_pack_as_they_were_stored(tmp_path_factory, records):
    folder = tmp_path_factory.mktemp("results")
    for record in records:
        try:
            store.append(folder, record)
        except StoreError:  # a second one of the same name
            continue
    before = whole(folder)
    store.compact(folder)
    assert_same(whole(folder), before)
    assert store.verify(folder) == ()


def test_later_records_go_into_a_pack_of_their_own(tmp_path):
    stored(tmp_path)
    store.compact(tmp_path)
    first = store.pack_files(tmp_path)
    later = [run_record("bf16", started_at=MEASURED_AT + timedelta(days=day)) for day in (1, 2)]
    stored(tmp_path, later)
    store.compact(tmp_path)
    assert len(store.pack_files(tmp_path)) == 2
    assert set(first) < set(store.pack_files(tmp_path))
    assert len(whole(tmp_path)) == len(board_records()) + 2
    assert store.compact(tmp_path).packs == ()


def test_a_record_in_a_pack_and_in_a_file_counts_once_until_the_file_is_taken_away(tmp_path):
    files = stored(tmp_path)
    copy = shutil.copy(files[3], tmp_path / "copy")
    store.compact(tmp_path)
    shutil.copy(copy, files[3])
    assert len(whole(tmp_path)) == len(store.history(tmp_path)) == len(files)
    assert store.compact(tmp_path).removed == 1
    assert store.record_files(tmp_path) == []
    assert len(whole(tmp_path)) == len(files)


def test_a_file_that_differs_from_what_the_pack_holds_under_its_name_is_kept_and_named(tmp_path):
    files = stored(tmp_path)
    store.compact(tmp_path)
    record = board_records()[2]
    other = store.append(tmp_path, run_record(record.recipe, accuracy=0.1, started_at=record.started_at))
    assert other in files
    done = store.compact(tmp_path)
    assert other.name in str(done.damaged[0])
    assert other.is_file()


def test_two_packs_with_the_same_record_count_it_once(tmp_path):
    files = stored(tmp_path)
    packing.write_pack(files[0].parent, files[:6])
    packing.write_pack(files[0].parent, files[4:])
    for path in files:
        path.unlink()
    assert len(whole(tmp_path)) == len(store.history(tmp_path)) == len(store.known(tmp_path)) == len(files)


def test_a_damaged_file_stays_where_it_is_and_the_rest_is_packed(tmp_path):
    files = stored(tmp_path)
    files[0].write_bytes(files[0].read_bytes()[:500])
    done = store.compact(tmp_path)
    assert [found.path for found in done.damaged] == [files[0]] == store.record_files(tmp_path)
    assert len(whole(tmp_path)) == len(files) - 1


def test_a_damaged_row_group_costs_only_its_own_records(tmp_path, monkeypatch):
    monkeypatch.setattr(packing, "_GROUP_ROWS", 3)
    files = stored(tmp_path)
    [pack] = store.compact(tmp_path).packs
    content = bytearray(pack.read_bytes())
    content[200:400] = bytes(200)
    pack.write_bytes(content)
    reading = store.read(tmp_path, with_samples=True)
    assert len(reading.records) == len(files) - 3
    assert [found.path for found in reading.damaged] == [pack]
    assert store.verify(tmp_path)[0].path == pack


@pytest.mark.parametrize("harm", ["missing", "damaged", "of another pack"])
def test_a_list_of_names_is_found_wrong_and_made_again(tmp_path, harm):
    stored(tmp_path)
    [pack] = store.compact(tmp_path).packs
    known = store.known(tmp_path)
    names = packs.names_of(pack)
    if harm == "missing":
        packs.names_file(pack).unlink()
    elif harm == "damaged":
        packs.names_file(pack).write_bytes(b"\x1f\x8bnothing")
    else:
        packs.write_names(pack, names[:-1])
    assert store.known(tmp_path) == known
    assert "list of names" in store.verify(tmp_path)[0].reason
    store.compact(tmp_path)
    assert packs.listed_names(pack) == names
    assert store.verify(tmp_path) == ()


def test_planning_knows_packed_runs_without_pyarrow(tmp_path):
    stored(tmp_path)
    store.compact(tmp_path)
    code = (
        "import sys; from pathlib import Path; from paretoboard import store;"
        "print(len(store.known(Path(sys.argv[1]))), [n for n in ('pyarrow', 'numpy', 'pandas') if n in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == f"{len(board_records())} []"


COMPACTERS = """
import os, sys
from pathlib import Path
from paretoboard import store
from paretoboard.store import packing
packing._GROUP_ROWS, packing.MOST_RECORDS = 2, 4
for line in sys.stdin:
    child = os.fork()
    if not child:
        store.compact(Path(line.strip()))
        os._exit(0)
    print(child, flush=True)
    os.waitpid(child, 0)
    print("ended", flush=True)
"""


def test_killed_at_any_moment_nothing_is_lost_and_nothing_counts_twice(tmp_path):
    records = [run_record("bf16", images=20, started_at=MEASURED_AT + timedelta(seconds=n)) for n in range(12)]
    stored(tmp_path / "whole", records)
    late = run_record("ort-int8", images=20, started_at=MEASURED_AT + timedelta(days=1))
    moments = random.Random(7)
    seen = set()
    with subprocess.Popen(
        [sys.executable, "-c", COMPACTERS], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as server:
        for number in range(16):
            folder = tmp_path / str(number)
            shutil.copytree(tmp_path / "whole", folder)
            print(folder, file=server.stdin, flush=True)
            child = int(server.stdout.readline())
            time.sleep(moments.uniform(0.0, 0.4))
            if number % 4 == 0:
                store.append(folder, late)  # a run goes on meanwhile
            os.kill(child, signal.SIGKILL)
            assert server.stdout.readline().strip() == "ended"
            seen.add((len(store.pack_files(folder)), len(store.record_files(folder))))
            wanted = [record.started_at for record in (*records, *((late,) if number % 4 == 0 else ()))]
            assert [record.started_at for record in store.read(folder).records] == wanted
            assert len(store.history(folder)) == len(wanted)
            store.compact(folder)
            assert [record.started_at for record in store.read(folder).records] == wanted
            assert store.verify(folder) == ()
        server.stdin.close()
    assert len(seen) > 1, "all were killed at the same moment"


def test_the_newest_of_each_cell_are_picked_and_only_these_are_read(tmp_path):
    generated_results.write(tmp_path, 3000)
    rows = store.history(tmp_path)
    assert len(rows) == 3000
    newest = store.newest(rows)
    latest = {}
    for record in store.read(tmp_path).records:
        cell = (record.task, record.provenance.hardware_id, record.recipe, record.seed)
        if cell not in latest or record.started_at > latest[cell].started_at:
            latest[cell] = record
    picked = store.pick(tmp_path, newest)
    assert picked.damaged == ()
    assert len(picked.records) == len(latest) == generated_results.BOARDS * generated_results.CELLS
    for record in picked.records:
        assert_same(record, latest[record.task, record.provenance.hardware_id, record.recipe, record.seed])


def test_records_in_files_of_their_own_are_picked_too(tmp_path):
    stored(tmp_path)
    rows = store.history(tmp_path)
    wanted = rows[rows.recipe.isin(["bf16", "compile"])]
    assert {record.recipe for record in store.pick(tmp_path, wanted).records} == {"bf16", "compile"}


def test_generated_results_are_whole_and_always_the_same(tmp_path):
    for name in ("one", "two"):
        generated_results.write(tmp_path / name, 500)
    assert store.verify(tmp_path / "one") == ()
    packs_of = [{p.name: p.read_bytes() for p in store.pack_files(tmp_path / name)} for name in ("one", "two")]
    assert packs_of[0] == packs_of[1]


floats = st.floats(allow_nan=True) | st.none() | st.just(-0.0)
nested = st.lists(st.none() | st.lists(st.none() | st.fixed_dictionaries({"a": floats, "b": st.none() | st.text()})))
KIND = pa.list_(pa.struct([("a", pa.float64()), ("b", pa.string())]))


@given(one=nested, other=nested)
def test_columns_are_the_same_exactly_where_their_values_are(one, other):
    left, right = pa.array(one, KIND), pa.array(other, KIND)
    assert same(left, pa.concat_arrays([pa.array([None], KIND), left]).slice(1))
    assert same(left, right) == (repr(one) == repr(other))


def test_a_nan_and_a_negative_zero_are_told_apart_to_the_bit():
    assert same(pa.array([np.nan, 0.0]), pa.array([np.nan, 0.0]))
    assert not same(pa.array([0.0]), pa.array([-0.0]))
    assert not same(pa.array([0.0]), pa.array([None], pa.float64()))


# ---- the command line


def paretoboard(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "paretoboard", "results", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_the_command_line_compacts_verifies_and_names_damage_with_exit_code_3(tmp_path):
    stored(tmp_path)
    done = paretoboard("compact", "--results", tmp_path)
    assert (done.returncode, "10 records in 1 new packs" in done.stdout) == (0, True), done
    assert paretoboard("verify", "--results", tmp_path).returncode == 0
    [pack] = store.pack_files(tmp_path)
    pack.write_bytes(pack.read_bytes()[:1000])
    found = paretoboard("verify", "--results", tmp_path)
    assert found.returncode == 3
    assert pack.name in found.stderr


def test_merging_copies_what_is_missing_from_files_and_packs_and_refuses_damage(tmp_path):
    mine, other, third = tmp_path / "mine", tmp_path / "other", tmp_path / "third"
    records = board_records()
    stored(mine, records[:4])
    stored(other, records[2:7])
    store.compact(other)  # two of its pack are here, three are not
    files = stored(third, records[5:])
    done = paretoboard("merge", other, third, "--results", mine)
    assert done.returncode == 0, done
    assert "3 records copied, 2 there already" in done.stdout
    stored(tmp_path / "all", records)
    assert_same(whole(mine), whole(tmp_path / "all"))
    assert store.verify(mine) == ()
    files[-1].write_bytes(b"PAR1")
    refused = paretoboard("merge", third, "--results", tmp_path / "new")
    assert refused.returncode == 3
    assert files[-1].name in refused.stderr
    assert store.record_files(tmp_path / "new") == []
    assert paretoboard("merge", mine, "--results", mine).returncode == 2


def test_rows_are_queried_by_recipe_status_and_date_as_text_json_and_csv(tmp_path):
    stored(tmp_path)
    shown = paretoboard("query", "--results", tmp_path, "--recipe", "bf16", "--columns", "recipe,quality")
    assert shown.stdout.split() == ["recipe", "quality", "bf16", "0.9694"]
    rows = json.loads(paretoboard("query", "--results", tmp_path, "--status", "failed", "--json").stdout)
    assert [(row["recipe"], row["latency"]) for row in rows] == [("compile", None)]
    csv = paretoboard("query", "--results", tmp_path, "--since", "2026-11-22", "--csv").stdout
    assert csv.splitlines() == [csv.splitlines()[0]]
    wrong = paretoboard("query", "--results", tmp_path, "--columns", "recipes")
    assert (wrong.returncode, "Did you mean 'recipe'?" in wrong.stderr) == (2, True)
    assert paretoboard("query", "--results", tmp_path, "--since", "tomorrow").returncode == 2


@pytest.mark.parametrize("suffix", [".parquet", ".csv", ".json"])
def test_all_rows_are_exported_into_one_file(tmp_path, suffix):
    stored(tmp_path / "results")
    out = tmp_path / f"all{suffix}"
    assert paretoboard("export", out, "--results", tmp_path / "results").returncode == 0
    read = {".parquet": pd.read_parquet, ".csv": pd.read_csv, ".json": pd.read_json}[suffix]
    assert list(read(out)["recipe"]) == list(store.history(tmp_path / "results")["recipe"])
