"""`acks.toml` in a folder of results: changes that somebody knows of, with the reason, committed and shared."""

from __future__ import annotations

import datetime  # noqa: TC003 - pydantic resolves the annotations of tables when they are read
from typing import TYPE_CHECKING, Annotated, Final

from pydantic import Field

from paretoboard.errors import TaskFileError
from paretoboard.regressions.model import Ack
from paretoboard.tomlfile.checking import Table, check
from paretoboard.tomlfile.document import read

if TYPE_CHECKING:
    from pathlib import Path

FILE: Final = "acks.toml"

_Text = Annotated[str, Field(min_length=1)]


class _Ack(Table):
    series: Annotated[str, Field(pattern=r"^[^:]+(:[^:]+)*:(speed|quality)$")]
    night: datetime.date
    reason: _Text
    by: _Text
    expires: datetime.date | None = None


class _File(Table):
    ack: list[_Ack] = Field(default_factory=list)


def read_acks(results: Path) -> tuple[Ack, ...]:
    """What is acknowledged in a folder of results; nothing where it has no such file.

        [[ack]]
        series = "cifar10/resnet20:ort-int8:cpu-1:93043811:speed"   # as `paretoboard regressions` names it
        night = 2026-11-20                                          # the change's first night
        reason = "the new calibration is slower and right"
        by = "Ada"
        expires = 2027-01-31                                        # asked about again after that night

    Raises: TaskFileError with every mistake of the file and its line.
    """
    file = results / FILE
    if not file.exists():
        return ()
    document = read(file)
    table, problems = check(_File, document)
    if table is not None:
        for index, ack in enumerate(table.ack):
            if ack.expires is not None and ack.expires < ack.night:
                message = f"found {ack.expires}, before the night {ack.night}; a later day would be right"
                problems.append(document.problem(("ack", index, "expires"), message))
    if table is None or problems:
        raise TaskFileError(problems)
    return tuple(Ack(**ack.model_dump()) for ack in table.ack)
