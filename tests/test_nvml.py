"""NVIDIA devices: the same tests on the fake devices and, where there is one, on the real one."""

from __future__ import annotations

import inspect
import time
from typing import TYPE_CHECKING, Any

import pynvml
import pytest

from fakes.nvml import Device, FakeNvml
from paretoboard_runners import nvml

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def gpu(nvml_library: Any) -> Iterator[nvml.Gpu]:
    with nvml.opened(nvml_library) as opened:
        yield opened.gpus[0]


@pytest.fixture
def changeable(changeable_nvml: Any) -> Iterator[nvml.Gpu]:
    with nvml.opened(changeable_nvml) as opened:
        yield nvml.visible_gpu(opened)


def test_every_function_of_the_fake_is_one_of_the_library_with_as_many_parameters() -> None:
    functions = [name for name in dir(FakeNvml) if name.startswith("nvml")]
    assert len(functions) > 20
    for name in functions:
        real = inspect.signature(getattr(pynvml, name)).parameters
        ours = list(inspect.signature(getattr(FakeNvml, name)).parameters)[1:]
        assert len(ours) == len(real), name


def test_facts_of_a_device_are_plausible(gpu: nvml.Gpu) -> None:
    facts = gpu.facts()
    assert facts.uuid.startswith("GPU-")
    assert facts.model
    assert 2**30 <= facts.memory_bytes < 2**42
    assert facts.power_limit_w is None or 10 < facts.power_limit_w < 3000


def test_readings_are_in_their_units(gpu: nvml.Gpu) -> None:
    assert gpu.sm_clock_mhz is None or 0 <= gpu.sm_clock_mhz < 5000
    assert gpu.memory_clock_mhz is None or 0 <= gpu.memory_clock_mhz < 30000
    assert gpu.temperature_c is None or 0 < gpu.temperature_c < 120
    assert gpu.energy_j is None or gpu.energy_j >= 0
    assert gpu.memory_used_bytes is not None
    assert 0 <= gpu.memory_used_bytes <= gpu.facts().memory_bytes
    assert list(gpu.sm_clocks_mhz) == sorted(gpu.sm_clocks_mhz, reverse=True)
    assert set(gpu.throttle_reasons or ()) <= set(nvml.THROTTLE_REASONS.values())


def test_states_are_yes_no_or_not_supported(gpu: nvml.Gpu) -> None:
    assert {gpu.ecc, gpu.mig, gpu.persistence} <= {True, False, None}
    assert all(isinstance(pid, int) for pid in gpu.processes)


def test_a_power_limit_is_set_and_set_back(changeable: nvml.Gpu) -> None:
    before, limits = changeable.power_limit_w, changeable.power_limits_w
    if before is None or limits is None:
        pytest.skip("this device has no power limit to set")
    wanted = limits[1] - 1 if before > limits[1] - 1 else before + 1
    try:
        changeable.set_power_limit(wanted)
        assert changeable.power_limit_w == wanted
    finally:
        changeable.set_power_limit(before)
    assert changeable.power_limit_w == before
    with pytest.raises(nvml.NvmlError):
        changeable.set_power_limit(limits[1] + 100)


def test_a_clock_that_is_locked_is_the_one_that_is_read(changeable: nvml.Gpu) -> None:
    offered = changeable.sm_clocks_mhz
    if not offered:
        pytest.skip("this device offers no clocks to choose from")
    wanted = offered[len(offered) // 2]
    try:
        changeable.lock_sm_clock(wanted)
        time.sleep(0.5)  # a real one takes a moment
        assert changeable.sm_clock_mhz == pytest.approx(wanted, rel=0.05)
    finally:
        changeable.release_sm_clock()


def test_persistence_is_switched_and_switched_back(changeable: nvml.Gpu) -> None:
    before = changeable.persistence
    if before is None:
        pytest.skip("this device has no persistence mode")
    try:
        changeable.set_persistence(not before)
        assert changeable.persistence is not before
    finally:
        changeable.set_persistence(before)
    assert changeable.persistence is before


def test_the_driver_has_a_version(nvml_library: Any) -> None:
    with nvml.opened(nvml_library) as opened:
        assert opened.driver[0].isdigit()


def test_a_clock_is_locked_and_let_go() -> None:
    fake = FakeNvml()
    with nvml.opened(fake) as opened:
        gpu = opened.gpus[1]
        gpu.lock_sm_clock(1410)
        assert fake.devices[1].locked_sm == (1410, 1410)
        assert gpu.sm_clock_mhz == 1410
        gpu.release_sm_clock()
        assert fake.devices[1].locked_sm is None
        assert fake.devices[0].locked_sm is None


def test_a_caller_without_rights_is_told_so() -> None:
    with nvml.opened(FakeNvml(root=False)) as opened, pytest.raises(nvml.NotPermittedError, match="Permission"):
        opened.gpus[0].set_persistence(True)


def test_what_a_device_does_not_have_is_none() -> None:
    with nvml.opened(FakeNvml([Device(uuid="GPU-old", ecc=None, mig=None)])) as opened:
        assert opened.gpus[0].ecc is None
        assert opened.gpus[0].mig is None


def test_a_missing_driver_is_an_error_in_the_librarys_words() -> None:
    with pytest.raises(nvml.NvmlError, match="Driver Not Loaded"), nvml.opened(FakeNvml(driver=False)):
        pass


def test_the_library_is_closed_when_the_block_fails() -> None:
    fake = FakeNvml()
    with pytest.raises(ZeroDivisionError), nvml.opened(fake):
        raise ZeroDivisionError
    assert fake.opened == 0


def test_partitions_are_told_by_their_sizes() -> None:
    split = Device(uuid="GPU-split", mig=1, partitions=(20 * 2**30, 10 * 2**30))
    with nvml.opened(FakeNvml([split])) as opened:
        assert opened.gpus[0].facts().partition == "20 GiB + 10 GiB"


@pytest.mark.parametrize(
    ("visible", "uuid"), [(None, "GPU-aaaa"), ("1", "GPU-bbbb"), ("GPU-bb", "GPU-bbbb"), ("1,0", "GPU-bbbb")]
)
def test_the_first_visible_device_is_the_one_cuda_calls_zero(visible: str | None, uuid: str) -> None:
    with nvml.opened(FakeNvml()) as opened:
        assert opened.gpu(visible).uuid == uuid


def test_a_device_that_is_not_there_is_named() -> None:
    with nvml.opened(FakeNvml()) as opened, pytest.raises(nvml.NvmlError, match="device '7'; there are 2"):
        opened.gpu("7")


def test_throttle_reasons_are_words() -> None:
    with nvml.opened(FakeNvml([Device(uuid="GPU-hot", reasons=0x4 | 0x40)])) as opened:
        assert opened.gpus[0].throttle_reasons == ("power cap", "thermal (hardware)")
