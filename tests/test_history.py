"""The light table of all that was ever measured."""

from __future__ import annotations

import dataclasses
import datetime
import math

import pandas as pd

from builders import board_records, failed_record, run_record
from paretoboard import store
from paretoboard.store import light


def test_each_record_is_a_row_with_the_numbers_of_the_record(tmp_path):
    records = [*board_records(), failed_record("compile", reason="no compiler")]
    for record in records:
        store.append(tmp_path, record)
    rows = store.history(tmp_path)
    assert len(rows) == len(records)
    by_run = {(record.run_id, record.started_at): record for record in records}
    for _, row in rows.iterrows():
        record = by_run[row.run_id, row.started_at.to_pydatetime()]
        assert (row.task, row.recipe, row.seed, row.status) == (record.task, record.recipe, record.seed, record.status)
        assert row.techniques == " > ".join(step["name"] for step in record.steps)
        quality = record.metric(row.quality_metric)
        assert same(row.quality, quality)
        assert same(row.file_size, record.metric("file_size"))
        batches = sorted(int(value.scope[6:]) for value in record.metrics if value.name == "latency")
        assert same(row.latency, record.metric("latency", f"batch={batches[0]}") if batches else None)
        assert same(row.throughput, record.metric("throughput", f"batch={batches[-1]}") if batches else None)
        against = sorted(record.against("baseline"), key=lambda found: found.batch)
        assert row.verdict == (against[0].verdict if against else "")
        assert math.isnan(row.ratio) if not against else row.ratio == against[0].ratio
        assert (tmp_path / row.path).is_file()


def same(found, value):
    return math.isnan(found) if value is None else found == value.value


def test_rows_are_ordered_by_time_and_then_by_run():
    now = datetime.datetime(2026, 11, 1, tzinfo=datetime.UTC)
    later = [dataclasses.replace(run_record(), run_id=f"{n:064x}", started_at=now) for n in (3, 1, 2)]
    early = dataclasses.replace(run_record(), run_id=f"{9:064x}", started_at=now - datetime.timedelta(days=1))
    assert [int(found, 16) for found in light.of([*later, early]).run_id] == [9, 1, 2, 3]


def test_a_damaged_file_is_named_and_costs_nothing_of_the_rest(tmp_path):
    kept, damaged = store.append(tmp_path, run_record()), store.append(tmp_path, run_record("ort-int8"))
    damaged.write_bytes(damaged.read_bytes()[:300])
    rows = store.history(tmp_path)
    assert list(rows.path) == [kept.relative_to(tmp_path).as_posix()]
    assert [damaged.name in line for line in rows.attrs["damaged"]] == [True]


def test_without_results_there_are_all_columns_and_no_rows(tmp_path):
    rows = store.history(tmp_path / "none")
    assert rows.empty
    assert list(rows.columns) == list(light.of([run_record()]).columns)


def test_texts_that_repeat_are_kept_once():
    rows = light.of(board_records())
    for name in ("task", "recipe", "hardware_id", "environment"):
        assert isinstance(rows[name].dtype, pd.CategoricalDtype)
