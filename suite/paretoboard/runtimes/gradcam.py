"""Where in an image a torch model's answer comes from: Grad-CAM at its last feature map.

Source: Selvaraju et al. 2017, arXiv:1610.02391, section 3, with ReLU; computed by Captum's LayerGradCam.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from paretoboard.errors import NotApplicableError

if TYPE_CHECKING:
    from paretoboard.artifact import Candidate

_BATCH: Final = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Maps:
    """Which places of each image speak for a class."""

    layer: str  # that was read
    values: NDArray[np.float32]  # (images, height, width) of the layer's output, zero or above


def answers(candidate: Candidate, images: NDArray[np.float32]) -> NDArray[np.int64]:
    """(images,) the best guess for preprocessed images (images, channels, height, width)."""
    module = _module_of(candidate)
    # Not inference_mode: what a model keeps from a call under it could not take part in gradients later.
    with torch.no_grad():
        found = [module(part).argmax(dim=1) for part in _inputs(candidate, images)]
    return np.asarray(torch.cat(found).numpy())


def grad_cam(candidate: Candidate, images: NDArray[np.float32], classes: NDArray[np.int64]) -> Maps:
    """What in each image speaks for its class.

    Args:
        images: (images, channels, height, width), preprocessed as the model takes them; resized where it takes others.
        classes: (images,) of which each image is asked.
    Raises:
        NotApplicableError: for a model that is no torch model, or has no convolution with places to tell apart.
        RuntimeError: torch's own, where an operator of the model has no gradient.
    """
    from captum.attr import LayerGradCam

    module = _module_of(candidate)
    inputs = _inputs(candidate, images)
    name, layer = last_feature_map(module, inputs[0][:1])
    explainer = LayerGradCam(module, layer)
    values, asked = [], torch.from_numpy(classes)
    for number, part in enumerate(inputs):
        # A model whose weights take no gradient still passes one on from its output to the layer, from its input on.
        given = part.clone().requires_grad_()
        target = asked[number * _BATCH : number * _BATCH + len(part)]
        found: Any = explainer.attribute(given, target=target, relu_attributions=True)
        values.append(found.detach()[:, 0].float().numpy())
    return Maps(layer=name, values=np.concatenate(values))


def last_feature_map(module: nn.Module, image: torch.Tensor) -> tuple[str, nn.Module]:
    """The part of a convolutional network that gives the last feature map with more than one place, with its path.

    Of nested parts it is the outermost: with the shortcut and the activation that follow the last convolution, so that
    a batch norm folded into it or a factorization of it moves nothing.

    Raises: NotApplicableError where no convolution is called, or none whose output has places to tell apart.
    """
    ended: list[tuple[str, nn.Module]] = []
    convolved = False
    handles = []
    for path, layer in module.named_modules():

        def note(_: nn.Module, __: Any, output: Any, path: str = path, layer: nn.Module = layer) -> None:
            nonlocal convolved
            convolved = convolved or isinstance(layer, nn.Conv2d)
            if (
                path
                and convolved
                and isinstance(output, torch.Tensor)
                and output.ndim == 4
                and output[0, 0].numel() > 1
            ):
                ended.append((path, layer))

        handles.append(layer.register_forward_hook(note))
    try:
        with torch.no_grad():
            module(image)
    finally:
        for handle in handles:
            handle.remove()
    if not ended:
        raise NotApplicableError("the model calls no convolution whose output has more than one place")
    return ended[-1]


def resized(maps: NDArray[np.float32], height: int, width: int) -> NDArray[np.float32]:
    """(images, height, width) maps of another size, by bilinear interpolation."""
    if maps.shape[1:] == (height, width):
        return maps
    found = nn.functional.interpolate(torch.from_numpy(maps)[:, None], size=(height, width), mode="bilinear")
    return np.asarray(found[:, 0].numpy())


def _module_of(candidate: Candidate) -> nn.Module:
    if candidate.module is None:
        raise NotApplicableError("the artifact is an ONNX graph, and Grad-CAM needs the gradients of a torch model")
    return candidate.module.eval()


def _inputs(candidate: Candidate, images: NDArray[np.float32]) -> list[torch.Tensor]:
    """Batches in the size and the dtype that the model takes."""
    whole = torch.from_numpy(np.ascontiguousarray(images))
    height, width = candidate.input_shape[1:]
    if whole.shape[2:] != (height, width):
        whole = nn.functional.interpolate(whole, size=(height, width), mode="bilinear", antialias=True)
    whole = whole.to(getattr(torch, candidate.execution.dtype))
    return [whole[start : start + _BATCH] for start in range(0, len(whole), _BATCH)]
