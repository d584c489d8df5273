"""The folder an artifact is kept in: whole or not at all, checked, and readable without torch."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from paretoboard.artifact import MANIFEST, Candidate, Execution, load, read_manifest, save, verify
from paretoboard.errors import NotApplicableError, StoreError
from small_models import SHAPE, candidate, fingerprint


def test_a_saved_candidate_comes_back_with_the_same_bits(tmp_path: Path) -> None:
    execution = Execution(runtime="eager", memory_format="channels_last")
    saved = dataclasses.replace(candidate(), execution=execution)
    save(saved, tmp_path / "artifact")
    loaded = load(tmp_path / "artifact")
    assert loaded.module is not None
    assert saved.module is not None
    assert fingerprint(loaded.module) == fingerprint(saved.module)
    assert not loaded.module.training
    assert dataclasses.replace(loaded, module=None) == dataclasses.replace(saved, module=None)


def test_a_graph_comes_back_byte_for_byte(tmp_path: Path) -> None:
    saved = Candidate(architecture="cifar-resnet8", classes=10, input_shape=SHAPE, graph=b"any bytes")
    info = save(saved, tmp_path / "artifact")
    assert load(tmp_path / "artifact") == saved
    assert (tmp_path / "artifact" / info.file).read_bytes() == b"any bytes"


def test_the_same_candidate_gives_the_same_file_in_another_process(tmp_path: Path) -> None:
    program = "import sys, pathlib; from small_models import candidate; from paretoboard.artifact import save; "
    program += "print(save(candidate(seed=4), pathlib.Path(sys.argv[1])).sha256)"
    other = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "other")],
        cwd=Path(__file__).parent,
        capture_output=True,
        text=True,
        check=True,
    )
    assert save(candidate(seed=4), tmp_path / "mine").sha256 == other.stdout.strip()


def test_weights_in_another_memory_format_give_the_same_file(tmp_path: Path) -> None:
    turned = candidate()
    assert turned.module is not None
    turned.module.to(memory_format=torch.channels_last)
    assert save(turned, tmp_path / "turned").sha256 == save(candidate(), tmp_path / "plain").sha256


def test_an_intact_artifact_is_kept_and_a_damaged_one_replaced(tmp_path: Path) -> None:
    folder = tmp_path / "artifact"
    first = save(candidate(seed=0), folder)
    assert save(candidate(seed=1), folder) == first
    (folder / first.file).write_bytes(b"damage")
    assert save(candidate(seed=1), folder) != first
    assert verify(folder).sha256 == save(candidate(seed=1), tmp_path / "again").sha256
    assert sorted(path.name for path in tmp_path.iterdir()) == ["again", "artifact"]


def test_one_changed_bit_is_found(tmp_path: Path) -> None:
    file = tmp_path / "artifact" / save(candidate(), tmp_path / "artifact").file
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    with pytest.raises(StoreError, match=r"weights\.pt: SHA-256 is"):
        load(tmp_path / "artifact")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": 2}, "format 2, this version reads format 1"),
        ({"surprise": 1}, "surprise"),
        ({"file": "../elsewhere"}, "file '../elsewhere'"),
        ({"form": "pickle"}, "for form 'pickle'"),
        ({"execution": {"runtime": "eager", "speed": 9}}, "speed"),
        ({"input_shape": "3x32x32"}, "not an artifact's manifest"),
    ],
)
def test_a_manifest_that_is_not_ours_is_refused(tmp_path: Path, change: dict[str, object], message: str) -> None:
    save(candidate(), tmp_path / "artifact")
    manifest = tmp_path / "artifact" / MANIFEST
    manifest.write_text(json.dumps(json.loads(manifest.read_text()) | change))
    with pytest.raises(StoreError, match=message):
        load(tmp_path / "artifact")


def test_a_folder_without_a_manifest_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="can't be read: No such file"):
        load(tmp_path / "nothing")
    (tmp_path / MANIFEST).write_text("{")
    with pytest.raises(StoreError, match="not an artifact's manifest"):
        load(tmp_path)


def test_weights_that_hold_code_are_not_run(tmp_path: Path) -> None:
    import hashlib

    save(candidate(), tmp_path / "artifact")
    file, manifest = tmp_path / "artifact" / "weights.pt", tmp_path / "artifact" / MANIFEST
    torch.save({"linear.weight": _Trap(tmp_path / "sprung")}, file)
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    manifest.write_text(json.dumps(json.loads(manifest.read_text()) | {"sha256": digest}))
    with pytest.raises(StoreError, match="not the weights of cifar-resnet8"):
        load(tmp_path / "artifact")
    assert not (tmp_path / "sprung").exists()


def test_a_module_whose_change_can_t_be_seen_in_its_layers_is_refused(tmp_path: Path) -> None:
    secret = candidate()
    assert secret.module is not None
    secret.module.get_submodule("layer2.0.shortcut").stride = 1  # type: ignore[assignment]
    secret.module.get_submodule("layer2.0.conv1").stride = (1, 1)  # type: ignore[assignment]
    with pytest.raises(NotApplicableError, match=r"can't be rebuilt|other outputs"):
        save(secret, tmp_path / "artifact")
    assert list(tmp_path.iterdir()) == []


def test_saving_and_loading_draw_no_random_numbers(tmp_path: Path) -> None:
    before = torch.get_rng_state()
    save(candidate(), tmp_path / "artifact")
    load(tmp_path / "artifact")
    assert torch.equal(torch.get_rng_state(), before)


def test_manifests_are_read_without_torch(tmp_path: Path) -> None:
    save(candidate(), tmp_path / "artifact")
    program = "import sys, pathlib; from paretoboard.artifact import verify; "
    program += "print(verify(pathlib.Path(sys.argv[1])).architecture, 'torch' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "artifact")], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["cifar-resnet8", "False"]
    assert (
        read_manifest(tmp_path / "artifact").stored.size_bytes == (tmp_path / "artifact" / "weights.pt").stat().st_size
    )


class _Trap:
    """Touches a file when it is unpickled without care."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self.path,)


def test_views_are_saved_without_what_they_are_views_of(tmp_path: Path) -> None:
    whole, part = candidate(), candidate()
    assert part.module is not None
    large = torch.zeros(1000, 64)
    large[:10] = part.module.get_submodule("linear").weight.detach()  # type: ignore[operator]
    part.module.get_submodule("linear").weight = nn.Parameter(large[:10])  # type: ignore[assignment]
    assert save(part, tmp_path / "part").sha256 == save(whole, tmp_path / "whole").sha256
