"""Which recipe is recommended under limits, how sure that is, and that pages and terminal follow one rule."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builders import board_records, failed_record, run_record
from paretoboard.recommend import (
    TIED_FROM,
    Candidate,
    Estimate,
    Limits,
    Recommendation,
    probability_below,
    recommend,
    tied,
)
from paretoboard.spec import BASELINE
from paretoboard_reports.view import Board, page
from paretoboard_reports.view.advice import advice
from paretoboard_reports.view.answers import across, answers, candidates, round_limit, sure_words


def estimate(value: float, spread: float = 0.0) -> Estimate:
    return Estimate(value=value, low=value - spread, high=value + spread)


def candidate(name: str, latency: float = 1.0, loss: float = 0.0, **overrides: Any) -> Candidate:
    """A measured recipe; its latency is known to 1 %, its loss to 0.2 points."""
    given: dict[str, Any] = {
        "name": name,
        "quality": estimate(0.9 - loss, 0.005),
        "loss": estimate(loss, 0.002),
        "costs": {"latency": estimate(latency, latency * 0.01), "size": estimate(1e6)},
    }
    return Candidate(**{**given, **overrides})


def names(picks: Any) -> list[str]:
    return [pick.candidate.name for pick in picks]


def best(found: Recommendation) -> str:
    assert found.best is not None
    return found.best.candidate.name


def test_the_fastest_that_keeps_the_limit_is_recommended() -> None:
    found = recommend(
        [candidate("slow", 3.0), candidate("fast", 1.0, loss=0.005), candidate("faster", 0.5, loss=0.05)],
        "latency",
        Limits(loss=0.01),
    )
    assert best(found) == "fast"
    assert names(found.others) == ["slow"]
    assert [(one.name, one.what) for one in found.excluded] == [("faster", "loss")]


def test_a_loss_that_is_allowed_exactly_is_allowed() -> None:
    assert best(recommend([candidate("edge", loss=0.01)], "latency", Limits(loss=0.01))) == "edge"


def test_every_limit_counts() -> None:
    small = candidate("small", 3.0, costs={"latency": estimate(3.0), "size": estimate(10.0), "memory": estimate(5.0)})
    big = candidate("big", 1.0, costs={"latency": estimate(1.0), "size": estimate(99.0), "memory": estimate(5.0)})
    limits = Limits(costs={"size": 50.0, "memory": 6.0})
    assert best(recommend([small, big], "latency", limits)) == "small"
    assert recommend([small, big], "latency", Limits(costs={"size": 50.0, "memory": 1.0})).best is None


def test_what_was_not_measured_can_be_recommended_for_nothing() -> None:
    found = recommend([candidate("a", ended="failed: out of memory"), candidate("b")], "energy")
    assert found.best is None
    assert {(one.name, one.what, one.reason) for one in found.excluded} == {
        ("a", "run", "failed: out of memory"),
        ("b", "energy", ""),
    }


def test_what_cannot_be_told_from_the_fastest_is_named_as_a_tie() -> None:
    found = recommend([candidate("a", 1.0), candidate("b", 1.005), candidate("c", 1.5)], "latency")
    assert (best(found), names(found.ties), names(found.others)) == ("a", ["b"], ["c"])


def test_files_of_one_size_are_tied_and_the_better_one_is_taken() -> None:
    found = recommend([candidate("worse", loss=0.005), candidate("better"), candidate("fastest", 0.2)], "size")
    assert best(found) == "fastest"  # of equally good ones
    assert names(found.ties) == ["better", "worse"]


def test_the_highest_quality_is_the_least_loss() -> None:
    found = recommend([candidate("up", loss=-0.02), candidate("same"), candidate("down", loss=0.02)], "loss")
    assert best(found) == "up"
    assert found.ties == ()


def test_the_order_of_candidates_does_not_matter() -> None:
    given = [candidate("a", 1.0), candidate("b", 1.0), candidate("c", 2.0, loss=0.05)]
    assert recommend(given, "latency", Limits(loss=0.01)) == recommend(given[::-1], "latency", Limits(loss=0.01))


def test_how_sure_a_limit_is_follows_from_the_interval() -> None:
    half_sure = probability_below(estimate(0.01, 0.004), 0.01, logarithmic=False)
    assert half_sure == pytest.approx(0.5)
    at_the_end = probability_below(estimate(0.006, 0.004), 0.01, logarithmic=False)
    assert at_the_end == pytest.approx(0.975, abs=1e-3)
    assert probability_below(Estimate(value=1.0), 2.0, logarithmic=True) is None
    assert probability_below(estimate(5.0), 5.0, logarithmic=True) == 1.0
    assert probability_below(estimate(5.0), 4.9, logarithmic=True) == 0.0


def test_that_all_limits_hold_is_no_surer_than_each() -> None:
    found = recommend([candidate("a", loss=0.009)], "latency", Limits(loss=0.01, costs={"latency": 1.005}))
    assert found.best is not None
    each = [kept.probability for kept in found.best.kept]
    assert found.best.probability == pytest.approx(1 - sum(1 - (one or 0.0) for one in each))


numbers = st.floats(1e-3, 1e3)


@given(value=numbers, spread=st.floats(1.001, 3.0), limit=numbers, factor=st.floats(1.0, 10.0))
def test_a_looser_limit_is_never_less_sure(value: float, spread: float, limit: float, factor: float) -> None:
    found = Estimate(value=value, low=value / spread, high=value * spread)
    tight = probability_below(found, limit, logarithmic=True)
    loose = probability_below(found, limit * factor, logarithmic=True)
    assert tight is not None
    assert loose is not None
    assert 0 <= tight <= loose <= 1


many = st.lists(
    st.builds(
        candidate,
        name=st.text("abcdef", min_size=1, max_size=3),
        latency=st.floats(0.1, 10.0),
        loss=st.floats(-0.05, 0.05),
    ),
    unique_by=lambda found: found.name,
    max_size=8,
)


@given(found=many, allowed=st.floats(0.0, 0.05))
def test_nothing_that_keeps_the_limits_costs_less_than_what_is_recommended(
    found: list[Candidate], allowed: float
) -> None:
    chosen = recommend(found, "latency", Limits(loss=allowed))
    eligible = [one for one in found if one.loss is not None and one.loss.value <= allowed]
    assert (chosen.best is None) == (not eligible)
    if chosen.best is not None:
        least = min(one.costs["latency"].value for one in eligible)
        assert chosen.best.candidate.costs["latency"].value == least
    sorted_out = [*names([chosen.best] if chosen.best else []), *names(chosen.ties), *names(chosen.others)]
    assert sorted([*sorted_out, *(one.name for one in chosen.excluded)]) == sorted(one.name for one in found)


@given(found=many, tight=st.floats(0.0, 0.05), looser=st.floats(0.0, 0.05))
def test_a_looser_limit_never_makes_the_recommended_recipe_slower(
    found: list[Candidate], tight: float, looser: float
) -> None:
    first = recommend(found, "latency", Limits(loss=tight)).best
    second = recommend(found, "latency", Limits(loss=tight + looser)).best
    if first is not None:
        assert second is not None
        assert second.candidate.costs["latency"].value <= first.candidate.costs["latency"].value


def test_a_tie_is_what_comes_out_ahead_in_one_of_twenty_repetitions() -> None:
    # Both known to a standard error s: the difference has s * sqrt(2), and 1.645 of that is the 5 % end.
    s = 0.01 / 1.959964
    edge = 1.644854 * s * math.sqrt(2)
    assert TIED_FROM == 0.05

    def one(value: float) -> Candidate:
        logs = [math.exp(value + end) for end in (-0.01, 0.0, 0.01)]
        return candidate("x", costs={"latency": Estimate(low=logs[0], value=logs[1], high=logs[2])})

    assert tied(one(edge * 0.999), one(0.0), "latency")
    assert not tied(one(edge * 1.001), one(0.0), "latency")


# --- on a board


def board_of(records: list[Any]) -> Board:
    [found] = page(records).boards
    return found


def test_the_presets_of_a_board_are_what_recommending_gives() -> None:
    board = board_of(board_records())
    by_purpose = {answer.purpose: answer for answer in board.answers}
    of_board = candidates(board.rows)
    fastest = recommend(of_board, "latency", Limits(loss=0.01))
    assert by_purpose["fastest"].row.recipe == best(fastest)
    assert [row.recipe for row in by_purpose["fastest"].ties] == names(fastest.ties)
    assert by_purpose["smallest"].row.recipe == best(recommend(of_board, "size", Limits(loss=0.01)))
    assert by_purpose["best"].row.recipe == best(recommend(of_board, "loss", Limits(loss=0.01)))
    assert by_purpose["fastest"].row.recipe == "ort-int8"
    assert by_purpose["smallest"].row.recipe == "ort-int8-dynamic"


def test_the_best_under_a_latency_is_asked_for_at_a_round_share_of_the_baselines() -> None:
    board = board_of(board_records())  # the baseline takes 1.42 ms
    assert round_limit(candidates(board.rows)) == 0.0005
    slow = [record for record in board_records() if record.recipe in (BASELINE, "structured-30-tuned")]
    asked = [answer for answer in board_of(slow).answers if answer.purpose == "best in time"]
    assert [(answer.question, answer.row.recipe) for answer in asked] == [
        ("Highest Top-1 under 0.5 ms", "structured-30-tuned")
    ]


def test_a_preset_says_how_sure_its_limit_is_and_the_best_is_not_asked_to_keep_one_twice() -> None:
    given = list(answers(board_of(board_records()).rows, "Top-1"))
    assert all(answer.sure for answer in given if "lost" in answer.question)
    assert sure_words(0.999) == "sure: over 99 %"
    assert sure_words(0.6).startswith("by a hair")
    assert sure_words(None) == "nothing says how sure"


def test_across_boards_stand_the_answers_of_each_that_are_not_the_model_as_it_is() -> None:
    board, alone = board_of(board_records()), board_of([run_record()])
    [found] = across([alone, board])
    assert found.board == board
    assert found.fastest is not None
    assert (found.fastest.row.recipe, found.fastest.purpose) == ("ort-int8", "fastest")
    assert found.smallest is not None
    assert found.smallest.row.recipe == "ort-int8-dynamic"
    assert found.best_in_time is not None
    assert found.best_in_time.row.costs["latency"].value <= 0.0005  # the baseline takes 1.42 ms


def test_where_nothing_is_fast_enough_no_board_claims_a_best_in_time() -> None:
    [found] = across([board_of([run_record(), run_record("bf16", file_bytes=9)])])
    assert found.best_in_time is None
    assert found.smallest is not None


def test_a_failed_run_is_left_out_with_its_reason() -> None:
    board = board_of([*board_records(), failed_record("compile", reason="out of memory")])
    said = advice(board, recommend(candidates(board.rows), "latency", Limits(loss=0.01)))
    assert dict(said.excluded)["compile"] == "failed: out of memory"


def test_the_advice_says_what_to_take_how_sure_it_is_and_why_the_rest_is_out() -> None:
    board = board_of(board_records())
    limits = Limits(loss=0.01, costs={"latency": 0.0004, "size": 200_000.0})
    said = advice(board, recommend(candidates(board.rows), "latency", limits))
    assert said.asked == "the least latency; at most 1 point of Top-1 lost; latency at most 0.4 ms; size at most 200 kB"
    assert said.recipe == "ort-int8"
    assert said.take == "ort-int8: 0.1970 ± 0.0012 ms"
    assert any(line.startswith("Top-1 changes by −") and "at most 1 point lost holds" in line for line in said.sure)
    assert any(line.startswith("size of 104 kB; at most 200 kB holds, sure") for line in said.sure)
    assert any(line.startswith("Top-1 beside the baseline, paired: ") for line in said.sure)
    assert "faster" in said.sure[-1]
    excluded = dict(said.excluded)
    assert excluded["baseline"].startswith("takes 1.42")
    assert excluded["ort-fp32"].endswith("allowed: 0.4 ms")
    assert excluded["structured-30"].startswith("loses 24")
    # With a digit more than its interval supports: else it would be told to lose as much as is allowed.
    assert excluded["structured-30-tuned"] == "loses 1.1 ± 2 points of Top-1; allowed: 1 point"


def test_a_baseline_that_nothing_beats_is_recommended_as_it_is() -> None:
    board = board_of([run_record(), run_record("magnitude-50", accuracy=0.7)])
    said = advice(board, recommend(candidates(board.rows), "size", Limits(loss=0.01)))
    assert said.recipe == BASELINE
    assert said.sure[-1] == "it is the model as it is: no recipe does better"


def test_limits_that_nothing_keeps_give_no_advice_but_reasons() -> None:
    board = board_of(board_records())
    said = advice(board, recommend(candidates(board.rows), "latency", Limits(costs={"latency": 1e-6})))
    assert (said.take, said.recipe) == ("", "")
    assert len(said.excluded) == len(board.rows)


def test_of_a_recipe_in_two_environments_the_measured_row_counts() -> None:
    rows = board_of(board_records()).rows
    failed = dataclasses.replace(rows[0], status="failed", reason="out of memory")
    found = {one.name: one.ended for one in candidates([failed, rows[0]])}
    assert found == {rows[0].recipe: ""}
