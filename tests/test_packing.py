"""Packed weights: every bit comes back, in as few bytes as few values take."""

from __future__ import annotations

import lzma
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from paretoboard.artifact import Candidate, load, read_manifest, save
from paretoboard.errors import StoreError
from paretoboard.models.packing import pack, unpack
from small_models import SHAPE, candidate, fingerprint

DTYPES = (torch.float32, torch.float16, torch.bfloat16, torch.float64, torch.int64, torch.int8, torch.uint8, torch.bool)


def bits(tensor: torch.Tensor) -> bytes:
    return bytes(tensor.contiguous().untyped_storage()) if tensor.numel() else b""


@given(
    kinds=st.lists(st.tuples(st.sampled_from(DTYPES), st.integers(1, 400), st.integers(0, 900)), max_size=4),
    seed=st.integers(0, 2**16),
)
@settings(max_examples=40)
def test_every_bit_comes_back(kinds: list[tuple[torch.dtype, int, int]], seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    state = {}
    for number, (dtype, values, count) in enumerate(kinds):
        codebook = (100 * torch.randn(values, generator=generator)).to(dtype)
        state[f"t{number}"] = codebook[torch.randint(values, (count,), generator=generator)]
    again = unpack(pack(state))
    assert list(again) == list(state)
    for name, tensor in state.items():
        assert again[name].dtype == tensor.dtype
        assert again[name].shape == tensor.shape
        assert bits(again[name]) == bits(tensor)


def test_zeros_of_either_sign_and_what_is_no_number_come_back() -> None:
    odd = torch.tensor([0.0, -0.0, float("nan"), float("inf"), -float("inf")] * 7).view(5, 7, 1)
    again = unpack(pack({"odd": odd, "scalar": torch.tensor(3)}))
    assert bits(again["odd"]) == bits(odd)
    assert again["odd"].shape == (5, 7, 1)
    assert again["scalar"] == torch.tensor(3)


@pytest.mark.parametrize("values", [2, 5, 16, 256])
def test_few_values_take_little_more_than_their_entropy(values: int) -> None:
    drawn = torch.randint(values, (100_000,), generator=torch.Generator().manual_seed(1))
    weight = torch.randn(values, generator=torch.Generator().manual_seed(2))[drawn]
    entropy_bytes = len(drawn) * torch.log2(torch.tensor(float(values))).item() / 8
    assert 0.99 * entropy_bytes < len(pack({"weight": weight})) < 1.07 * entropy_bytes + 4 * values + 300


def test_a_packed_artifact_is_known_by_its_file_and_a_damaged_one_is_refused(tmp_path: Path) -> None:
    packed = Candidate(
        architecture="cifar-resnet8", classes=10, input_shape=SHAPE, module=candidate().module, storage="packed"
    )
    save(packed, tmp_path / "one")
    assert read_manifest(tmp_path / "one").file == "weights.xz"
    loaded = load(tmp_path / "one")
    assert loaded.storage == "packed"
    assert loaded.module is not None
    assert packed.module is not None
    assert fingerprint(loaded.module) == fingerprint(packed.module)
    path = tmp_path / "one" / "weights.xz"
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(StoreError, match="SHA-256"):
        load(tmp_path / "one")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"no archive",
        lzma.compress(b"short"),
        lzma.compress(b"\x02" + bytes(7) + b"{}"),
        lzma.compress(b"\x63" + bytes(7) + b"{}"),
        lzma.compress(pack({})),
        pack({"a": torch.zeros(9)})[:-20],
    ],
)
def test_what_is_not_packed_weights_is_refused(content: bytes) -> None:
    with pytest.raises(ValueError, match="packed weights"):
        unpack(content)


def test_a_file_that_says_less_than_it_holds_is_refused() -> None:
    raw = lzma.decompress(pack({"a": torch.arange(8.0)}))
    with pytest.raises(ValueError, match="4 bytes are left over"):
        unpack(lzma.compress(raw + bytes(4)))
