"""Training the task's network anew: what is named is all that differs, budgets are shared, and all of it is kept."""

from __future__ import annotations

import dataclasses
import mmap
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from paretoboard import models, store, taskfile
from paretoboard.artifact import load, save
from paretoboard.datasets.weights import sha256_of
from paretoboard.errors import DataError, DivergedError, InputError, NotApplicableError, RefusedError, TaskFileError
from paretoboard.plan import RunSpec, expand
from paretoboard.spec import BASELINE, ModelUse, Recipe, TechniqueUse, TrainSettings
from paretoboard.techniques import Applied, Workbench
from paretoboard.techniques.prune import StructuredPruning
from paretoboard.techniques.train import Scratch, Transfer
from paretoboard.techniques.train.anew import TrainedAnew
from paretoboard.training import train
from paretoboard_runners import energy, memory, repeating, verify
from paretoboard_runners.build import build
from paretoboard_runners.jobs import BuildJob, BuildResult
from small_models import PREPROCESS, candidate, fingerprint, images, module, workbench

SETTINGS = TrainSettings(epochs=2, lr=0.05, batch=16, augment=("flip",), schedule="onecycle")
SEED = 17  # the workbench's train_seed


def bench(scratch: Path, **changes: Any) -> Workbench:
    return dataclasses.replace(workbench(scratch), **{"train_settings": SETTINGS, **changes})


