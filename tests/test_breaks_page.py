"""What a recipe breaks, on the page, in the terminal and as JSON."""

from __future__ import annotations

import base64
import dataclasses
import io
import json
import os
import re
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from builders import board_records, failed_record, metric, run_record, run_spec
from builders import recipe as recipe_of
from paretoboard import store
from paretoboard.records import CorruptedGuesses, ExplainedImage, ExplanationShift, Predictions, RunRecord
from paretoboard.spec import DatasetUse, QualityTarget, Subset
from paretoboard_reports.view import page
from paretoboard_reports.view.breaks import MOST_FLIPS
from paretoboard_reports.view.numbers import significant
from site_kit import full_html
from test_report_page import HOSTILE, Elements


def png() -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (9, 3), "red").save(stream, "PNG")
    return stream.getvalue()


SHIFT = ExplanationShift(
    method="Grad-CAM; read at layer3, the baseline at layer3",
    images=(
        ExplainedImage(image="digits/0007", similarity=-0.25, picture=png()),
        ExplainedImage(image="digits/0001", similarity=0.98),
    ),
)
GRAPH = ExplanationShift(method="Grad-CAM", images=(), reason="not possible: the artifact is an ONNX graph")


def kept(record: RunRecord, *, losing: float, explanation: ExplanationShift | None = None) -> RunRecord:
    """The record as a task that asks for everything leaves it: with ids, corrupted guesses and an explanation."""
    found = record.predictions
    assert found is not None
    best = found.top_classes[:, 0]
    noisy = np.where(np.random.default_rng(9).random(len(best)) < losing, (found.labels + 1) % 10, best)
    whole = dataclasses.replace(
        found,
        ids=tuple(f"digits/{number:04d}" for number in range(len(best))),
        corrupted=(CorruptedGuesses(corruption="noise:3", best=noisy.astype(np.int16)),),
    )
    metrics = record.metrics
    if explanation is not None and explanation.images:
        metrics = (*metrics, metric("explanation_similarity", 0.365, n=2))
    return dataclasses.replace(record, predictions=whole, explanation=explanation, metrics=metrics)


def full_records() -> list[RunRecord]:
    """A baseline and two recipes, one of them a graph."""
    return [
        kept(run_record(accuracy=0.97), losing=0.1),
        kept(run_record("magnitude-50", accuracy=0.90), losing=0.4, explanation=SHIFT),
        kept(run_record("ort-int8", accuracy=0.965), losing=0.1, explanation=GRAPH),
    ]


def row_of(records: list[RunRecord], recipe: str):
    (board,) = page(records).boards
    (row,) = [row for row in board.rows if row.recipe == recipe]
    return row


def text_of(html: str) -> str:
    return " ".join("".join(Elements(html).text).split())


def test_flips_add_up_and_at_most_so_many_of_each_direction_are_listed() -> None:
    records = full_records()
    found = row_of(records, "magnitude-50").details.breaks
    baseline, record, _ = (record.predictions for record in records)
    changed = int((baseline.top_classes[:, 0] != record.top_classes[:, 0]).sum())
    assert sum(flips.count for flips in found.flips) == changed
    assert found.agreement.value == pytest.approx(1 - changed / 360)
    worse = found.flips[0]
    assert worse.direction == "right to wrong"
    assert worse.count > MOST_FLIPS
    assert (len(worse.lines), worse.more) == (MOST_FLIPS, worse.count - MOST_FLIPS)
    html = full_html(records)
    assert all(f"<code>{line.image}</code>" in html for line in worse.lines)
    assert f"and {worse.more} more" in text_of(html)


def test_the_page_says_what_each_row_s_images_can_show() -> None:
    records = full_records()
    row = row_of(records, "magnitude-50")
    resolves = row.quality_effect.resolves
    assert resolves.decided.value < resolves.found.value
    gained, lost = (
        int(n) for n in re.search(r"(\d+) only this one gets right, (\d+) only", row.quality_effect.note).groups()
    )
    assert resolves.discordant.value == pytest.approx((gained + lost) / 360)
    html = text_of(full_html(records))
    assert "What these images can show: a difference of" in html
    assert "smaller differences stay undecided" in html


