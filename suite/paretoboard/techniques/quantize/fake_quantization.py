"""A network that rounds as INT8 does while it is trained, through torchao's PT2E. Importing this imports torchao."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any, Final

import torch
from torch import Tensor, nn
from torchao.quantization.pt2e import (
    FakeQuantize,
    MovingAverageMinMaxObserver,
    MovingAveragePerChannelMinMaxObserver,
)
from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e
from torchao.quantization.pt2e.quantizer import (
    QuantizationAnnotation,
    QuantizationSpec,
    Quantizer,
    SharedQuantizationSpec,
)

from paretoboard.errors import NotApplicableError
from paretoboard.techniques.quantize.graphs import quiet

if TYPE_CHECKING:
    from torch.fx import GraphModule, Node

_aten = torch.ops.aten
_WEIGHTED: Final = {_aten.conv2d.default, _aten.conv2d.padding, _aten.linear.default}
_SUMS: Final = {_aten.add.Tensor, _aten.add_.Tensor}
_POOLS: Final = {_aten.adaptive_avg_pool2d.default, _aten.avg_pool2d.default, _aten.mean.dim}
# Their output is rounded, not their input: the runtime computes them with the layer before, or not at all.
_ACTIVATIONS: Final = {
    _aten.relu.default,
    _aten.relu_.default,
    _aten.hardtanh.default,
    _aten.hardtanh_.default,
}
# These only move numbers, so their outputs have the codes of their input.
_MOVES: Final = {
    _aten.slice.Tensor,
    _aten.pad.default,
    _aten.constant_pad_nd.default,
    _aten.flatten.using_ints,
    _aten.view.default,
    _aten.reshape.default,
    _aten.max_pool2d.default,
}
# Signed weights without -128, so that codes are symmetric; unsigned activations, which x86 has the fast kernels for.
_WEIGHT: Final = QuantizationSpec(
    dtype=torch.int8,
    quant_min=-127,
    quant_max=127,
    qscheme=torch.per_channel_symmetric,
    ch_axis=0,
    # An average over nothing but the present: the range of the weights as they are.
    observer_or_fake_quant_ctr=FakeQuantize.with_args(
        observer=MovingAveragePerChannelMinMaxObserver, averaging_constant=1.0
    ),
)
_ACTIVATION: Final = QuantizationSpec(
    dtype=torch.uint8,
    quant_min=0,
    quant_max=255,
    qscheme=torch.per_tensor_affine,
    observer_or_fake_quant_ctr=FakeQuantize.with_args(observer=MovingAverageMinMaxObserver, averaging_constant=0.01),
)
_SAME: Final = 1e-3  # of the largest logit; folding batch norm changes the order of sums and no more


class FakeQuantized(nn.Module):
    """A traced network in evaluation mode, batch norm folded, whose numbers are rounded on the way and stay floats."""

    def __init__(self, module: nn.Module, images: Tensor) -> None:
        """Args:
        module: in evaluation mode; not changed.
        images: preprocessed (n, channels, height, width), n > 1; the ranges of activations begin with theirs.
        Raises: NotApplicableError for a module that torch.export can't trace or that can't be folded.
        """
        super().__init__()
        with quiet(), torch.random.fork_rng(devices=[]):  # tracing draws numbers that decide nothing
            self.traced: GraphModule = prepare_pt2e(_traced(module, images), _Int8())
        self.layers = sum(node.target in _WEIGHTED for node in self.traced.graph.nodes)
        self._check_folding(module, images)
        with torch.no_grad():
            # Ranges get their shapes here: once a tensor was lent to numpy, as a digest does, it can't be resized.
            self.traced(images)
        self._hold_zeros()

    @property
    def roundings(self) -> list[FakeQuantize]:
        """Everything that rounds, weights and activations."""
        return [part for part in self.traced.modules() if isinstance(part, FakeQuantize)]

    def forward(self, images: Tensor) -> Tensor:
        """Logits of a batch of images."""
        logits: Tensor = self.traced(images)
        return logits

    def train(self, mode: bool = True) -> FakeQuantized:
        """Only remembered: the traced graph is the one of evaluation, whose running statistics stay."""
        self.training = mode
        return self

    def settle(self, images: Tensor) -> None:
        """End the watching: ranges of activations stay as they are, those of weights are looked at once more.

        The last step moved the weights, and their ranges have not been looked at since.

        Args:
            images: any (n, channels, height, width); they change nothing.
        """
        for part in self.roundings:
            part.enable_observer(part.is_per_channel)
        with torch.no_grad():
            self.traced(images)
        for part in self.roundings:
            part.enable_observer(False)

    def converted(self) -> nn.Module:
        """A network in which rounding is quantizing and dequantizing, for export; this one is not changed."""
        with quiet(), torch.no_grad(), torch.random.fork_rng(devices=[]):
            return _Evaluating(convert_pt2e(copy.deepcopy(self.traced)))

    def _check_folding(self, module: nn.Module, images: Tensor) -> None:
        """Raises: NotApplicableError where the traced graph does not compute what `module` does."""
        for part in self.roundings:
            part.enable_observer(False)
            part.enable_fake_quant(False)
        with torch.no_grad():
            wanted, found = module(images), self.traced(images)
        for part in self.roundings:
            part.enable_observer()
            part.enable_fake_quant()
        if not torch.allclose(found, wanted, rtol=0, atol=_SAME * float(wanted.abs().max())):
            raise NotApplicableError(
                "quantize.qat: the network with batch norm folded into its convolutions gives other outputs; layers "
                "that share their weights can't be folded"
            )

    def _hold_zeros(self) -> None:
        """Keep weights at zero that are zero now: without a gradient neither momentum nor decay moves them."""
        for weight in self.traced.parameters():
            kept = weight.detach() != 0
            if weight.ndim > 1 and not bool(kept.all()):
                weight.register_hook(lambda gradient, kept=kept: gradient * kept)  # type: ignore[no-untyped-call]


class _Evaluating(nn.Module):
    """A traced graph that can be told to evaluate, as exporters do."""

    def __init__(self, traced: GraphModule) -> None:
        super().__init__()
        self.traced = traced  # not `graph`: an exported module has an attribute of its own of that name

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.traced(images)
        return logits

    def train(self, mode: bool = True) -> _Evaluating:
        self.training = mode
        return self


class _Int8(Quantizer):  # type: ignore[misc]
    """Rounds what ONNX Runtime's INT8 kernels round: inputs and weights of layers, sums, pools; logits stay float."""

    def annotate(self, model: GraphModule) -> GraphModule:
        """Say of each node which of its inputs and outputs are rounded, and how."""
        for node in model.graph.nodes:
            if node.op == "call_function" and _is_float(node):
                self._annotate(node)
        return model

    def validate(self, model: GraphModule) -> None:
        """Nothing can be wrong with what `annotate` says."""

    def _annotate(self, node: Node) -> None:
        inputs = [part for part in node.args[:2] if isinstance(part, torch.fx.Node)]
        if node.target in _WEIGHTED:
            _note(node, {inputs[0]: _ACTIVATION, inputs[1]: _WEIGHT}, _output(node))
        elif node.target in _SUMS and len(inputs) == 2 and all(map(_is_float, inputs)):
            _note(node, dict.fromkeys(inputs, _ACTIVATION), _output(node))
        elif node.target in _POOLS:
            _note(node, {inputs[0]: _ACTIVATION}, _output(node))
        elif node.target in _ACTIVATIONS and _is_noted(inputs[0]):
            _note(node, {}, _output(node))
        elif node.target in _MOVES and _is_rounded(inputs[0]) and _output(node):
            _note(node, {inputs[0]: SharedQuantizationSpec(inputs[0])}, SharedQuantizationSpec((inputs[0], node)))


