"""Where the time of a call goes: work counted by hand, and the runtimes' own profilers on small networks."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn

import small_models
from paretoboard import artifact, runtimes
from paretoboard.artifact import Candidate, Execution
from paretoboard.runtimes.profiling import OperatorTime, Profile, Question, grouped, typical
from paretoboard.runtimes.profiling.pytorch import work_of
from paretoboard.runtimes.statistics import macs_by_kind, statistics


def test_torch_s_convolutions_and_products_compute_and_move_what_is_counted_by_hand() -> None:
    image = torch.zeros(2, 8, 10, 10)
    # 2 images x 16 channels x 10 x 10 places x (8 x 3 x 3); input, weights and bias, output, 4 bytes each
    plain = work_of(nn.Conv2d(8, 16, 3, padding=1), image)
    assert plain == {"convolution": (2 * 16 * 100 * 72, 4 * (2 * 800 + 16 * 72 + 16 + 2 * 1600))}
    depthwise = work_of(nn.Conv2d(8, 8, 3, padding=1, groups=8, bias=False), image)
    assert depthwise == {"depthwise convolution": (2 * 8 * 100 * 9, 4 * (1600 + 8 * 9 + 1600))}
    linear = work_of(nn.Linear(64, 10), torch.zeros(3, 64))
    assert linear == {"matrix product": (3 * 64 * 10, 4 * (3 * 64 + 640 + 10 + 30))}
    half = work_of(nn.Linear(64, 10, bias=False, dtype=torch.bfloat16), torch.zeros(3, 64, dtype=torch.bfloat16))
    assert half == {"matrix product": (3 * 64 * 10, 2 * (3 * 64 + 640 + 30))}


def a_graph(*, quantized: bool = False) -> bytes:
    """images (n, 4, 8, 8) -> 3x3 convolution to 8 channels -> depthwise 3x3 -> flatten -> product to 10 classes."""
    generator = np.random.default_rng(0)

    def weights(name: str, *shape: int) -> Any:
        return numpy_helper.from_array(generator.standard_normal(shape).astype(np.float32), name)

    nodes = [
        helper.make_node("Conv", ["images", "w1"], ["stem"], name="stem", pads=[1, 1, 1, 1]),
        helper.make_node("Conv", ["stem", "w2"], ["light"], name="light", pads=[1, 1, 1, 1], group=8),
        helper.make_node("Flatten", ["light"], ["flat"], name="flat"),
        helper.make_node("Gemm", ["flat", "w3"], ["logits"], name="head", transB=1),
    ]
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, ["n", 4, 8, 8])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["n", 10])],
        initializer=[weights("w1", 8, 4, 3, 3), weights("w2", 8, 1, 3, 3), weights("w3", 10, 512)],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    return model.SerializeToString()


def a_candidate(graph: bytes, level: str = "all") -> Candidate:
    execution = Execution(runtime="onnxruntime", options={"graph": level})
    return Candidate(architecture="tiny", classes=10, input_shape=(4, 8, 8), graph=graph, execution=execution)


def profiled(candidate: Candidate, folder: Any, batch: int = 2) -> Profile:
    artifact.save(candidate, folder / "artifact")
    (folder / "scratch").mkdir()
    images = np.random.default_rng(1).standard_normal((batch, *candidate.input_shape)).astype(np.float32)
    question = Question(images=images, threads=1, cache=folder / "cache", scratch=folder / "scratch", seconds=0.01)
    return runtimes.profile(folder / "artifact", question)


def test_onnx_runtime_s_operators_compute_and_move_what_is_counted_by_hand(tmp_path: Any) -> None:
    found = profiled(a_candidate(a_graph(), level="disabled"), tmp_path)
    by_type = {each.type: each for each in found.operators}
    assert set(by_type) == {"Conv", "Conv (depthwise)", "Flatten", "Gemm"}
    stem, light, head = by_type["Conv"], by_type["Conv (depthwise)"], by_type["Gemm"]
    assert (stem.kind, stem.dtype, stem.calls) == ("convolution", "float32", 1)
    assert (stem.macs, stem.bytes) == (2 * 8 * 64 * 36, 4 * (2 * 4 * 64 + 8 * 36 + 2 * 8 * 64))
    assert (light.kind, light.macs) == ("depthwise convolution", 2 * 8 * 64 * 9)
    assert light.bytes == 4 * (2 * 8 * 64 + 8 * 9 + 2 * 8 * 64)
    assert (head.kind, head.macs) == ("matrix product", 2 * 512 * 10)
    assert head.bytes == 4 * (2 * 512 + 5120 + 2 * 10)
    assert by_type["Flatten"].bytes == 0
    assert found.fallbacks == ()
    assert found.quantized == 0


def quantized(graph: bytes, folder: Any, **options: Any) -> bytes:
    from onnxruntime import quantization

    (folder / "float.onnx").write_bytes(graph)

    class Reader(quantization.CalibrationDataReader):
        def __init__(self) -> None:
            images = np.random.default_rng(2).standard_normal((8, 4, 8, 8)).astype(np.float32)
            self.feeds = iter([{"images": images}])

        def get_next(self) -> Any:
            return next(self.feeds, None)

    quantization.quantize_static(
        str(folder / "float.onnx"),
        str(folder / "int8.onnx"),
        Reader(),
        quant_format=quantization.QuantFormat.QDQ,
        activation_type=quantization.QuantType.QUInt8,
        weight_type=quantization.QuantType.QInt8,
        **options,
    )
    return (folder / "int8.onnx").read_bytes()


def test_int8_operators_do_the_same_macs_and_move_a_quarter_of_the_bytes(tmp_path: Any) -> None:
    found = profiled(a_candidate(quantized(a_graph(), tmp_path)), tmp_path)
    stem = next(each for each in found.operators if each.type == "QLinearConv")
    assert stem.dtype == "int8"
    assert stem.macs == 2 * 8 * 64 * 36
    # Besides images, weights and what it gives: a scale and a zero point for each of them.
    assert 0 <= stem.bytes - (2 * 4 * 64 + 8 * 36 + 2 * 8 * 64) < 200
    assert found.quantized == 3
    assert found.fallbacks == ()


def test_an_operator_that_quantization_left_in_float_is_named(tmp_path: Any) -> None:
    found = profiled(a_candidate(quantized(a_graph(), tmp_path, nodes_to_exclude=["stem"])), tmp_path)
    assert found.quantized == 2
    (name,) = found.fallbacks  # as the runtime calls it: "stem_nchwc" after it was optimized
    assert "stem" in name


def test_nodes_without_a_name_are_found_in_the_profile_too(tmp_path: Any) -> None:
    model = onnx.load_model_from_string(a_graph())
    for node in model.graph.node:
        node.name = ""
    found = profiled(a_candidate(model.SerializeToString()), tmp_path)
    assert sum(each.macs for each in found.operators if each.kind == "matrix product") == 2 * 512 * 10


@pytest.mark.parametrize("int8", [False, True])
def test_openvino_s_operators_compute_what_is_counted_by_hand(tmp_path: Any, int8: bool) -> None:
    pytest.importorskip("openvino", reason="OpenVINO is not installed")
    graph = quantized(a_graph(), tmp_path, nodes_to_exclude=["stem"]) if int8 else a_graph()
    candidate = dataclasses.replace(a_candidate(graph), execution=Execution(runtime="openvino"))
    found = profiled(candidate, tmp_path)
    macs = {each.kind: each.macs for each in found.operators if each.macs}
    assert macs == {
        "convolution": 2 * 8 * 64 * 36,
        "depthwise convolution": 2 * 8 * 64 * 9,
        "matrix product": 2 * 512 * 10,
    }
    assert found.quantized == (2 if int8 else 0)
    assert ["stem" in name for name in found.fallbacks] == ([True] if int8 else [])


@pytest.mark.parametrize("runtime", ["eager", "onnxruntime"])
def test_all_runtimes_count_the_macs_that_the_metric_counts(tmp_path: Any, runtime: str) -> None:
    candidate = small_models.candidate()
    if runtime == "onnxruntime":
        candidate = dataclasses.replace(small_models.exported(), execution=Execution(runtime="onnxruntime"))
    found = profiled(candidate, tmp_path)
    macs = statistics(candidate).macs
    assert sum(each.macs for each in found.operators) == 2 * macs
    assert sum(macs_by_kind(candidate).values()) == macs
    assert found.call_s > 0
    assert all(each.seconds >= 0 for each in found.operators)
    assert found.operators[0].kind == "convolution"


def test_a_runtime_without_a_profiler_still_says_what_a_call_takes(tmp_path: Any) -> None:
    candidate = small_models.candidate()
    artifact.save(candidate, tmp_path / "artifact")
    question = Question(images=small_models.inputs(1), threads=1, cache=tmp_path, scratch=tmp_path, seconds=0.01)
    plain = runtimes.RUNTIMES.load("eager")()
    found = runtimes.Runtime.profile(
        plain, tmp_path / "artifact", artifact.read_manifest(tmp_path / "artifact"), question
    )
    assert found.operators == ()
    assert found.call_s > 0


def test_the_typical_time_is_the_mean_of_the_lower_half() -> None:
    assert typical([9.0, 1.0, 3.0, 5.0]) == 2.0
    assert typical([5.0, 1.0, 3.0]) == 2.0
    assert typical([7.0]) == 7.0


def test_operators_of_one_type_are_summed_and_the_longest_comes_first() -> None:
    fields: dict[str, Any] = {"dtype": "float32", "calls": 1, "macs": 0, "bytes": 3}
    short = OperatorTime(type="Relu", kind="activation", seconds=1.0, **fields)
    long = OperatorTime(type="MaxPool", kind="pooling", seconds=2.0, **fields)
    found = grouped([short, long, short, dataclasses.replace(short, seconds=1.5, macs=4)])
    assert [(each.kind, each.calls, each.seconds, each.macs) for each in found] == [
        ("activation", 3, 3.5, 4),
        ("pooling", 1, 2.0, 0),
    ]
