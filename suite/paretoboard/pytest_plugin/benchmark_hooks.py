"""What pytest-benchmark's JSON is told of the machine beyond its own: our fingerprints, and how busy it is."""

from __future__ import annotations

import os
from typing import Any

import pytest

NAME = "paretoboard"  # of what is added, in each part of the file


class Facts:
    """Registered where pytest-benchmark is."""

    @pytest.hookimpl(optionalhook=True)
    def pytest_benchmark_update_machine_info(self, machine_info: dict[str, Any]) -> None:
        """Add what decides whether two sessions may be compared: hardware, software, and one id for each."""
        from paretoboard_runners import machine

        made = machine.provenance()
        machine_info[NAME] = {
            "hardware_id": made.hardware_id,
            "hardware": dict(made.hardware),
            "environment_id": made.environment_id,
            "environment": dict(made.environment),
        }

    @pytest.hookimpl(optionalhook=True)
    def pytest_benchmark_update_json(self, output_json: dict[str, Any]) -> None:
        """Add what the machine was held to and what else it did meanwhile."""
        from paretoboard.spec import HardwareProfile
        from paretoboard_runners.controls.base import AS_IS, Setting
        from paretoboard_runners.controls.system import Boost, Governor

        cores = tuple(sorted(os.sched_getaffinity(0)))
        setting = Setting(profile=HardwareProfile(name=AS_IS, title=AS_IS), cores=cores)
        observed = {
            each.name: each.observe(os.getpid()) for each in (Governor(setting=setting), Boost(setting=setting))
        }
        output_json[NAME] = {"cores": list(cores), "load1": os.getloadavg()[0], **observed}
