"""Hardware profiles: one TOML file each, named by its file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from annotated_types import Ge, Gt, MinLen
from pydantic import Field

from paretoboard.errors import InputError, TaskFileError, UnknownNameError
from paretoboard.spec import Device, HardwareProfile
from paretoboard.tomlfile.checking import Table, check
from paretoboard.tomlfile.document import read

_Cores = Annotated[int, Ge(1)] | Literal["all"]
_Setting = bool | int | float | str | list[int] | list[str]


class ProfileFile(Table):
    """What a profile's file may say."""

    title: Annotated[str, MinLen(1)]
    device: Device = "cpu"
    cores: _Cores = 1
    build_cores: _Cores = "all"
    deterministic: bool = True
    memory_limit_bytes: Annotated[int, Gt(0)] | None = None
    settings: dict[str, _Setting] = Field(default={})
    require: list[Annotated[str, MinLen(1)]] = Field(default=[])


def names(folder: Path) -> tuple[str, ...]:
    """Names of the profiles in `folder`, sorted."""
    return tuple(sorted(file.stem for file in folder.glob("*.toml")))


def find(given: str, folder: Path) -> HardwareProfile:
    """The profile that `given` names in `folder`, or whose file it is, as in "mine/cpu-4.toml".

    Raises: as `load`, or InputError for a file that is not there.
    """
    if not given.endswith(".toml"):
        return load(given, folder)
    path = Path(given)
    if not path.is_file():
        raise InputError(f"{path}: no such file; the path of a profile, or one of {', '.join(names(folder))}")
    return load(path.stem, path.parent)


def load(name: str, folder: Path) -> HardwareProfile:
    """The profile `name` of `folder`.

    Raises: UnknownNameError, or TaskFileError with every mistake of the profile's file.
    """
    known = names(folder)
    if name not in known:
        raise UnknownNameError("profile", name, known)
    document = read(folder / f"{name}.toml")
    checked, problems = check(ProfileFile, document)
    if checked is None:
        raise TaskFileError(problems)
    values: dict[str, Any] = checked.model_dump()
    return HardwareProfile(name=name, **{**values, "require": tuple(checked.require)})


def load_all(folder: Path) -> list[HardwareProfile]:
    """Every profile of `folder`.

    Raises: InputError if there is none.
    """
    if not names(folder):
        raise InputError(f"{folder}: no profiles there, one TOML file each is needed")
    return [load(name, folder) for name in names(folder)]
