"""Networks in files of one's own: what fits is run as it is; what is damaged, hostile or does not fit is refused."""

from __future__ import annotations

import contextlib
import io
import json
import os
import pickle
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn

import own_networks
from own_networks import CLASSES, SIDE, onnx_model, rewritten, write_onnx, write_program
from paretoboard import models
from paretoboard.datasets.weights import sha256_of
from paretoboard.errors import DataError, InputError
from paretoboard.locations import MODULES_VARIABLE
from paretoboard.models import exported_program, onnx_file
from paretoboard.models.own import call, require_fit
from paretoboard.spec import ModelFile, ModelUse
from paretoboard_runners import original
from pickles import FileMaker

SHAPE = (3, SIDE, SIDE)
NUMBER = len(CLASSES)


def use_of(path: Path) -> ModelUse:
    return ModelUse(name=path.name, file=ModelFile(path=path, sha256=sha256_of(path)))


def graph_of(path: Path, classes: int = NUMBER) -> bytes:
    candidate, _ = original.from_file(use_of(path), SHAPE, classes)
    assert candidate.graph is not None
    return candidate.graph


def run(graph: bytes, images: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
    found: np.ndarray[Any, Any] = session.run(["logits"], {"images": images})[0]
    return found


def images(count: int) -> np.ndarray[Any, Any]:
    return np.random.default_rng(1).standard_normal((count, *SHAPE), dtype=np.float32)


def answers_of(model: onnx.ModelProto, given: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    found: np.ndarray[Any, Any] = session.run(None, {session.get_inputs()[0].name: given})[0]
    return found


# ONNX files


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"batch": 1},
        {"side": None},
        {"names": ("logits", "images")},  # ours, the other way round
        {"opset": 11},
    ],
    ids=str,
)
def test_an_onnx_file_gives_its_own_answers_under_our_names_and_at_any_batch(
    arguments: dict[str, Any], tmp_path: Path
) -> None:
    model = onnx_model(**arguments)
    path = tmp_path / "own.onnx"
    path.write_bytes(model.SerializeToString())
    graph = graph_of(path)
    given = images(3)
    one_by_one = np.concatenate([answers_of(model, given[index : index + 1]) for index in range(3)])
    np.testing.assert_allclose(run(graph, given), one_by_one, rtol=1e-4, atol=1e-5)
    (taken,) = onnx.load_model_from_string(graph).graph.input
    assert [extent.dim_value or extent.dim_param for extent in taken.type.tensor_type.shape.dim] == ["batch", *SHAPE]


def test_an_old_version_of_the_operators_is_raised_to_where_weights_are_quantized_for_each_channel(
    tmp_path: Path,
) -> None:
    graph = onnx.load_model_from_string(graph_of(write_onnx(tmp_path / "own.onnx", opset=11)))
    assert next(found.version for found in graph.opset_import if found.domain == "") >= 13


def test_the_graph_of_an_onnx_file_is_the_baseline_in_onnx_runtime_and_says_so(tmp_path: Path) -> None:
    candidate, notes = original.from_file(use_of(write_onnx(tmp_path / "own.onnx")), SHAPE, NUMBER)
    assert candidate.execution.runtime == "onnxruntime"
    assert candidate.form == "onnx"
    assert "the baseline is ONNX Runtime's" in notes[0]


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.98])
def test_a_truncated_onnx_file_is_refused_by_name(share: float, tmp_path: Path) -> None:
    whole = onnx_model().SerializeToString()
    path = tmp_path / "own.onnx"
    path.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(DataError, match=r"own\.onnx: not a "):
        graph_of(path)


@pytest.mark.parametrize("content", [b"garbage", pickle.dumps({"weight": 1}), b"PK\x03\x04" + bytes(60)])
def test_what_is_no_onnx_file_is_refused(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "own.onnx"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"own\.onnx"):
        graph_of(path)


