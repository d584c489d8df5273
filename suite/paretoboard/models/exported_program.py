"""A program that torch.export.save wrote, loaded without letting it run anything.

torch.export.load says itself that it is not for files from strangers, and means it: example inputs, tensors of
unusual classes and Python objects are pickles; operators are looked up below `torch` by whatever name a file gives;
sizes are read by sympy, which evaluates text; descriptions of inputs may name modules to import; and names end up in
code that is generated and executed (torch 2.14, torch/export/pt2_archive/_package.py, torch/_export/serde/serialize.py,
torch/fx/graph.py). So nothing of a file reaches torch but a copy that is put together here from what was understood:
tensors as plain bytes, a graph of ATen's operators, plain names, and no pickle at all. What needs more is refused.
"""

from __future__ import annotations

import io
import json
import re
import zipfile
from typing import TYPE_CHECKING, Any, Final

from paretoboard.errors import DataError, first_line

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from torch.export import ExportedProgram

_MODEL: Final = "models/model.json"
_INPUTS: Final = "data/sample_inputs/model.pt"
_CONFIGS: Final = {
    "data/weights/model_weights_config.json": ("data/weights/", r"weight_\d+"),
    "data/constants/model_constants_config.json": ("data/constants/", r"tensor_\d+"),
}
# What stands in every file and is written anew, or is not for computing.
_IGNORED: Final = re.compile(r"archive_format|archive_version|byteorder|version|\.[a-z_]+|\.data/.*|extra/.*")
_KINDS: Final = {
    "data/constants/custom_obj_": "an object of TorchScript",
    "data/constants/opaque_obj_": "an object of Python",
    "data/aotinductor/": "machine code",
    "data/executorch/": "a program of another runtime",
}
# Pure functions of tensors and numbers. Other namespaces hold code of whoever registered it.
_OPERATOR: Final = re.compile(
    r"torch\.ops\.aten\.[a-z0-9_]+\.[A-Za-z0-9_]+|_operator\.(getitem|add|sub|mul|floordiv|neg)"
)
_REFUSED_OPERATORS: Final = frozenset({"from_file", "save"})  # open and create files
# Sizes as sympy writes them out, and what sums and products of sizes are made of; sympy evaluates all of it.
_WRITTEN_OUT: Final = re.compile(
    r"\b(?:Symbol\('[a-z]+[0-9]*'(?:, [a-z_]+=(?:True|False))*\)|Integer\(-?[0-9]+\)|(?:Add|Mul)\(s(?:, s)*\))"
)
_SIZE_WORD: Final = re.compile(r"[a-z]+[0-9]*|[0-9]+|[-+*() ]")
_PLAIN: Final = re.compile(r"[A-Za-z0-9_.]*|-?Infinity|NaN")
_NESTED: Final = ("builtins.tuple", "builtins.list", "builtins.dict")
# Arguments that are code, graphs within graphs, or objects.
_REFUSED_ARGUMENTS: Final = frozenset(
    {"as_operator", "as_graph", "as_custom_obj", "custom_obj", "as_string_to_argument"}
)
# Where text stands that has a rule of its own.
_SPECIFICATIONS: Final = ("in_spec", "out_spec")


def load(path: Path) -> ExportedProgram:
    """The program in the file at `path`, which takes one tensor of images and gives one of logits.

    Raises: DataError for a file that is damaged, and for one that holds more than weights and ATen's operators.
    """
    import torch

    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: can't be read: {error.strerror}") from error
    copy = _copy(content, str(path))
    try:
        program = torch.export.load(io.BytesIO(copy))
    # What torch raises for a file that is not its own depends on where it stumbles.
    except Exception as error:
        raise DataError(f"{path}: torch.export can't load this program: {first_line(error)}") from error
    _require_one_of_each(program, str(path))
    return program


def _copy(content: bytes, name: str) -> bytes:
    """An archive with what of `content` was understood, and no more.

    Raises: DataError for what can't be understood.
    """
    import torch
    from torch.export.pt2_archive import PT2ArchiveReader, PT2ArchiveWriter

    try:
        _require_not_packed(content, name)
        # By torch's own reader: another one might see other records in a file that was made to deceive.
        reader = PT2ArchiveReader(io.BytesIO(content))
        records = reader.get_file_names()
    except DataError:
        raise
    except Exception as error:
        raise DataError(f"{name}: not a whole file that torch.export.save wrote: {first_line(error)}") from error
    _require_known(records, name)
    try:
        program = _parsed(reader, _MODEL)
        configs = {path: _parsed(reader, path) for path in _CONFIGS}
        tensors = {
            folder + payload["path_name"]
            for path, (folder, pattern) in _CONFIGS.items()
            for payload in _payloads(configs[path], pattern, name)
        }
        _require_harmless(program, name)
        for config in configs.values():
            _require_plain(config, name)
        kept = {record: reader.read_bytes(record) for record in sorted(tensors)}
    except DataError:
        raise
    except Exception as error:
        raise DataError(f"{name}: not a whole exported program: {first_line(error)}") from error
    inputs, buffer = io.BytesIO(), io.BytesIO()
    torch.save(((torch.zeros(1),), {}), inputs)  # how many there are is asked for, and no more
    with PT2ArchiveWriter(buffer) as writer:
        writer.write_string(_MODEL, json.dumps(_without_comments(program)))
        writer.write_bytes(_INPUTS, inputs.getvalue())
        for path, config in configs.items():
            writer.write_string(path, json.dumps(config))
        for record, raw in kept.items():
            writer.write_bytes(record, raw)
    return buffer.getvalue()


