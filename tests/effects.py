"""Which test shows that a control takes effect, so that a control without one is found."""

from __future__ import annotations

import ast
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

Test = TypeVar("Test", bound=Callable[..., None])


def takes_effect(*controls: str) -> Callable[[Test], Test]:
    """Mark a test that sees from outside of the process that these controls take effect; for `shown` to find."""
    assert controls
    return lambda test: test


def shown(folder: Path) -> set[str]:
    """The controls that tests in `folder` are marked with."""
    found: set[str] = set()
    for path in folder.glob("test_*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            for mark in node.decorator_list if isinstance(node, ast.FunctionDef) else ():
                if isinstance(mark, ast.Call) and ast.unparse(mark.func) == "takes_effect":
                    found |= {ast.literal_eval(argument) for argument in mark.args}
    return found
