"""All runs in a browser at a hundred thousand rows: printed, and held to three times what was asked for."""

from __future__ import annotations

import numpy as np
import pandas as pd

from browser import Browser
from builders import board_records
from paretoboard_reports import output, pages
from paretoboard_reports.pages import explore
from site_kit import site_of

ROWS = 100_000
READY = "document.documentElement.dataset.ready"
# What was asked for on two shared cores: seconds, bytes, elements.
ASKED = {"ready": 1.5, "filter": 0.3, "sort": 0.4, "heap": 80e6, "elements": 5000}
TIMED = "(() => {{ const start = performance.now(); {0}; return (performance.now() - start) / 1e3; }})()"


def many_rows():
    """Rows made of those of a board, each with numbers of its own."""
    found = site_of(board_records())
    rng = np.random.default_rng(0)
    rows = found.runs.iloc[rng.integers(0, len(found.runs), ROWS)].reset_index(drop=True)
    ids = rng.integers(0, 256, (ROWS, 20), np.uint8)
    rows["run_id"] = [row.tobytes().hex() + "0" * 24 for row in ids]
    rows["measurement"] = [row[:4].tobytes().hex() for row in ids]
    rows["task"] = pd.Categorical([f"task-{number}" for number in rng.integers(0, 300, ROWS)])
    rows["started_at"] = rows["started_at"] + pd.to_timedelta(np.arange(ROWS), unit="s")
    for name in ("quality", "latency", "throughput", "file_size", "ratio", "latency_low", "latency_high"):
        rows[name] = rows[name].to_numpy(float) * rng.uniform(0.9, 1.0, ROWS)
    object.__setattr__(found, "runs", rows)
    return found


def test_a_hundred_thousand_rows_are_ready_searched_and_sorted_in_a_moment(tmp_path):
    found = many_rows()
    written = [*explore.files(found), *pages.assets.files(found)]
    output.write(written, tmp_path)
    with Browser(tmp_path / "profile") as browser:
        browser.open((tmp_path / "explore.html").as_uri(), READY)
        search = "q.value = 'int8'; q.dispatchEvent(new Event('input', {bubbles: true}))"
        seen = {
            "ready": browser.run("performance.getEntriesByName('explore-ready')[0].startTime") / 1e3,
            "elements": browser.run("document.querySelectorAll('*').length"),
            "sort": browser.run(TIMED.format("document.querySelector('[data-key=acc] button').click()")),
            "filter": browser.run(TIMED.format("const q = document.getElementById('q'); " + search)),
        }
        browser.call("HeapProfiler.collectGarbage")
        seen["heap"] = browser.run("performance.memory.usedJSHeapSize")
        size = sum(len(file.content) for file in written if file.path.startswith("data/"))
        print(f"\n{ROWS:,} rows, {size / 1e6:.1f} MB of data:", {name: round(value, 3) for name, value in seen.items()})
        assert browser.troubles == []
    for name, most in ASKED.items():
        assert seen[name] <= (most if name == "elements" else 3 * most), name
