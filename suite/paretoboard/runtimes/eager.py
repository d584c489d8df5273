"""torch, operator by operator: the baseline's runtime."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from paretoboard.artifact import load_module
from paretoboard.errors import NotApplicableError
from paretoboard.runtimes import Runtime, Session

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

    from paretoboard.artifact import Execution, Manifest
    from paretoboard.runtimes.profiling import Profile, Question


class TorchSession(Session):
    """A function of torch tensors; also what torch.compile gives is run by this."""

    def __init__(
        self, module: torch.nn.Module, forward: Callable[[torch.Tensor], torch.Tensor], execution: Execution
    ) -> None:
        self._module, self._forward = module, _as_told(forward, execution)
        self._computes_in: str = execution.options.get("autocast", execution.dtype)
        self._dtype: torch.dtype = getattr(torch, execution.dtype)
        self._memory_format = torch_memory_format(execution)

    def prepare(self, images: NDArray[np.float32]) -> torch.Tensor:
        """A tensor of its own memory, in the artifact's dtype and memory format."""
        return torch.tensor(images, dtype=self._dtype).contiguous(memory_format=self._memory_format)

    def run(self, native: torch.Tensor) -> torch.Tensor:
        """One forward pass."""
        with torch.inference_mode():
            return self._forward(native)

    def refresh(self) -> None:
        """Copy every parameter and buffer; compiled kernels take them where they are."""
        for tensor in (*self._module.parameters(), *self._module.buffers()):
            tensor.data = tensor.data.clone(memory_format=torch.preserve_format)

    def logits(self, native: torch.Tensor) -> NDArray[np.float32]:
        """As float32, whatever the model computed in."""
        return np.asarray(native.float().numpy(), dtype=np.float32)

    def profile(self, question: Question) -> Profile:
        """Times of operators from torch.profiler."""
        from paretoboard.runtimes.profiling import pytorch

        return pytorch.profile(self, self._module, question, self._computes_in)


class Eager(Runtime):
    """torch without a compiler."""

    def idle(self) -> None:
        """Nothing beyond this module's own imports."""

    def open(
        self,
        folder: Path,
        manifest: Manifest,
        *,
        threads: int,
        batches: tuple[int, ...],  # noqa: ARG002 - any shape runs
        cache: Path,  # noqa: ARG002 - nothing is generated
    ) -> TorchSession:
        """The module in its memory format."""
        module = ready_module(folder, manifest, threads)
        return TorchSession(module, module, manifest.execution)

    def profile(self, folder: Path, manifest: Manifest, question: Question) -> Profile:
        """Times of operators, with what each calls counted as its own."""
        batches = (len(question.images),)
        return self.open(folder, manifest, threads=question.threads, batches=batches, cache=question.cache).profile(
            question
        )


def ready_module(folder: Path, manifest: Manifest, threads: int) -> torch.nn.Module:
    """The artifact's module in its memory format, with torch held to `threads`.

    Where the artifact has a number of its own, that holds during its calls only: other models of this process keep
    theirs.

    Raises: NotApplicableError for an artifact that is not a torch model.
    """
    if manifest.form != "torch":
        raise NotApplicableError(f"{manifest.execution.runtime} runs torch models, this artifact is {manifest.form}")
    if "threads" not in manifest.execution.options and torch.get_num_threads() != threads:
        torch.set_num_threads(threads)
    module = load_module(folder, manifest).requires_grad_(False)
    return module.to(memory_format=torch_memory_format(manifest.execution))


def torch_memory_format(execution: Execution) -> torch.memory_format:
    """torch's name for the artifact's memory format."""
    return torch.channels_last if execution.memory_format == "channels_last" else torch.contiguous_format


def _as_told(
    forward: Callable[[torch.Tensor], torch.Tensor], execution: Execution
) -> Callable[[torch.Tensor], torch.Tensor]:
    """`forward` with the options `autocast` (name of a dtype) and `threads` of an artifact; without any, itself."""
    if "autocast" in execution.options:
        forward = _autocast(forward, getattr(torch, execution.options["autocast"]))
    if "threads" in execution.options:
        forward = _with_threads(forward, execution.options["threads"])
    return forward


def _autocast(forward: Callable[[torch.Tensor], torch.Tensor], dtype: torch.dtype) -> Callable[..., torch.Tensor]:
    def call(native: torch.Tensor) -> torch.Tensor:
        with torch.autocast(native.device.type, dtype=dtype):
            return forward(native)

    return call


def _with_threads(forward: Callable[[torch.Tensor], torch.Tensor], threads: int) -> Callable[..., torch.Tensor]:
    def call(native: torch.Tensor) -> torch.Tensor:
        before = torch.get_num_threads()
        torch.set_num_threads(threads)
        try:
            return forward(native)
        finally:
            torch.set_num_threads(before)

    return call
