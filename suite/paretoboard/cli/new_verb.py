"""`paretoboard new`: a task file for a network and images of one's own, from options or by asking."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, TypeVar

import typer

from paretoboard import durable, taskfile
from paretoboard.cli import new_model
from paretoboard.errors import InputError, UnknownNameError
from paretoboard.registry import model_library
from paretoboard.spec import Preprocess
from paretoboard.taskfile import subsets, writing

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from paretoboard.cli.new_images import Chosen
    from paretoboard.datasets.folder import Folder

T = TypeVar("T")
app = typer.Typer(add_completion=False, rich_markup_mode=None)

# How networks want their pixels; most published ones were trained with one of these.
NORMALIZATIONS: Final[Mapping[str, Preprocess]] = {
    "imagenet": Preprocess(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225)),
    "half": Preprocess(mean=(0.5,), std=(0.5,)),
    "unit": Preprocess(),
    "byte": Preprocess(range="byte"),
}
_SIDES: Final = range(8, 4097)  # pixels
# The field's rule: the middle of an image whose short side is 256 for 224 pixels.
_CROP_SHARE: Final = 224 / 256


@app.command()
def new(
    images: Annotated[
        Path | None,
        typer.Option("--images", metavar="FOLDER", help="A folder of images for each class, or train, val and test."),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option("--model", metavar="MODEL", help="module:function, a file (.onnx, .pt2), or torchvision:NAME."),
    ] = None,
    input_size: Annotated[
        int | None, typer.Option("--input-size", metavar="PIXELS", help="Side of the square images that it takes.")
    ] = None,
    normalize: Annotated[
        str | None,
        typer.Option(
            "--normalize", metavar="RULE", help=f"Of pixels: {', '.join(NORMALIZATIONS)}. [default: imagenet]"
        ),
    ] = None,
    weights: Annotated[
        str, typer.Option("--weights", metavar="NAME", help="Of torchvision:NAME: as torchvision names them.")
    ] = "",
    out: Annotated[Path | None, typer.Option("--out", metavar="FILE", help="The task file to write.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Write over a file that is there.")] = False,
) -> None:
    """Write a task file for a network and images of one's own; asks on a terminal for what no option says.

    Everything is checked before anything is written: the images, the network, and that one fits the other.
    """
    _require_options({"--images": images, "--model": model, "--out": out})
    file = _asked(out, "Task file to write", lambda text: _writable(Path(text), force=force))
    folder = _asked(images, "Folder with a folder of images for each class", lambda text: _images(Path(text)))
    name = _asked(model, "Network: module:function, a file (.onnx, .pt2) or torchvision:NAME", _model_for(file.parent))
    preprocess, weights = _preprocess(name, input_size, normalize, weights)
    side = preprocess.crop or 0
    new_model.require_fit(name, weights, file.parent, (new_model.CHANNELS, side, side), folder.classes)
    from paretoboard.cli.new_images import choose

    chosen = choose(folder, file.stem)
    _write(file, _task(file, folder, name, chosen, preprocess, weights), chosen, force=force)
    print(f"{file}: written. Next: paretoboard run {file}")


def _require_options(given: Mapping[str, object]) -> None:
    """Raises: InputError with all that are missing where nobody can be asked."""
    missing = [option for option, value in given.items() if value is None]
    if missing and not sys.stdin.isatty():
        raise InputError(f"{' and '.join(missing)} needed; without a terminal nobody can be asked for them")


def _asked(given: object | None, question: str, checked: Callable[[str], T], default: str | None = None) -> T:
    """What an option gives, or else an answer on the terminal, asked for until it is right.

    Raises: InputError where an option is wrong.
    """
    if given is not None:
        return checked(str(given))
    while True:
        answer = typer.prompt(question, default=default, err=True)
        try:
            return checked(str(answer))
        except InputError as error:
            print(error, file=sys.stderr)


def _writable(file: Path, *, force: bool) -> Path:
    if file.suffix != ".toml":
        raise InputError(f"--out {file}: a name that ends in .toml would be right")
    if file.exists() and not force:
        raise InputError(f"{file}: already there; --force writes over it")
    if not subsets.is_name(f"{file.stem}-calibration"):
        raise InputError(f"--out {file}: a name of letters, digits, '.', '_' and '-' would be right")
    if not file.parent.is_dir():
        raise InputError(f"{file.parent}: there is no such folder to write to")
    return file


def _images(path: Path) -> Folder:
    from paretoboard.datasets.folder import Folder

    return Folder(path.absolute())


def _model_for(beside: Path) -> Callable[[str], str]:
    def checked(name: str) -> str:
        new_model.check(name, beside)
        return name

    return checked


def _preprocess(name: str, side: int | None, normalize: str | None, weights: str) -> tuple[Preprocess, str]:
    """How images become input: as the library says of its network, or as one's own is asked for; and the weights."""
    if model_library(name):
        native, weights = new_model.native(name, weights)
        if native is not None and native.preprocess is not None and side is None and normalize is None:
            return native.preprocess, weights
    elif weights:
        raise InputError(f"--weights goes with torchvision:NAME; '{name}' has its own")
    from_file = new_model.side_of_file(name) if new_model.is_file(name) else None
    if side is None and from_file is None and not sys.stdin.isatty():
        raise InputError(f"--input-size needed: '{name}' doesn't say which size of images it takes")
    found = _asked(from_file if side is None else side, "Side of its input in pixels", _side, default="224")
    rule = _asked(normalize or (None if sys.stdin.isatty() else "imagenet"), _RULE_QUESTION, _rule, default="imagenet")
    chosen = NORMALIZATIONS[rule]
    resize = round(found / _CROP_SHARE)
    return Preprocess(range=chosen.range, mean=chosen.mean, std=chosen.std, resize=resize, crop=found), weights


