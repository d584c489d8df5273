"""Whole filters cut out, and all that depended on them: the network that is left is a smaller one."""

from __future__ import annotations

import copy
import dataclasses
import tempfile
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

from annotated_types import Ge, Gt, Lt

from paretoboard import artifact
from paretoboard.errors import InputError, NotApplicableError
from paretoboard.techniques import Applied, Need, Technique
from paretoboard.techniques.export import as_graph
from paretoboard.techniques.forms import own_float32_module
from paretoboard.techniques.prune.budgets import GRID, least_cut, nearest_count
from paretoboard.techniques.prune.latency import TimeShare, time_share

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import Tensor, nn  # noqa: TC004 - no one resolves _Cut's annotations, and torch is slow to import

    from paretoboard.artifact import Candidate
    from paretoboard.techniques import Workbench

_TOLERANCE: Final = 0.05  # of the budget's share: what is further off is not what was asked for
# Images at once, whose gradients are averaged before they are squared; of larger ones fewer, for the memory that their
# activations take, but never so few that single images decide.
_IMAGE_BATCH: Final = 64
_FULL_BATCH_PIXELS: Final = 64 * 64
_LEAST_BATCH: Final = 8
# A layer that lost all its channels is no network; the library would let a global ranking empty one.
_GLOBAL_LIMIT: Final = 0.9
_BUDGETS: Final = ("parameters", "macs", "latency")
_UNITS: Final = {"parameters": "parameters", "macs": "MACs"}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Cut:
    """A network without some of its channels."""

    module: nn.Module
    kept: dict[str, list[int]]  # convolution or linear layer -> which output channels of the whole network it has


