"""Quantization: codes by hand and by the libraries, rounding while training, what stays in float, what saturates."""

from __future__ import annotations

import dataclasses
import functools
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnx
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper
from torch.nn.functional import kl_div, log_softmax

from paretoboard import runtimes
from paretoboard.artifact import Candidate, save
from paretoboard.errors import InputError, NotApplicableError
from paretoboard.runtimes import saturation
from paretoboard.runtimes.ort import inference_session, session_options
from paretoboard.runtimes.statistics import statistics
from paretoboard.spec import TrainSettings
from paretoboard.techniques import Applied
from paretoboard.techniques.export import as_graph, export
from paretoboard.techniques.prune import MagnitudePruning
from paretoboard.techniques.quantize import (
    MixedQuantization,
    QuantizationAwareTraining,
    StaticQuantization,
    WeightQuantization,
)
from paretoboard.techniques.quantize.graphs import weighted_layers
from paretoboard.techniques.quantize.mixed import kl_divergence, mean_squared_error
from paretoboard.techniques.quantize.weight_only import quantize_rows
from paretoboard.techniques.run import OnnxRuntime
from paretoboard.techniques.share import LayerSharing
from paretoboard.training import train, weights_digest
from small_models import PREPROCESS, SHAPE, candidate, exported, images, inputs, module, workbench


def graph_of(made: Any, scratch: Path, start: Candidate | None = None) -> bytes:
    graph = made.apply(start or exported(), workbench(scratch)).candidate.graph
    assert graph is not None
    return graph


def logits(graph: bytes | None, batch: np.ndarray, level: str = "all") -> np.ndarray:
    assert graph is not None
    session = inference_session(graph, session_options(1, level))
    found: np.ndarray = session.run(None, {session.get_inputs()[0].name: batch})[0]
    return found


def opened(held: Candidate, folder: Path, batch: np.ndarray) -> np.ndarray:
    """Logits as the runtime gives them that the artifact names."""
    save(held, folder)
    return runtimes.predict(runtimes.open(folder, threads=1, batches=()), batch, len(batch))


def operators(graph: bytes | None) -> Counter[str]:
    assert graph is not None
    return Counter(node.op_type for node in onnx.load_model_from_string(graph).graph.node)


def optimized(graph: bytes, file: Path, **how: Any) -> bytes:
    """The graph that ONNX Runtime makes of `graph` before it runs it."""
    options = session_options(1, **how)
    options.optimized_model_filepath = str(file)
    inference_session(graph, options)
    return file.read_bytes()


def initializers(graph: bytes) -> dict[str, np.ndarray]:
    return {
        tensor.name: numpy_helper.to_array(tensor) for tensor in onnx.load_model_from_string(graph).graph.initializer
    }


def computed(graph: bytes, names: list[str]) -> dict[str, np.ndarray]:
    """Tensors inside a graph, as ONNX's own reference computes them."""
    model = onnx.load_model_from_string(graph)
    wanted = {*names}
    nodes = [node for node in model.graph.node if node.op_type in ("DequantizeLinear", "Reshape") and node.output[0]]
    kept = [node for node in nodes if all(name in initializers(graph) or "_rows" in name for name in node.input)]
    outputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in wanted]
    part = helper.make_graph(kept, "weights", [], outputs, list(model.graph.initializer))
    made = helper.make_model(part, opset_imports=model.opset_import, ir_version=model.ir_version)
    found = onnx.reference.ReferenceEvaluator(made).run(list(wanted), {})
    return dict(zip(wanted, found, strict=True))


# Static


@pytest.mark.parametrize("per_channel", [True, False])
@pytest.mark.parametrize("calibrate", ["minmax", "entropy", "percentile"])
def test_every_way_to_calibrate_works_with_every_sharing_of_scales_on_a_residual_network(
    calibrate: Literal["minmax", "entropy", "percentile"], per_channel: bool, tmp_path: Path
) -> None:
    graph = graph_of(StaticQuantization(calibrate=calibrate, per_channel=per_channel), tmp_path)
    made = operators(optimized(graph, tmp_path / "o.onnx"))
    assert (made["QLinearConv"], made["Conv"]) == (7, 0)
    assert np.isfinite(logits(graph, inputs(4))).all()


