"""Energy is what counters of the hardware say: summed, unwrapped, per image; where there is none, not measured."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import numpy as np
import pytest

import small_models
from fakes.nvml import Device, FakeNvml
from paretoboard import artifact
from paretoboard_runners import energy, nvml

RANGE_J = 262_143.328850


def zone(root: Path, folder: str, name: str, energy_j: float = 0.0, range_j: float = RANGE_J) -> Path:
    """A zone as the kernel shows it."""
    path = root / folder
    path.mkdir(parents=True)
    (path / "name").write_text(f"{name}\n")
    (path / "max_energy_range_uj").write_text(f"{round(range_j * 1e6)}\n")
    set_energy(path, energy_j)
    return path


def set_energy(path: Path, energy_j: float) -> None:
    partial = path / ".energy_uj"
    partial.write_text(f"{round(energy_j * 1e6)}\n")
    partial.replace(path / "energy_uj")


def opener(*devices: Device) -> nvml.Opener:
    return lambda: nvml.opened(FakeNvml(list(devices)))


@contextmanager
def drawing(path: Path, watts: float) -> Iterator[None]:
    """A thread that lets a zone's counter grow with the time."""
    over = threading.Event()
    start = time.perf_counter()

    def grow() -> None:
        while not over.wait(0.002):
            set_energy(path, watts * (time.perf_counter() - start))

    thread = threading.Thread(target=grow)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


# Counters


def test_packages_are_summed_and_their_parts_and_the_platform_are_not(tmp_path: Path) -> None:
    packages = [zone(tmp_path, f"intel-rapl:{number}", f"package-{number}", 100.0) for number in (0, 1)]
    parts = [
        zone(tmp_path, "intel-rapl:0:0", "core", 60.0),
        zone(tmp_path, "intel-rapl:0:1", "dram", 5.0),
        zone(tmp_path, "intel-rapl:2", "psys", 300.0),
        # The same package once more, through another register.
        zone(tmp_path, "intel-rapl-mmio:0", "package-0", 100.0),
    ]
    meter = energy.Meter(energy.rapl_packages(tmp_path))
    assert meter.used_j() == 0.0
    set_energy(packages[0], 110.0)
    set_energy(packages[1], 102.5)
    for part in parts:
        set_energy(part, 9_000.0)
    assert meter.used_j() == pytest.approx(12.5)


def test_a_package_that_is_only_in_memory_mapped_registers_is_read_there(tmp_path: Path) -> None:
    zone(tmp_path, "intel-rapl-mmio:0", "package-0", 7.0)
    [counter] = energy.rapl_packages(tmp_path)
    assert (counter.name, counter.read_j()) == ("RAPL package-0", 7.0)


def test_a_counter_that_wraps_goes_on_counting(tmp_path: Path) -> None:
    package = zone(tmp_path, "intel-rapl:0", "package-0", RANGE_J - 3.0)
    meter = energy.Meter(energy.rapl_packages(tmp_path))
    set_energy(package, 4.0)
    assert meter.used_j() == pytest.approx(7.0)
    set_energy(package, 1.0)  # once round again
    assert meter.used_j() == pytest.approx(7.0 + RANGE_J - 3.0)


def test_a_meter_in_use_misses_no_wrap_however_long_nobody_asks(tmp_path: Path) -> None:
    package = zone(tmp_path, "intel-rapl:0", "package-0", range_j=10.0)
    with energy.Meter(energy.rapl_packages(tmp_path), sampling_s=0.02) as meter:
        for step in range(1, 31):  # 30 J in steps of 1 J, three times round
            set_energy(package, step % 10)
            time.sleep(0.06)
        assert meter.used_j() == pytest.approx(30.0)


def test_without_a_package_the_reason_names_the_folder(tmp_path: Path) -> None:
    zone(tmp_path, "intel-rapl:0:0", "core")
    zone(tmp_path, "dtpm:0", "cpu")
    assert energy.why_not("cpu", powercap=tmp_path) == f"no RAPL counter: {tmp_path} has no package domain"


