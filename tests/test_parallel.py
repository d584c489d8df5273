"""Trainings that several processes share: two gloo ranks on the CPU, in real processes."""

from __future__ import annotations

import dataclasses
import math
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch
import torch.distributed as dist
from torch import nn

from paretoboard.artifact import Candidate
from paretoboard.errors import DivergedError, InputError, NotApplicableError, ParallelError, ParetoboardError
from paretoboard.models import build
from paretoboard.spec import TrainSettings
from paretoboard.techniques.parallel import (
    DataParallel,
    ParallelTraining,
    PipelineParallel,
    ShardedDataParallel,
    TensorParallel,
)
from paretoboard.training import train
from paretoboard.training.parallel import Job, Trained, check, train_in_parallel
from paretoboard.training.parallel.comparing import _union, largest_difference
from paretoboard.training.parallel.job import TOLERANCE
from paretoboard.training.parallel.normalization import SynchronizedBatchNorm, synchronize
from paretoboard.training.parallel.spans import spans
from paretoboard.training.parallel.tensor import linear_layers
from small_models import PREPROCESS, SHAPE, candidate, images, workbench

LAUNCHER = "paretoboard.training.parallel.launcher"
SETTINGS = TrainSettings(epochs=2, lr=0.05, batch=16, schedule="onecycle", label_smoothing=0.1, augment=("flip",))
WAYS: list[dict[str, Any]] = [
    {"way": "data"},
    {"way": "sharded"},
    {"way": "tensor"},
    {"way": "pipeline", "schedule": "gpipe", "microbatches": 4},
    {"way": "pipeline", "schedule": "1f1b", "microbatches": 4},
]


def a_job(**changes: Any) -> Job:
    """Two ranks with a thread each."""
    given: dict[str, Any] = {
        "way": "data",
        "ranks": 2,
        "nodes": 1,
        "rendezvous": "",
        "device": "cpu",
        "threads": 1,
        "all_threads": 2,
        "settings": SETTINGS,
        "preprocess": PREPROCESS,
        "seed": 5,
        "timeout_s": 60.0,
        "rounds": 0,
    }
    return Job(**{**given, **changes})


def network(architecture: str = "parallel_models:tiny") -> Candidate:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        module = build(architecture, 10)
    return Candidate(architecture=architecture, classes=10, input_shape=SHAPE, module=module)


def run(
    job: Job,
    scratch: Path,
    start: Candidate | None = None,
    progress: Callable[[float, str], None] = lambda share, text: None,
) -> Trained:
    scratch.mkdir(exist_ok=True)
    try:
        return train_in_parallel(start or network(), images(64), job, scratch=scratch, progress=progress)
    finally:
        assert processes_of(scratch) == []
        assert list(scratch.glob("parallel-*")) == []


def processes_of(scratch: Path) -> list[psutil.Process]:
    """Launchers and ranks whose job lies there and that run, wherever they ended up in the tree of processes."""
    found = []
    for process in psutil.process_iter():
        try:
            command = process.cmdline()
            ours = LAUNCHER in command and any(part.startswith(str(scratch)) for part in command)
            if ours and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except psutil.NoSuchProcess:
            continue
    return found


def send(number: int, scratch: Path) -> None:
    """Send a signal to rank 1; ranks are forked one after the other."""
    everyone = processes_of(scratch)
    pids = {each.pid for each in everyone}
    ranks = sorted((each for each in everyone if each.ppid() in pids), key=lambda each: each.pid)
    assert len(ranks) == 2
    ranks[1].send_signal(number)


_HEARD = 6  # signs of life: ranks take turns, more or less


def at_first_step(act: Callable[[], None]) -> Callable[[float, str], None]:
    """Something that happens once, as soon as steps are done and all ranks have been heard of them."""
    heard: list[float] = []

    def progress(share: float, text: str) -> None:
        if share > 0:
            heard.append(share)
            if len(heard) == _HEARD:
                act()

    return progress


