"""Penalties of large weights, against sums by hand and against the weight decay of SGD."""

from __future__ import annotations

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from paretoboard.errors import InputError, NotApplicableError
from paretoboard.training.penalties import Penalty, weights
from small_models import module


def tiny() -> nn.Module:
    """A convolution of 1, -2, 3, -4 and a linear layer of 0.5, -0.5, with biases and scales that are not penalized."""
    network = nn.Sequential(
        nn.Conv2d(1, 1, 2), nn.BatchNorm2d(1), nn.GroupNorm(1, 1), nn.Flatten(), nn.Linear(1, 2), nn.Linear(2, 1)
    )
    values = {
        "0.weight": [1, -2, 3, -4],
        "0.bias": [100],
        "1.weight": [100],
        "2.weight": [100],
        "4.weight": [0.5, -0.5],
        "4.bias": [100, 100],
        "5.weight": [0, 0],
        "5.bias": [100],
    }
    with torch.no_grad():
        for name, value in values.items():
            parameter = network.get_parameter(name)
            parameter.copy_(torch.tensor(value, dtype=torch.float32).reshape(parameter.shape))
    return network


def test_l1_is_the_sum_of_sizes_and_l2_half_the_sum_of_squares() -> None:
    assert float(Penalty(l1=0.1)(tiny()).detach()) == pytest.approx(0.1 * (1 + 2 + 3 + 4 + 0.5 + 0.5))
    assert float(Penalty(l2=0.1)(tiny()).detach()) == pytest.approx(0.1 / 2 * (1 + 4 + 9 + 16 + 0.25 + 0.25))
    assert float(Penalty(l1=0.1, l2=0.01)(tiny()).detach()) == pytest.approx(1.1 + 0.01 / 2 * 30.5)
    assert float(Penalty()(tiny()).detach()) == 0


def test_the_gradients_are_the_signs_and_the_weights() -> None:
    network = tiny()
    Penalty(l1=0.1, l2=0.01)(network).backward()  # type: ignore[no-untyped-call]
    kernel = network.get_parameter("0.weight")
    assert kernel.grad is not None
    expected = 0.1 * torch.tensor([1.0, -1.0, 1.0, -1.0]) + 0.01 * torch.tensor([1.0, -2.0, 3.0, -4.0])
    torch.testing.assert_close(kernel.grad.flatten(), expected)
    zeros = network.get_parameter("5.weight").grad
    assert zeros is not None
    assert not zeros.any()
    assert all(network.get_parameter(f"{number}.weight").grad is None for number in (1, 2))
    assert all(network.get_parameter(f"{number}.bias").grad is None for number in (0, 4, 5))


@given(rate=st.floats(1e-3, 1), decay=st.floats(0, 0.1))
@settings(max_examples=30)
def test_l2_is_the_weight_decay_of_plain_sgd(rate: float, decay: float) -> None:
    """Of layers without biases, since those are decayed and not penalized."""
    generator = torch.Generator().manual_seed(0)
    start = nn.Sequential(nn.Linear(5, 4, bias=False), nn.ReLU(), nn.Linear(4, 3, bias=False)).double()
    for weight in start.parameters():
        nn.init.normal_(weight, generator=generator)
    inputs = torch.randn(6, 5, generator=generator, dtype=torch.float64)
    decayed, penalized = copy.deepcopy(start), copy.deepcopy(start)
    for network, own_decay, penalty in ((decayed, decay, Penalty()), (penalized, 0.0, Penalty(l2=decay))):
        optimizer = torch.optim.SGD(network.parameters(), rate, weight_decay=own_decay)
        for _ in range(3):
            optimizer.zero_grad()
            (network(inputs).square().mean() + penalty(network)).backward()
            optimizer.step()
    for mine, reference in zip(penalized.parameters(), decayed.parameters(), strict=True):
        torch.testing.assert_close(mine, reference, rtol=1e-9, atol=1e-12)


def test_weight_decay_also_decays_what_l2_leaves_alone() -> None:
    network = nn.Linear(2, 1)
    nn.init.ones_(network.bias)
    for penalty, decay, expected in ((Penalty(l2=0.5), 0.0, 1.0), (Penalty(), 0.5, 0.5)):
        own = copy.deepcopy(network)
        optimizer = torch.optim.SGD(own.parameters(), 1.0, weight_decay=decay)
        (0 * own(torch.zeros(1, 2)).sum() + penalty(own)).backward()
        optimizer.step()
        assert float(own.bias.detach()) == expected


def test_every_kernel_of_a_network_is_penalized_and_a_shared_one_once() -> None:
    network = module("cifar-resnet8")
    assert len(weights(network)) == 7 + 1  # convolutions and the linear layer
    assert all(weight.ndim in (2, 4) for weight in weights(network))
    shared = copy.deepcopy(network)
    shared.set_submodule("layer3.0.conv2", shared.get_submodule("layer2.0.conv2"))
    assert len(weights(shared)) == 7


def test_attention_and_recurrent_layers_have_weights_too() -> None:
    assert len(weights(nn.MultiheadAttention(4, 2))) == 2
    assert len(weights(nn.GRU(3, 4))) == 2


def test_a_network_without_weights_and_a_negative_penalty_are_refused() -> None:
    with pytest.raises(NotApplicableError, match="the network has none"):
        Penalty(l2=0.1)(nn.BatchNorm2d(3))
    for wrong in (-0.1, float("nan")):
        with pytest.raises(InputError, match="zero or more"):
            Penalty(l1=wrong)
