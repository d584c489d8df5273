"""What a recipe builds: the model between two steps, and the folder it is kept in.

An artifact's folder holds the file that is run and a manifest that says what it is. A torch model is its
registered architecture, the layers that were replaced, and a plain state dict; nothing here unpickles code.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal

from paretoboard import __version__, durable
from paretoboard.errors import NotApplicableError, StoreError
from paretoboard.spec import DetectionUse, NmsLibrary, Preprocess

if TYPE_CHECKING:
    from pathlib import Path

    from torch import nn  # noqa: TC004 - no one resolves Candidate's annotations, and torch is slow to import

Form = Literal["torch", "onnx"]
MemoryFormat = Literal["contiguous", "channels_last"]
Dtype = Literal["float32", "bfloat16", "float16"]
Storage = Literal["plain", "packed"]
StoredForm = Literal["png", "jpeg", "records"]
Decoder = Literal["pillow", "torchvision"]
Filter = Literal["bilinear", "bicubic", "nearest"]
WorkerKind = Literal["threads", "processes"]
# What a model takes that normalizes for itself: stored pixels as they are.
PIXELS: Final = Preprocess(range="byte")


@dataclass(frozen=True, slots=True, kw_only=True)
class InputPipeline:
    """How stored images become a model's input; calls of a model that has one begin with stored images."""

    preprocess: Preprocess  # the task's: what follows decoding, unless `inside`
    stored: StoredForm = "png"  # a file of each image, or one file of each batch in CIFAR-10's records
    side: int | None = None  # pixels of a stored image's side; None for what the model takes
    quality: int = 95  # of stored JPEGs
    decoder: Decoder = "pillow"
    draft: bool = False  # let the JPEG decoder give an image of 1/2, 1/4 or 1/8 of the stored side
    filter: Filter = "bilinear"  # of resizing
    inside: bool = False  # whether the model normalizes: it takes PIXELS
    cached: bool = False  # decoded images, by the content of the file
    workers: int = 0  # beside the process or thread that calls the model; 0: that one decodes
    worker_kind: WorkerKind = "threads"


@dataclass(frozen=True, slots=True, kw_only=True)
class Execution:
    """How a built model is to be run."""

    runtime: str = "eager"  # a name of runtimes.RUNTIMES
    memory_format: MemoryFormat = "contiguous"
    dtype: Dtype = "float32"  # of the input tensor and of a torch model's weights
    options: Mapping[str, Any] = field(default_factory=dict)  # the runtime's own
    boxes: DetectionUse | None = None  # a detector's calls end with boxes, not with its network's numbers
    nms: NmsLibrary = "numpy"  # that suppresses boxes, where calls end with them
    input: InputPipeline | None = None  # None: a call begins with images in memory, preprocessed


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A model on its way through the steps of a recipe; exactly one of `module` and `graph` is set."""

    architecture: str  # as models.build takes it; of a graph from a file, the name of that
    classes: int
    input_shape: tuple[int, ...]  # of one image: (channels, height, width)
    module: nn.Module | None = None  # in evaluation mode, on the CPU
    graph: bytes | None = None  # a serialized ONNX model: float32 (n, *input_shape) -> (n, classes) logits
    execution: Execution = field(default_factory=Execution)
    storage: Storage = "plain"  # of a torch model's weights; "packed" loses nothing and is small where values repeat

    @property
    def form(self) -> Form:
        """Which of the two it is."""
        return "torch" if self.graph is None else "onnx"

    def preprocess_of(self, task: Preprocess) -> Preprocess:
        """From stored pixels to what module or graph take: the task's, until normalizing becomes a part of them."""
        given = self.execution.input
        return PIXELS if given is not None and given.inside else sized_for(self.input_shape, task)


def sized_for(shape: tuple[int, ...], task: Preprocess) -> Preprocess:
    """The task's preprocessing for a model whose images are (channels, height, width) = `shape`."""
    return dataclasses.replace(task, resize=shape[-1]) if task.makes_squares else task


FILES: Final[Mapping[Form, str]] = {"torch": "weights.pt", "onnx": "model.onnx"}
PACKED_FILE: Final = "weights.xz"  # of a torch model whose storage is "packed": see models.packing
MANIFEST: Final = "manifest.json"
MANIFEST_FORMAT: Final = 1  # raise when a field changes its meaning


