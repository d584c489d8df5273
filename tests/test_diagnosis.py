"""Why a recipe is as fast as it is: the roofline in closed form, and each rule of the sentence."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builders import comparison
from paretoboard.diagnosis import Evidence, Origin, attainable_s, diagnose, rules
from paretoboard.errors import StoreError
from paretoboard.records import Bandwidth, OperatorCost, Peak, Roofline
from paretoboard.runtimes.profiling import OperatorTime, Profile
from paretoboard.store import rooflines

ROOFLINE = Roofline(
    profile="cpu-1",
    hardware_id="a" * 64,
    environment_id="b" * 64,
    measured_at=datetime(2026, 11, 22, tzinfo=UTC),
    threads=1,
    peaks=(Peak(dtype="float32", macs_per_s=1e9), Peak(dtype="int8", macs_per_s=4e9)),
    bandwidths=(
        Bandwidth(working_set_bytes=1_000, bytes_per_s=1e9),
        Bandwidth(working_set_bytes=1_000_000, bytes_per_s=1e8),
    ),
    int8_exact=True,
    elapsed_s=1.0,
)


def operator(kind: str = "convolution", **overrides: Any) -> OperatorTime:
    fields: dict[str, Any] = {
        "type": kind.title(),
        "kind": kind,
        "dtype": "float32",
        "calls": 1,
        "seconds": 1e-3,
        "macs": 0,
        "bytes": 0,
    }
    return OperatorTime(**(fields | overrides))


def a_profile(*operators: OperatorTime, **overrides: Any) -> Profile:
    fields: dict[str, Any] = {
        "source": "a profiler",
        "batch": 1,
        "call_s": sum(each.seconds for each in operators) or 1e-3,
        "profiled_calls": 10,
        "operators": operators,
        "quantized": 0,
    }
    return Profile(**(fields | overrides))


def an_origin(**overrides: Any) -> Origin:
    fields: dict[str, Any] = {
        "is_baseline": False,
        "macs": 1000,
        "baseline_macs": 1000,
        "parameters": 100,
        "nonzero_parameters": 100,
    }
    return Origin(**(fields | overrides))


def sentence_of(profile: Profile, origin: Origin | None = None, instruction_sets: tuple[str, ...] = ()) -> str:
    return diagnose(profile, origin or an_origin(), ROOFLINE, instruction_sets).sentence


# ---- the roofline


def test_arithmetic_bounds_what_computes_much_and_memory_what_moves_much() -> None:
    assert attainable_s(operator(macs=2_000, bytes=100), ROOFLINE) == pytest.approx(2e-6)
    assert attainable_s(operator(macs=2_000, bytes=100, dtype="int8"), ROOFLINE) == pytest.approx(0.5e-6)
    assert attainable_s(operator(macs=2_000, bytes=5_000), ROOFLINE) == pytest.approx(5e-6)


def test_what_may_lie_in_a_cache_has_the_bandwidth_of_the_cache() -> None:
    assert attainable_s(operator(bytes=999_999), ROOFLINE) == pytest.approx(999_999e-9)
    assert attainable_s(operator(bytes=1_000_000), ROOFLINE) == pytest.approx(1e-2)
    # Of two calls each moves half.
    assert attainable_s(operator(bytes=1_000_000, calls=2), ROOFLINE) == pytest.approx(1e-3)
    assert attainable_s(operator(bytes=10), ROOFLINE) == pytest.approx(1e-8)


def test_arithmetic_without_a_known_peak_has_no_bound() -> None:
    assert attainable_s(operator(macs=1, dtype="float16"), ROOFLINE) is None
    assert attainable_s(operator(macs=0, bytes=1_000, dtype="float16"), ROOFLINE) == pytest.approx(1e-6)
    found = diagnose(a_profile(operator(macs=1, dtype="float16"), operator("pooling")), an_origin(), ROOFLINE, ())
    assert found.attainable_s is None


kinds = st.sampled_from(["convolution", "matrix product", "pooling", "quantizing"])
seconds = st.floats(1e-9, 1e3)


@given(st.lists(st.builds(operator, kinds, seconds=seconds, macs=st.integers(0, 10**12)), min_size=1, max_size=6))
def test_shares_sum_to_one_and_the_whole_takes_as_long_as_its_parts(operators: list[OperatorTime]) -> None:
    found = diagnose(a_profile(*operators), an_origin(), ROOFLINE, ())
    assert sum(each.share for each in found.operators) == pytest.approx(1)
    assert all(each.share >= 0 for each in found.operators)
    assert found.operator_s == pytest.approx(sum(each.seconds for each in operators))
    assert found.attainable_s == pytest.approx(sum(each.attainable_s or 0 for each in found.operators))
    assert found.sentence.endswith(".")


def test_operators_that_take_longer_while_they_are_watched_take_a_whole_call_at_most() -> None:
    operators = (operator(seconds=3.0, macs=10**9), operator("pooling", seconds=1.0))
    found = diagnose(a_profile(*operators, call_s=1.0), an_origin(macs=10**9, baseline_macs=10**9), ROOFLINE, ())
    assert found.operator_s == 1.0
    assert [each.share for each in found.operators] == [0.75, 0.25]
    assert found.sentence.startswith("Same MACs: operators reach 100 % of what the roofline of this machine allows")


def test_operators_too_short_to_be_timed_still_have_shares_that_sum_to_one() -> None:
    found = diagnose(a_profile(operator(seconds=0.0), operator("pooling", seconds=0.0)), an_origin(), ROOFLINE, ())
    assert sum(each.share for each in found.operators) == pytest.approx(1)


# ---- the sentence, rule by rule: each says something where its numbers are there, and nothing just short of that


def evidence_of(profile: Profile, origin: Origin | None = None, **overrides: Any) -> Evidence:
    seconds = sum(each.seconds for each in profile.operators)
    fields: dict[str, Any] = {
        "profile": profile,
        "operators": tuple(
            OperatorCost(
                type=each.type,
                kind=each.kind,
                dtype=each.dtype,
                calls=each.calls,
                share=each.seconds / seconds,
                macs=each.macs,
                bytes=each.bytes,
                attainable_s=None,
            )
            for each in profile.operators
        ),
        "operator_s": seconds,
        "attainable_s": None,
        "instruction_sets": ("AVX512-VNNI",),
        "origin": origin or an_origin(),
    }
    return Evidence(**(fields | overrides))


def test_what_is_still_in_float_is_counted_named_and_timed() -> None:
    operators = (operator(dtype="int8", seconds=3.0), operator(seconds=1.0))
    names = ("a", "b", "c", "d")
    profile = a_profile(*operators, quantized=6, fallbacks=names)
    assert rules.fallback(evidence_of(profile)) == (
        "4 of 10 convolutions and matrix products are still in float (a, b, c, ...), with 25 % of the time in operators"
    )
    assert rules.fallback(evidence_of(a_profile(*operators, quantized=10))) == ""


def test_saturation_is_said_of_the_operators_where_it_was_seen() -> None:
    profile = a_profile(operator(dtype="int8"), quantized=21)
    assert rules.saturation(evidence_of(profile, an_origin(saturating=("stem", "head")))) == (
        "2 of 21 convolutions and matrix products give wrong results, since sums of INT8 products saturate on this "
        "machine (stem, head)"
    )
    assert rules.saturation(evidence_of(profile, an_origin(saturating=()))) == ""
    assert rules.saturation(evidence_of(profile)) == ""


def test_missing_instructions_are_said_of_int8_that_is_not_faster() -> None:
    profile = a_profile(operator(dtype="int8"), quantized=1)
    assert "no instructions" in rules.missing_instructions(evidence_of(profile, instruction_sets=("AVX512-BF16",)))
    assert rules.missing_instructions(evidence_of(profile)) == ""
    faster = an_origin(comparisons=(comparison(2.0),))
    assert rules.missing_instructions(evidence_of(profile, faster, instruction_sets=())) == ""


def test_a_call_that_is_mostly_outside_operators_is_bound_by_dispatch() -> None:
    profile = a_profile(operator(seconds=0.4), call_s=1.0)
    assert rules.dispatch(evidence_of(profile)) == (
        "bound by dispatch: 60 % of the time of a call is outside any operator"
    )
    assert rules.dispatch(evidence_of(a_profile(operator(seconds=0.7), call_s=1.0))) == ""
    # A profiler makes operators longer than they are without it.
    assert rules.dispatch(evidence_of(a_profile(operator(seconds=2.0), call_s=1.0))) == ""


def pruned(**by_kind: int) -> Origin:
    before = {"convolution": 600, "depthwise convolution": 400}
    after = {name.replace("_", " "): macs for name, macs in by_kind.items()}
    return an_origin(macs=sum(after.values()), macs_by_kind=after, baseline_macs_by_kind=before)


def test_fewer_macs_elsewhere_than_where_the_time_is_are_said_to_be_elsewhere() -> None:
    profile = a_profile(operator("depthwise convolution", seconds=0.71), operator(seconds=0.29))
    assert rules.unpruned(evidence_of(profile, pruned(convolution=100, depthwise_convolution=400))) == (
        "71 % of the time in operators is in depthwise convolutions, which have as many MACs as before"
    )
    assert rules.unpruned(evidence_of(profile, pruned(convolution=100, depthwise_convolution=300))) == ""
    assert rules.unpruned(evidence_of(profile, pruned(convolution=600, depthwise_convolution=400))) == ""


def test_zeros_that_are_multiplied_save_nothing() -> None:
    profile = a_profile(operator(macs=1000))
    sparse = an_origin(nonzero_parameters=50)
    assert rules.zeros(evidence_of(profile, sparse)) == (
        "50 % of the weights are zero and no MAC is skipped: zeros save nothing in dense kernels"
    )
    assert rules.zeros(evidence_of(profile, an_origin(nonzero_parameters=95))) == ""
    # A runtime that skipped them, and a recipe that became faster, are no case for this.
    assert rules.zeros(evidence_of(a_profile(operator(macs=500)), sparse)) == ""
    assert rules.zeros(evidence_of(profile, dataclasses.replace(sparse, comparisons=(comparison(1.3),)))) == ""
    assert rules.zeros(evidence_of(profile, dataclasses.replace(sparse, macs=800))) == ""


def test_quantizing_and_dequantizing_are_said_from_a_tenth_of_the_time_on() -> None:
    profile = a_profile(operator(seconds=0.76), operator("quantizing", seconds=0.24))
    assert rules.conversions(evidence_of(profile)) == (
        "24 % of the time in operators is in quantizing and dequantizing"
    )
    assert rules.conversions(evidence_of(a_profile(operator(seconds=95), operator("quantizing", seconds=5)))) == ""


def test_macs_that_the_model_does_not_have_are_said() -> None:
    assert rules.padding(evidence_of(a_profile(operator(macs=2620), batch=2))) == (
        "the runtime computes 31 % more MACs than the model has"
    )
    assert rules.padding(evidence_of(a_profile(operator(macs=1050)))) == ""
    assert rules.padding(evidence_of(a_profile(operator(macs=2620)), an_origin(macs=None))) == ""


def test_time_that_fewer_macs_can_not_shorten_is_said() -> None:
    operators = (operator(seconds=0.4), operator("normalization", seconds=0.45), operator("pooling", seconds=0.15))
    fewer = an_origin(macs=500)
    assert rules.without_macs(evidence_of(a_profile(*operators), fewer)) == (
        "60 % of the time in operators is in operators without MACs, most of it in normalization (45 %)"
    )
    assert rules.without_macs(evidence_of(a_profile(*operators))) == ""
    # Kernels that a compiler generated may hold MACs.
    unknown = (*operators, operator("generated", seconds=0.1))
    assert rules.without_macs(evidence_of(a_profile(*unknown), fewer)) == ""


def test_copying_is_said_from_a_fifth_of_the_time_on() -> None:
    assert rules.reordering(evidence_of(a_profile(operator(seconds=3), operator("reordering", seconds=1)))) == (
        "25 % of the time in operators is in copying and reordering"
    )
    assert rules.reordering(evidence_of(a_profile(operator(seconds=9), operator("reordering", seconds=1)))) == ""


def test_the_roofline_is_said_where_it_is_near_and_where_it_is_far() -> None:
    profile = a_profile(operator(type="Conv", seconds=1.0))
    assert rules.at_the_roof(evidence_of(profile, attainable_s=0.7)) == (
        "operators reach 70 % of what the roofline of this machine allows"
    )
    assert rules.far_from_the_roof(evidence_of(profile, attainable_s=0.7)) == ""
    assert rules.far_from_the_roof(evidence_of(profile, attainable_s=0.1)) == (
        "operators take 10.0 times what the roofline of this machine allows, 100 % of it in Conv"
    )
    assert rules.at_the_roof(evidence_of(profile, attainable_s=0.1)) == ""
    for rule in (rules.at_the_roof, rules.far_from_the_roof):
        assert rule(evidence_of(profile, attainable_s=0.4)) == ""
        assert rule(evidence_of(profile, attainable_s=None)) == ""


def test_a_sentence_says_what_came_out_and_then_at_most_two_reasons() -> None:
    profile = a_profile(operator("depthwise convolution", seconds=0.71), operator("reordering", seconds=0.29))
    origin = dataclasses.replace(
        pruned(convolution=100, depthwise_convolution=400), comparisons=(comparison(1.03, spread=0.001),)
    )
    assert sentence_of(profile, origin) == (
        "50 % fewer MACs, 3.0 % faster than baseline: 71 % of the time in operators is in depthwise convolutions, "
        "which have as many MACs as before; 29 % of the time in operators is in copying and reordering."
    )


def test_the_baseline_s_sentence_compares_it_with_nothing() -> None:
    macs = 400_000_000  # 0.4 s of the second at the peak: neither at the roof nor far from it
    origin = an_origin(is_baseline=True, macs=macs, baseline_macs=macs, comparisons=(comparison(1.0),))
    profile = a_profile(operator(seconds=0.8, macs=macs), operator("pooling", seconds=0.2))
    assert sentence_of(profile, origin) == "80 % of the time in operators is in convolutions."


@pytest.mark.parametrize(
    ("given_comparison", "said"),
    [
        (comparison(2.1, against="ort-fp32"), "2.1 times as fast as ort-fp32"),
        (comparison(1.12), "12 % faster than baseline"),
        (comparison(0.5), "2.0 times as slow as baseline"),
        (comparison(0.9), "11 % slower than baseline"),
        (comparison(1.0), "as fast as baseline"),
        (comparison(1.02, verdict="undecided"), "no difference in speed from baseline decided"),
    ],
)
def test_speed_is_said_no_firmer_than_its_verdict(given_comparison: Any, said: str) -> None:
    assert rules.speed_in_words(given_comparison) == said


def test_int8_is_compared_with_the_same_runtime_where_that_was_timed() -> None:
    origin = an_origin(comparisons=(comparison(8.0), comparison(2.1, against="ort-fp32")))
    profile = a_profile(operator(dtype="int8", seconds=0.76), operator("quantizing", seconds=0.24), quantized=20)
    assert sentence_of(profile, origin, ("AVX512-VNNI",)).startswith(
        "Same MACs, all convolutions and matrix products in INT8, 2.1 times as fast as ort-fp32: 24 % of the time"
    )


def test_a_roofline_comes_back_from_its_file_and_only_for_the_same_machine_software_and_profile(tmp_path: Any) -> None:
    where = {"hardware_id": "a" * 64, "environment_id": "b" * 64, "profile": "cpu-1"}
    assert rooflines.find(tmp_path, **where) is None
    rooflines.keep(tmp_path, ROOFLINE)
    assert rooflines.find(tmp_path, **where) == ROOFLINE
    for other in ({"hardware_id": "c" * 64}, {"environment_id": "c" * 64}, {"profile": "cpu-2"}):
        assert rooflines.find(tmp_path, **(where | other)) is None
    later = dataclasses.replace(ROOFLINE, int8_exact=False)
    rooflines.keep(tmp_path, later)
    assert rooflines.find(tmp_path, **where) == later


def test_a_damaged_roofline_is_named(tmp_path: Any) -> None:
    path = rooflines.keep(tmp_path, ROOFLINE)
    path.write_text(path.read_text()[:-20])
    with pytest.raises(StoreError, match=f"{path.name}: not a roofline"):
        rooflines.find(tmp_path, hardware_id="a" * 64, environment_id="b" * 64, profile="cpu-1")
