"""The pages of published numbers: what stands on them, where the figure puts it, and that no text becomes markup."""

from __future__ import annotations

import dataclasses
import re
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from builders import board_records
from claim_builders import claim, claim_set, number
from paretoboard import claims
from paretoboard_reports import links, svg
from paretoboard_reports.pages import claims as claims_page
from paretoboard_reports.site import Site
from paretoboard_reports.view import page
from paretoboard_reports.view.claims import ClaimTable, Diagonal, DiagonalPoint, of_technique, tables
from site_kit import site_of
from test_claims import five_verdicts

HOSTILE = """<img src=x onerror=alert(1)>"', =cmd()"""


def site(*sets: claims.ClaimSet, records: list[Any] | None = None) -> Site:
    found = board_records() if records is None else records
    boards = page(found)
    return dataclasses.replace(site_of(found), claims=tables(sets, found, boards.boards))


def html(*sets: claims.ClaimSet, path: str = links.CLAIMS, records: list[Any] | None = None) -> str:
    files = {file.path: file.content.decode() for file in claims_page.files(site(*sets, records=records))}
    return files[path]


def table(found: claims.ClaimSet) -> ClaimTable:
    return site(found).claims[0]


def test_each_of_the_five_verdicts_is_counted_once() -> None:
    text = html(five_verdicts())
    shown = re.findall(r'<li class="v-[a-z-]+"><b>(\d+)</b> <span>.*?</svg>([a-z ]+)</span>', text)
    assert shown == [(str(1), verdict) for verdict in claims.VERDICTS]
    assert "1 of them is not measured here" in text


def test_a_row_says_what_is_claimed_what_was_measured_and_what_differs() -> None:
    text = html(five_verdicts())
    assert 'id="claims-elsewhere"' in text
    assert "<b>batch</b> 64 there, 1 here" in text
    assert "nobody did" in text
    [line] = [line for line in table(five_verdicts()).lines if line.key == "more"]
    assert line.claimed == "14.4 ×"
    assert line.measured is not None
    assert (line.measured.text, line.unit, line.ratio) == ("7.21", "×", "0.500")


def test_a_row_links_to_the_board_and_the_row_that_measure_it() -> None:
    found = site(five_verdicts())
    [board] = found.page.boards
    [row] = [row for row in board.rows if row.recipe == "ort-int8"]
    assert f'href="{links.row(board.anchor, row.anchor)}"' in html(five_verdicts())


def test_every_set_has_a_page_and_the_pages_name_each_other() -> None:
    study = claim_set(claim(), name="study", title="A study")
    files = [file.path for file in claims_page.files(site(five_verdicts(), study))]
    assert files == ["claims.html", "claims/study.html"]
    assert '<a href="claims/study.html">A study</a>' in html(five_verdicts(), study)
    assert '<a href="../claims.html">Numbers</a>' in html(five_verdicts(), study, path="claims/study.html")


def test_without_any_claims_the_page_that_the_header_links_to_says_so() -> None:
    assert "There is no file of claims to compare with" in html()
    assert "<table" not in html()


def test_no_text_of_a_claim_becomes_markup() -> None:
    hostile = claim(
        number(metric="latency", times=7.2),
        id=HOSTILE,
        says=HOSTILE,
        source=HOSTILE,
        under=HOSTILE,
        note=HOSTILE,
        conditions={"hardware": HOSTILE, "method": HOSTILE},
    )
    text = html(claim_set(hostile, title=HOSTILE, about=HOSTILE))
    assert "<img" not in text
    assert "&lt;img src=x onerror=alert(1)&gt;" in text


def test_the_same_site_gives_the_same_bytes() -> None:
    first, second = (html(five_verdicts(), records=records) for records in (board_records(), board_records()[::-1]))
    assert first == second


def test_without_results_every_claim_has_its_reason_and_there_is_no_figure() -> None:
    text = html(five_verdicts(), records=[])
    assert "<figure>" not in text
    assert "quick/digits with ort-int8 has no results yet" in text
    assert "paretoboard run quick/digits --only ort-int8" in text