def own(settings: TrainSettings = SETTINGS) -> nn.Module:
    """What the task's own training gives."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        network = models.build("cifar-resnet8", 10)
    train(network, images(64, seed=1), settings, preprocess=PREPROCESS, seed=SEED)
    return network


def network_of(applied: Applied) -> nn.Module:
    found = applied.candidate.module
    assert found is not None
    return found


# train.scratch


def test_every_setting_of_training_is_a_parameter_that_is_the_tasks_by_default() -> None:
    parameters = {field.name: field.default for field in dataclasses.fields(TrainedAnew)}
    assert parameters.pop("difficulty") == "model"
    assert parameters.keys() == {field.name for field in dataclasses.fields(TrainSettings)}
    assert set(parameters.values()) == {None}
    assert Scratch().settings(SETTINGS, "train.scratch") == SETTINGS


def test_without_a_difference_the_weights_are_the_tasks_own_bit_for_bit(tmp_path: Path) -> None:
    alike = Scratch().apply(candidate(), bench(tmp_path / "a"))
    other = Scratch(label_smoothing=0.1).apply(candidate(), bench(tmp_path / "b"))
    assert fingerprint(network_of(alike)) == fingerprint(own())
    assert fingerprint(network_of(other)) == fingerprint(own(dataclasses.replace(SETTINGS, label_smoothing=0.1)))
    assert alike.anew
    assert alike.images_seen == 2 * 64
    assert not any("images seen" in note or "budget" in note for note in (*alike.notes, *other.notes))


def test_an_interrupted_technique_goes_on_to_the_same_bits(tmp_path: Path) -> None:
    made = Scratch(held_out=0.2, patience=1, precision="bfloat16")

    def kill(share: float, text: str) -> None:
        if share >= 0.6:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        made.apply(candidate(), bench(tmp_path / "a", progress=kill))
    shares: list[float] = []
    rest = made.apply(candidate(), bench(tmp_path / "a", progress=lambda share, text: shares.append(share)))
    assert min(shares) >= 0.6
    straight = made.apply(candidate(), bench(tmp_path / "b"))
    assert fingerprint(network_of(rest)) == fingerprint(network_of(straight))


@pytest.mark.parametrize("normalization", ["group", "none"])
def test_another_normalization_and_dropout_are_stored_with_the_weights(normalization: Any, tmp_path: Path) -> None:
    pytest.importorskip("paretoboard.models.surgery")
    applied = Scratch(normalization=normalization, dropout=0.2).apply(candidate(), bench(tmp_path / "s"))
    save(applied.candidate, tmp_path / "artifact")
    found = load(tmp_path / "artifact").module
    assert found is not None
    assert not any(isinstance(layer, nn.BatchNorm2d) for layer in found.modules())
    assert any(isinstance(layer, nn.Dropout) for layer in found.modules())
    assert fingerprint(found) == fingerprint(network_of(applied))


def test_the_normalization_that_it_has_is_no_difference(tmp_path: Path) -> None:
    applied = Scratch(normalization="batch", dropout=0.0).apply(candidate(), bench(tmp_path))
    assert fingerprint(network_of(applied)) == fingerprint(own())


def test_what_pruning_left_is_trained_anew_and_its_cost_counts(tmp_path: Path) -> None:
    pruned = StructuredPruning(parameters=0.3).apply(candidate(), workbench(tmp_path / "p")).candidate
    applied = Scratch().apply(pruned, bench(tmp_path / "s"))
    assert pruned.module is not None
    shapes = {name: tensor.shape for name, tensor in pruned.module.state_dict().items()}
    assert {name: tensor.shape for name, tensor in network_of(applied).state_dict().items()} == shapes
    assert not applied.anew


def test_a_model_that_the_task_did_not_train_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NotApplicableError, match="was read from a file"):
        Scratch().apply(candidate(), bench(tmp_path, train_settings=None))


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"patience": 2}, "train.scratch: patience needs images to judge on"),
        ({"alternate_flip": True, "augment": ()}, "train.scratch: alternate_flip needs 'flip'"),
        ({"curriculum": "random", "seconds": 2.0}, "train.scratch: the pace of a curriculum"),
    ],
)
def test_settings_that_do_not_go_with_the_tasks_are_refused_with_the_reason(
    parameters: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(NotApplicableError, match=message):
        Scratch(**parameters).apply(candidate(), bench(tmp_path))


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"pacing_start": 0.1}, "that of a curriculum"),
        ({"pacing": "single-step", "curriculum": "none"}, "that of a curriculum"),
        ({"curriculum": "random", "difficulty": "teacher"}, "ranks images for a curriculum"),
        ({"seconds": 1.0, "joules": 1.0}, "one budget"),
    ],
)
def test_parameters_that_never_go_together_are_an_input_error(parameters: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Scratch(**parameters)


def test_images_are_difficulty_the_model_that_came_or_by_a_teacher(tmp_path: Path) -> None:
    pace: dict[str, Any] = {"pacing_start": 0.5, "pacing_lengths": (0.5,)}
    made = [Scratch(curriculum=order, **pace) for order in ("easy-first", "hard-first", "random")]  # type: ignore[arg-type]
    made.append(Scratch(curriculum="easy-first", difficulty="teacher", **pace))
    assert [one.needs_now() for one in made] == [("train",)] * 3 + [("train", "teacher")]
    weights = {fingerprint(own())}
    for number, one in enumerate(made):
        applied = one.apply(candidate(), bench(tmp_path / str(number)))
        assert applied.images_seen == 2 * 64
        assert any("ranked by their loss" in note for note in applied.notes) == (one.curriculum != "random")
        weights.add(fingerprint(network_of(applied)))
    assert len(weights) == 5


def test_a_training_that_diverges_names_epoch_and_step(tmp_path: Path) -> None:
    with pytest.raises(DivergedError, match=r"epoch \d, step \d of 4: the loss is (nan|inf)"):
        Scratch(lr=1e30).apply(candidate(), bench(tmp_path))


# Budgets


@pytest.mark.parametrize(
    ("parameters", "note"),
    [
        ({"epochs": 1}, "64 images seen, the task's own training sees 128"),
        ({"seconds": 1e4}, "not the task's budget: 10000 s here, 2 epochs there"),
        ({"held_out": 0.3}, "64 images seen, the task's own training sees 128"),
    ],
)
def test_what_is_not_equal_is_said(parameters: dict[str, Any], note: str, tmp_path: Path) -> None:
    applied = Scratch(**parameters).apply(candidate(), bench(tmp_path))
    assert note in applied.notes


def test_stopping_early_is_said_with_the_epoch_that_is_kept(tmp_path: Path) -> None:
    settings = dataclasses.replace(SETTINGS, epochs=8, lr=1e-9, held_out=0.2)
    applied = Scratch(patience=1).apply(candidate(), bench(tmp_path, train_settings=settings))
    said = [
        re.match(r"stopped early after epoch (\d); the weights are those of epoch (\d)", note) for note in applied.notes
    ]
    (found,) = filter(None, said)
    assert int(found[1]) == int(found[2]) + 1 < 8
    assert any("the task's own training sees" in note for note in applied.notes)


def test_all_arms_get_the_seconds_of_the_task(tmp_path: Path) -> None:
    timed = dataclasses.replace(SETTINGS, seconds=0.2, epochs=10_000)
    applied = Scratch(batch=32).apply(candidate(), bench(tmp_path, train_settings=timed))
    assert applied.training is not None
    assert applied.training.fair == "seconds"
    assert 0.2 <= applied.training.seconds < 5
    assert not any("budget" in note for note in applied.notes)


def test_a_budget_of_its_own_says_why_it_can_t_be_repeated() -> None:
    assert Scratch().unrepeatable() == ""
    assert "seconds are used up" in Scratch(seconds=3.0).unrepeatable()
    assert "joules are used up" in Scratch(joules=3.0).unrepeatable()
    # And takes the place of the task's.
    timed = dataclasses.replace(SETTINGS, seconds=2.0)
    assert Scratch(joules=3.0).settings(timed, "x") == dataclasses.replace(SETTINGS, joules=3.0)


# train.transfer

ELSEWHERE = {"weights": "elsewhere.pth", "sha256": "0" * 64}


def learned(classes: int = 10) -> dict[str, Tensor]:
    """A state dict of the same architecture that was trained elsewhere."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        network = models.build("cifar-resnet8", classes)
    for layer in network.modules():
        if isinstance(layer, nn.BatchNorm2d):
            nn.init.uniform_(layer.running_mean, -0.2, 0.2)  # type: ignore[arg-type]
    return dict(network.state_dict())