def test_the_board_s_resolution_is_that_of_the_middle_recipe() -> None:
    (board,) = page(board_records()).boards
    effects = [row.quality_effect for row in board.rows if row.quality_effect and row.quality_effect.quantity.value]
    decided = sorted(effect.resolves.decided.value for effect in effects)
    middle = 100 * decided[len(decided) // 2]
    assert f"difference of about {significant(middle, 2)} points" in board.resolution


def test_a_recipe_whose_explanations_moved_shows_the_worst_and_a_graph_says_why_not() -> None:
    records = full_records()
    html = full_html(records)
    images = [attrs for tag, attrs in Elements(html).tags if tag == "img"]
    assert len(images) == 1
    assert base64.b64decode(images[0]["src"].removeprefix("data:image/png;base64,")) == png()
    assert images[0]["alt"].startswith("digits/0007; what the baseline looks at")
    said = text_of(html)
    assert "digits/0007: similarity −0.25" in said
    assert "not possible: the artifact is an ONNX graph" in said


def test_the_drop_under_a_corruption_stands_beside_the_baseline_s() -> None:
    records = full_records()
    (line,) = row_of(records, "magnitude-50").details.breaks.corruptions
    (own,) = row_of(records, "baseline").details.breaks.corruptions
    assert (line.corruption, line.further.verdict) == ("noise:3", "worse")
    assert line.does.startswith("noisy")
    assert line.does.endswith(": 0.08, in images of more than 64 pixels 0.18")
    assert line.further.quantity.value < 0
    assert line.baseline_drop == significant(100 * own.drop.value)
    assert (own.further, own.baseline_drop) == (None, "–")
    assert "Under corruptions" in text_of(full_html(records))


def test_the_baseline_has_its_calibration_and_nothing_to_compare_with() -> None:
    found = row_of(full_records(), "baseline").details.breaks
    assert (found.agreement, found.flips, found.classes, found.calibration_effect) == (None, (), (), None)
    assert found.calibration.value > 0


def test_old_records_and_failed_runs_render_without_what_they_do_not_have() -> None:
    html = text_of(full_html([*board_records(), failed_record("bf16")]))
    assert "Same answer as the baseline" in html
    assert "Under corruptions" not in html
    assert "Explanations:" not in html
    assert re.search(r"number \d+ of the subset", html)
    assert row_of([run_record(), failed_record("compile")], "compile").details.breaks is None
    without = dataclasses.replace(run_record("ort-int8"), predictions=None)
    assert row_of([run_record(), without], "ort-int8").details.breaks is None


def test_hostile_ids_methods_and_pictures_are_shown_as_text() -> None:
    shift = ExplanationShift(
        method=HOSTILE,
        images=(ExplainedImage(image=HOSTILE, similarity=0.1, picture=b'"><script>alert(1)</script>'),),
        reason="",
    )
    record = kept(run_record("magnitude-50", accuracy=0.9), losing=0.2, explanation=shift)
    found = dataclasses.replace(record.predictions, ids=tuple(f"{number} {HOSTILE}" for number in range(360)))
    baseline = kept(run_record(), losing=0.1)
    same_ids = dataclasses.replace(baseline.predictions, ids=found.ids)
    records = [
        dataclasses.replace(baseline, predictions=same_ids),
        dataclasses.replace(record, predictions=found),
    ]
    html = full_html(records)
    tags = Elements(html).tags
    assert not [tag for tag, attrs in tags if tag == "script" and "src" not in attrs]
    assert not [name for _, attrs in tags for name in attrs if name.startswith("on")]
    (image,) = [attrs for tag, attrs in tags if tag == "img"]
    assert re.fullmatch(r"data:image/png;base64,[A-Za-z0-9+/=]+", image["src"])
    assert HOSTILE.splitlines()[0] in "".join(Elements(html).text)


# Ranks on a subset and on the full set


def on_subset(name: str, recipe: str, accuracy: float, images: int, whole: Predictions | None = None) -> RunRecord:
    """A record of the same recipe on another subset, in a task of its own."""
    spec = run_spec(
        task=f"quick/{name}",
        dataset=DatasetUse(name="digits", subset=Subset(name=name), train=Subset(name="train")),
        recipe=recipe_of(recipe),
    )
    record = run_record(recipe, accuracy=accuracy, images=images, spec=spec)
    if whole is None:
        return record
    part = Predictions(
        labels=whole.labels[:images],
        top_classes=whole.top_classes[:images],
        top_scores=whole.top_scores[:images],
        ids=whole.ids[:images],
    )
    return dataclasses.replace(record, predictions=part)


ACCURACIES = {"baseline": 0.97, "bf16": 0.94, "magnitude-50": 0.85, "structured-30": 0.7}


def both_sets() -> list[RunRecord]:
    full = []
    for recipe, accuracy in ACCURACIES.items():
        record = on_subset("all", recipe, accuracy, 2000)
        found = dataclasses.replace(record.predictions, ids=tuple(f"digits/{number}" for number in range(2000)))
        full.append(dataclasses.replace(record, predictions=found))
    part = [
        on_subset("some", recipe, ACCURACIES[recipe], 200, whole=record.predictions)
        for recipe, record in zip(ACCURACIES, full, strict=True)
    ]
    return [*full, *part]


def test_a_subset_s_board_says_how_alike_it_ranks_to_the_full_set_where_both_are_at_hand() -> None:
    boards = {board.task: board for board in page(both_sets()).boards}
    said = boards["quick/some"].subset_ranks
    assert said.startswith("These 200 images rank 4 recipes by Top-1 as the 2,000 of all (quick/all) do with")
    assert "tau-b 1.0 [" in said
    assert boards["quick/all"].subset_ranks == ""
    assert "tau-b" in text_of(full_html(both_sets()))


def test_nothing_is_said_of_ranks_without_a_larger_set_of_the_same_images() -> None:
    records = both_sets()
    assert page(records[4:]).boards[0].subset_ranks == ""
    assert page([*records[:2], *records[4:]]).boards[-1].subset_ranks == ""  # two recipes in common
    elsewhere = [
        dataclasses.replace(
            record, predictions=dataclasses.replace(record.predictions, ids=tuple(f"other/{n}" for n in range(2000)))
        )
        for record in records[:4]
    ]
    boards = {board.task: board for board in page([*elsewhere, *records[4:]]).boards}
    assert boards["quick/some"].subset_ranks == ""


# A task whose quality is F1


def test_a_task_whose_quality_is_f1_gets_paired_verdicts() -> None:
    def spec(name: str):
        return run_spec(quality=QualityTarget(metric="f1"), recipe=recipe_of(name))

    records = [
        run_record("baseline", accuracy=0.97, spec=spec("baseline")),
        run_record("structured-30", accuracy=0.7, spec=spec("structured-30")),
    ]
    effect = row_of(records, "structured-30").quality_effect
    assert effect.verdict == "worse"
    assert "f1 on the same 360 images" in effect.note
    assert "paired bootstrap p" in effect.note


# The terminal


def board(results, *arguments: str, columns: int = 118) -> str:
    command = [sys.executable, "-m", "paretoboard", "board", "quick/digits", "--results", str(results), *arguments]
    environment = {**os.environ, "COLUMNS": str(columns), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    folder = tmp_path_factory.mktemp("results")
    for record in full_records():
        store.append(folder, record)
    return folder


@pytest.mark.parametrize("columns", [70, 118])
def test_board_says_what_breaks_below_the_table_when_asked(results, columns) -> None:
    plain = board(results, columns=columns)
    assert "smaller differences stay undecided" in " ".join(plain.split())
    assert "Under corruptions" not in plain
    said = board(results, "--breaks", columns=columns)
    assert max(map(len, said.splitlines())) <= columns
    for expected in ("What they break", "right to", "Under corruptions", "noise:3", "magnitude-50"):
        assert expected in said
    assert "not possible: the artifact is an ONNX graph" in " ".join(said.split())


def test_board_json_has_what_breaks_for_every_row(results) -> None:
    rows = {row["recipe"]: row["breaks"] for row in json.loads(board(results, "--json"))}
    found = rows["magnitude-50"]
    assert found["agreement"]["n"] == 360
    assert set(found["flips"]) == {"right to wrong", "wrong to right", "wrong to other wrong"}
    assert found["flips"]["right to wrong"]["first"][0].startswith("digits/")
    assert found["corruptions"]["noise:3"]["beyond_baseline"]["verdict"] == "worse"
    assert found["calibration_error"]["value"] > 0
    assert found["explanation"]["similarity"]["value"] == 0.365
    assert rows["ort-int8"]["explanation"]["reason"].startswith("not possible")
    assert found["resolution"]["decided_from"] < found["resolution"]["found_from"]
    assert rows["baseline"]["agreement"] is None