def _note(node: Node, inputs: dict[Node, Any], output: Any) -> None:
    node.meta["quantization_annotation"] = QuantizationAnnotation(
        input_qspec_map=inputs, output_qspec=output, _annotated=True
    )


def _output(node: Node) -> QuantizationSpec | None:
    """How the output of `node` is rounded: not at all where the network ends or an activation follows at once."""
    users = list(node.users)
    last = any(user.op == "output" for user in users)
    fused = len(users) == 1 and users[0].target in _ACTIVATIONS and node.target not in _ACTIVATIONS
    return None if last or fused else _ACTIVATION


def _is_noted(node: Node) -> bool:
    return "quantization_annotation" in node.meta


def _is_rounded(node: Node) -> bool:
    return _is_noted(node) and node.meta["quantization_annotation"].output_qspec is not None


def _is_float(node: Node) -> bool:
    value = node.meta.get("val")
    return isinstance(value, Tensor) and value.dtype == torch.float32


def _traced(module: nn.Module, images: Tensor) -> GraphModule:
    try:
        program = torch.export.export(module, (images,), dynamic_shapes=({0: torch.export.Dim("batch")},))
    except (torch._dynamo.exc.TorchDynamoException, RuntimeError, ValueError, TypeError) as error:
        reason = str(error).strip().splitlines()[0]
        raise NotApplicableError(f"quantize.qat: torch.export can't trace the model: {reason}") from error
    return program.module()