def test_the_claims_of_a_technique_are_at_hand_for_its_page() -> None:
    pruning = claim(id="P", conditions={"technique": "prune.structured"})
    found = tables((claim_set(claim(), pruning),), board_records())
    assert [line.key for line in of_technique(found, "prune.structured")] == ["P"]
    assert of_technique(found, "distill.logits") == ()


# --- the figure


def point(x: float, y: float, verdict: Any = "confirmed", **overrides: Any) -> DiagonalPoint:
    given = {"anchor": "a", "key": "C1", "verdict": verdict, "x": x, "y": y, "low": y, "high": y, "text": "said"}
    return DiagonalPoint(**{**given, **overrides})


def drawn(*points: DiagonalPoint, logarithmic: bool = True, margin: float = 0.05) -> ET.Element:
    found = Diagonal(
        title="Two numbers",
        x_label="claimed",
        y_label="measured",
        logarithmic=logarithmic,
        margin=margin,
        points=points,
    )
    return ET.fromstring(svg.diagonal_plot(found, "plot"))


def places(root: ET.Element) -> list[tuple[float, float]]:
    marks = [mark.get("transform", "") for mark in root.iter("path") if mark.get("class") == "cm"]
    return [(float(x), float(y)) for x, y in (re.findall(r"[-\d.]+", text) for text in marks)]


@pytest.mark.parametrize("logarithmic", [True, False])
def test_what_is_as_claimed_lies_on_the_diagonal(logarithmic: bool) -> None:
    root = drawn(point(1.5, 1.5), point(3.0, 3.0), point(6.0, 6.0), logarithmic=logarithmic)
    [line] = [line for line in root.iter("line") if line.get("class") == "same"]
    x1, y1, x2, y2 = (float(line.get(name, "nan")) for name in ("x1", "y1", "x2", "y2"))
    for x, y in places(root):
        assert y == pytest.approx(y1 + (x - x1) * (y2 - y1) / (x2 - x1), abs=0.2)


def test_more_than_claimed_lies_above_the_diagonal_and_less_below() -> None:
    root = drawn(point(2.0, 4.0, "better"), point(4.0, 2.0, "falls short"), point(3.0, 3.0))
    (x_more, y_more), (x_less, y_less), (_, y_same) = places(root)
    assert x_more < x_less
    assert y_more < y_same < y_less  # y grows downwards


def test_each_verdict_has_a_shape_of_its_own_and_what_is_not_counted_no_label() -> None:
    assert len({svg.VERDICT_SHAPES[verdict] for verdict in claims.VERDICTS}) == 5
    root = drawn(point(2.0, 2.0, key="yes"), point(3.0, 2.0, "not comparable", key="no"))
    labels = [text.text for text in root.iter("text") if text.get("class") == "label"]
    assert labels == ["yes"]


@pytest.mark.parametrize("verdict", claims.VERDICTS)
def test_everything_drawn_lies_on_the_canvas(verdict: Any) -> None:
    root = drawn(point(-30.0, 2.0, verdict, low=-60.0, high=60.0), point(1.0, -1.0), logarithmic=False, margin=0.3)
    width, height = (float(end) for end in root.get("viewBox", "").split()[2:])
    numbers = [(float(one.get(f"x{n}", "0")), float(one.get(f"y{n}", "0"))) for one in root.iter("line") for n in "12"]
    for x, y in [*places(root), *numbers]:
        assert 0 <= x <= width
        assert 0 <= y <= height


def test_a_figure_has_a_title_and_one_link_for_each_number_that_is_no_tab_stop() -> None:
    root = drawn(point(2.0, 2.0), point(3.0, 2.0, "not comparable"))
    title = root.find("title")
    assert title is not None
    assert (title.text, title.get("id")) == ("Two numbers", root.get("aria-labelledby"))
    assert [(link.get("href"), link.get("tabindex")) for link in root.iter("a")] == [("#a", "-1")] * 2


def test_a_number_that_was_counted_has_no_interval_on_the_page() -> None:
    fewer = number(metric="file_size", times=3.0)
    [line] = table(claim_set(claim(fewer))).lines
    assert line.measured is not None
    assert (line.measured.text, line.measured.half) == ("3.18", "")
