"""What is known by name, loaded only when it is used: techniques, models, datasets, runners.

A table maps a name to (where it is, one line on what it is). Nothing is imported before `load`, so that listing
and checking names never pays for torch. Other distributions add entries through entry points of the group
`paretoboard.<kind>s`; a name of ours can't be taken over by one of theirs.
"""

from __future__ import annotations

import importlib
from functools import cached_property
from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING, Any, Final

from paretoboard.errors import InputError, UnknownNameError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

# What their networks are called after: `torchvision:NAME`. Other names with a colon are `module:function`.
MODEL_LIBRARIES: Final = ("torchvision", "timm")


class Registry:
    """Names of one kind of thing; iterating gives them sorted."""

    def __init__(self, kind: str, builtin: Mapping[str, tuple[str, str]]) -> None:
        self.kind = kind
        self._builtin = dict(builtin)

    @cached_property
    def _external(self) -> dict[str, EntryPoint]:
        found = entry_points(group=f"paretoboard.{self.kind}s")
        return {entry.name: entry for entry in found if entry.name not in self._builtin}

    def __iter__(self) -> Iterator[str]:
        return iter(sorted({*self._builtin, *self._external}))

    def __contains__(self, name: object) -> bool:
        return name in self._builtin or name in self._external

    def describe(self, name: str) -> str:
        """One line on what `name` is; for outside entries, where it comes from."""
        if name in self._builtin:
            return self._builtin[name][1]
        if name in self._external:
            entry = self._external[name]
            return f"from {entry.dist.name if entry.dist else entry.value}"
        raise UnknownNameError(self.kind, name, self)

    def target(self, name: str) -> str:
        """`module:attribute` that `name` stands for."""
        if name in self._builtin:
            return self._builtin[name][0]
        if name in self._external:
            return self._external[name].value
        raise UnknownNameError(self.kind, name, self)

    def load(self, name: str) -> Any:
        """The object that `name` stands for, imported now."""
        return load_object(self.target(name), f"{self.kind} '{name}'")


def model_library(name: str) -> str:
    """The library that a model's name is prefixed with, as in `torchvision:resnet50`; "" for every other name."""
    library, separator, _ = name.partition(":")
    return library if separator and library in MODEL_LIBRARIES else ""


def is_own(name: str) -> bool:
    """Whether a model's name is that of one's own function, `module:function`."""
    return ":" in name and not model_library(name)


def load_object(target: str, what: str) -> Any:
    """Import `module:attribute`.

    Raises: InputError if the module or the attribute is missing, saying `what` wanted it.
    """
    module_name, _, attribute = target.partition(":")
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        raise InputError(f"{what}: can't import '{module_name}': no module named '{error.name}'") from error
    try:
        return getattr(module, attribute)
    except AttributeError:
        raise InputError(f"{what}: module '{module_name}' has no '{attribute}'") from None


