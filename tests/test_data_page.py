"""The results as files to take away."""

from __future__ import annotations

import csv
import dataclasses
import gzip
import hashlib
import io
import math

import pandas as pd
import pytest

from builders import board_records, failed_record, run_record
from paretoboard.store import light
from paretoboard_reports import downloads
from site_kit import files_of
from test_report_page import HOSTILE


def cells(records):
    text = gzip.decompress(files_of(records)["data/results.csv.gz"]).decode()
    return list(csv.DictReader(io.StringIO(text)))


def test_the_parquet_file_has_every_result_and_every_column():
    records = [*board_records(), failed_record("compile", reason="no compiler")]
    found = pd.read_parquet(io.BytesIO(files_of(records)["data/results.parquet"]))
    expected = light.of(records)
    assert list(found.columns) == list(light.COLUMNS)
    assert len(found) == len(records)
    for name in light.COLUMNS:
        assert found[name].astype(object).fillna("").tolist() == expected[name].astype(object).fillna("").tolist()


def test_the_digests_are_those_of_the_files_and_stand_on_the_page():
    files = files_of(board_records())
    lines = [line.split() for line in files["data/SHA256SUMS"].decode().splitlines()]
    assert {name for _, name in lines} == {"results.parquet", "results.csv.gz"}
    for digest, name in lines:
        assert hashlib.sha256(files[f"data/{name}"]).hexdigest() == digest
        assert digest in files["data.html"].decode()


def test_numbers_keep_their_full_precision_and_units_stand_in_the_header():
    records = board_records()
    by_run = {row["run_id"]: row for row in cells(records)}
    for record in records:
        size = record.metric("file_size")
        shown = by_run[record.run_id]["file_size [B]"]
        assert (float(shown) if shown else math.nan) == pytest.approx(
            size.value if size else math.nan, nan_ok=True, rel=0
        )


@pytest.mark.parametrize("text", ["=cmd()", "+1", "-1", "@sum", "\t=1", HOSTILE])
def test_a_text_that_could_be_a_formula_is_a_text(text):
    (row,) = cells([dataclasses.replace(run_record(), title=text)])
    assert row["title"].lstrip("'") == text
    assert row["title"][0] not in "=+-@\t\r"


def test_the_same_results_give_the_same_bytes_in_any_order():
    records = board_records()
    first, second = (light.of(found) for found in (records, records[::-1]))
    assert downloads.parquet(first) == downloads.parquet(second)
    assert downloads.csv_gz(first) == downloads.csv_gz(second)


def test_without_results_the_files_have_their_columns():
    files = files_of([])
    assert list(pd.read_parquet(io.BytesIO(files["data/results.parquet"])).columns) == list(light.COLUMNS)
    assert "0 results" in files["data.html"].decode()
