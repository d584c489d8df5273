"""Techniques against the reference implementation or a case that can be worked out."""

from __future__ import annotations

import dataclasses
from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn.utils import prune as reference

from paretoboard import runtimes
from paretoboard.artifact import Candidate, save
from paretoboard.errors import NotApplicableError
from paretoboard.runtimes.ort import inference_session, session_options
from paretoboard.spec import TrainSettings
from paretoboard.techniques.prune import MagnitudePruning, StructuredPruning
from paretoboard.techniques.quantize import Cast, DynamicQuantization, StaticQuantization
from paretoboard.techniques.run import OnnxRuntime
from paretoboard.techniques.train import Finetune
from small_models import SHAPE, candidate, exported, inputs, workbench


def layers_of(held: Candidate) -> list[nn.Conv2d | nn.Linear]:
    assert held.module is not None
    return [layer for layer in held.module.modules() if isinstance(layer, nn.Conv2d | nn.Linear)]


def parameters_of(held: Candidate) -> int:
    assert held.module is not None
    return sum(parameter.numel() for parameter in held.module.parameters())


@given(sparsity=st.floats(0.01, 0.99))
@settings(max_examples=15)
def test_magnitude_pruning_zeroes_exactly_the_smallest_of_each_layer(sparsity: float) -> None:
    start = candidate()
    pruned = MagnitudePruning(sparsity=sparsity).apply(start, workbench(Path())).candidate
    for before, after in zip(layers_of(start), layers_of(pruned), strict=True):
        zeros = after.weight == 0
        assert int(zeros.sum()) == round(sparsity * before.weight.numel())
        assert torch.equal(after.weight[~zeros], before.weight[~zeros])
        if zeros.any() and not zeros.all():
            assert before.weight[zeros].abs().max() <= before.weight[~zeros].abs().min()
    assert sorted(pruned.module.state_dict()) == sorted(start.module.state_dict())  # type: ignore[union-attr]


def test_global_magnitude_pruning_is_torchs_own(tmp_path: Path) -> None:
    ours = MagnitudePruning(sparsity=0.8, scope="global").apply(candidate(), workbench(tmp_path)).candidate
    theirs = layers_of(candidate())
    reference.global_unstructured(
        [(layer, "weight") for layer in theirs], pruning_method=reference.L1Unstructured, amount=0.8
    )
    for mine, other in zip(layers_of(ours), theirs, strict=True):
        assert torch.equal(mine.weight, other.weight)
    shares = [float((layer.weight == 0).float().mean()) for layer in layers_of(ours)]
    assert max(shares) - min(shares) > 0.05  # one threshold for all, so not the same share of each


@pytest.mark.parametrize("architecture", ["cifar-resnet8", "cifar-resnet20", "mlperf-tiny-resnet8"])
@pytest.mark.parametrize("share", [0.1, 0.3, 0.5])
def test_structured_pruning_reaches_its_budget(architecture: str, share: float, tmp_path: Path) -> None:
    start = candidate(architecture)
    applied = StructuredPruning(parameters=share).apply(start, workbench(tmp_path))
    removed = 1 - parameters_of(applied.candidate) / parameters_of(start)
    assert abs(removed - share) < 0.03
    assert applied.notes[0].startswith(f"{removed:.1%} of the parameters removed")


@pytest.mark.parametrize("importance", ["l1", "l2", "random"])
def test_a_structurally_pruned_network_is_the_whole_one_with_channels_silenced(importance: str, tmp_path: Path) -> None:
    """Cutting a filter must do what zeroing its batch norm does: nothing of the channel goes on."""
    start = candidate()
    made = StructuredPruning(parameters=0.4, importance=importance)  # type: ignore[arg-type]
    pruned = made.apply(start, workbench(tmp_path)).candidate
    whole = candidate().module
    assert whole is not None
    assert pruned.module is not None
    for stage in ("layer1.0", "layer2.0", "layer3.0"):
        kept_rows = pruned.module.get_parameter(f"{stage}.conv1.weight")
        rows = whole.get_parameter(f"{stage}.conv1.weight")
        kept = {index for index, row in enumerate(rows) if any(torch.equal(row, left) for left in kept_rows)}
        assert len(kept) == len(kept_rows) < len(rows)
        cut = [index for index in range(len(rows)) if index not in kept]
        whole.get_parameter(f"{stage}.bn1.weight").data[cut] = 0
        whole.get_parameter(f"{stage}.bn1.bias").data[cut] = 0
    with torch.inference_mode():
        images = torch.from_numpy(inputs(4))
        torch.testing.assert_close(pruned.module(images), whole(images), rtol=1e-4, atol=1e-4)


