"""Which operators ran without a deterministic form, so that a record can name them."""

from __future__ import annotations

import re
import warnings
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

# torch's words in alertNotDeterministic (aten/src/ATen/Context.cpp).
_MESSAGE: Final = re.compile(r"(\S+).* does not have a deterministic implementation")


@contextmanager
def nondeterministic_operators() -> Iterator[list[str]]:
    """The names of torch's operators that ran in the block and can't repeat their bits; filled while it runs.

    Works in a process whose determinism is held (`apply_after_imports`). Other warnings go where they would go.
    Not for several threads at once: python's warnings are the process's.
    """
    names: list[str] = []
    with warnings.catch_warnings():
        warnings.filterwarnings("always", message=_MESSAGE.pattern)
        show = warnings.showwarning

        def keep(message: Warning | str, *details: object, **named: object) -> None:
            match = _MESSAGE.match(str(message))
            if match is None:
                show(message, *details, **named)  # type: ignore[arg-type]
            elif match[1] not in names:
                names.append(match[1])

        warnings.showwarning = keep
        yield names