TECHNIQUES: Final = Registry(
    "technique",
    {
        "architecture.replace": (
            "paretoboard.techniques.architecture:Replacement",
            "train another network anew, as the task's own was",
        ),
        "data.cache": (
            "paretoboard.techniques.data:Cache",
            "begin calls with stored images, and keep decoded ones by their content",
        ),
        "data.decode": (
            "paretoboard.techniques.data:Decoding",
            "begin calls with stored images, decoded and resized in another way",
        ),
        "data.normalize": (
            "paretoboard.techniques.data:Normalization",
            "begin calls with stored images that the model normalizes itself",
        ),
        "data.stored": (
            "paretoboard.techniques.data:StoredImages",
            "begin calls with stored images: PNG, JPEG or records, of any size",
        ),
        "data.workers": (
            "paretoboard.techniques.data:WorkerPool",
            "begin calls with stored images, read by threads or processes side by side",
        ),
        "detect.boxes": (
            "paretoboard.techniques.detect:Boxes",
            "end calls with boxes: decoding and suppression are timed, too",
        ),
        "detect.input_size": (
            "paretoboard.techniques.detect:InputSize",
            "give the network smaller or larger images",
        ),
        "distill.attention": (
            "paretoboard.techniques.distill:AttentionTransfer",
            "train with a teacher to look where it looks",
        ),
        "distill.decoupled": (
            "paretoboard.techniques.distill:DecoupledDistillation",
            "train with a teacher's right and wrong classes weighted apart",
        ),
        "distill.logits": (
            "paretoboard.techniques.distill:LogitsDistillation",
            "train with a teacher's softened classes beside the labels",
        ),
        "factorize.cp": (
            "paretoboard.techniques.factorize:CanonicalPolyadic",
            "replace k x k convolutions by four layers of a CP decomposition",
        ),
        "factorize.svd": (
            "paretoboard.techniques.factorize:SingularValues",
            "replace linear layers and 1x1 convolutions, or all of them, by two of a lower rank",
        ),
        "factorize.tucker2": (
            "paretoboard.techniques.factorize:Tucker2",
            "replace k x k convolutions by three layers of a Tucker decomposition",
        ),
        "parallel.data": (
            "paretoboard.techniques.parallel:DataParallel",
            "train anew on several processes that share each batch (DDP)",
        ),
        "parallel.pipeline": (
            "paretoboard.techniques.parallel:PipelineParallel",
            "train anew on several processes that each hold a span of the layers (GPipe, 1F1B)",
        ),
        "parallel.sharded": (
            "paretoboard.techniques.parallel:ShardedDataParallel",
            "train anew on several processes that share each batch and hold parts of the weights (FSDP2)",
        ),
        "parallel.tensor": (
            "paretoboard.techniques.parallel:TensorParallel",
            "train anew on several processes that each hold a part of the linear layers (DTensor)",
        ),
        "prune.gradual": (
            "paretoboard.techniques.prune:GradualPruning",
            "zero more and more of the smallest weights while training",
        ),
        "prune.magnitude": (
            "paretoboard.techniques.prune:MagnitudePruning",
            "zero the smallest weights of convolutions and linear layers",
        ),
        "prune.n_m": (
            "paretoboard.techniques.prune:NMPruning",
            "keep n of every m weights, as 2:4 for sparse tensor cores",
        ),
        "prune.structured": (
            "paretoboard.techniques.prune:StructuredPruning",
            "remove whole filters along the dependency graph to a budget of parameters or MACs",
        ),
        "quantize.cast": (
            "paretoboard.techniques.quantize:Cast",
            "store weights and compute in a 16-bit float",
        ),
        "quantize.dynamic": (
            "paretoboard.techniques.quantize:DynamicQuantization",
            "INT8 weights, activation ranges found at run time, on an ONNX graph",
        ),
        "quantize.mixed": (
            "paretoboard.techniques.quantize:MixedQuantization",
            "INT8 for all layers but those that suffer most from it, by measured sensitivity",
        ),
        "quantize.nncf": (
            "paretoboard.techniques.nncf:NncfQuantization",
            "INT8 weights and activations by NNCF, OpenVINO's own tool, on an ONNX graph",
        ),
        "quantize.qat": (
            "paretoboard.techniques.quantize:QuantizationAwareTraining",
            "train with INT8 rounding of weights and activations, with or without a teacher",
        ),
        "quantize.static": (
            "paretoboard.techniques.quantize:StaticQuantization",
            "INT8 weights and activations with ranges from calibration images, on an ONNX graph",
        ),
        "quantize.weights": (
            "paretoboard.techniques.quantize:WeightQuantization",
            "store weights in 8 or 4 bits and compute in float, on an ONNX graph",
        ),
        "run.autocast": (
            "paretoboard.techniques.run:Autocast",
            "compute in bfloat16 where torch.autocast does, with float32 weights",
        ),
        "run.channels_last": (
            "paretoboard.techniques.run:ChannelsLast",
            "keep tensors as NHWC in torch",
        ),
        "run.compile": (
            "paretoboard.techniques.run:Compile",
            "run through torch.compile with the Inductor backend",
        ),
        "run.cuda": (
            "paretoboard.techniques.run:Cuda",
            "run torch on an NVIDIA GPU",
        ),
        "run.onnxruntime": (
            "paretoboard.techniques.run:OnnxRuntime",
            "run an ONNX graph in ONNX Runtime's CPU provider",
        ),
        "run.openvino": (
            "paretoboard.techniques.run:OpenVino",
            "run an ONNX graph in OpenVINO's CPU plugin, in a precision that is set and verified",
        ),
        "run.tensorrt": (
            "paretoboard.techniques.run:TensorRt",
            "run an ONNX graph in TensorRT, as ONNX Runtime's provider",
        ),
        "run.xla": (
            "paretoboard.techniques.run:Xla",
            "run torch through XLA, on a TPU above all",
        ),
        "share.kmeans": (
            "paretoboard.techniques.share:WeightClustering",
            "give each layer's weights a few values, found by k-means",
        ),
        "share.layers": (
            "paretoboard.techniques.share:LayerSharing",
            "let blocks of the same shape use one set of weights",
        ),
        "train.finetune": (
            "paretoboard.techniques.train:Finetune",
            "train further on the task's training images",
        ),
        "train.scratch": (
            "paretoboard.techniques.train:Scratch",
            "train the task's network anew, as the task did but for what is named",
        ),
        "train.transfer": (
            "paretoboard.techniques.train:Transfer",
            "train the task's network from weights that were learned elsewhere",
        ),
        "tune.search": (
            "paretoboard.techniques.tune:Search",
            "search the settings to train with: grid, random, TPE or Gaussian process, with pruning of trials",
        ),
    },
)