def _outside(tensor: onnx.TensorProto) -> None:
    """Let its content be in another file."""
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in (("location", "../../etc/passwd"), ("offset", "0"), ("length", "64")):
        tensor.external_data.add(key=key, value=value)


def _weight_outside(model: onnx.ModelProto) -> None:
    _outside(model.graph.initializer[0])


def _constant_of_a_function_outside(model: onnx.ModelProto) -> None:
    constant = helper.make_node("Constant", [], ["hidden"], value=numpy_helper.from_array(np.zeros(3), "hidden"))
    _outside(constant.attribute[0].t)
    model.functions.append(helper.make_function("own", "Hidden", [], ["hidden"], [constant], model.opset_import))


@pytest.mark.parametrize(("change", "name"), [(_weight_outside, "w1"), (_constant_of_a_function_outside, "hidden")])
def test_a_graph_whose_weights_lie_in_another_file_is_refused_and_the_file_is_not_read(
    change: Callable[[onnx.ModelProto], None], name: str, tmp_path: Path
) -> None:
    model = onnx_model()
    change(model)
    path = tmp_path / "own.onnx"
    path.write_bytes(model.SerializeToString())
    with pytest.raises(DataError, match=f"'{name}' lies in another file"):
        graph_of(path)


def test_an_old_file_whose_weights_are_inputs_is_raised_to_a_format_in_which_they_are_not(tmp_path: Path) -> None:
    model = onnx_model(opset=11)
    model.ir_version = 3
    model.graph.input.extend(
        helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims) for tensor in model.graph.initializer
    )
    path = tmp_path / "own.onnx"
    path.write_bytes(model.SerializeToString())
    graph = onnx.load_model_from_string(graph_of(path))
    assert [given.name for given in graph.graph.input] == ["images"]
    assert graph.ir_version >= 4
    assert next(found.version for found in graph.opset_import if found.domain == "") >= 13


def _two_outputs(model: onnx.ModelProto) -> None:
    model.graph.output.append(helper.make_tensor_value_info("flat", TensorProto.FLOAT, ["n", 16]))


def _two_inputs(model: onnx.ModelProto) -> None:
    model.graph.input.append(helper.make_tensor_value_info("mask", TensorProto.FLOAT, ["n"]))


def _bytes_in(model: onnx.ModelProto) -> None:
    model.graph.input[0].type.tensor_type.elem_type = TensorProto.UINT8


def _classes_as_integers(model: onnx.ModelProto) -> None:
    """Gives rounded numbers."""
    model.graph.node.append(helper.make_node("Cast", ["scores"], ["rounded"], to=TensorProto.INT64))
    model.graph.output[0].CopyFrom(helper.make_tensor_value_info("rounded", TensorProto.INT64, ["n", NUMBER]))


def _unknown_operator(model: onnx.ModelProto) -> None:
    model.graph.node[1].domain = "com.somebody"
    model.opset_import.append(helper.make_opsetid("com.somebody", 1))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_two_outputs, r"gives 2 outputs \(scores, flat\)"),
        (_two_inputs, r"takes 2 inputs \(pixels, mask\)"),
        (_bytes_in, "takes UINT8"),
        (_classes_as_integers, "gives int64; a number in floating point"),
        (_unknown_operator, "ONNX Runtime can't run this graph"),
    ],
)
def test_a_graph_that_can_not_be_measured_is_refused(
    change: Callable[[onnx.ModelProto], None], message: str, tmp_path: Path
) -> None:
    model = onnx_model()
    change(model)
    path = tmp_path / "own.onnx"
    path.write_bytes(model.SerializeToString())
    with pytest.raises(DataError, match=message):
        graph_of(path)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"side": 64}, r"takes images of \(3, 64, 64\), the task gives \(3, 32, 32\)"),
        ({"classes": 5}, r"gives \(1, 5\) for 1 images; \(1, 3\), a number for each of the dataset's 3 classes"),
        ({"reshaped_batch": 1, "batch": 1}, "export it with a free batch"),
    ],
)
def test_a_graph_that_does_not_fit_is_refused(arguments: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=message):
        graph_of(write_onnx(tmp_path / "own.onnx", **arguments))