def _require_not_packed(content: bytes, name: str) -> None:
    """Raises: DataError for an archive that grows when it is read, a thousandfold perhaps: torch compresses nothing."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        unpacked_bytes = sum(entry.file_size for entry in archive.infolist())
    if unpacked_bytes > len(content):
        raise DataError(f"{name}: its {len(content):,} bytes unpack to {unpacked_bytes:,}; torch.export packs nothing")


def _require_known(records: list[str], name: str) -> None:
    if "models/model.json" not in records:
        raise DataError(f"{name}: holds no program 'model'; save it with torch.export.save of torch 2.9 or newer")
    for record in records:
        known = record in {_MODEL, _INPUTS, *_CONFIGS} or _IGNORED.fullmatch(record)
        if known or re.fullmatch(r"data/weights/weight_\d+|data/constants/tensor_\d+", record):
            continue
        kind = next((kind for prefix, kind in _KINDS.items() if record.startswith(prefix)), "more than weights")
        raise DataError(f"{name}: holds {kind} ('{record[:80]}'), which is not loaded, since it could run anything")


def _parsed(reader: Any, record: str) -> Any:
    return json.loads(reader.read_bytes(record))


def _payloads(config: Any, pattern: str, name: str) -> Iterator[Any]:
    """The descriptions of tensors, each of plain bytes under a plain name."""
    for key, payload in config["config"].items():
        if payload["use_pickle"]:
            raise DataError(f"{name}: '{key[:80]}' is a pickle, which is not loaded, since it could run anything")
        if not re.fullmatch(pattern, payload["path_name"]):
            raise DataError(f"{name}: '{key[:80]}' lies in '{payload['path_name'][:80]}', which no file of torch's has")
        yield payload


def _require_harmless(program: Any, name: str) -> None:
    """Raises: DataError for a graph with more in it than operators on tensors, numbers and sizes."""
    graph = program["graph_module"]["graph"]
    for node in graph["nodes"]:
        target = node["target"]
        if not _is_operator(target):
            raise DataError(f"{name}: calls '{target[:80]}'; only ATen's own operators on tensors are loaded")
    _require_plain(_without_comments(program), name)


def _is_operator(target: str) -> bool:
    """Whether a node's target is an operator that may be loaded, and no other attribute under such a name.

    torch calls whatever a name leads to, as long as it can be called.
    """
    import torch
    from torch._ops import OpOverload

    if not _OPERATOR.fullmatch(target):
        return False
    if target.startswith("_operator."):  # of Python: the pattern lists them
        return True
    _, name, overload = target.rsplit(".", 2)
    found = getattr(getattr(torch.ops.aten, name, None), overload, None)
    return name not in _REFUSED_OPERATORS and isinstance(found, OpOverload)


def _require_plain(value: Any, name: str) -> None:
    """Check every name and every text: none may be read as code wherever it goes."""
    if isinstance(value, dict):
        for key, inner in value.items():
            if key in _REFUSED_ARGUMENTS:
                raise DataError(f"{name}: passes '{key}', which could run anything; export a plain network")
            _require_text(key, name)
            if key == "expr_str":
                _require_size(inner, name)
            elif key in _SPECIFICATIONS:
                _require_specification(json.loads(inner)[1], name)
            else:
                _require_plain(inner, name)
    elif isinstance(value, list):
        for inner in value:
            _require_plain(inner, name)
    elif isinstance(value, str):
        _require_text(value, name)


def _require_text(text: str, name: str) -> None:
    if not _PLAIN.fullmatch(text):
        raise DataError(f"{name}: holds the name or text {text[:80]!r}; letters, digits, '_' and '.' are loaded only")


def _require_size(text: str, name: str) -> None:
    plain, found = text, 1
    while found:  # from the inside out
        plain, found = _WRITTEN_OUT.subn("s", plain)
    calls = re.search(r"[\w)]\s*\(", plain)
    if "".join(_SIZE_WORD.findall(plain)) != plain or calls or "**" in plain.replace(" ", ""):
        raise DataError(f"{name}: holds the size {text[:80]!r}; sums and products of sizes are loaded only")


def _require_specification(node: Any, name: str) -> None:
    """How inputs and outputs are nested: in tuples, lists, and dicts with plain keys."""
    kind, context = node["type"], node["context"]
    keys = json.loads(context) if isinstance(context, str) else context
    plain = keys is None or (
        isinstance(keys, list) and all(isinstance(key, str) and key.isidentifier() for key in keys)
    )
    if kind not in (None, *_NESTED) or not plain:
        raise DataError(f"{name}: takes or gives a {str(kind)[:80]}; one tensor of images and one of logits are right")
    for inner in node["children_spec"]:
        _require_specification(inner, name)


def _without_comments(program: Any) -> Any:
    """A copy without what doesn't compute, where any text may stand: traces of the stack, guards on inputs."""
    module = program["graph_module"]
    nodes = [{**node, "metadata": {}} for node in module["graph"]["nodes"]]
    graph = {**module["graph"], "nodes": nodes}
    return {
        **program,
        "graph_module": {**module, "graph": graph, "metadata": {}},
        "guards_code": [],
        "torch_version": "",
    }


def _require_one_of_each(program: ExportedProgram, name: str) -> None:
    signature = program.graph_signature
    inputs, outputs = signature.user_inputs, signature.user_outputs
    if len(inputs) != 1 or len(outputs) != 1:
        raise DataError(
            f"{name}: takes {len(inputs)} inputs and gives {len(outputs)} outputs; one tensor of images and one of "
            "logits would be right"
        )