@dataclass(frozen=True, slots=True, kw_only=True)
class StructuredPruning(Technique):
    """Cut out whole filters, and all that depended on them, to a budget of parameters, MACs or measured latency.

    Latency is that of one image on one thread, in CPU time beside the network as it comes, measured on the machine that
    builds: the least cut of 1/32, 2/32, ... of the channels that saves as much as was asked for.
    """

    source = (
        "Fang et al. 2023, DepGraph, arXiv:2301.12900; filter norms: Li et al. 2017, arXiv:1608.08710; "
        "Taylor: Molchanov et al. 2019, arXiv:1906.10771, section 3.1; "
        "geometric median: He et al. 2019, arXiv:1811.00250; refit: He et al. 2017, arXiv:1707.06168, section 3.1; "
        "to a measured latency: Yang et al. 2018, NetAdapt, arXiv:1804.03230, section 3"
    )
    version = 2  # 2: a global Taylor ranking compares importance as it is; `latency` is what goes, not what is left
    takes = ("torch",)

    parameters: Annotated[float, Gt(0), Lt(1)] | None = None  # share of the parameters to remove; this
    macs: Annotated[float, Gt(0), Lt(1)] | None = None  # or the share of the MACs to remove
    latency: Annotated[float, Gt(0), Lt(1)] | None = None  # or the share of the time; one of the three
    # Named here and not read from the steps that follow: recipes that begin alike share what they build.
    timed_in: Literal["eager", "onnxruntime"] = "eager"  # for `latency`: the runtime that the recipe ends in
    importance: Literal["l1", "l2", "taylor", "geometric_median", "random"] = "l2"  # what decides which filters go
    scope: Literal["layer", "global"] = "layer"  # the same share of each layer, or the least important of all layers
    multiple: Annotated[int, Ge(1)] = 1  # layers keep multiples of so many channels: kernels compute in blocks
    refit: bool = False  # solve the weights that are left for the outputs that their layers had; no training
    images: Annotated[int, Ge(1)] = 512  # training images for importance "taylor" and for `refit`

    def __post_init__(self) -> None:
        given = [name for name in _BUDGETS if getattr(self, name) is not None]
        if len(given) != 1:
            found = " and ".join(f"'{name}'" for name in given) or "none"
            raise InputError(f"needs exactly one budget of 'parameters', 'macs' and 'latency', found {found}")
        if self.timed_in != "eager" and self.latency is None:
            raise InputError(f"timed_in = '{self.timed_in}' goes with a budget of 'latency' only")
        if self.multiple > 1 and self.scope == "global":
            raise InputError(f"multiple = {self.multiple} goes with scope = 'layer' only")

    def needs_now(self) -> tuple[Need, ...]:
        """Training images for importance "taylor" and to refit."""
        return ("train",) if self.importance == "taylor" or self.refit else ()

    def unrepeatable(self) -> str:
        """A latency is measured, and decides."""
        if self.latency is None:
            return ""
        return "how much was cut was decided by times measured on the machine that built it"

    def apply(self, candidate: Candidate, bench: Workbench) -> Applied:
        """Search the share of channels for the budget asked for.

        A network may name, in `keep_channels`, layers whose output channels must stay; its classes always do. What was
        reached is in the notes.

        Raises: NotApplicableError for an ONNX graph, and for a network that can't be cut to what was asked.
        """
        from paretoboard.techniques.prune.refit import solve_for_outputs

        module = own_float32_module(candidate, "prune.structured").requires_grad_(True)
        images = self._images(bench) if self.needs_now() else []
        gradients = self._gradients(module, images)

        def cut(ratio: float) -> _Cut | None:
            return self._cut(_copy(module, gradients), candidate, ratio, bench.seed)

        if self.latency is not None:
            best, note = self._to_latency(cut, 1 - self.latency, candidate, bench)
        else:
            best, note = self._to_count(cut, candidate, bench)
        notes = [note]
        if self.refit:
            solved = solve_for_outputs(best.module, module, best.kept, lambda: (batch for batch, _ in images))
            notes.append(f"{solved} layers solved again for the outputs they had")
        return Applied(
            candidate=dataclasses.replace(candidate, module=best.module),
            images_seen=sum(len(labels) for _, labels in images),
            notes=tuple(notes),
        )

    def _to_count(
        self, cut: Callable[[float], _Cut | None], candidate: Candidate, bench: Workbench
    ) -> tuple[_Cut, str]:
        """The cut that comes nearest to the budget, and what it reached."""
        budget = "macs" if self.parameters is None else "parameters"
        wanted = self.macs if self.parameters is None else self.parameters
        assert wanted is not None
        whole = _count(candidate, budget)

        def removed(tried: _Cut) -> float:
            return 1 - _count(dataclasses.replace(candidate, module=tried.module), budget) / whole

        best = nearest_count(
            cut, removed, wanted, lambda done: bench.progress(done, "searching how many channels to cut")
        )
        reached = best.removed if best else 0.0
        if best is None or abs(reached - wanted) > _TOLERANCE:
            raise NotApplicableError(
                f"prune.structured: asked to remove {wanted:.1%} of the {_UNITS[budget]}; "
                f"the nearest that cutting channels reaches is {reached:.1%}"
            )
        return best.network, f"{reached:.1%} of the {_UNITS[budget]} removed, {wanted:.1%} asked for"

    def _to_latency(
        self, cut: Callable[[float], _Cut | None], left: float, candidate: Candidate, bench: Workbench
    ) -> tuple[_Cut, str]:
        """The least cut on the grid that takes at most `left` of the time, and what it reached."""
        with tempfile.TemporaryDirectory(dir=bench.scratch) as drafts:
            whole = self._stored(candidate, Path(drafts) / "whole")

            def time_of(tried: _Cut) -> TimeShare:
                with tempfile.TemporaryDirectory(dir=drafts) as own:
                    stored = self._stored(dataclasses.replace(candidate, module=tried.module), Path(own) / "cut")
                    return time_share(whole, stored, candidate.input_shape, decide=left, seed=bench.seed)

            least, fastest = least_cut(cut, time_of, left, bench.progress)
        where = f"at batch 1 on one thread in {self.timed_in}, measured on this machine"
        if least is None:
            found = f"the fastest cut takes {fastest.time} of the whole network" if fastest else "no cut of it runs"
            raise NotApplicableError(f"prune.structured: asked to leave {left:.1%} of the time; {found} {where}")
        return least.network, (
            f"{least.step}/{GRID} of the channels cut: {least.time} of the whole network {where}, {left:.1%} asked "
            "for; another machine, or another measurement, may choose another share"
        )

    def _stored(self, candidate: Candidate, folder: Path) -> Path:
        """`candidate` as an artifact of the runtime that its latency is measured in."""
        artifact.save(candidate if self.timed_in == "eager" else as_graph(candidate), folder)
        return folder

    def _images(self, bench: Workbench) -> list[tuple[Tensor, Tensor]]:
        """Training images chosen by the seed, preprocessed, and their labels, in batches."""
        import numpy as np
        import torch

        from paretoboard.datasets.preprocess import preprocess_images

        images = bench.train_images()
        order = np.random.default_rng(bench.seed).permutation(len(images))[: self.images]
        batch = _at_once(*images.pixels.shape[2:])
        parts = [order[start : start + batch] for start in range(0, len(order), batch)]
        return [
            (
                torch.from_numpy(preprocess_images(images.pixels[part], bench.preprocess)),
                torch.from_numpy(images.labels[part]),
            )
            for part in parts
        ]

    def _gradients(self, module: nn.Module, images: list[tuple[Tensor, Tensor]]) -> list[Tensor | None]:
        """How large each parameter's gradient is on `images`, where it decides.

        The root of the mean square over batches: the mean itself is next to nothing in a network that was trained.
        """
        import torch

        parameters = list(module.parameters())
        if self.importance != "taylor":
            return [None for _ in parameters]
        squares = [torch.zeros_like(parameter) for parameter in parameters]
        for batch, labels in images:
            loss = torch.nn.functional.cross_entropy(module(batch), labels)
            for square, gradient in zip(squares, torch.autograd.grad(loss, parameters), strict=True):
                square.add_(gradient.square())
        return [(square / len(images)).sqrt() for square in squares]

    def _cut(self, module: nn.Module, candidate: Candidate, ratio: float, seed: int) -> _Cut | None:
        """`module` without the least important `ratio` of its channels; None if it then doesn't run."""
        import torch
        import torch_pruning

        images = torch.rand((2, *candidate.input_shape), generator=torch.Generator().manual_seed(seed))
        with torch.inference_mode():
            shape = module.eval()(images).shape
        with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
            # It cuts parameters that belong to no layer, as a transformer's positions, along their last dimension.
            warnings.filterwarnings("ignore", "Unwrapped parameters detected")
            torch.manual_seed(seed)
            pruner = torch_pruning.pruner.BasePruner(
                module,
                images,
                self._ranking(),
                pruning_ratio=ratio,
                pruning_ratio_dict=self._rounded(module, ratio),
                global_pruning=self.scope == "global",
                max_pruning_ratio=_GLOBAL_LIMIT if self.scope == "global" else 1.0,
                ignored_layers=_kept(module, candidate.classes),
                # The library's own defaults are shared dictionaries that would keep every network alive.
                in_channel_groups={},
                out_channel_groups={},
            )
            kept = _step(pruner, module)
        module.zero_grad(set_to_none=True)
        try:
            with torch.inference_mode():
                logits = module.eval()(images)
        except RuntimeError:  # a layer without a channel, or shapes that no longer fit
            return None
        runs = logits.shape == shape and bool(logits.isfinite().all())
        return _Cut(module=module, kept=kept) if runs else None

    def _rounded(self, module: nn.Module, ratio: float) -> dict[Any, float] | None:
        """The share of each layer that leaves it the multiple nearest to what `ratio` would; never none."""
        from torch import nn

        if self.multiple == 1:
            return None
        shares: dict[Any, float] = {}
        for layer in module.modules():
            if isinstance(layer, nn.Conv2d | nn.Linear):
                channels = len(layer.weight)
                left = max(1, round((1 - ratio) * channels / self.multiple)) * self.multiple
                # The library takes the whole part of what is left, which rounding could put one below.
                shares[layer] = max(0.0, 1 - (left + 0.5) / channels)
        return shares

    def _ranking(self) -> Any:
        from torch_pruning import importance

        match self.importance:
            case "l1":
                return importance.GroupMagnitudeImportance(p=1)
            case "l2":
                return importance.GroupMagnitudeImportance(p=2)
            case "taylor":
                # Between layers the paper compares importance as it is, not as a share of the layer's mean.
                return importance.GroupTaylorImportance(normalizer="mean" if self.scope == "layer" else None)
            case "geometric_median":
                return importance.FPGMImportance()
            case "random":
                return importance.RandomImportance()