def test_channels_that_come_last_are_named(tmp_path: Path) -> None:
    model = onnx_model()
    dimensions = model.graph.input[0].type.tensor_type.shape.dim
    for dimension, extent in zip(dimensions, (1, SIDE, SIDE, 3), strict=True):
        dimension.dim_value = extent
    path = tmp_path / "own.onnx"
    path.write_bytes(model.SerializeToString())
    with pytest.raises(DataError, match="Its channels come last"):
        graph_of(path)


def test_a_file_that_changed_since_the_plan_was_made_is_refused(tmp_path: Path) -> None:
    path = write_onnx(tmp_path / "own.onnx")
    use = use_of(path)
    write_onnx(path, classes=4)
    with pytest.raises(DataError, match="the file has changed"):
        original.from_file(use, SHAPE, NUMBER)


def test_what_an_onnx_file_says_of_itself_is_read(tmp_path: Path) -> None:
    model = onnx_file.read(write_onnx(tmp_path / "own.onnx"))
    assert onnx_file.image_shape(model, "own.onnx") == SHAPE
    assert onnx_file.image_shape(onnx_model(side=None), "own.onnx") is None


# Exported programs


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_program(tmp_path_factory.mktemp("program") / "own.pt2")


def test_an_exported_program_becomes_a_graph_that_answers_as_torch_does(program: Path) -> None:
    candidate, notes = original.from_file(use_of(program), SHAPE, NUMBER)
    names: dict[str, Any] = {}
    exec(own_networks.MODULE, names)
    with torch.inference_mode():
        wanted = names["make"](NUMBER)(torch.from_numpy(images(3))).numpy()
    assert candidate.graph is not None
    np.testing.assert_allclose(run(candidate.graph, images(3)), wanted, rtol=1e-4, atol=1e-5)
    assert "converted to an ONNX graph" in notes[0]


def test_a_program_with_sizes_that_are_products_is_loaded(tmp_path: Path) -> None:
    class Halves(nn.Module):
        """Works on twice as many images, as attention works on heads."""

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            halves = x.new_zeros(2 * x.shape[0], 3) + torch.cat([x, x]).mean((2, 3))
            return halves.reshape(x.shape[0], 2 * 3)

    path, given = tmp_path / "own.pt2", torch.from_numpy(images(2))
    shapes = ({0: torch.export.Dim("batch")},)
    torch.export.save(torch.export.export(Halves(), (given,), dynamic_shapes=shapes), path)
    module = exported_program.load(path).module(check_guards=False)
    torch.testing.assert_close(module(given), Halves()(given))


def test_a_program_that_was_exported_for_one_batch_says_how_to_export_it(tmp_path: Path) -> None:
    fixed = write_program(tmp_path / "own.pt2", free=False)
    with pytest.raises(DataError, match="free batch"):
        original.from_file(use_of(fixed), SHAPE, NUMBER)


def test_a_pickle_where_example_inputs_should_be_is_not_loaded(program: Path, tmp_path: Path) -> None:
    trace, stream = tmp_path / "trace", io.BytesIO()
    torch.save(((FileMaker(trace),), {}), stream)

    def change(records: dict[str, bytes]) -> None:
        records["data/sample_inputs/model.pt"] = stream.getvalue()

    path = rewritten(program, tmp_path / "hostile.pt2", change)
    exported_program.load(path)
    assert not trace.exists()
    with contextlib.suppress(Exception):
        torch.export.load(path)
    assert trace.exists()  # it would have been


def _edited(edit: Callable[[Any], None]) -> Callable[[dict[str, bytes]], None]:
    def change(records: dict[str, bytes]) -> None:
        content = json.loads(records["models/model.json"])
        edit(content)
        records["models/model.json"] = json.dumps(content).encode()

    return change