def test_the_filters_that_go_are_those_of_smallest_norm(tmp_path: Path) -> None:
    start = candidate()
    assert start.module is not None
    quiet = [1, 4, 7, 11]
    for name in ("conv1.weight", "bn1.weight", "bn1.bias"):
        start.module.get_parameter(f"layer1.0.{name}").data[quiet] *= 1e-3
    start.module.get_parameter("layer1.0.conv2.weight").data[:, quiet] *= 1e-3
    pruned = StructuredPruning(parameters=0.25, importance="l1").apply(start, workbench(tmp_path)).candidate
    left = pruned.module.get_parameter("layer1.0.conv1.weight")  # type: ignore[union-attr]
    rows = start.module.get_parameter("layer1.0.conv1.weight")
    gone = [index for index, row in enumerate(rows) if not any(torch.equal(row, other) for other in left)]
    assert set(gone) <= set(quiet) or set(quiet) <= set(gone)
    assert gone


def test_a_budget_that_can_t_be_reached_is_refused_with_what_can(tmp_path: Path) -> None:
    with pytest.raises(NotApplicableError, match=r"asked to remove 99\.0%.*the nearest that .* is 9\d\.\d%"):
        StructuredPruning(parameters=0.99).apply(candidate(), workbench(tmp_path))


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_casting_halves_the_file_and_rounds_each_weight(dtype: str, tmp_path: Path) -> None:
    start = candidate("cifar-resnet20")
    cast = Cast(dtype=dtype).apply(start, workbench(tmp_path / "scratch")).candidate  # type: ignore[arg-type]
    whole, half = save(start, tmp_path / "whole"), save(cast, tmp_path / "half")
    weights = 4 * parameters_of(start)
    assert whole.size_bytes - half.size_bytes == pytest.approx(weights / 2, rel=0.03)
    for before, after in zip(layers_of(start), layers_of(cast), strict=True):
        assert torch.equal(after.weight, before.weight.to(getattr(torch, dtype)))


@pytest.mark.parametrize("architecture", ["cifar-resnet8", "mlperf-tiny-resnet8"])
def test_static_int8_turns_every_convolution_into_an_integer_one(architecture: str, tmp_path: Path) -> None:
    quantized = StaticQuantization().apply(exported(architecture), workbench(tmp_path)).candidate
    convolutions = operators(exported(architecture).graph)["Conv"]
    assert convolutions >= 7
    optimized = operators(optimize(quantized.graph, tmp_path / "optimized.onnx"))
    assert optimized["QLinearConv"] == convolutions
    assert optimized["Conv"] + optimized["FusedConv"] == 0


def test_static_int8_weights_are_per_channel_and_activations_unsigned(tmp_path: Path) -> None:
    model = onnx.load_model_from_string(graph_of(StaticQuantization(), tmp_path))
    arrays = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    producers = {node.output[0]: node for node in model.graph.node}
    convolutions = [node for node in model.graph.node if node.op_type == "Conv"]
    for node in convolutions:
        weight, scale, _ = producers[node.input[1]].input
        assert arrays[weight].dtype == np.int8
        assert arrays[scale].shape == (arrays[weight].shape[0],)
        assert arrays[producers[node.input[0]].input[2]].dtype == np.uint8


@pytest.mark.usefixtures("exact_int8")
def test_static_int8_stays_near_the_float_network(tmp_path: Path) -> None:
    for made in (StaticQuantization(), StaticQuantization(per_channel=False), DynamicQuantization()):
        session = inference_session(graph_of(made, tmp_path), session_options(1))
        images = inputs(16) * 0.5
        found = session.run(None, {"images": images})[0]
        held = candidate().module
        assert held is not None
        with torch.inference_mode():
            wanted = held(torch.from_numpy(images)).numpy()
        noise = ((found - wanted) ** 2).mean() / ((wanted - wanted.mean(0)) ** 2).mean()
        assert noise < 0.1, made  # a network that rounds wrongly is off by its whole variance