@dataclass(frozen=True, slots=True, kw_only=True)
class ArtifactFile:
    """The file that is scored and timed."""

    file: str  # its name in the artifact's folder
    sha256: str
    size_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """What lies in an artifact's folder, readable without torch."""

    format: int = MANIFEST_FORMAT
    paretoboard: str  # the version that wrote it
    form: Form
    architecture: str
    classes: int
    input_shape: tuple[int, ...]
    execution: Execution
    structure: Mapping[str, Any]  # models.structure.Description; empty for onnx
    file: str
    sha256: str
    size_bytes: int

    @property
    def stored(self) -> ArtifactFile:
        """The file that is scored and timed."""
        return ArtifactFile(file=self.file, sha256=self.sha256, size_bytes=self.size_bytes)


def save(candidate: Candidate, folder: Path) -> ArtifactFile:
    """Write `candidate` into `folder`, all or nothing: a kill at any moment leaves no half artifact.

    The same candidate gives the same bytes of the file that is run. An intact artifact that is already there
    is kept, so that what was scored stays what is timed; a damaged one is replaced.

    Raises: NotApplicableError for a module that can't be rebuilt from its architecture and the layers that
        were replaced.
    """
    content, structure = _content(candidate)
    manifest = Manifest(
        paretoboard=__version__,
        form=candidate.form,
        architecture=candidate.architecture,
        classes=candidate.classes,
        input_shape=candidate.input_shape,
        execution=candidate.execution,
        structure=structure,
        file=PACKED_FILE if _is_packed(candidate) else FILES[candidate.form],
        sha256=hashlib.sha256(content).hexdigest(),
        size_bytes=len(content),
    )
    folder.parent.mkdir(parents=True, exist_ok=True)
    draft = folder.with_name(f".{folder.name}.{os.getpid()}.draft")
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir()
    durable.write_new(draft / manifest.file, content)
    text = json.dumps(dataclasses.asdict(manifest), indent=2, sort_keys=True, allow_nan=False)
    durable.write_new(draft / MANIFEST, text.encode() + b"\n")
    durable.sync_folder(draft)
    return _move_into_place(draft, folder)


def load(folder: Path) -> Candidate:
    """The candidate that `save` wrote.

    Raises: StoreError for what is damaged or of an unknown version.
    """
    manifest = verify(folder)
    known: dict[str, Any] = {
        "architecture": manifest.architecture,
        "classes": manifest.classes,
        "input_shape": manifest.input_shape,
        "execution": manifest.execution,
    }
    if manifest.form == "onnx":
        return Candidate(graph=(folder / manifest.file).read_bytes(), **known)
    storage: Storage = "packed" if manifest.file == PACKED_FILE else "plain"
    return Candidate(module=load_module(folder, manifest), storage=storage, **known)


def verify(folder: Path) -> Manifest:
    """The manifest, after the file's digest was found to be the one that it states.

    Raises: StoreError for what is damaged or of an unknown version.
    """
    manifest = read_manifest(folder)
    path = folder / manifest.file
    try:
        with path.open("rb") as stream:
            found = hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise StoreError(f"{path}: can't be read: {error.strerror}") from error
    if found != manifest.sha256:
        raise StoreError(f"{path}: SHA-256 is {found}, its manifest says {manifest.sha256}")
    return manifest


def read_manifest(folder: Path) -> Manifest:
    """The manifest alone; the file it is about is not looked at.

    Raises: StoreError where there is none, or one of an unknown version.
    """
    path = folder / MANIFEST
    try:
        raw = json.loads(path.read_bytes())
        if raw["format"] != MANIFEST_FORMAT:
            raise StoreError(f"{path}: format {raw['format']}, this version reads format {MANIFEST_FORMAT}")
        execution = _read_execution(raw.pop("execution"))
        shape = tuple(int(extent) for extent in raw.pop("input_shape"))
        manifest = Manifest(execution=execution, input_shape=shape, **raw)
    except OSError as error:
        raise StoreError(f"{path}: can't be read: {error.strerror}") from error
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise StoreError(f"{path}: not an artifact's manifest: {error}") from error
    packed = manifest.form == "torch" and manifest.file == PACKED_FILE
    if manifest.file != FILES.get(manifest.form) and not packed:
        raise StoreError(f"{path}: file '{manifest.file}' for form '{manifest.form}'")
    return manifest


