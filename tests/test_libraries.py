"""Networks that other libraries define, and the weights that they publish."""

from __future__ import annotations

import dataclasses
import hashlib
import importlib.util
import io
import re
from pathlib import Path

import pytest
import torch

from builders import run_spec
from paretoboard import models
from paretoboard.datasets.fetch import Listener, fetch_file
from paretoboard.datasets.weights import load_into
from paretoboard.errors import DataError, InputError, UnknownNameError
from paretoboard.models.libraries import state_name, torchvision_builder
from paretoboard.models.native import differences
from paretoboard.models.published import place, published
from paretoboard.plan import RunSpec
from paretoboard.registry import MODELS
from paretoboard.spec import ModelUse, Preprocess, Weights
from paretoboard_runners.weights import path_of, with_missing_marked
from rangeserver import RangeServer

IMAGENET = Preprocess(
    mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225), resize=256, interpolation="bilinear", crop=224
)


@pytest.mark.parametrize("name", ["squeezenet1_1", "mobilenet_v3_small"])
def test_a_network_of_torchvision_gives_the_classes_asked_for(name: str) -> None:
    module = models.build(f"torchvision:{name}", 7)
    assert not module.training
    with torch.inference_mode():
        assert module(torch.rand(2, 3, 224, 224)).shape == (2, 7)


def test_a_network_that_a_library_lacks_is_named_with_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match="Did you mean 'resnet50'"):
        models.build("torchvision:resnet-50", 10)
    with pytest.raises(UnknownNameError, match="Did you mean 'IMAGENET1K_V1'"):
        published("torchvision:resnet18", "IMAGENET1K")


def test_a_network_of_timm_gives_the_classes_asked_for() -> None:
    pytest.importorskip("timm")
    with torch.inference_mode():
        assert models.build("timm:resnet18", 7)(torch.rand(2, 3, 64, 64)).shape == (2, 7)
    with pytest.raises(UnknownNameError, match="Did you mean 'resnet18'"):
        models.build("timm:resnet-18", 7)


def test_without_timm_its_networks_say_which_extra_brings_it() -> None:
    if importlib.util.find_spec("timm") is not None:
        pytest.skip("timm is installed")
    with pytest.raises(InputError, match=r"pip install 'paretoboard\[timm\]'"):
        models.build("timm:resnet18", 7)


def test_networks_for_other_tasks_than_classification_are_not_offered() -> None:
    with pytest.raises(UnknownNameError):
        torchvision_builder("fcn_resnet50")


def test_a_library_says_what_its_weights_were_trained_with() -> None:
    native = models.native_of("torchvision:resnet50", "IMAGENET1K_V1")
    assert native is not None
    assert native.input_shape == (3, 224, 224)
    assert native.preprocess == IMAGENET
    newer = models.native_of("torchvision:resnet50", "IMAGENET1K_V2")
    assert newer is not None
    assert newer.preprocess == dataclasses.replace(IMAGENET, resize=232)


@pytest.mark.parametrize("name", list(MODELS))
def test_every_network_of_ours_says_what_images_it_was_made_for_and_takes_them(name: str) -> None:
    native = models.native_of(name)
    assert native is not None
    with torch.inference_mode():
        assert len(models.build(name, 5)(torch.rand(2, *native.input_shape))) == 2


def test_what_a_task_does_otherwise_than_the_weights_want_is_said() -> None:
    native = models.native_of("mobilenetv2")
    assert native is not None
    assert native.preprocess is not None
    assert list(differences(native, (3, 224, 224), native.preprocess)) == []
    three = dataclasses.replace(native.preprocess, mean=(0.5, 0.5, 0.5))
    assert list(differences(native, (3, 224, 224), three)) == []
    size, prepared = differences(native, (3, 160, 160), dataclasses.replace(native.preprocess, crop=160))
    assert size == "The network was made for images of 3x224x224 and gets 3x160x160."
    assert prepared.endswith("weights: crop = 160 where 224 is right.")


def test_published_weights_are_found_by_torchvisions_own_name_and_digest(tmp_path: Path) -> None:
    found = published("torchvision:resnet18", "IMAGENET1K_V1")
    assert found.file == "resnet18-f37072fd.pth"
    assert found.digest == "f37072fd"
    assert found.url.endswith(found.file)
    assert found.get == "paretoboard data fetch torchvision:resnet18 --weights IMAGENET1K_V1"
    assert place(found, tmp_path) == tmp_path / found.file