def test_a_counter_that_may_not_be_read_is_none_and_the_reason_says_so(tmp_path: Path) -> None:
    package = zone(tmp_path, "intel-rapl:0", "package-0")
    (package / "energy_uj").unlink()
    (package / "energy_uj").mkdir()  # reading it fails for root too
    reason = energy.why_not("cpu", powercap=tmp_path)
    assert reason.startswith("RAPL package-0: ")
    assert "energy_uj can't be read" in reason
    with energy.metered("cpu", powercap=tmp_path) as used_j:
        assert used_j() is None


def test_what_a_block_uses_is_metered(tmp_path: Path) -> None:
    package = zone(tmp_path, "intel-rapl:0", "package-0", 50.0)
    with energy.metered("cpu", powercap=tmp_path) as used_j:
        set_energy(package, 62.0)
        assert used_j() == pytest.approx(12.0)


def test_a_gpu_is_read_through_nvml(tmp_path: Path) -> None:
    device = Device(uuid="GPU-aaaa", energy=5_000)
    with energy.counters("cuda", powercap=tmp_path, open_nvml=opener(device)) as counters:
        meter = energy.Meter(counters)
        device.energy = 7_250
        assert meter.used_j() == pytest.approx(2.25)
        assert [counter.name for counter in counters] == ["NVML GPU-aaaa"]
        device.energy = 10  # the driver was loaded anew: nothing can be said about the time between
        with pytest.raises(energy.NoCounterError, match="went back"):
            meter.used_j()


def test_a_gpu_that_does_not_count_its_energy_is_not_measured() -> None:
    class Old(FakeNvml):
        def nvmlDeviceGetTotalEnergyConsumption(self, handle: Device) -> int:
            raise self.NVMLError(self.NVML_ERROR_NOT_SUPPORTED)

    def open_old() -> AbstractContextManager[nvml.Nvml]:
        return nvml.opened(Old([Device(uuid="GPU-aaaa")]))

    assert energy.why_not("cuda", open_nvml=open_old) == "NVML GPU-aaaa: this device does not count its energy"
    assert "Driver Not Loaded" in energy.why_not("cuda", open_nvml=lambda: nvml.opened(FakeNvml(driver=False)))


# Energy of one image


def test_energy_of_an_image_is_stated_with_and_without_what_the_idle_machine_uses() -> None:
    rounds = [
        energy.Round(idle_j=20.0, idle_s=2.0, busy_j=50.0 + extra, busy_s=2.0, images=100) for extra in (-1, 0, 1)
    ]
    values = {value.name: value for value in energy.metrics_of(rounds, batch=4)}
    assert values["energy"].value == pytest.approx(0.5)
    assert values["energy_above_idle"].value == pytest.approx(0.3)
    assert values["idle_power"].value == pytest.approx(10.0)
    assert {value.scope for value in values.values()} == {"batch=4"}
    low, high = values["energy"].low, values["energy"].high
    assert low is not None
    assert high is not None
    assert low == pytest.approx(0.5 - 4.303 * 0.01 / 3**0.5, rel=1e-4)  # t at 2 degrees of freedom
    assert low < 0.5 < high


def test_a_real_model_on_a_counter_of_constant_power_uses_that_power(tmp_path: Path) -> None:
    package = zone(tmp_path, "intel-rapl:0", "package-0")
    artifact.save(small_models.candidate(), tmp_path / "model")
    np.save(tmp_path / "inputs.npy", np.zeros((4, *small_models.SHAPE), np.float32))
    job = energy.EnergyJob(
        artifact=tmp_path / "model",
        batch=2,
        threads=1,
        input_file=tmp_path / "inputs.npy",
        device="cpu",
        loop_s=0.4,
        powercap=tmp_path,
    )
    with drawing(package, watts=25.0):
        result = energy.measure(job, tmp_path, lambda event: None)
    assert result.counters == ("RAPL package-0",)
    assert len(result.rounds) == energy.ROUNDS
    assert all(each.images > 0 and each.images % 2 == 0 for each in result.rounds)
    # A busy machine may keep the counter's writer waiting at the border of two loops; over all of them that is little.
    joules = sum(each.idle_j + each.busy_j for each in result.rounds)
    assert joules / sum(each.idle_s + each.busy_s for each in result.rounds) == pytest.approx(25.0, rel=0.2)
    assert all(value.value > 0 for value in energy.metrics_of(result.rounds, batch=2) if value.name == "energy")
