"""Networks of other kinds than residual ones: what they cost, what they compute, and what techniques make of them."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from torch import nn

from paretoboard import runtimes, taskfile
from paretoboard.artifact import Candidate, load, save
from paretoboard.errors import InputError, NotApplicableError, TaskFileError
from paretoboard.models import build
from paretoboard.models.cifar_vit import HEADS, VisionTransformer
from paretoboard.registry import TECHNIQUES
from paretoboard.runtimes.statistics import macs_by_kind, statistics
from paretoboard.spec import Preprocess, TrainSettings
from paretoboard.techniques.architecture import Replacement
from paretoboard.techniques.export import as_graph
from paretoboard.training import train, weights_digest
from small_models import PREPROCESS, candidate, images, inputs, workbench

RESNET20 = (269_722, 40_551_040)  # parameters and MACs
MATCHED_TO_PARAMETERS = ("cifar-depthwise", "cifar-gru-270k", "cifar-plain", "cifar-vit-270k")
MATCHED_TO_MACS = ("cifar-depthwise", "cifar-gru-41m", "cifar-plain", "cifar-vit-41m")
SMALL = MATCHED_TO_PARAMETERS
ALL = sorted({*MATCHED_TO_PARAMETERS, *MATCHED_TO_MACS})


def counts_of(name: str) -> tuple[int, int]:
    found = statistics(candidate(name))
    return found.parameters, found.macs


def test_the_counts_to_match_are_resnet_20s() -> None:
    assert counts_of("cifar-resnet20") == RESNET20


@pytest.mark.parametrize("name", MATCHED_TO_PARAMETERS)
def test_parameters_are_within_three_percent_of_resnet_20s(name: str) -> None:
    assert counts_of(name)[0] == pytest.approx(RESNET20[0], rel=0.03)


@pytest.mark.parametrize("name", MATCHED_TO_MACS)
def test_macs_are_within_three_percent_of_resnet_20s(name: str) -> None:
    assert counts_of(name)[1] == pytest.approx(RESNET20[1], rel=0.03)


def test_macs_of_attention_and_recurrence_are_those_counted_by_hand() -> None:
    width, blocks, tokens = 80, 5, 64
    layers = 8 * width * width * tokens  # query, key, value, projection, and twice a perceptron twice as wide
    products = 2 * tokens * tokens * width
    assert counts_of("cifar-vit-270k")[1] == 48 * width * tokens + blocks * (layers + products) + 10 * width
    units, rows = 156, 32
    assert counts_of("cifar-gru-270k")[1] == rows * 3 * units * (96 + units + 2 * units) + 10 * units


@pytest.mark.parametrize("name", SMALL)
def test_a_graph_has_the_macs_of_the_module_and_gives_its_answers(name: str) -> None:
    held = candidate(name)
    graph = as_graph(held)
    assert graph.graph is not None
    assert held.module is not None
    assert statistics(graph).macs == statistics(held).macs
    for count in (1, 3):  # the batch is left open
        pixels = inputs(count)
        session = onnxruntime.InferenceSession(graph.graph, providers=["CPUExecutionProvider"])
        [found] = session.run(None, {"images": pixels})
        with torch.inference_mode():
            wanted = held.module(torch.from_numpy(pixels)).numpy()
        np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-4 * np.abs(wanted).max())


def test_recurrent_layers_of_a_graph_count_as_matrix_products() -> None:
    by_kind = macs_by_kind(as_graph(candidate("cifar-gru-270k")))
    assert dict(by_kind) == {"matrix product": counts_of("cifar-gru-270k")[1]}


@pytest.mark.parametrize("name", SMALL)
def test_training_reduces_the_loss(name: str) -> None:
    module = build(name, 10)
    settings = TrainSettings(epochs=4, lr=0.002, batch=32, optimizer="adamw", schedule="constant")
    result = train(module, images(128), settings, preprocess=PREPROCESS, seed=0)
    assert result.losses[-1] < 0.9 * result.losses[0]


def test_two_trainings_of_each_kind_give_the_same_bits() -> None:
    for name in ("cifar-gru-270k", "cifar-vit-270k"):
        digests = set()
        for _ in range(2):
            torch.manual_seed(4)
            module = build(name, 10)
            settings = TrainSettings(epochs=1, lr=0.01, batch=16)
            train(module, images(32), settings, preprocess=PREPROCESS, seed=0)
            digests.add(weights_digest(module))
        assert len(digests) == 1


def test_a_block_of_the_transformer_is_torchs_own() -> None:
    network = build("cifar-vit-270k", 10)
    assert isinstance(network, VisionTransformer)
    block: Any = network.blocks[0]
    width = block.norm1.normalized_shape[0]
    reference = nn.TransformerEncoderLayer(
        width, HEADS, 2 * width, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
    ).eval()
    for own in (block.norm1, block.norm2, block.attention.qkv, block.attention.proj, block.linear1, block.linear2):
        nn.init.normal_(own.weight, std=0.2)  # biases and norms too, so that each is seen to be where it belongs
        nn.init.normal_(own.bias, std=0.2)
    reference.load_state_dict(
        {
            "self_attn.in_proj_weight": block.attention.qkv.weight,
            "self_attn.in_proj_bias": block.attention.qkv.bias,
            "self_attn.out_proj.weight": block.attention.proj.weight,
            "self_attn.out_proj.bias": block.attention.proj.bias,
            **{
                f"{name}.{part}": getattr(getattr(block, name), part)
                for name in ("linear1", "linear2", "norm1", "norm2")
                for part in ("weight", "bias")
            },
        }
    )
    tokens = torch.randn(2, 64, width, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        torch.testing.assert_close(block(tokens), reference(tokens), rtol=1e-4, atol=1e-4)


def test_rows_are_read_from_top_to_bottom_with_all_their_channels() -> None:
    network: Any = build("cifar-gru-270k", 10)
    image = torch.from_numpy(inputs(1))
    state = None
    with torch.inference_mode():
        for row in range(32):
            step = torch.cat([image[0, channel, row] for channel in range(3)])
            _, state = network.gru(step.view(1, 1, 96), state)
        torch.testing.assert_close(network.linear(state[-1]), network(image), rtol=1e-4, atol=1e-5)


def test_a_plain_network_is_resnet_20_without_its_shortcuts() -> None:
    plain, residual = build("cifar-plain", 10), build("cifar-resnet20", 10)
    shapes = [
        [tuple(layer.weight.shape) for layer in module.modules() if isinstance(layer, nn.Conv2d | nn.Linear)]
        for module in (plain, residual)
    ]
    assert shapes[0] == shapes[1]


# What each technique makes of each kind of network: applied, or the reason why not.
PRUNED = {"cifar-gru-270k": "nearest that cutting channels reaches is 0.0 %"}
TECHNIQUES_APPLIED: dict[str, tuple[dict[str, Any], dict[str, str]]] = {
    "factorize.svd": ({"macs": 0.2, "convolutions": "all"}, {"cifar-gru-270k": "the nearest that factorizing reaches"}),
    "prune.magnitude": ({"sparsity": 0.5}, {}),
    "prune.n_m": ({}, {}),
    "prune.structured": ({"parameters": 0.2}, {"cifar-gru-270k": "the nearest that cutting channels reaches is 0.0%"}),
    "quantize.cast": ({}, {}),
    "quantize.dynamic": ({}, {}),
    "quantize.static": ({}, {}),
    "quantize.weights": ({}, {}),
    "share.kmeans": ({}, {}),
    "share.layers": ({}, {"cifar-gru-270k": "no stage has two blocks"}),
}


@pytest.mark.parametrize(
    # Exporting a recurrent network takes ten seconds.
    "name",
    [pytest.param(name, marks=pytest.mark.slow) if name == "cifar-gru-270k" else name for name in SMALL],
)
@pytest.mark.parametrize("technique", TECHNIQUES_APPLIED)
def test_techniques_work_on_every_kind_of_network_or_say_why_not(technique: str, name: str, tmp_path: Path) -> None:
    parameters, refused = TECHNIQUES_APPLIED[technique]
    made = TECHNIQUES.load(technique)(**parameters)
    start = candidate(name)
    if name in refused:
        with pytest.raises(NotApplicableError, match=refused[name]):
            made.apply(start, workbench(tmp_path / "scratch"))
        return
    after: Candidate = made.apply(start, workbench(tmp_path / "scratch")).candidate
    save(after, tmp_path / "a")
    assert load(tmp_path / "a").architecture == name
    session = runtimes.open(tmp_path / "a", threads=1, batches=(4,))
    found = runtimes.predict(session, inputs(4), 4)
    assert found.shape == (4, 10)
    assert np.isfinite(found).all()


def test_structured_pruning_cuts_hidden_units_of_a_transformer_only(tmp_path: Path) -> None:
    pruned = TECHNIQUES.load("prune.structured")(parameters=0.2).apply(candidate("cifar-vit-270k"), workbench(tmp_path))
    module: Any = pruned.candidate.module
    assert all(block.linear1.out_features < 160 for block in module.blocks)
    assert all(block.linear1.out_features == block.linear2.in_features for block in module.blocks)
    assert {block.attention.qkv.out_features for block in module.blocks} == {240}
    assert statistics(pruned.candidate).parameters == pytest.approx(0.8 * 270_410, rel=0.02)


# Replacing the task's network


def replaced(folder: Path, **parameters: Any) -> Candidate:
    bench = dataclasses.replace(
        workbench(folder), train_settings=TrainSettings(epochs=1, lr=0.01, batch=32, schedule="constant")
    )
    return Replacement(**parameters).apply(candidate(), bench).candidate


def test_another_network_is_trained_as_if_the_task_had_named_it(tmp_path: Path) -> None:
    bench = workbench(tmp_path / "own")
    after = replaced(tmp_path / "a", model="cifar-plain")
    torch.manual_seed(bench.train_seed)
    own = build("cifar-plain", 10)
    settings = TrainSettings(epochs=1, lr=0.01, batch=32, schedule="constant")
    train(own, bench.train_images(), settings, preprocess=bench.preprocess, seed=bench.train_seed)
    assert after.module is not None
    assert weights_digest(after.module) == weights_digest(own)
    assert after.architecture == "cifar-plain"
    save(after, tmp_path / "stored")
    stored = load(tmp_path / "stored").module
    assert stored is not None
    assert weights_digest(stored) == weights_digest(own)


def test_what_is_given_differs_from_the_tasks_settings_and_nothing_else() -> None:
    made = Replacement(model="cifar-plain", optimizer="adamw", lr=0.003)
    first = TrainSettings(epochs=7, lr=0.1, batch=64, schedule="onecycle", augment=("flip",))
    changed = dataclasses.replace(first, optimizer="adamw", lr=0.003)
    assert made.settings(first, "architecture.replace") == changed


def test_a_model_from_a_file_says_nothing_of_how_to_train(tmp_path: Path) -> None:
    with pytest.raises(NotApplicableError, match="read from a file: name 'train' instead of 'weights'"):
        Replacement(model="cifar-plain").apply(candidate(), workbench(tmp_path))


def test_a_network_for_other_images_is_refused(tmp_path: Path) -> None:
    other = dataclasses.replace(candidate(), input_shape=(3, 28, 28))
    with pytest.raises(NotApplicableError, match="cifar-vit-270k takes no images of 3x28x28"):
        Replacement(model="cifar-vit-270k").apply(other, workbench(tmp_path))


def test_an_unknown_network_is_a_mistake_in_the_task_file(tiny_task: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="Did you mean 'cifar-vit-270k'"):
        Replacement(model="cifar-vit-27k")
    task = tmp_path / "task.toml"
    task.write_text(
        f'extends = "{tiny_task}"\n[recipes.other]\n'
        'steps = [{ technique = "architecture.replace", model = "cifar-vit-27k" }]\n'
    )
    with pytest.raises(TaskFileError, match=r"task.toml:3: .*Did you mean 'cifar-vit-270k'"):
        taskfile.load(task)


def test_a_preprocess_of_no_pixels_is_the_tasks_own() -> None:
    assert candidate().preprocess_of(Preprocess(mean=(0.3,))) == Preprocess(mean=(0.3,))