def _nodes(content: Any) -> Any:
    return content["graph_module"]["graph"]["nodes"]


def _other_function(content: Any) -> None:
    _nodes(content)[0]["target"] = "torch.os.system"


def _file_operator(content: Any) -> None:
    _nodes(content)[0]["target"] = "torch.ops.aten.from_file.default"


def _writing_operator(content: Any) -> None:
    _nodes(content)[0]["target"] = "torch.ops.aten.save.default"


def _method_of_the_namespace(content: Any) -> None:
    _nodes(content)[0]["target"] = "torch.ops.aten._dir.append"


def _size_with_code(content: Any) -> None:
    values = content["graph_module"]["graph"]["tensor_values"]
    next(iter(values.values()))["sizes"][0] = {"as_expr": {"expr_str": "print(1)", "hint": None}}


def _product_with_code(content: Any) -> None:
    values = content["graph_module"]["graph"]["tensor_values"]
    text = "Mul(Integer(2), print(Integer(1)))"
    next(iter(values.values()))["sizes"][0] = {"as_expr": {"expr_str": text, "hint": None}}


def _name_with_code(content: Any) -> None:
    content["graph_module"]["graph"]["inputs"][-1]["as_tensor"]["name"] = "x=print(1)"


def _imported_context(content: Any) -> None:
    signature = content["graph_module"]["module_call_graph"][0]["signature"]
    specification = json.loads(signature["in_spec"])
    specification[1]["type"] = "collections.defaultdict"
    signature["in_spec"] = json.dumps(specification)


def _inner_graph(content: Any) -> None:
    _nodes(content)[0]["inputs"][0]["arg"] = {"as_operator": "torch.os.system"}


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (_other_function, r"calls 'torch\.os\.system'"),
        (_file_operator, "from_file"),
        (_writing_operator, r"calls 'torch\.ops\.aten\.save\.default'"),
        (_method_of_the_namespace, r"calls 'torch\.ops\.aten\._dir\.append'"),
        (_size_with_code, r"holds the size 'print\(1\)'"),
        (_product_with_code, r"holds the size 'Mul\("),
        (_name_with_code, "holds the name or text 'x=print"),
        (_imported_context, "collections.defaultdict"),
        (_inner_graph, "passes 'as_operator'"),
    ],
)
def test_a_program_that_names_code_is_refused(
    edit: Callable[[Any], None], message: str, program: Path, tmp_path: Path
) -> None:
    path = rewritten(program, tmp_path / "hostile.pt2", _edited(edit))
    with pytest.raises(DataError, match=message):
        exported_program.load(path)


def test_a_program_with_a_pickle_among_its_weights_is_refused_and_it_is_not_loaded(
    program: Path, tmp_path: Path
) -> None:
    trace, stream = tmp_path / "trace", io.BytesIO()
    torch.save(FileMaker(trace), stream)

    def change(records: dict[str, bytes]) -> None:
        config = json.loads(records["data/weights/model_weights_config.json"])
        payload = next(iter(config["config"].values()))
        payload["use_pickle"] = True
        records[f"data/weights/{payload['path_name']}"] = stream.getvalue()
        records["data/weights/model_weights_config.json"] = json.dumps(config).encode()

    path = rewritten(program, tmp_path / "hostile.pt2", change)
    with pytest.raises(DataError, match="is a pickle"):
        exported_program.load(path)
    assert not trace.exists()


@pytest.mark.parametrize("record", ["data/constants/custom_obj_0", "data/constants/opaque_obj_0", "data/aotinductor/x"])
def test_a_program_with_more_than_weights_is_refused(record: str, program: Path, tmp_path: Path) -> None:
    path = rewritten(program, tmp_path / "hostile.pt2", lambda records: records.update({record: b"code"}))
    with pytest.raises(DataError, match="could run anything"):
        exported_program.load(path)


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9])
def test_a_truncated_program_is_refused(share: float, program: Path, tmp_path: Path) -> None:
    whole = program.read_bytes()
    path = tmp_path / "own.pt2"
    path.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(DataError, match=r"own\.pt2"):
        exported_program.load(path)