@pytest.mark.parametrize("way", WAYS, ids=lambda way: "-".join(str(part) for part in way.values()))
def test_two_ranks_train_what_one_process_does(way: dict[str, Any], tmp_path: Path) -> None:
    alone = network().module
    assert alone is not None
    whole = train(alone, images(64), SETTINGS, preprocess=PREPROCESS, seed=5, threads=1)
    shared = run(a_job(**way, rounds=1), tmp_path)
    wanted = alone.state_dict()
    assert shared.state.keys() == wanted.keys()
    for name, found in shared.state.items():
        # The order of sums differs: eight steps later some units in the last place have become 1e-5.
        torch.testing.assert_close(found, wanted[name], rtol=0, atol=1e-4 * float(wanted[name].abs().max()))
    assert shared.answer.losses == pytest.approx(whole.losses, rel=1e-4)
    assert list(tmp_path.iterdir()) == []
    comparison = shared.answer.comparison
    assert comparison is not None
    assert comparison.exact
    assert comparison.gradient_difference < 1e-9
    assert comparison.weight_difference < 1e-9
    assert all(0.001 < each < 100 for each in (*comparison.speedups, *comparison.scaling))
    assert [report.rank for report in shared.answer.reports] == [0, 1]
    assert all(report.memory_bytes > 100_000 for report in shared.answer.reports)
    assert shared.answer.communication is not None
    assert 0 < shared.answer.communication <= 1


@pytest.mark.skipif(
    torch.cuda.device_count() < 2, reason=f"NCCL needs a GPU for each of two ranks, found {torch.cuda.device_count()}"
)
@pytest.mark.parametrize("way", WAYS, ids=lambda way: "-".join(str(part) for part in way.values()))
def test_two_gpus_train_what_one_does(way: dict[str, Any], tmp_path: Path) -> None:
    comparison = run(a_job(**way, device="cuda", rounds=1), tmp_path).answer.comparison
    assert comparison is not None
    assert comparison.gradient_difference < TOLERANCE


@pytest.mark.slow
@pytest.mark.parametrize(
    "way", [{"way": "data"}, {"way": "sharded"}, {"way": "pipeline", "microbatches": 2}], ids=lambda way: way["way"]
)
def test_batch_norm_over_ranks_is_that_of_the_batch_and_in_a_pipeline_that_of_its_parts(
    way: dict[str, Any], tmp_path: Path
) -> None:
    settings = dataclasses.replace(SETTINGS, epochs=1, batch=32)
    shared = run(a_job(**way, settings=settings, rounds=1), tmp_path, candidate())
    comparison = shared.answer.comparison
    assert comparison is not None
    assert comparison.exact
    assert comparison.gradient_difference < 1e-9
    start = candidate().module
    assert start is not None
    alone = train(start, images(64), settings, preprocess=PREPROCESS, seed=5, threads=1)
    if way["way"] != "pipeline":
        assert shared.answer.losses == pytest.approx(alone.losses, rel=1e-3)
        means = [(name, mean) for name, mean in start.named_buffers() if name.endswith("running_mean")]
        for name, mean in means:
            torch.testing.assert_close(shared.state[name], mean, rtol=0.02, atol=0.01)


def test_batch_norm_of_each_ranks_own_part_is_another_training_and_said_to_be(tmp_path: Path) -> None:
    settings = dataclasses.replace(SETTINGS, epochs=1, batch=32)
    shared = run(a_job(settings=settings, batch_norm="local", rounds=1), tmp_path, candidate())
    comparison = shared.answer.comparison
    assert comparison is not None
    assert not comparison.exact
    assert comparison.gradient_difference > 1e-3


def test_a_rank_that_is_killed_is_named_with_its_step(tmp_path: Path) -> None:
    job = a_job(settings=dataclasses.replace(SETTINGS, epochs=10_000))
    kill = at_first_step(lambda: send(signal.SIGKILL, tmp_path))
    with pytest.raises(ParallelError, match=r"^rank 1 of 2 was killed by SIGKILL in step \d+ of 40000$"):
        run(job, tmp_path, progress=kill)


def test_a_rank_that_hangs_is_found_within_the_time_limit(tmp_path: Path) -> None:
    job = a_job(settings=dataclasses.replace(SETTINGS, epochs=10_000), timeout_s=10.0)
    hang = at_first_step(lambda: send(signal.SIGSTOP, tmp_path))
    said = (
        r"^no rank got anywhere for 10 s: rank 0 is in step \d+ of 40000, rank 1 was last heard \d+ s ago in step \d+ "
    )
    with pytest.raises(ParallelError, match=said):
        run(job, tmp_path, progress=hang)


def test_a_rank_that_fails_says_why_and_ends_the_others(tmp_path: Path) -> None:
    said = "^rank 1 of 2 failed in step 1 of 8: RuntimeError: a network of this kind$"
    with pytest.raises(ParallelError, match=said):
        run(a_job(), tmp_path, network("parallel_models:failing"))