MODELS: Final = Registry(
    "model",
    {
        # Matched to cifar-resnet20's 269,722 parameters and 40,551,040 MACs within 3 %: those without a number to both,
        # "-270k" to the parameters, "-41m" to the MACs.
        "cifar-depthwise": (
            "paretoboard.models.cifar_depthwise:depthwise",
            "depthwise-separable convolutions at ResNet-20's parameters and MACs (Howard et al. 2017)",
        ),
        "cifar-gru-270k": (
            "paretoboard.models.cifar_gru:gru_270k",
            "reads rows with gated recurrent units, at ResNet-20's parameters and 21 % of its MACs (Cho et al. 2014)",
        ),
        "cifar-gru-41m": (
            "paretoboard.models.cifar_gru:gru_41m",
            "the same at ResNet-20's MACs and 4.7 times its parameters",
        ),
        "cifar-plain": (
            "paretoboard.models.cifar_plain:plain20",
            "ResNet-20 without its shortcuts, at the same parameters and MACs (He et al. 2015)",
        ),
        "cifar-vit-270k": (
            "paretoboard.models.cifar_vit:vit_270k",
            "transformer on patches of 4x4, at ResNet-20's parameters and half its MACs (Dosovitskiy et al. 2020)",
        ),
        "cifar-vit-41m": (
            "paretoboard.models.cifar_vit:vit_41m",
            "the same at ResNet-20's MACs and twice its parameters",
        ),
        "cifar-airbench": (
            "paretoboard.models.airbench:airbench",
            "whitening and three groups of 64, 128 and 256 channels, after airbench94 (Jordan 2024)",
        ),
        "cifar-airbench-small": ("paretoboard.models.airbench:airbench_small", "the same, of 32, 64 and 128 channels"),
        "cifar-resnet8": (
            "paretoboard.models.cifar_resnet:resnet8",
            "CIFAR ResNet of 6n+2 layers, n=1 (He et al. 2015)",
        ),
        "cifar-resnet20": ("paretoboard.models.cifar_resnet:resnet20", "the same, n=3"),
        "cifar-resnet32": ("paretoboard.models.cifar_resnet:resnet32", "the same, n=5"),
        "cifar-resnet56": ("paretoboard.models.cifar_resnet:resnet56", "the same, n=9"),
        "cifar-resnet110": ("paretoboard.models.cifar_resnet:resnet110", "the same, n=18"),
        "efficientnet-lite0": (
            "paretoboard.models.efficientnet_lite:efficientnet_lite0",
            "EfficientNet-Lite0 (Liu 2020), for images of 224x224",
        ),
        "fastestdet": (
            "paretoboard.models.fastestdet:fastestdet",
            "detector of one box for each of 22 x 22 cells, on ShuffleNet V2 (FastestDet)",
        ),
        "lenet5": (
            "paretoboard.models.lenet:lenet5",
            "two convolutions and three linear layers, for handwritten digits (LeCun et al. 1998)",
        ),
        "mobilenetv2": (
            "paretoboard.models.mobilenet_v2:mobilenet_v2",
            "MobileNetV2 (Sandler et al. 2018) as TensorFlow pads it, for images of 224x224",
        ),
        "mlperf-tiny-resnet8": (
            "paretoboard.models.mlperf_tiny:resnet8",
            "MLPerf Tiny's image-classification reference, batch norm folded",
        ),
        "scene-detector": (
            "paretoboard.models.scene_detector:scene_detector",
            "detector of one stage without anchors, for scenes of digits (after FCOS, Tian et al. 2019)",
        ),
    },
)

DATASETS: Final = Registry(
    "dataset",
    {
        "cifar10": ("paretoboard.datasets.cifar10:Cifar10", "CIFAR-10, 60,000 colour images of 32x32, 10 classes"),
        "cifar100": (
            "paretoboard.datasets.cifar100:Cifar100",
            "CIFAR-100, 60,000 colour images of 32x32, 100 classes",
        ),
        "coco": (
            "paretoboard.datasets.coco:CocoDetection",
            "COCO detection 2017, photographs with boxes around objects, 80 classes",
        ),
        "digit-scenes": (
            "paretoboard.datasets.digit_scenes:DigitScenes",
            "scenes of scikit-learn's handwritten digits with boxes, 2,000 of 96x96, 10 classes; no download",
        ),
        "digits": (
            "paretoboard.datasets.digits:Digits",
            "scikit-learn's handwritten digits, 1,797 images upscaled to 32x32, 10 classes; no download",
        ),
        "folder": (
            "paretoboard.datasets.folder:Folder",
            "a folder of one's own, named by 'path', with a folder of images for each class",
        ),
        "imagenet": (
            "paretoboard.datasets.imagenet:ImageNet",
            "ImageNet-1k, 50,000 images of 1,000 classes to judge on, or some of them",
        ),
    },
)