def test_a_program_that_unpacks_to_far_more_than_its_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "own.pt2"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("own/archive_format", bytes(10_000_000))
    with pytest.raises(DataError, match=r"own\.pt2: its [\d,]+ bytes unpack to 10,000,000"):
        exported_program.load(path)


def test_a_saved_module_is_no_exported_program_and_its_pickle_is_not_loaded(tmp_path: Path) -> None:
    trace, path = tmp_path / "trace", tmp_path / "own.pt2"
    torch.save({"module": FileMaker(trace)}, path)
    with pytest.raises(DataError, match=r"own\.pt2"):
        exported_program.load(path)
    assert not trace.exists()


# Functions


@pytest.fixture
def functions() -> dict[str, Any]:
    names: dict[str, Any] = {}
    exec(own_networks.MODULE, names)
    return names


def test_a_function_is_called_with_the_classes_if_it_takes_them(functions: dict[str, Any]) -> None:
    with torch.inference_mode():
        assert call(functions["make"], 4, "own:make")(torch.zeros(2, *SHAPE)).shape == (2, 4)
        assert call(functions["stubborn"], 4, "own:stubborn")(torch.zeros(2, *SHAPE)).shape == (2, 5)


def test_a_function_that_needs_more_than_the_classes_is_refused(functions: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="own:greedy': needs depth"):
        call(functions["greedy"], 4, "own:greedy")


@pytest.mark.parametrize("found", [None, lambda image: image, {"state_dict": {}}])
def test_a_function_that_gives_no_module_is_refused(found: object) -> None:
    with pytest.raises(InputError, match=r"a torch\.nn\.Module would be right"):
        call(lambda: found, 4, "own:make")


def test_a_network_that_does_not_fit_is_refused_with_what_it_gives(functions: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=r"gives \(2, 5\) for 2 images; a tensor of \(2, 3\)"):
        require_fit(functions["stubborn"](), SHAPE, NUMBER, "own:stubborn")
    with pytest.raises(InputError, match="takes no images of 3x32x32: RuntimeError"):
        require_fit(functions["failing"](NUMBER), SHAPE, NUMBER, "own:failing")

    class Pair(nn.Module):
        def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            return x, x

    with pytest.raises(InputError, match="gives a tuple"):
        require_fit(Pair(), SHAPE, NUMBER, "own:pair")


def test_what_the_code_of_a_network_raises_is_said(functions: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=r"own:lost': gives no network: FileNotFoundError: lost\.pth"):
        call(functions["lost"], 4, "own:lost")


@pytest.fixture
def module_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Two folders that modules of one's own are looked for in, until the test ends."""
    folders = [tmp_path / "first", tmp_path / "second"]
    monkeypatch.setenv(MODULES_VARIABLE, os.pathsep.join(map(str, folders)))
    monkeypatch.setattr(sys, "path", list(sys.path))
    return folders


def test_what_a_module_raises_when_it_is_imported_is_said(module_folders: list[Path]) -> None:
    own_networks.write_module(module_folders[0], "brokennet").write_text("raise RuntimeError('no device')")
    with pytest.raises(InputError, match="brokennet:make': can't be imported: RuntimeError: no device"):
        models.build("brokennet:make", NUMBER)


def test_two_modules_of_one_name_are_never_taken_for_each_other(module_folders: list[Path]) -> None:
    for folder in module_folders:
        own_networks.write_module(folder, "twinnet")
    with pytest.raises(InputError, match=r"first/twinnet\.py would be imported, and .*second/twinnet\.py"):
        models.build("twinnet:make", NUMBER)
    assert "twinnet" not in sys.modules
