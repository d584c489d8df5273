"""Claims files: TOML, checked strictly, with every mistake of a file at once and the line it is in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from paretoboard.claims.model import CLAIM_METRICS, Claim, ClaimedNumber, ClaimSet, Conditions, Link
from paretoboard.errors import TaskFileError, UnknownNameError, suggestion
from paretoboard.locations import claims_folder
from paretoboard.registry import TECHNIQUES
from paretoboard.spec import BASELINE
from paretoboard.tomlfile.checking import Table, check
from paretoboard.tomlfile.document import read

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from paretoboard.errors import Problem
    from paretoboard.tomlfile.document import Document

_Text = Annotated[str, Field(min_length=1)]
_Positive = Annotated[float, Field(gt=0)]


class _Differs(Table):
    there: _Text
    here: _Text


class _Number(Table):
    metric: str
    baseline: _Positive | None = None
    claimed: _Positive | None = None
    times: _Positive | None = None
    points: float | None = None
    at_least: bool = False
    images: Annotated[int, Field(gt=0)] | None = None
    differs: dict[str, _Differs] = Field(default_factory=dict)


class _Link(Table):
    task: _Text
    recipe: _Text
    against: _Text = BASELINE
    differs: dict[str, _Differs] = Field(default_factory=dict)


class _Claim(Table):
    says: _Text
    technique: str | None = None
    method: _Text
    parameters: dict[str, Any] = Field(default_factory=dict)
    model: _Text
    dataset: _Text
    hardware: _Text | None = None
    cores: _Text | None = None
    batch: _Text | None = None
    runtime: _Text | None = None
    under: str = ""
    source: _Text
    note: str = ""
    numbers: Annotated[list[_Number], Field(min_length=1)]
    measured_by: list[_Link] = Field(default_factory=list)
    unmeasured: str = ""


class _File(Table):
    title: _Text
    about: _Text
    claims: Annotated[dict[str, _Claim], Field(min_length=1)]


def load(file: Path) -> ClaimSet:
    """The claims of one file, in the order they are written.

    Raises: TaskFileError with every mistake of the file.
    """
    document = read(file)
    table, problems = check(_File, document)
    if table is not None:
        problems += list(_mistakes(table, document))
    if table is None or problems:
        raise TaskFileError(problems)
    claims = tuple(_claim(name, found) for name, found in table.claims.items())
    return ClaimSet(name=file.stem, title=table.title, about=table.about, claims=claims)


def load_all(wanted: str | None = None, folder: Path | None = None) -> tuple[ClaimSet, ...]:
    """All sets of a folder by name, by default the project's, or the one called `wanted`; without a folder none.

    Raises: UnknownNameError where there is no such set, TaskFileError for what is wrong in a file.
    """
    where = folder if folder is not None else claims_folder()
    files = {file.stem: file for file in sorted(where.glob("*.toml"))}
    if wanted is None:
        return tuple(load(file) for file in files.values())
    if wanted not in files:
        raise UnknownNameError("set of claims", wanted, files)
    return (load(files[wanted]),)


def _mistakes(table: _File, document: Document) -> Iterator[Problem]:
    techniques = set(TECHNIQUES)
    for name, claim in table.claims.items():
        at = ("claims", name)
        if claim.technique is not None and claim.technique not in techniques:
            hint = suggestion(claim.technique, techniques)
            yield document.problem((*at, "technique"), f"unknown technique '{claim.technique}'.{hint}")
        if bool(claim.measured_by) == bool(claim.unmeasured):
            found = "both" if claim.measured_by else "neither"
            message = f"found {found} of measured_by and unmeasured; one of them would be right"
            yield document.problem(at, message)
        for index, number in enumerate(claim.numbers):
            place = (*at, "numbers", index)
            if number.metric not in CLAIM_METRICS:
                hint = suggestion(number.metric, CLAIM_METRICS)
                yield document.problem((*place, "metric"), f"unknown metric '{number.metric}'.{hint}")
            elif wrong := _wrong_number(number):
                yield document.problem(place, wrong)


def _wrong_number(number: _Number) -> str:
    scale = CLAIM_METRICS[number.metric].scale
    said = [name for name in ("times", "points") if getattr(number, name) is not None]
    values = [name for name in ("baseline", "claimed") if getattr(number, name) is not None]
    for name in said:
        if name != scale:
            return f"found {name} of {number.metric}; {scale}, or baseline and claimed, would be right"
    if said and values:
        return f"found {said[0]} beside {values[0]}; one or the other would be right"
    if not said and "claimed" not in values:
        return f"found neither claimed nor {scale}; baseline and claimed, or {scale}, would be right"
    return ""


def _claim(name: str, found: _Claim) -> Claim:
    return Claim(
        id=name,
        says=found.says,
        conditions=Conditions(
            model=found.model,
            dataset=found.dataset,
            technique=found.technique,
            method=found.method,
            parameters=found.parameters,
            hardware=found.hardware,
            cores=found.cores,
            batch=found.batch,
            runtime=found.runtime,
        ),
        numbers=tuple(
            ClaimedNumber(
                metric=number.metric,
                baseline=number.baseline,
                claimed=number.claimed,
                times=number.times,
                points=number.points,
                at_least=number.at_least,
                images=number.images,
                differs=_in_words(number.differs),
            )
            for number in found.numbers
        ),
        source=found.source,
        under=found.under,
        note=found.note,
        measured_by=tuple(
            Link(
                task=link.task,
                recipe=link.recipe,
                against=link.against,
                differs=_in_words(link.differs),
            )
            for link in found.measured_by
        ),
        unmeasured=found.unmeasured,
    )


def _in_words(found: dict[str, _Differs]) -> dict[str, tuple[str, str]]:
    return {field: (words.there, words.here) for field, words in found.items()}
