"""What is compared with what."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

TASKS: Final = Path(__file__).parent / "tasks"
RECIPE: Final = "parity"  # in each of these task files


@dataclass(frozen=True, slots=True, kw_only=True)
class Procedure:
    """A library's documented way to do what a recipe of ours does."""

    title: str  # which calls, and where they are documented
    task: str  # file below TASKS with our recipe
    make: str  # `module:function`, the job that leaves the library's model in a folder
    open: str  # `module:function` that opens that folder; "" for an artifact of ours
    needs: tuple[str, ...]  # distributions
    across: str = ""  # what else differs beside the two procedures


# name -> procedure; the first is the one that is quickest.
PROCEDURES: Final = {
    "ort": Procedure(
        title="ONNX Runtime, 'Quantize ONNX models': quant_pre_process, quantize_static with the settings of ours",
        task="ort.toml",
        make="bench.parity.libraries.ort:with_our_settings",
        open="",
        needs=("onnxruntime",),
    ),
    "ort-defaults": Procedure(
        title="ONNX Runtime, 'Quantize ONNX models': quant_pre_process, quantize_static as it comes",
        task="ort.toml",
        make="bench.parity.libraries.ort:with_its_defaults",
        open="",
        needs=("onnxruntime",),
        across="settings",
    ),
    "torch-pruning": Procedure(
        title="Torch-Pruning, README 'A Minimal Example': MagnitudePruner in small steps to as many parameters as ours "
        "leaves, then the fine-tuning of ours",
        task="torch-pruning.toml",
        make="bench.parity.libraries.torch_pruning:magnitude_pruner",
        open="",
        needs=("torch-pruning",),
    ),
    "nncf": Procedure(
        title="NNCF, 'Post-training quantization' of an OpenVINO model: nncf.quantize with its defaults",
        task="nncf.toml",
        make="bench.parity.libraries.nncf:quantize",
        open="bench.parity.libraries.nncf:open_session",
        needs=("nncf", "openvino"),
    ),
    "torchao": Procedure(
        title="torchao, 'PyTorch 2 Export Quantization with X86 Backend through Inductor': static, compiled",
        task="ort.toml",
        make="bench.parity.libraries.torchao:static",
        open="bench.parity.libraries.torchao:open_session",
        needs=("torchao",),
        across="runtime: torch.compile beside our ONNX Runtime",
    ),
}