def test_the_ways_to_calibrate_find_different_ranges(tmp_path: Path) -> None:
    scales = {}
    for calibrate in ("minmax", "entropy", "percentile"):
        model = onnx.load_model_from_string(graph_of(StaticQuantization(calibrate=calibrate), tmp_path))  # type: ignore[arg-type]
        arrays = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
        nodes = [node for node in model.graph.node if node.op_type == "QuantizeLinear"]
        scales[calibrate] = np.array([float(arrays[node.input[1]]) for node in nodes])
    # Nothing outside the observed range is ever needed; the other two give up outliers.
    assert (scales["entropy"] <= scales["minmax"] * 1.001).all()
    assert (scales["entropy"] < scales["minmax"] * 0.99).any()
    assert (scales["percentile"] <= scales["minmax"] * 1.001).all()


def test_quantizing_twice_is_refused(tmp_path: Path) -> None:
    once = StaticQuantization().apply(exported(), workbench(tmp_path)).candidate
    for made in (StaticQuantization(), DynamicQuantization()):
        with pytest.raises(NotApplicableError, match="quantized already"):
            made.apply(once, workbench(tmp_path))


@pytest.mark.parametrize("level", ["disabled", "all"])
def test_the_graph_level_is_what_the_session_is_opened_with(level: str, tmp_path: Path) -> None:
    made = OnnxRuntime(graph=level)  # type: ignore[arg-type]
    held = made.apply(exported(), workbench(tmp_path / "scratch")).candidate
    save(held, tmp_path / "a")
    session = runtimes.open(tmp_path / "a", threads=1, batches=())
    assert held.execution.options == {"graph": level}
    assert session.logits(session.run(session.prepare(inputs(2)))).shape == (2, 10)


def test_finetuning_keeps_pruned_weights_zero_and_moves_the_others(tmp_path: Path) -> None:
    pruned = MagnitudePruning(sparsity=0.6).apply(candidate(), workbench(tmp_path)).candidate
    tuned = Finetune(epochs=2, lr=0.05).apply(pruned, workbench(tmp_path / "scratch"))
    assert tuned.images_seen == 2 * 64
    for before, after in zip(layers_of(pruned), layers_of(tuned.candidate), strict=True):
        assert torch.equal(before.weight == 0, after.weight == 0)
        assert not torch.equal(before.weight, after.weight)


def test_finetuning_augments_as_the_model_was_trained_unless_told(tmp_path: Path) -> None:
    first = TrainSettings(epochs=1, lr=0.1, augment=("flip",))
    made = Finetune(epochs=1)
    results = []
    for index, (technique, settings_) in enumerate(
        [(made, first), (dataclasses.replace(made, augment=("flip",)), None), (made, None)]
    ):
        bench = dataclasses.replace(workbench(tmp_path / str(index)), train_settings=settings_)
        results.append(save(technique.apply(candidate(), bench).candidate, tmp_path / f"a{index}").sha256)
    assert results[0] == results[1] != results[2]


def test_a_recipe_of_prune_finetune_quantize_run_holds_together(tmp_path: Path) -> None:
    held = candidate()
    for index, step in enumerate(
        (StructuredPruning(parameters=0.3), Finetune(epochs=1), StaticQuantization(), OnnxRuntime())
    ):
        held = step.apply(held, workbench(tmp_path / str(index))).candidate
    save(held, tmp_path / "a")
    session = runtimes.open(tmp_path / "a", threads=1, batches=())
    assert runtimes.predict(session, inputs(5), 2).shape == (5, 10)
    assert held.input_shape == SHAPE


def graph_of(made: StaticQuantization | DynamicQuantization, scratch: Path) -> bytes:
    graph = made.apply(exported(), workbench(scratch)).candidate.graph
    assert graph is not None
    return graph


def operators(graph: bytes | None) -> Counter[str]:
    assert graph is not None
    return Counter(node.op_type for node in onnx.load_model_from_string(graph).graph.node)


def optimize(graph: bytes | None, file: Path) -> bytes:
    """The graph that ONNX Runtime makes of `graph` before it runs it."""
    assert graph is not None
    options = session_options(1)
    options.optimized_model_filepath = str(file)
    inference_session(graph, options)
    return file.read_bytes()
