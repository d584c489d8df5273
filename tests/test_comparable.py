"""Whether two results may be compared."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builders import provenance, run_record
from paretoboard.comparable import ENVIRONMENT, KEY, conditions, conditions_of, guard, rule
from paretoboard.store import light

FIELDS = (*KEY, *ENVIRONMENT)
CONDITIONS = st.fixed_dictionaries(dict.fromkeys(FIELDS, st.sampled_from("ab")))


@given(CONDITIONS)
def test_a_result_is_the_same_as_itself(found):
    assert guard(found, found).level == "same"
    assert not guard(found, found).differences


@given(CONDITIONS, CONDITIONS)
def test_the_order_of_two_does_not_matter_to_the_level(one, two):
    there, back = guard(one, two), guard(two, one)
    assert there.level == back.level
    assert [found.field for found in there.differences] == [found.field for found in back.differences]


@given(CONDITIONS, CONDITIONS)
def test_any_key_field_that_differs_makes_two_incomparable_and_is_named(one, two):
    key = {field for field in KEY if one[field] != two[field]}
    environment = {field for field in ENVIRONMENT if one[field] != two[field]}
    found = guard(one, two)
    assert found.level == ("different" if key else "compatible" if environment else "same")
    assert found.comparable is not bool(key)
    named = {difference.field for difference in found.differences}
    assert named >= environment | (key - {"board_id"})
    assert named <= key | environment
    assert not key or named & key


@given(CONDITIONS, CONDITIONS, CONDITIONS)
def test_being_comparable_is_passed_on(one, two, three):
    if guard(one, two).comparable and guard(two, three).comparable:
        assert guard(one, three).comparable


def test_a_record_and_its_row_of_the_history_have_the_same_conditions():
    record = run_record("ort-int8")
    (row,) = light.of([record]).to_dict("records")
    assert conditions_of(row) == conditions(record)


@pytest.mark.parametrize("field", ["hardware_id", "environment_id"])
def test_another_machine_is_another_question_and_other_software_is_not(field):
    one = run_record("ort-int8")
    two = dataclasses.replace(one, provenance=provenance(**{field: "f" * 64}))
    found = guard(conditions(one), conditions(two))
    assert found.level == ("different" if field == "hardware_id" else "compatible")
    assert [difference.field for difference in found.differences] == [field]


def test_the_rule_names_every_field_that_the_guard_looks_at():
    assert [*rule()["key"], *rule()["environment"]] == list(conditions(run_record()))