@pytest.mark.slow
@pytest.mark.parametrize("way", [WAYS[1], WAYS[4]], ids=["sharded", "pipeline"])
def test_an_interrupted_training_goes_on_after_its_last_epoch_to_the_same_bits(
    way: dict[str, Any], tmp_path: Path
) -> None:
    settings = dataclasses.replace(SETTINGS, epochs=150, optimizer="adamw", lr=1e-3)
    job = a_job(**way, settings=settings, checkpoint_every_s=0.0)
    straight = run(job, tmp_path / "straight")
    scratch, killed = tmp_path / "broken", []

    def kill(share: float, text: str) -> None:
        if text.startswith("epoch") and int(text.split()[1]) > 3 and not killed:
            killed.append(True)
            send(signal.SIGKILL, scratch)

    with pytest.raises(ParallelError, match="was killed by SIGKILL"):
        run(job, scratch, progress=kill)
    told: list[str] = []
    resumed = run(job, scratch, progress=lambda share, text: told.append(text))
    first = next(text for text in told if text.startswith("epoch"))
    assert int(first.split()[1]) >= 3  # one rank may not have kept what the other has
    assert resumed.answer.losses == straight.answer.losses
    for name, wanted in straight.state.items():
        assert torch.equal(resumed.state[name], wanted), name


def test_a_training_that_diverges_names_epoch_and_step(tmp_path: Path) -> None:
    with pytest.raises(DivergedError, match=r"training diverged in epoch \d, step \d of 4: the loss is (nan|inf)"):
        run(a_job(settings=dataclasses.replace(SETTINGS, lr=1e30)), tmp_path)


def test_an_error_of_whoever_listens_ends_the_ranks(tmp_path: Path) -> None:
    class StoppedError(Exception):
        pass

    def stop(share: float, text: str) -> None:
        raise StoppedError

    with pytest.raises(StoppedError):
        run(a_job(), tmp_path, progress=stop)