def transfer(scratch: Path, state: dict[str, Tensor], **parameters: Any) -> Applied:
    made = Transfer(**ELSEWHERE, **parameters)
    return made.apply(candidate(), bench(scratch, weights=lambda weights: state))


def moved(applied: Applied, state: dict[str, Tensor]) -> set[str]:
    """Which parts of the network are no longer as they were learned."""
    after = network_of(applied).state_dict()
    return {name.split(".")[0] for name in after if not torch.equal(after[name], state[name])}


@pytest.mark.parametrize(
    ("parameters", "expected"),
    [
        ({"trainable": "all"}, {"conv1", "bn1", "layer1", "layer2", "layer3", "linear"}),
        ({"trainable": "head"}, {"linear"}),
        ({"trainable": "partial", "stages": 1}, {"layer3", "linear"}),
        ({"trainable": "partial", "stages": 2}, {"layer2", "layer3", "linear"}),
    ],
)
def test_what_is_frozen_stays_to_the_bit_and_the_rest_is_trained(
    parameters: dict[str, Any], expected: set[str], tmp_path: Path
) -> None:
    state = learned()
    applied = transfer(tmp_path / "s", state, **parameters)
    assert moved(applied, state) == expected
    assert all(parameter.requires_grad for parameter in network_of(applied).parameters())
    total = sum(parameter.numel() for parameter in network_of(applied).parameters())
    trained = sum(
        parameter.numel()
        for name, parameter in network_of(applied).named_parameters()
        if name.startswith(tuple(expected))
    )
    assert f"{trained:,} of {total:,} weights were trained, the others are those of elsewhere.pth" in applied.notes
    save(applied.candidate, tmp_path / "a")


def test_the_head_begins_anew_as_the_tasks_own_does_or_is_kept(tmp_path: Path) -> None:
    state = learned()
    slow = dataclasses.replace(SETTINGS, lr=1e-12)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        fresh = models.build("cifar-resnet8", 10)
    for head, wanted in (("new", fresh.state_dict()), ("kept", state)):
        made = Transfer(**ELSEWHERE, head=head, trainable="head")  # type: ignore[arg-type]
        applied = made.apply(candidate(), bench(tmp_path / head, weights=lambda weights: state, train_settings=slow))
        torch.testing.assert_close(network_of(applied).state_dict()["linear.weight"], wanted["linear.weight"])


