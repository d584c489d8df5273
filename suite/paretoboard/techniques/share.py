"""Weights that several places have in common."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal

from annotated_types import Ge, Le

from paretoboard.errors import NotApplicableError
from paretoboard.techniques import Applied, Technique
from paretoboard.techniques.forms import own_float32_module

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np  # noqa: TC004 - no one resolves Clustered's annotations
    from numpy.typing import NDArray  # noqa: TC004
    from torch import Tensor, nn

    from paretoboard.artifact import Candidate
    from paretoboard.techniques import Workbench


@dataclass(frozen=True, slots=True, kw_only=True)
class Clustered:
    """One layer's weights as places in a short list of values."""

    codebook: NDArray[np.float32]  # (clusters,); where weights are zero, zero is one of them
    indices: NDArray[np.uint8]  # in the order and the shape of the weights

    @property
    def entropy_bits(self) -> float:
        """What no code that looks at one place after the other can get below."""
        import numpy as np

        counts = np.unique(self.indices, return_counts=True)[1]
        return float(-(counts * np.log2(counts / counts.sum())).sum())


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightClustering(Technique):
    """Give each layer's weights only a few values, found by k-means; nothing computes faster by it.

    The file that is stored, scored and timed holds codebooks and entropy-coded places in them; loading it makes floats
    of them again, and a graph for another runtime is one of floats. Training afterwards pulls the values apart again:
    cluster last.
    """

    source = "Han et al. 2016, Deep Compression, arXiv:1510.00149, section 3, not retrained; scikit-learn's KMeans"
    takes = ("torch",)

    clusters: Annotated[int, Ge(2), Le(255)] = 16  # values of each layer; a zero that pruning left is one more
    start: Literal["linear", "k-means++"] = "linear"  # evenly from least to largest, which spares rare large weights

    def apply(self, candidate: Candidate, bench: Workbench) -> Applied:
        """Cluster the weights of all convolutions and linear layers; biases and batch norm are left.

        Layers that have no more different weights than that are left too.

        Raises: NotApplicableError for an ONNX graph, and for a model where that is all of them.
        """
        import torch
        from torch import nn

        module = own_float32_module(candidate, "share.kmeans")
        layers = {
            f"{name}.weight": layer
            for name, layer in module.named_modules()
            if isinstance(layer, nn.Conv2d | nn.Linear) and self._has_more(layer.weight)
        }
        if not layers:
            raise NotApplicableError(f"share.kmeans: no layer has more than {self.clusters} different weights")
        error = total = entropy_bits = 0.0
        for number, (name, layer) in enumerate(layers.items()):
            bench.progress(number / len(layers), f"clustering {name}")
            weight = layer.weight.detach().numpy()
            found = cluster(weight, self.clusters, self.start, bench.seed)
            clustered = found.codebook[found.indices]
            error += float(((clustered - weight) ** 2).sum())
            total += float((weight**2).sum())
            entropy_bits += found.entropy_bits
            layer.weight.data = torch.from_numpy(clustered)
        notes = (
            f"{len(layers)} layers of {self.clusters} values each; {error / total:.2%} of the squared weights lost",
            f"the file holds codebooks and places in them, entropy-coded (XZ); the places' entropy is "
            f"{entropy_bits / 8:,.0f} bytes",
        )
        return Applied(candidate=dataclasses.replace(candidate, module=module, storage="packed"), notes=notes)

    def _has_more(self, weight: Tensor) -> bool:
        import numpy as np

        return np.unique(weight[weight != 0].detach().numpy()).size > self.clusters


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerSharing(Technique):
    """Let the blocks of a stage that have the same shape use one set of weights, that of the first of them.

    Each keeps a batch norm of its own. Accuracy is gone until it is trained again: a training step belongs after it.
    """

    source = "Lan et al. 2020, ALBERT, arXiv:1909.11942, section 3.1; Dabre and Fujita 2019, arXiv:1807.05353"
    takes = ("torch",)

    def apply(self, candidate: Candidate, bench: Workbench) -> Applied:  # noqa: ARG002
        """Share convolutions and linear layers among the equal children of each nn.Sequential.

        Raises: NotApplicableError for an ONNX graph, and for a network where no two such children are alike.
        """
        module = own_float32_module(candidate, "share.layers")
        before = _count(module)
        pairs = list(_alike(module))
        for path, first in pairs:
            module.set_submodule(path, module.get_submodule(first))
        if not pairs:
            raise NotApplicableError("share.layers: no stage has two blocks of the same shape")
        removed = 1 - _count(module) / before
        note = f"{len(pairs)} layers use the weights of another: {removed:.1%} of the parameters removed"
        return Applied(candidate=dataclasses.replace(candidate, module=module), notes=(note,))


def cluster(weight: NDArray[np.float32], clusters: int, start: str, seed: int) -> Clustered:
    """Weights of any shape in `clusters` values at the least squared error found; zeros stay apart, and zero."""
    import numpy as np
    from sklearn.cluster import KMeans
    from threadpoolctl import threadpool_limits

    zero = weight == 0
    values = weight[~zero].reshape(-1, 1)
    first = np.linspace(values.min(), values.max(), clusters).reshape(-1, 1) if start == "linear" else start
    # More threads would add up in an order that changes from run to run.
    with threadpool_limits(limits=1):
        model = KMeans(n_clusters=clusters, init=first, n_init=1, random_state=seed).fit(values)
    codebook = model.cluster_centers_.reshape(-1).astype(np.float32)
    indices = np.zeros(weight.shape, np.uint8)
    if zero.any():
        codebook = np.concatenate([np.zeros(1, np.float32), codebook])
    indices[~zero] = model.labels_ + int(zero.any())
    return Clustered(codebook=codebook, indices=indices)


def _alike(module: nn.Module) -> Iterator[tuple[str, str]]:
    """(layer, the layer whose weights it can use) for blocks that are the same but for their numbers."""
    from torch import nn

    for path, stage in module.named_modules():
        if type(stage) is not nn.Sequential:
            continue
        firsts: dict[Any, str] = {}
        for name, block in stage.named_children():
            own = f"{path}.{name}" if path else name
            first = firsts.setdefault(_shape(block), own)
            for inner, layer in block.named_modules():
                if first != own and inner and isinstance(layer, nn.Conv2d | nn.Linear):
                    yield f"{own}.{inner}", f"{first}.{inner}"


def _shape(block: nn.Module) -> tuple[Any, ...]:
    """All that must agree for two blocks to compute with the same weights."""
    # A layer's own description has its sizes, strides and padding; a block's has its children's names.
    layers = [(name, type(layer).__name__, layer.extra_repr()) for name, layer in block.named_modules()]
    return (type(block), *layers)


def _count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())