@pytest.mark.parametrize("calibrate", ["minmax", "percentile"])
@pytest.mark.parametrize(("activations", "middle"), [("uint8", 128), ("int8", 0)])
def test_symmetric_activations_have_zero_in_the_middle_and_others_where_their_range_has_it(
    activations: Literal["uint8", "int8"],
    middle: int,
    calibrate: Literal["minmax", "percentile"],
    tmp_path: Path,
) -> None:
    zeros = {}
    for symmetric in (True, False):
        made = StaticQuantization(activations=activations, calibrate=calibrate, symmetric=symmetric)
        graph = graph_of(made, tmp_path)
        stored = initializers(graph)
        nodes = [node for node in onnx.load_model_from_string(graph).graph.node if node.op_type == "QuantizeLinear"]
        zeros[symmetric] = {int(stored[node.input[2]]) for node in nodes}
    assert zeros[True] == {middle}
    assert min(zeros[False]) == middle - 128  # what comes out of a ReLU has nothing below 0


# Weights alone


@given(
    rows=st.integers(1, 5),
    columns=st.integers(1, 70),
    group=st.sampled_from([None, 8, 16, 64]),
    bits=st.sampled_from([8, 4]),
    symmetric=st.booleans(),
    seed=st.integers(0, 99),
)
@settings(max_examples=60)
def test_weights_come_back_within_half_a_step(
    rows: int, columns: int, group: int | None, bits: int, symmetric: bool, seed: int
) -> None:
    random = np.random.default_rng(seed)
    weights = (random.standard_normal((rows, columns)) * random.uniform(1e-4, 10)).astype(np.float32)
    coded = quantize_rows(weights, bits=bits, group=group, symmetric=symmetric)
    steps = np.repeat(coded.scales, coded.group, axis=1)[:, :columns]
    assert (np.abs(coded.values - weights) <= steps / 2 * 1.0001).all()
    top = 2 ** (bits - symmetric) - 1
    assert -top * symmetric <= coded.codes.min() <= coded.codes.max() <= top
    assert coded.scales.shape == (rows, -(-columns // (group or columns)))
    # The range is no wider than it must be.
    assert symmetric or (steps * (2**bits - 1) <= np.abs(weights).max() * 2.0001).all()


def test_weights_that_are_zero_stay_zero_even_if_all_of_a_group_are() -> None:
    weights = np.zeros((2, 32), np.float32)
    weights[1, 5] = 3.0
    for symmetric in (True, False):
        coded = quantize_rows(weights, bits=4, group=16, symmetric=symmetric)
        np.testing.assert_array_equal(coded.values[0], 0)
        np.testing.assert_allclose(coded.values, weights, rtol=1e-6)


def test_eight_bit_codes_are_torchs_own() -> None:
    weights = torch.randn(6, 40, generator=torch.Generator().manual_seed(4))
    coded = quantize_rows(weights.numpy(), bits=8, group=None, symmetric=True)
    zeros = torch.zeros(6, dtype=torch.int64)
    theirs = torch.quantize_per_channel(weights, torch.from_numpy(coded.scales[:, 0]), zeros, 0, torch.qint8)
    np.testing.assert_array_equal(coded.codes, theirs.int_repr().numpy())
    np.testing.assert_allclose(coded.values, theirs.dequantize().numpy(), rtol=1e-6)


@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("group", [None, 32])
@pytest.mark.parametrize("bits", [8, 4])
def test_the_file_holds_packed_codes_that_onnx_unpacks_to_the_nearest_weights(
    bits: Literal[8, 4], group: int | None, symmetric: bool, tmp_path: Path
) -> None:
    made = WeightQuantization(bits=bits, group=group, symmetric=symmetric)
    graph = graph_of(made, tmp_path)
    folded = {weight.name: numpy_helper.to_array(weight) for _, weight in weighted_layers(parsed(exported().graph))}
    found = computed(graph, list(folded))
    stored = initializers(graph)
    for name, weight in folded.items():
        codes = stored[f"{name}_codes"]
        assert codes.dtype.name == f"{'' if symmetric else 'u'}int{bits}"
        assert codes.size == weight.size
        rows = weight.reshape(len(weight), -1)
        coded = quantize_rows(rows, bits=bits, group=group, symmetric=symmetric)
        np.testing.assert_allclose(found[name], coded.values.reshape(weight.shape), rtol=1e-6, atol=1e-7)
    packed = {tensor.name: tensor for tensor in onnx.load_model_from_string(graph).graph.initializer}
    sizes = [len(packed[f"{name}_codes"].raw_data) * 8 for name in folded]
    assert sizes == [weight.size * bits for weight in folded.values()]


def test_files_are_smaller_as_the_bits_are_fewer(tmp_path: Path) -> None:
    start = exported("cifar-resnet20")
    assert start.graph is not None
    eight = WeightQuantization().apply(start, workbench(tmp_path)).candidate
    four = WeightQuantization(bits=4, group=32).apply(start, workbench(tmp_path)).candidate
    assert len(eight.graph or b"") < 0.3 * len(start.graph)
    assert len(four.graph or b"") < 0.2 * len(start.graph)
    assert statistics(eight).macs == statistics(start).macs
    assert statistics(eight).parameters == statistics(start).parameters == statistics(four).parameters


def test_unpacking_when_loading_gives_the_outputs_of_unpacking_at_each_call(tmp_path: Path) -> None:
    found, left = {}, {}
    for unpack in ("load", "call"):
        made = WeightQuantization(bits=4, group=16, unpack=unpack)  # type: ignore[arg-type]
        quantized = made.apply(exported(), workbench(tmp_path / "scratch"))
        held = OnnxRuntime().apply(quantized.candidate, workbench(tmp_path / "scratch")).candidate
        assert held.execution.options == {"unpack": unpack, "graph": "all"}
        assert "computes in float32" in quantized.notes[1]
        save(held, tmp_path / unpack)
        session = runtimes.open(tmp_path / unpack, threads=1, batches=())
        found[unpack] = runtimes.predict(session, inputs(4), 4)
        left[unpack] = operators(optimized(held.graph or b"", tmp_path / "o.onnx", unpack=unpack))
    np.testing.assert_allclose(found["load"], found["call"], rtol=1e-4, atol=1e-4)
    assert left["load"]["DequantizeLinear"] == 0
    assert left["call"]["DequantizeLinear"] == 8


@pytest.mark.parametrize("group", [None, 8])
@pytest.mark.parametrize("symmetric", [True, False])
def test_products_with_outputs_in_columns_have_a_scale_for_each_column(
    symmetric: bool, group: int | None, tmp_path: Path
) -> None:
    start = product_graph()
    graph = graph_of(WeightQuantization(group=group, symmetric=symmetric), tmp_path, start)
    for name, weight in initializers(start.graph or b"").items():
        coded = quantize_rows(weight.T, bits=8, group=group, symmetric=symmetric)
        found = computed(graph, [name])[name]
        np.testing.assert_allclose(found, coded.values.T, rtol=1e-6, atol=1e-7)
    batch = np.random.default_rng(0).standard_normal((2, 24)).astype(np.float32)
    np.testing.assert_allclose(logits(graph, batch), logits(start.graph, batch), atol=0.1)


# Mixed precision


def test_the_divergence_and_the_error_are_torchs_own() -> None:
    random = np.random.default_rng(1)
    wanted, found = (random.standard_normal((5, 10)).astype(np.float32) * 3 for _ in range(2))
    both = [log_softmax(torch.from_numpy(part).double(), 1) for part in (found, wanted)]
    theirs = float(kl_div(*both, reduction="batchmean", log_target=True))
    assert kl_divergence(wanted, found) == pytest.approx(theirs, rel=1e-9)
    assert kl_divergence(wanted, wanted + 7) == pytest.approx(0, abs=1e-7)  # the classes are the same
    assert mean_squared_error(wanted, wanted + 2) == pytest.approx(4, rel=1e-5)


@pytest.mark.parametrize("error", ["kl", "mse"])
def test_the_layer_that_was_made_sensitive_is_found_and_stays_in_float(
    error: Literal["kl", "mse"], tmp_path: Path
) -> None:
    start = with_sensitive_layer()
    applied = MixedQuantization(float_layers=1, per_channel=False, error=error).apply(start, workbench(tmp_path))
    assert applied.notes[0].startswith("1 of 8 layers stay in float: layer2.0.conv2 (")
    assert applied.candidate.execution.options == {"keep_float": True}
    made = operators(optimized(applied.candidate.graph or b"", tmp_path / "o.onnx", keep_float=True))
    assert (made["QLinearConv"], made["Conv"]) == (6, 1)
    batch = inputs(16) * 0.5
    wanted = logits(start.graph, batch)
    static = graph_of(StaticQuantization(per_channel=False), tmp_path, start)
    assert mean_squared_error(wanted, opened(applied.candidate, tmp_path / "a", batch)) < 0.2 * mean_squared_error(
        wanted, logits(static, batch)
    )


def test_as_few_layers_stay_in_float_as_keep_the_error(tmp_path: Path) -> None:
    start = with_sensitive_layer()

    def whole(kept: int) -> float:
        made: Any = MixedQuantization(float_layers=kept, per_channel=False)
        return float(made.apply(start, workbench(tmp_path)).notes[-1].removeprefix("error of the whole network "))

    budget = whole(2) * 1.01
    applied = MixedQuantization(largest_error=budget, per_channel=False).apply(start, workbench(tmp_path))
    kept = int(applied.notes[0].split()[0])
    assert kept in (1, 2)
    assert whole(kept) <= budget
    assert kept == 1 or whole(1) > budget
    with pytest.raises(NotApplicableError, match=r"asked for an error of at most 1e-12; with all 8 layers in float"):
        MixedQuantization(largest_error=1e-12).apply(start, workbench(tmp_path))


def test_a_share_of_the_layers_can_stay_in_float(tmp_path: Path) -> None:
    applied = MixedQuantization(float_share=0.5).apply(exported(), workbench(tmp_path))
    assert applied.notes[0].startswith("4 of 8 layers stay in float: ")
    everything = MixedQuantization(float_layers=99).apply(exported(), workbench(tmp_path))
    assert everything.notes[:2] == (everything.notes[0], "no layer in INT8")


@pytest.mark.parametrize("given", [{}, {"float_layers": 1, "float_share": 0.5}])
def test_how_many_layers_stay_in_float_is_said_exactly_once(given: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=f"exactly one of 'float_layers'.*found {len(given)}"):
        MixedQuantization(**given)


# Quantization-aware training


@pytest.fixture(scope="module")
def resumed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Applied, list[str]]:
    """A network whose training for INT8 was killed while exporting, and what was said when it was begun again."""
    scratch = tmp_path_factory.mktemp("qat")
    made = QuantizationAwareTraining(epochs=1, lr=0.01)
    weights_after(made, candidate(), scratch)
    said: list[str] = []
    bench = dataclasses.replace(workbench(scratch), progress=lambda share, text: said.append(text))
    return made.apply(candidate(), bench), said


def test_a_kill_while_exporting_costs_no_training(resumed: tuple[Applied, list[str]]) -> None:
    applied, said = resumed
    assert applied.images_seen == 64
    assert not any(text.startswith("epoch") for text in said)


def test_every_convolution_of_a_network_trained_for_int8_becomes_an_integer_one(
    resumed: tuple[Applied, list[str]], tmp_path: Path
) -> None:
    tiny = QuantizationAwareTraining(epochs=1).apply(candidate("mlperf-tiny-resnet8"), workbench(tmp_path))
    for architecture, applied in (("cifar-resnet8", resumed[0]), ("mlperf-tiny-resnet8", tiny)):
        convolutions = operators(exported(architecture).graph)["Conv"]
        graph = applied.candidate.graph or b""
        made = operators(optimized(graph, tmp_path / "o.onnx"))
        assert (made["QLinearConv"], made["Conv"] + made["FusedConv"]) == (convolutions, 0)
        assert len(graph) < 0.5 * len(exported(architecture).graph or b"")
        stored = initializers(graph)
        weights = [array for array in stored.values() if array.ndim == 4]
        assert {array.dtype for array in weights} == {np.dtype(np.int8)}
        assert min(array.min() for array in weights) == -127  # symmetric, each channel's largest weight at the end


def rounded_and_exported() -> tuple[bytes, Any]:
    """The graph that a network became which was trained with rounding, and what that answers to `inputs(16)`."""
    from paretoboard.techniques.quantize.fake_quantization import FakeQuantized

    rounded = FakeQuantized(module(), torch.from_numpy(inputs(8, seed=8)))
    train(rounded, images(64), TrainSettings(epochs=1, lr=0.01, batch=16), preprocess=PREPROCESS, seed=1)
    rounded.settle(torch.from_numpy(inputs(1)))
    graph = export(rounded.converted(), SHAPE)
    with torch.no_grad():
        return graph, rounded(torch.from_numpy(inputs(16))).numpy()


def test_rounding_while_training_is_what_the_exported_graph_does() -> None:
    graph, wanted = rounded_and_exported()
    with torch.no_grad():
        unrounded = module()(torch.from_numpy(inputs(16))).numpy()
    scale = np.abs(wanted).max()
    # Sums in another order can land on the other side of a border between two codes; without rounding it is far off.
    assert np.abs(logits(graph, inputs(16), "disabled") - wanted).mean() < 2e-3 * scale
    assert np.abs(unrounded - wanted).mean() > 1e-2 * scale


@pytest.mark.usefixtures("exact_int8")
def test_rounding_while_training_is_what_integer_kernels_do() -> None:
    graph, wanted = rounded_and_exported()
    assert np.abs(logits(graph, inputs(16)) - wanted).mean() < 1e-2 * np.abs(wanted).max()


def test_an_interrupted_training_for_int8_goes_on_to_the_same_weights_and_ranges(tmp_path: Path) -> None:
    from paretoboard.techniques.quantize.fake_quantization import FakeQuantized

    def killed(share: float, text: str) -> None:
        if share >= 0.6:
            raise KeyboardInterrupt

    def run(rounded: Any, **options: Any) -> str:
        how = TrainSettings(epochs=2, lr=0.01, batch=16)
        train(rounded, images(64), how, preprocess=PREPROCESS, seed=1, checkpoint_every_s=0.0, **options)
        return weights_digest(rounded)

    straight, broken, resumed = (FakeQuantized(module(), torch.from_numpy(inputs(8))) for _ in range(3))
    assert weights_digest(straight) == weights_digest(resumed)
    with pytest.raises(KeyboardInterrupt):
        run(broken, checkpoint=tmp_path / "qat.pt", progress=killed)
    shares: list[float] = []
    whole = run(straight)
    assert run(resumed, checkpoint=tmp_path / "qat.pt", progress=lambda share, text: shares.append(share)) == whole
    assert min(shares) > 0.5


def test_the_seed_and_the_teacher_decide_what_training_for_int8_gives(tmp_path: Path) -> None:
    alone, taught = (QuantizationAwareTraining(epochs=1, batch=32, distill=distill) for distill in (False, True))
    assert (alone.needs_now(), taught.needs_now()) == (("train",), ("train", "teacher"))
    found = [
        weights_after(made, candidate(), tmp_path / str(index), seed=seed, teacher=teacher)["traced.conv1.weight"]
        for index, (made, seed, teacher) in enumerate(
            [(alone, 1, no_teacher), (alone, 2, no_teacher), (taught, 1, lambda: module(seed=9)), (taught, 1, module)]
        )
    ]
    for index, one in enumerate(found):
        assert not any(torch.equal(one, other) for other in found[index + 1 :])


def test_weights_that_were_pruned_stay_zero_while_training_for_int8(tmp_path: Path) -> None:
    pruned = MagnitudePruning(sparsity=0.7).apply(candidate(), workbench(tmp_path / "a")).candidate
    held = pruned.module
    assert held is not None
    after = weights_after(QuantizationAwareTraining(epochs=1, lr=0.05), pruned, tmp_path / "b")
    for name, before in held.named_parameters():
        if before.ndim > 1:
            assert torch.equal(after[f"traced.{name}"] == 0, before == 0)
            assert not torch.equal(after[f"traced.{name}"], before)


def test_networks_that_can_t_be_folded_are_not_trained_for_int8(tmp_path: Path) -> None:
    shared = LayerSharing().apply(candidate("cifar-resnet20"), workbench(tmp_path)).candidate
    with pytest.raises(NotApplicableError, match="layers that share their weights can't be folded"):
        QuantizationAwareTraining(epochs=1).apply(shared, workbench(tmp_path))


def test_without_torchao_it_is_said_what_to_install(tmp_path: Path) -> None:
    program = """
import sys
sys.modules["torchao"] = None
sys.path.insert(0, sys.argv[1])
from pathlib import Path
from small_models import candidate, workbench
from paretoboard.errors import NotApplicableError
from paretoboard.techniques.quantize import QuantizationAwareTraining
try:
    QuantizationAwareTraining(epochs=1).apply(candidate(), workbench(Path(sys.argv[2])))
except NotApplicableError as error:
    print(error)
"""
    command = [sys.executable, "-c", program, str(Path(__file__).parent), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "quantize.qat needs torchao: pip install 'paretoboard[quantize]'"


# Saturation


def test_integer_convolutions_are_what_exact_integers_give(tmp_path: Path) -> None:
    if saturation.machine_saturates():
        pytest.skip("this processor's INT8 kernels saturate")
    graph = graph_of(StaticQuantization(), tmp_path)
    found = saturation.saturates(graph, inputs(3))
    assert len(found) == 7
    assert not any(one.saturates for one in found)
    assert {one.largest for one in found} <= {0, 1}


@pytest.mark.parametrize("seed", [0, 1])
def test_sums_that_are_cut_off_at_16_bits_are_found_and_called_by_name(seed: int) -> None:
    """What a processor without VNNI gives: pairs of products added in 16 bits, as vpmaddubsw does."""
    random = np.random.default_rng(seed)
    codes = random.integers(0, 256, (2, 8, 3, 3)).astype(np.uint8)
    weight = random.integers(-127, 128, (4, 8, 1, 1)).astype(np.int8)
    constants = {
        "one": np.float32(1),
        "zero": np.uint8(0),
        "weight": weight,
        "scales": np.ones(4, np.float32),
        "zeros": np.zeros(4, np.int8),
        "step": np.float32(1000),
        "middle": np.uint8(128),
    }
    inputs_ = ["codes", "one", "zero", "weight", "scales", "zeros", "step", "middle"]
    node = helper.make_node("QLinearConv", inputs_, ["out"], name="conv7")
    products = codes.astype(int)[:, None] * weight[None, :, :, 0, 0, None, None].astype(
        int
    )  # (n, outputs, inputs, ...)
    pairs = products[:, :, 0::2] + products[:, :, 1::2]

    def came(sums: np.ndarray) -> np.ndarray:
        return np.clip(np.rint(sums.sum(axis=2) / 1000) + 128, 0, 255).astype(np.uint8)

    arrays = {name: np.asarray(value) for name, value in constants.items()}
    right = saturation.compare(node, arrays, [(codes, came(pairs))])
    wrong = saturation.compare(node, arrays, [(codes, came(pairs.clip(-(2**15), 2**15 - 1)))])
    assert (right.saturates, right.largest) == (False, 0)
    assert wrong.saturates
    assert wrong.node == "conv7"
    assert wrong.largest > 1
    assert 0 < wrong.share < 1


def weights_after(
    made: QuantizationAwareTraining, start: Candidate, scratch: Path, **bench: Any
) -> dict[str, torch.Tensor]:
    """The weights that training ends with, taken before they are exported, which takes longer than training here."""

    def stop(share: float, text: str) -> None:
        if text == "exporting to ONNX":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        made.apply(start, dataclasses.replace(workbench(scratch), progress=stop, **bench))
    weights: dict[str, torch.Tensor] = torch.load(scratch / "qat.pt", weights_only=True)["module"]
    return weights


def parsed(graph: bytes | None) -> Any:
    assert graph is not None
    return onnx.load_model_from_string(graph)


def no_teacher() -> Any:
    raise AssertionError("no teacher was asked for")


@functools.cache
def with_sensitive_layer() -> Candidate:
    """A network with one huge weight, on a channel that is always zero: it changes nothing but the range of weights."""
    start = candidate()
    held = start.module
    assert held is not None
    held.get_parameter("layer2.0.bn1.weight").data[0] = 0
    held.get_parameter("layer2.0.bn1.bias").data[0] = 0
    weight = held.get_parameter("layer2.0.conv2.weight").data
    weight[0, 0, 1, 1] = 300 * weight.abs().max()
    return as_graph(start)


def product_graph() -> Candidate:
    """Two products whose weights are (inputs, outputs): a MatMul and a Gemm that is not transposed."""
    random = np.random.default_rng(3)
    arrays = {"first": random.standard_normal((24, 16)), "second": random.standard_normal((16, 10))}
    graph = helper.make_graph(
        [
            helper.make_node("MatMul", ["images", "first"], ["inner"], name="a"),
            helper.make_node("Gemm", ["inner", "second"], ["logits"], name="b"),
        ],
        "products",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, ["n", 24])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["n", 10])],
        [numpy_helper.from_array(array.astype(np.float32) / 10, name) for name, array in arrays.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return dataclasses.replace(exported(), graph=model.SerializeToString())