def test_from_weights_of_other_classes_only_a_new_head_is_possible(tmp_path: Path) -> None:
    state = learned(classes=7)
    assert network_of(transfer(tmp_path / "new", state)).get_parameter("linear.weight").shape == (10, 64)
    with pytest.raises(NotApplicableError, match=r"'linear.bias' .* has shape \(7,\), .* \(10,\); head = \"new\""):
        transfer(tmp_path / "kept", state, head="kept")


def test_weights_from_before_torch_counted_batches_are_transferred(tmp_path: Path) -> None:
    state = {name: tensor for name, tensor in learned().items() if not name.endswith(".num_batches_tracked")}
    after = network_of(transfer(tmp_path / "old", state, trainable="head"))
    assert torch.equal(after.get_parameter("conv1.weight"), state["conv1.weight"])
    assert torch.equal(after.get_buffer("bn1.running_mean"), state["bn1.running_mean"])
    with pytest.raises(NotApplicableError, match=r"'bn1\.running_mean' is in one alone"):
        transfer(tmp_path / "lacking", {name: value for name, value in state.items() if name != "bn1.running_mean"})


def test_weights_of_another_network_and_stages_that_it_has_not_are_refused(tmp_path: Path) -> None:
    other = module("cifar-resnet20").state_dict()
    with pytest.raises(NotApplicableError, match=r"of another network: 'layer1\.1\.bn1\.bias'"):
        transfer(tmp_path / "a", dict(other))
    wider = learned() | {"conv1.weight": torch.zeros(32, 3, 3, 3)}
    with pytest.raises(NotApplicableError, match=r"'conv1.weight' of elsewhere.pth has shape \(32, 3, 3, 3\)"):
        transfer(tmp_path / "b", wider)
    with pytest.raises(NotApplicableError, match="4 stages are to be trained, and a CifarResNet names 3"):
        transfer(tmp_path / "c", learned(), trainable="partial", stages=4)
    with pytest.raises(InputError, match="need each other"):
        Transfer(**ELSEWHERE, stages=1)
    with pytest.raises(DataError, match="no data root"):
        Transfer(**ELSEWHERE).apply(candidate(), bench(tmp_path / "d"))


# Through the runner


def a_job(folder: Path, *steps: tuple[str, dict[str, Any]], **settings: Any) -> BuildJob:
    """Builds ResNet-8 on the first of the digits, and then the steps."""
    (folder / "digits.txt").write_text("".join(f"digits/{index:04d}\n" for index in range(64)))
    (folder / "test.txt").write_text("".join(f"digits/{index:04d}\n" for index in range(100, 140)))
    path = folder / "task.toml"
    path.write_text(
        """
        version = 1
        title = "Trained"
        quality = { metric = "top1" }
        profiles = ["cpu-1"]
        [dataset]
        name = "digits"
        subset = "test"
        train = "digits"
        [model]
        name = "cifar-resnet8"
        train = { epochs = 1, lr = 0.05, batch = 16 }
        """
    )
    run = next(iter(expand([taskfile.load(path)])))
    assert run.model.train is not None
    uses = tuple(TechniqueUse(name=name, version=1, parameters=parameters) for name, parameters in steps)
    run = dataclasses.replace(
        run,
        model=ModelUse(name=run.model.name, train=dataclasses.replace(run.model.train, **settings)),
        recipe=Recipe(name="other" if steps else BASELINE, steps=uses),
    )
    return BuildJob(
        run=run,
        data_root=folder,
        artifacts=folder / "artifacts",
        environment_id="e" * 64,
        hardware_id="f" * 64,
        cores=tuple(sorted(os.sched_getaffinity(0))),
    )


def built(job: BuildJob, folder: Path) -> BuildResult:
    return build(job, folder, lambda event: None)


