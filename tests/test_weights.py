"""Weights: only the file that a task names, and never a function that a file names."""

from __future__ import annotations

import hashlib
import io
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from paretoboard.datasets.weights import load_into, load_state, resolve
from paretoboard.errors import DataError
from paretoboard.spec import Weights
from pickles import FileMaker

RESNET20 = Weights(
    file="resnet20_cifar10_akamaster.pth",
    sha256="5d1e5fca69445530bac691dcf39dfd57dc0ac06d279223c8e25529955dcbc4c9",
)


def saved(content: Any, *, zipped: bool = True) -> bytes:
    stream = io.BytesIO()
    torch.save(content, stream, _use_new_zipfile_serialization=zipped)
    return stream.getvalue()


def placed(root: Path, content: bytes, file: str = "some.pth") -> Weights:
    """`content` as a file of weights below `root`, and what a task would call it."""
    path = root / "weights" / file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return Weights(file=file, sha256=hashlib.sha256(content).hexdigest())


STATE = {"weight": torch.arange(6.0).reshape(2, 3), "bias": torch.zeros(2)}


@pytest.mark.parametrize("file", ["some.pth", "family/some.pth"])
def test_weights_are_found_by_name_and_digest(file: str, tmp_path: Path) -> None:
    weights = placed(tmp_path, saved(STATE), file)
    state = load_state(resolve(weights, tmp_path))
    assert list(state) == ["weight", "bias"]
    assert torch.equal(state["weight"], STATE["weight"])


def test_real_weights_load(data_root: Path) -> None:
    if not (data_root / "weights" / RESNET20.file).exists():
        pytest.skip(f"no {RESNET20.file} in {data_root / 'weights'}")
    state = load_state(resolve(RESNET20, data_root))
    assert {"conv1.weight", "bn1.running_mean", "linear.bias"} < set(state)
    assert state["conv1.weight"].shape == (16, 3, 3, 3)


def test_a_missing_file_is_named_with_its_folder_and_digest(tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        resolve(RESNET20, tmp_path)
    assert str(tmp_path / "weights" / RESNET20.file) in str(caught.value)
    assert RESNET20.sha256 in str(caught.value)


def test_another_file_under_the_name_is_refused_with_both_digests(tmp_path: Path) -> None:
    found = placed(tmp_path, saved(STATE)).sha256
    with pytest.raises(DataError, match=f"SHA-256 {found} found, {RESNET20.sha256} expected"):
        resolve(Weights(file="some.pth", sha256=RESNET20.sha256), tmp_path)


@pytest.mark.parametrize("file", ["../some.pth", "/etc/passwd", "a/../../some.pth", "..", "", ".", "a\0b"])
def test_a_name_can_not_lead_out_of_the_weights_folder(file: str, tmp_path: Path) -> None:
    (tmp_path / "weights" / "a").mkdir(parents=True)
    (tmp_path / "some.pth").write_bytes(saved(STATE))
    sha256 = hashlib.sha256(saved(STATE)).hexdigest()
    with pytest.raises(DataError, match="does not lead out of it"):
        resolve(Weights(file=file, sha256=sha256), tmp_path)


@pytest.mark.parametrize("zipped", [True, False])
def test_a_pickle_that_names_a_function_is_refused_and_the_function_is_not_called(zipped: bool, tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    weights = placed(tmp_path, saved({"weight": FileMaker(trace)}, zipped=zipped))
    with pytest.raises(DataError, match="not a plain state dict"):
        load_state(resolve(weights, tmp_path))
    assert not trace.exists()
    torch.load(tmp_path / "weights" / "some.pth", weights_only=False)
    assert trace.exists()  # it would have been


def test_a_bare_pickle_is_refused_and_its_function_is_not_called(tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    path = tmp_path / "some.pth"
    path.write_bytes(pickle.dumps(FileMaker(trace), protocol=2))
    with pytest.raises(DataError):
        load_state(path)
    assert not trace.exists()


@pytest.mark.parametrize(
    ("content", "found"),
    [
        ({"state_dict": STATE}, "dict found under 'state_dict'"),
        ({"weight": torch.zeros(1), "epoch": 3}, "int found under 'epoch'"),
        ({1: torch.zeros(1)}, "found under 1"),
        ([torch.zeros(1)], "list found"),
    ],
)
def test_what_is_not_a_dict_of_tensors_is_refused(content: Any, found: str, tmp_path: Path) -> None:
    weights = placed(tmp_path, saved(content))
    with pytest.raises(DataError, match=found):
        load_state(resolve(weights, tmp_path))


@pytest.mark.parametrize("content", [b"", b"garbage", saved(STATE)[:200], b"PK\x03\x04" + bytes(60)])
def test_what_torch_did_not_save_is_refused(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "some.pth"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"some\.pth"):
        load_state(path)


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@settings(max_examples=150)
@given(st.booleans(), st.lists(st.tuples(st.integers(0, 5000), st.integers(0, 255)), min_size=1, max_size=8))
def test_damaged_files_are_an_error_of_the_data_or_still_load(
    tmp_path_factory: pytest.TempPathFactory, zipped: bool, changes: list[tuple[int, int]]
) -> None:
    content = bytearray(saved(STATE, zipped=zipped))
    for position, value in changes:
        content[position % len(content)] = value
    path = tmp_path_factory.mktemp("damaged") / "some.pth"
    path.write_bytes(content)
    try:
        state = load_state(path)
    except DataError as error:
        assert str(path) in str(error)  # noqa: PT017 - raising is one of two right outcomes
    else:
        assert all(isinstance(value, torch.Tensor) for value in state.values())


def test_weights_are_loaded_into_the_network_they_are_for(tmp_path: Path) -> None:
    layer = nn.Linear(3, 2)
    load_into(layer, resolve(placed(tmp_path, saved(STATE)), tmp_path))
    assert torch.equal(layer.weight.detach(), STATE["weight"])


def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="weights of another network"):
        load_into(nn.Linear(4, 2), resolve(placed(tmp_path, saved(STATE)), tmp_path))


def test_tensors_that_a_network_calls_otherwise_are_renamed_or_left_out(tmp_path: Path) -> None:
    layer, names = nn.Linear(3, 2), {"old.weight": "weight", "old.bias": "bias", "head.weight": None}
    path = resolve(
        placed(
            tmp_path, saved({"old.weight": STATE["weight"], "old.bias": STATE["bias"], "head.weight": STATE["bias"]})
        ),
        tmp_path,
    )
    load_into(layer, path, names.__getitem__)
    assert torch.equal(layer.weight.detach(), STATE["weight"])