_RULE_QUESTION: Final = f"How pixels are normalized ({', '.join(NORMALIZATIONS)})"


def _side(text: str) -> int:
    if not text.isdecimal() or int(text) not in _SIDES:
        raise InputError(f"input size {text}: a number of pixels from {_SIDES[0]} to {_SIDES[-1]} would be right")
    return int(text)


def _rule(text: str) -> str:
    if text not in NORMALIZATIONS:
        raise UnknownNameError("normalization", text, NORMALIZATIONS)
    return text


def _task(
    file: Path, folder: Folder, name: str, chosen: Chosen, preprocess: Preprocess, weights: str
) -> writing.NewTask:
    is_file = new_model.is_file(name)
    return writing.NewTask(
        title=f"{Path(name).name if is_file else name} on {folder.root.name}",
        images=_relative(folder.root, file),
        subset=chosen.subset,
        train=chosen.train,
        calibration=chosen.calibration,
        model=_relative(Path(name), file) if is_file else name,
        is_file=is_file,
        weights=weights,
        preprocess=preprocess,
        profile="cpu-1",
    )


def _relative(path: Path, file: Path) -> str:
    """`path` as the task file names it.

    Raises: InputError for one that no task file can hold.
    """
    found = Path(os.path.relpath(path.absolute(), file.parent.absolute())).as_posix()
    if not found.isprintable():
        raise InputError(f"{found!r}: a path of printable characters would be right")
    return found


def _write(file: Path, task: writing.NewTask, chosen: Chosen, *, force: bool) -> None:
    """Write the lists and the task file, which is read again as any other.

    Raises: InputError where a list is there that is not to be written over; TaskFileError for a file that can't be
        planned, which is then taken back.
    """
    lists = {file.with_name(f"{name}.txt"): text for name, text in chosen.lists.items()}
    there = [path for path in lists if path.exists()]
    if there and not force:
        raise InputError(f"{there[0]}: already there; --force writes over it")
    for path, text in lists.items():
        durable.write(path, text.encode())
    draft = file.with_name(f".{file.name}.draft.toml")
    durable.write(draft, writing.text_of(task).encode())
    try:
        taskfile.load(draft)
    except InputError:
        for path in lists:
            path.unlink()
        raise
    else:
        draft.replace(file)
    finally:
        draft.unlink(missing_ok=True)