def test_a_build_keeps_how_it_was_trained_and_training_anew_begins_the_count_again(tmp_path: Path) -> None:
    scratch = ("train.scratch", {"held_out": 0.2, "target": 1e-9})
    first = built(a_job(tmp_path), tmp_path).cost
    anew = built(a_job(tmp_path, scratch), tmp_path).cost
    further = built(a_job(tmp_path, scratch, ("train.finetune", {"epochs": 1})), tmp_path).cost
    assert [training.step for training in first.trainings] == ["model"]
    assert [training.step for training in anew.trainings] == ["train.scratch"]
    assert [training.step for training in further.trainings] == ["train.scratch", "train.finetune"]
    assert first.images_seen == 64
    assert anew.images_seen == anew.trainings[0].images_seen == 48
    assert further.images_seen == 48 + 64
    assert anew.total_s == anew.step_s
    (training,) = anew.trainings
    assert 0 < training.seconds < anew.step_s
    assert training.seconds_to_target == training.curve[0].seconds
    assert len(training.weights) == 64
    assert training.curve[0].held_out_top1 is not None
    with memory.watched() as peak_bytes:
        known = peak_bytes() is not None
    assert (training.peak_bytes is not None) == known
    assert (training.energy_j is None) == bool(energy.why_not("cpu"))


def test_weights_from_the_data_root_are_transferred(tmp_path: Path) -> None:
    (tmp_path / "weights").mkdir()
    torch.save(learned(), tmp_path / "weights" / "elsewhere.pth")
    digest = sha256_of(tmp_path / "weights" / "elsewhere.pth")
    step = {"weights": "elsewhere.pth", "sha256": digest, "trainable": "head"}
    after = load(built(a_job(tmp_path, ("train.transfer", step)), tmp_path).folder).module
    assert after is not None
    assert torch.equal(after.get_parameter("conv1.weight"), learned()["conv1.weight"])
    with pytest.raises(DataError, match="SHA-256"):
        built(a_job(tmp_path, ("train.transfer", {**step, "sha256": "1" * 64})), tmp_path)


@pytest.mark.skipif(not energy.why_not("cpu"), reason="this machine counts its energy")
@pytest.mark.parametrize("whose", ["task", "step"])
def test_a_budget_of_energy_is_refused_with_the_reason_where_nothing_counts_it(whose: str, tmp_path: Path) -> None:
    job = a_job(tmp_path, joules=50.0) if whose == "task" else a_job(tmp_path, ("train.scratch", {"joules": 50.0}))
    with pytest.raises(RefusedError, match="equal energy can't be kept: "):
        built(job, tmp_path)


def test_what_a_clock_decided_is_kept_apart_by_machine_and_needs_not_be_the_same_again(tmp_path: Path) -> None:
    timed = a_job(tmp_path, ("train.finetune", {"epochs": 1}), seconds=0.1, epochs=1000)
    still = a_job(tmp_path, ("train.finetune", {"epochs": 1}))
    budget = a_job(tmp_path, ("train.scratch", {"seconds": 0.1}), ("train.finetune", {"epochs": 1}))
    reasons = {name: repeating.unrepeatable(job.run.content()) for name, job in
               (("timed", timed), ("still", still), ("budget", budget))}  # fmt: skip
    assert [bool(reason) for reason in reasons["timed"]] == [True, False]
    assert [bool(reason) for reason in reasons["budget"]] == [False, True, False]
    assert reasons["still"] == ("", "")
    assert built(timed, tmp_path).folder.name.endswith("-eeeeeeee-ffffffff")
    assert built(still, tmp_path).folder.name.endswith("-eeeeeeee")


def test_what_a_teacher_trained_by_the_clock_teaches_needs_not_be_the_same_again(tmp_path: Path) -> None:
    job = a_job(tmp_path, ("distill.logits", {"epochs": 1}), ("train.finetune", {"epochs": 1}))
    teacher = ModelUse(name="cifar-resnet8", train=dataclasses.replace(SETTINGS, seconds=1.0))
    reasons = repeating.unrepeatable(dataclasses.replace(job.run, teacher=teacher).content())
    assert [bool(reason) for reason in reasons] == [False, True, False]


