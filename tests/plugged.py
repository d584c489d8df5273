"""How a session of pytest gets our plugin: by its entry point, or by name in a checkout installed before it had one."""

from __future__ import annotations

from importlib.metadata import entry_points
from typing import Final

_INSTALLED: Final = any(found.value == "paretoboard.pytest_plugin" for found in entry_points(group="pytest11"))
ARGUMENTS: Final = () if _INSTALLED else ("-p", "paretoboard.pytest_plugin")