def test_ranks_end_with_whoever_asked_for_them(tmp_path: Path) -> None:
    program = """
import dataclasses, pathlib, sys
from test_parallel import SETTINGS, a_job, run
def progress(share, text):
    if share > 0:
        print(text, flush=True)
run(a_job(settings=dataclasses.replace(SETTINGS, epochs=10_000)), pathlib.Path(sys.argv[1]), progress=progress)
"""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    command = [sys.executable, "-c", program, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout is not None
        assert "images/s on 2 ranks" in process.stdout.readline()
        assert len(processes_of(tmp_path)) == 3
        process.kill()
    deadline = time.monotonic() + 10
    while processes_of(tmp_path) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert processes_of(tmp_path) == []


def free_port() -> int:
    with socket.socket() as door:
        door.bind(("127.0.0.1", 0))
        return int(door.getsockname()[1])


def together(jobs: list[Job], scratch: Path) -> list[Trained | Exception]:
    """Each job as a node of its own, at the same time."""
    found: list[Trained | Exception] = [InputError("never ended")] * len(jobs)
    start = network()  # here, since threads draw from one generator

    def node(number: int, job: Job) -> None:
        folder = scratch / str(number)
        folder.mkdir()
        try:
            found[number] = train_in_parallel(start, images(64), job, scratch=folder, progress=lambda share, text: None)
        except ParetoboardError as error:
            found[number] = error

    threads = [threading.Thread(target=node, args=each) for each in enumerate(jobs)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert processes_of(scratch) == []
    return found


def test_nodes_that_meet_train_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GLOO_SOCKET_IFNAME", "lo")
    job = a_job(nodes=2, rendezvous=f"127.0.0.1:{free_port()}")
    one, other = together([job, job], tmp_path)
    assert isinstance(one, Trained)
    assert isinstance(other, Trained)
    alone = network().module
    assert alone is not None
    train(alone, images(64), SETTINGS, preprocess=PREPROCESS, seed=5, threads=1)
    for name, wanted in alone.state_dict().items():
        assert torch.equal(one.state[name], other.state[name])
        torch.testing.assert_close(one.state[name], wanted, rtol=0, atol=1e-4 * float(wanted.abs().max()))


def test_another_number_of_ranks_than_the_job_has_is_an_error_on_every_node(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GLOO_SOCKET_IFNAME", "lo")
    job = a_job(nodes=2, rendezvous=f"127.0.0.1:{free_port()}")
    found = together([job, dataclasses.replace(job, ranks=4)], tmp_path)
    assert all(isinstance(each, ParallelError) for each in found)
    said = [str(each) for each in found]
    assert any("2 ranks are asked for and 3 met" in each for each in said)
    assert any("4 ranks are asked for and 3 met" in each for each in said)


def test_a_node_that_never_comes_is_waited_for_no_longer_than_the_time_limit(tmp_path: Path) -> None:
    job = a_job(nodes=2, rendezvous=f"127.0.0.1:{free_port()}", timeout_s=10.0)
    with pytest.raises(ParallelError, match=r"^not all of 2 nodes came to 127\.0\.0\.1:\d+ in time"):
        run(job, tmp_path)


@pytest.mark.parametrize("shape", [(6, 4, 5, 5), (6, 4)])
def test_synchronized_batch_norm_of_one_rank_is_batch_norm(shape: tuple[int, ...]) -> None:
    theirs: nn.Module = nn.BatchNorm2d(4) if len(shape) == 4 else nn.BatchNorm1d(4)
    with torch.no_grad():
        theirs.weight.uniform_(0.5, 2, generator=torch.Generator().manual_seed(0))  # type: ignore[operator]
        theirs.bias.uniform_(-1, 1, generator=torch.Generator().manual_seed(1))  # type: ignore[operator]
    ours = nn.Sequential(nn.Sequential(theirs))
    theirs = type(theirs)(4)
    theirs.load_state_dict(ours[0][0].state_dict())
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    try:
        assert synchronize(ours) == 1
        assert isinstance(ours[0][0], SynchronizedBatchNorm)
        for seed in (2, 3):
            x = 3 + 2 * torch.randn(shape, generator=torch.Generator().manual_seed(seed))
            weight = torch.randn(shape, generator=torch.Generator().manual_seed(seed + 10))
            given = [x.clone().requires_grad_(True) for _ in range(2)]
            (ours(given[0]) * weight).sum().backward()
            (theirs(given[1]) * weight).sum().backward()
            torch.testing.assert_close(given[0].grad, given[1].grad, rtol=1e-4, atol=1e-5)
        for (name, mine), reference in zip(ours[0][0].named_parameters(), theirs.parameters(), strict=True):
            torch.testing.assert_close(mine.grad, reference.grad, rtol=1e-4, atol=1e-5, msg=name)
        torch.testing.assert_close(ours[0][0].state_dict(), theirs.state_dict(), rtol=1e-5, atol=1e-6)
        x = torch.randn(shape, generator=torch.Generator().manual_seed(9))
        torch.testing.assert_close(ours.eval()(x), theirs.eval()(x), rtol=1e-5, atol=1e-5)
    finally:
        dist.destroy_process_group()


@pytest.mark.parametrize("count", [2, 3, 5])
def test_spans_one_after_the_other_are_the_network(count: int) -> None:
    module = network("cifar-resnet20").module
    assert module is not None
    cut = spans(module, SHAPE, count)
    x = torch.rand(2, *SHAPE, generator=torch.Generator().manual_seed(0))
    wanted, found = module(x), x
    for span in cut:
        found = span.module(found)
        assert found.shape[1:] == span.shape
    torch.testing.assert_close(found, wanted)
    names = [name for span in cut for name in span.module.state_dict()]
    assert sorted(names) == sorted(module.state_dict())  # each once
    work = [span.flops for span in cut]
    assert sum(work) > 0
    assert max(work) < 2 * sum(work) / count


def test_a_network_that_is_no_sequence_or_too_short_a_one_is_refused() -> None:
    with pytest.raises(NotApplicableError, match=r"_Wilful can't be cut into a sequence, torch\.fx does not follow it"):
        spans(build("parallel_models:wilful", 10), SHAPE, 2)
    with pytest.raises(
        NotApplicableError, match=r"can't be cut into 4 spans with parameters of their own.*; 3 would do"
    ):
        spans(build("parallel_models:tiny", 10), SHAPE, 4)


def test_two_linear_layers_with_nothing_but_functions_between_them_are_a_pair() -> None:
    assert linear_layers(build("parallel_models:tiny", 10), 2) == ([("3", "5")], [])
    assert linear_layers(build("parallel_models:tiny", 10), 5) == ([], ["3", "5"])  # 24 outputs are no five parts
    assert linear_layers(nn.TransformerEncoderLayer(8, 2, 16), 2) == ([("linear1", "linear2")], [])
    assert linear_layers(build("cifar-resnet8", 10), 2) == ([], ["linear"])
    with pytest.raises(NotApplicableError, match="spreads linear layers of 2 outputs or more, and Conv2d has none"):
        linear_layers(nn.Conv2d(3, 4, 3), 2)


def test_differences_are_shares_of_the_largest_entry_and_infinite_where_nothing_can_be_compared() -> None:
    wanted = {"a": torch.tensor([1.0, -4.0]), "b": torch.tensor([0.5])}
    assert largest_difference(wanted, wanted) == 0
    assert largest_difference({"a": torch.tensor([1.0, -3.0]), "b": torch.tensor([0.6])}, wanted) == 0.25
    assert math.isinf(largest_difference({"a": wanted["a"]}, wanted))
    assert math.isinf(largest_difference({**wanted, "b": torch.tensor([math.nan])}, wanted))
    assert math.isinf(largest_difference({**wanted, "b": torch.tensor([0.5, 0.5])}, wanted))


def test_what_spans_of_time_cover_is_counted_once() -> None:
    assert _union([]) == 0
    assert _union([(5, 6), (0, 2), (1, 3), (1.5, 2)]) == 4


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"ranks": 3}, "a batch of 16 images can't be shared evenly by 3 ranks"),
        ({"way": "pipeline", "microbatches": 5}, "a batch of 16 images has no 5 microbatches of one size"),
        ({"way": "pipeline", "microbatches": 1}, "1f1b needs as many microbatches as ranks, found 1"),
        (
            {"device": "cuda", "ranks": 64, "settings": dataclasses.replace(SETTINGS, batch=64)},
            "NCCL|64 ranks need a GPU",
        ),
    ],
)
def test_what_can_t_be_shared_is_refused_before_any_process_is_started(changes: dict[str, Any], reason: str) -> None:
    with pytest.raises(NotApplicableError, match=reason):
        check(a_job(**changes), 64)