def test_verifying_a_training_compares_the_weights_that_it_left(tmp_path: Path) -> None:
    import builders

    job = a_job(tmp_path, ("train.scratch", {"lr": 0.02}))
    trainings = built(job, tmp_path).cost.trainings
    again = built(dataclasses.replace(job, artifacts=tmp_path / "again"), tmp_path).cost.trainings
    stored = builders.run_record("scratch", spec=job.run, trainings=trainings)
    repeated = builders.run_record("scratch", spec=job.run, trainings=again)
    (found, *_) = verify.compare_with_stored(stored, repeated)
    assert (found.what, found.holds) == ("weights that train.scratch trained", True)
    other = dataclasses.replace(repeated, trainings=(dataclasses.replace(again[0], weights="0" * 64),))
    (found, *_) = verify.compare_with_stored(stored, other)
    assert not found.holds
    by_clock: RunSpec = a_job(tmp_path, seconds=1.0).run
    findings = verify.compare_with_stored(
        builders.run_record(spec=by_clock, trainings=trainings),
        builders.run_record(spec=by_clock, trainings=other.trainings),
    )
    assert findings[0].holds
    assert "seconds are used up" in findings[0].repeated


def test_a_task_says_at_once_what_its_training_lacks(tmp_path: Path) -> None:
    a_job(tmp_path)
    path = tmp_path / "task.toml"
    whole = path.read_text()
    for wrong, message in (
        ("patience = 3", "'patience' needs images to judge on"),
        ("target = 0.9", "'target' needs images to judge on"),
        ("seconds = 60.0, joules = 9.0", "one of them is right"),
        ("alternate_flip = true", "needs 'flip'"),
    ):
        path.write_text(whole.replace("batch = 16", f"batch = 16, {wrong}"))
        with pytest.raises(TaskFileError, match=message):
            taskfile.load(path)
    path.write_text(whole.replace("batch = 16", "batch = 16, held_out = 0.1, patience = 3, target = 0.9, seconds = 60"))
    settings = taskfile.load(path).model.train
    assert settings is not None
    assert (settings.held_out, settings.patience, settings.target, settings.seconds) == (0.1, 3, 0.9, 60.0)


def test_the_peak_of_a_block_is_what_it_added() -> None:
    with memory.watched() as peak_bytes:
        nothing = peak_bytes()
        if nothing is None:
            pytest.skip("this kernel doesn't let a process begin its peak anew")
        # Mapped anew: what was freed before may still be resident, and would be taken again.
        with mmap.mmap(-1, 64 << 20, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as held:
            for _ in range(64):
                held.write(bytes([1]) * (1 << 20))
        found = peak_bytes()
    assert nothing < 16 << 20
    assert found is not None
    assert 60 << 20 < found < 100 << 20


def test_where_a_peak_can_t_begin_anew_none_is_said(tmp_path: Path) -> None:
    with memory.watched(tmp_path / "nobody") as peak_bytes:
        assert peak_bytes() is None


@pytest.mark.slow
def test_a_measured_training_stands_in_the_record_and_repeats_to_the_bit(tiny_task: Path, tmp_path: Path) -> None:
    task = tiny_task.with_name("trained.toml")
    task.write_text(
        """
        extends = "tiny.toml"
        version = 1
        [model]
        train = { epochs = 1, lr = 0.1, batch = 64, held_out = 0.1, target = 0.01 }
        [measure]
        budget = "none"
        [recipes.slow]
        steps = [{ technique = "train.scratch", lr = 0.01 }]
        """
    )
    command = [sys.executable, "-m", "paretoboard", "run", str(task), "--results", str(tmp_path), "--only", "slow"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    records = {record.recipe: record for record in store.read(tmp_path).records}
    for recipe, step in ((BASELINE, "model"), ("slow", "train.scratch")):
        record = records[recipe]
        (training,) = record.trainings
        (point,) = training.curve
        assert training.step == step
        assert point.images_seen == training.images_seen == 1024  # of 1,200 less a tenth, whole batches
        values = {value.name: value.value for value in record.metrics}
        assert values["images_seen"] == 1024
        assert values["train_time"] == training.seconds < values["build_time"]
        assert values["time_to_target"] == point.seconds
        assert values.get("train_memory") == training.peak_bytes
        assert ("train_energy" in values) == (not energy.why_not("cpu"))
    again = subprocess.run([*command, "--verify", "--sample", "2"], capture_output=True, text=True, timeout=300)
    assert "weights that model trained: holds" in again.stdout
    assert "weights that train.scratch trained: holds" in again.stdout