def test_every_weight_of_torchvision_can_be_checked_when_it_is_downloaded() -> None:
    from torchvision import models as theirs

    for name in theirs.list_models(module=theirs):
        for member in theirs.get_model_weights(name):
            assert re.fullmatch(r"[0-9a-f]{8,64}", published(f"torchvision:{name}", member.name).digest)


def test_names_of_old_files_and_of_heads_for_training_are_known() -> None:
    old = "features.denseblock1.denselayer1.norm.1.weight"
    assert state_name("torchvision:densenet121", old) == "features.denseblock1.denselayer1.norm1.weight"
    assert state_name("torchvision:inception_v3", "AuxLogits.fc.weight") is None
    assert state_name("cifar-resnet8", "aux1.weight") == "aux1.weight"


def test_a_file_under_a_published_name_that_is_another_is_refused(tmp_path: Path) -> None:
    use = ModelUse(name="torchvision:resnet18", weights=Weights(enum="IMAGENET1K_V1"))
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / "resnet18-f37072fd.pth").write_bytes(b"another")
    with pytest.raises(DataError, match="one that begins with f37072fd expected"):
        path_of(use, tmp_path)


def test_a_network_without_published_weights_says_what_to_give_instead() -> None:
    with pytest.raises(InputError, match="give them as 'file' and 'sha256'"):
        published("cifar-resnet8", "IMAGENET1K_V1")


# Weights that are nowhere


def run_with(weights: Weights | None, name: str = "cifar-resnet8") -> RunSpec:
    return dataclasses.replace(run_spec(), model=ModelUse(name=name, weights=weights))


def test_a_run_without_its_weights_is_another_run_and_another_board(tmp_path: Path) -> None:
    whole = run_with(Weights(file="a.pth", sha256="0" * 64))
    [marked] = with_missing_marked([whole], tmp_path)
    assert marked.model.unscored == "weights missing"
    assert marked.run_id != whole.run_id
    assert marked.board_id != whole.board_id
    assert marked.build_ids[0] != whole.build_ids[0]
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / "a.pth").write_bytes(b"whatever it holds is checked when it is read")
    assert with_missing_marked([whole], tmp_path) == [whole]


def test_weights_of_a_library_are_missing_where_no_file_of_its_name_is(tmp_path: Path) -> None:
    whole = run_with(Weights(enum="IMAGENET1K_V1"), "torchvision:resnet18")
    [marked] = with_missing_marked([whole], tmp_path)
    assert marked.model.unscored == "weights missing"
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / "resnet50-0676ba61.pth").touch()
    [marked] = with_missing_marked([whole], tmp_path)
    assert marked.model.unscored == "weights missing"
    (tmp_path / "weights" / "resnet18-f37072fd.pth").touch()
    assert with_missing_marked([whole], tmp_path) == [whole]


def test_a_model_that_is_trained_misses_nothing(tmp_path: Path) -> None:
    trained = run_spec()
    assert with_missing_marked([trained], tmp_path) == [trained]


# Downloading


def _state() -> bytes:
    stream = io.BytesIO()
    torch.save({"weight": torch.arange(6.0).reshape(2, 3), "bias": torch.zeros(2)}, stream)
    return stream.getvalue()


def test_weights_are_downloaded_checked_and_then_left_alone(tmp_path: Path) -> None:
    content = _state()
    digest, said = hashlib.sha256(content).hexdigest()[:8], []
    listener = Listener(say=said.append, progress=lambda have, total: None)
    with RangeServer(content=content) as server:
        for _ in range(2):
            path = fetch_file(server.url, tmp_path, "weights/net.pth", digest, 10**6, listener)
        assert len(server.requests) == 1
    assert said == [server.url]
    layer = torch.nn.Linear(3, 2)
    load_into(layer, path)
    assert torch.equal(layer.weight.detach(), torch.arange(6.0).reshape(2, 3))


def test_another_file_than_the_published_one_is_refused_and_not_kept(tmp_path: Path) -> None:
    listener = Listener(say=lambda text: None, progress=lambda have, total: None)
    with RangeServer(content=b"another") as server, pytest.raises(DataError, match="begins with 00000000 expected"):
        fetch_file(server.url, tmp_path, "weights/net.pth", "00000000", 10**6, listener)
    assert not (tmp_path / "weights" / "net.pth").exists()
    assert not list((tmp_path / "downloads").glob("net*"))