@pytest.mark.parametrize(
    ("parameters", "reason"),
    [
        ({"ranks": 3, "nodes": 2}, "3 ranks can't be spread evenly over 2 nodes"),
        ({"rendezvous": "here:1"}, "set 'nodes' too"),
    ],
)
def test_parameters_that_don_t_go_together_are_an_input_error(parameters: dict[str, Any], reason: str) -> None:
    with pytest.raises(InputError, match=reason):
        DataParallel(**parameters)


@pytest.mark.parametrize("kind", [DataParallel, PipelineParallel, ShardedDataParallel, TensorParallel])
def test_a_model_that_was_read_from_a_file_is_refused(kind: type[ParallelTraining], tmp_path: Path) -> None:
    with pytest.raises(NotApplicableError, match="name 'train' instead of 'weights'"):
        kind().apply(network(), workbench(tmp_path))


def test_nodes_without_a_place_to_meet_are_refused(tmp_path: Path) -> None:
    bench = dataclasses.replace(workbench(tmp_path), train_settings=SETTINGS)
    with pytest.raises(NotApplicableError, match="2 nodes need a place to meet"):
        DataParallel(nodes=2).apply(network(), bench)


def test_a_recipe_trains_from_the_tasks_own_initial_weights_and_reports_what_ranks_bought(tmp_path: Path) -> None:
    bench = dataclasses.replace(workbench(tmp_path), train_settings=SETTINGS, train_seed=5)
    trained = network()
    applied = DataParallel(rounds=6).apply(trained, bench)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        alone = build("parallel_models:tiny", 10)
    train(alone, bench.train_images(), SETTINGS, preprocess=PREPROCESS, seed=5, threads=1)
    found = applied.candidate.module
    assert found is not None
    for mine, wanted in zip(found.parameters(), alone.parameters(), strict=True):
        torch.testing.assert_close(mine, wanted, rtol=0, atol=1e-4 * float(wanted.abs().max()))
    assert applied.images_seen == 2 * 64
    values = {metric.name: metric for metric in applied.metrics}
    assert values.keys() == {"train_speedup", "scaling_efficiency", "communication_share", "rank_memory"}
    speedup = values["train_speedup"]
    assert speedup.n == 6
    assert speedup.low is not None
    assert speedup.high is not None
    assert speedup.low <= speedup.value <= speedup.high
    notes = "\n".join(applied.notes)
    for said in ("2 ranks through gloo", "images/s against", "of perfect scaling", "1e-06 is tolerated", "under way"):
        assert said in notes