def _at_once(height: int, width: int) -> int:
    """How many images of a size go through the network at once."""
    return min(_IMAGE_BATCH, max(_LEAST_BATCH, _IMAGE_BATCH * _FULL_BATCH_PIXELS // (height * width)))


def _step(pruner: Any, module: nn.Module) -> dict[str, list[int]]:
    """Let the library cut; which output channels each convolution and linear layer of `module` is left with."""
    from torch import nn

    layers = {layer: name for name, layer in module.named_modules() if isinstance(layer, nn.Conv2d | nn.Linear)}
    kept = {name: list(range(len(layer.weight))) for layer, name in layers.items()}
    for group in pruner.step(interactive=True):
        for dependency, indices in group:
            name = layers.get(dependency.target.module)
            if name is not None and pruner.DG.is_out_channel_pruning_fn(dependency.handler):
                gone = set(indices)
                kept[name] = [channel for place, channel in enumerate(kept[name]) if place not in gone]
        group.prune()
    return kept


def _copy(module: nn.Module, gradients: list[Tensor | None]) -> nn.Module:
    """A copy of `module` whose parameters have `gradients`."""
    own = copy.deepcopy(module)
    for parameter, gradient in zip(own.parameters(), gradients, strict=True):
        parameter.grad = None if gradient is None else gradient.clone()
    return own


def _kept(module: nn.Module, classes: int) -> list[nn.Module]:
    """Layers whose output channels are not to be cut: those that the network names, and those that give classes."""
    from torch import nn

    named = [module.get_submodule(name) for name in getattr(module, "keep_channels", ())]
    layers = list(module.modules())
    outputs: Sequence[nn.Module] = [
        layer for layer in layers if isinstance(layer, nn.Linear) and layer.out_features == classes
    ]
    if not outputs:  # a fully convolutional network, as SqueezeNet, gives them by its last convolution of that width
        outputs = [layer for layer in layers if isinstance(layer, nn.Conv2d) and layer.out_channels == classes][-1:]
    return [*named, *outputs]


def _count(candidate: Candidate, budget: str) -> int:
    from paretoboard.runtimes.statistics import statistics

    counts = statistics(candidate)
    return counts.parameters if budget == "parameters" else counts.macs