def _read_execution(raw: dict[str, Any]) -> Execution:
    given, boxes = raw.pop("input", None), raw.pop("boxes", None)  # not in what earlier versions wrote
    raw["boxes"] = None if boxes is None else DetectionUse(**boxes)
    if given is None:
        return Execution(**raw)
    preprocess: dict[str, Any] = {
        key: tuple(value) if isinstance(value, list) else value for key, value in given["preprocess"].items()
    }
    return Execution(**raw, input=InputPipeline(**{**given, "preprocess": Preprocess(**preprocess)}))


def load_module(folder: Path, manifest: Manifest) -> nn.Module:
    """The torch module of an artifact whose manifest was read, in evaluation mode; no digest is checked.

    Raises: StoreError where the state dict does not fit the architecture.
    """
    import pickle

    import torch

    from paretoboard.models.packing import unpack

    path = folder / manifest.file
    try:
        packed = manifest.file == PACKED_FILE
        state = unpack(path.read_bytes()) if packed else torch.load(path, map_location="cpu", weights_only=True)
        return _rebuild(manifest.architecture, manifest.classes, manifest.structure, state)
    except (ValueError, RuntimeError, pickle.UnpicklingError, EOFError) as error:
        raise StoreError(f"{path}: not the weights of {manifest.architecture}: {error}") from error


def _content(candidate: Candidate) -> tuple[bytes, Mapping[str, Any]]:
    if candidate.graph is not None:
        return candidate.graph, {}
    import io

    import torch

    from paretoboard.models.packing import pack
    from paretoboard.models.structure import without_shared

    assert candidate.module is not None
    # Copies: a tensor that is a view would drag its whole storage along.
    state = {
        name: tensor.detach().clone(memory_format=torch.contiguous_format)
        for name, tensor in candidate.module.state_dict().items()
    }
    structure = _checked_structure(candidate, state)
    stored = without_shared(state, structure)
    if _is_packed(candidate):
        return pack(stored), structure
    buffer = io.BytesIO()
    torch.save(stored, buffer)
    return buffer.getvalue(), structure


def _is_packed(candidate: Candidate) -> bool:
    """Whether its file is a packed one; a graph's file is what its runtime reads."""
    return candidate.form == "torch" and candidate.storage == "packed"


def _checked_structure(candidate: Candidate, state: Mapping[str, Any]) -> Mapping[str, Any]:
    """The description of the module's structure, after a network rebuilt from it gave the same outputs."""
    import torch

    from paretoboard.models import build
    from paretoboard.models.structure import describe

    module = candidate.module
    assert module is not None
    with torch.random.fork_rng(devices=[]):
        structure = describe(module, build(candidate.architecture, candidate.classes))
    generator = torch.Generator().manual_seed(0)
    image = torch.rand((1, *candidate.input_shape), generator=generator).to(getattr(torch, candidate.execution.dtype))
    try:
        rebuilt = _rebuild(candidate.architecture, candidate.classes, structure, state)
        with torch.inference_mode():
            wanted, found = module(image), rebuilt(image)
    except RuntimeError as error:
        raise NotApplicableError(f"the model can't be rebuilt from its structure and weights: {error}") from error
    # Memory formats may differ, and with them the order of sums: some units in the last place are nothing.
    tolerance = 64 * torch.finfo(wanted.dtype).eps
    # Outputs that are no numbers are the quality phase's to refuse.
    largest = float(wanted.abs().nan_to_num(nan=0.0, posinf=0.0).max())
    if not torch.allclose(found, wanted, rtol=tolerance, atol=tolerance * largest, equal_nan=True):
        raise NotApplicableError("the model rebuilt from its structure and weights gives other outputs")
    return structure


def _rebuild(architecture: str, classes: int, structure: Mapping[str, Any], state: Mapping[str, Any]) -> nn.Module:
    import torch

    from paretoboard.models import build
    from paretoboard.models.structure import rebuild, with_shared

    with torch.random.fork_rng(devices=[]):  # the initial weights are thrown away: draw no one's random numbers
        module = rebuild(build(architecture, classes), structure)
    whole = with_shared(state, structure)
    module.load_state_dict(whole, strict=True, assign=True)  # assign keeps each tensor's own dtype
    return module.eval()


def _move_into_place(draft: Path, folder: Path) -> ArtifactFile:
    if folder.exists():
        try:
            kept = verify(folder).stored
        except StoreError:
            shutil.rmtree(folder)
        else:
            shutil.rmtree(draft)
            return kept
    try:
        draft.rename(folder)
    except OSError:  # another process was faster
        shutil.rmtree(draft)
        return verify(folder).stored
    durable.sync_folder(folder.parent)
    return read_manifest(folder).stored
