"""torch.compile with the Inductor backend; its kernels are kept on disk, for the next process to find."""

from __future__ import annotations

import contextlib
import os
import shutil
from typing import TYPE_CHECKING

import torch
import torch._dynamo
import torch._inductor.compile_fx

from paretoboard.errors import NotApplicableError
from paretoboard.runtimes import Runtime
from paretoboard.runtimes.eager import TorchSession, ready_module, torch_memory_format

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from paretoboard.artifact import Manifest
    from paretoboard.runtimes.profiling import Profile, Question


class Compiled(Runtime):
    """Kernels generated for the declared batch sizes."""

    def idle(self) -> None:
        """Nothing beyond this module's own imports.

        Raises: NotApplicableError where there is no C++ compiler.
        """
        _require_compiler()

    def open(
        self, folder: Path, manifest: Manifest, *, threads: int, batches: tuple[int, ...], cache: Path
    ) -> TorchSession:
        """Compile for each of `batches`: tens of seconds the first time, a few with the kernels on disk."""
        _require_compiler()
        module = ready_module(folder, manifest, threads)
        forward = torch.compile(module, dynamic=False)
        session = TorchSession(module, forward, manifest.execution)
        shape, dtype = manifest.input_shape, getattr(torch, manifest.execution.dtype)
        memory_format = torch_memory_format(manifest.execution)
        # Batches, and arms of one class, share the limit; past it torch would run eagerly and not say so.
        limits = torch._dynamo.config.patch(recompile_limit=64, fail_on_recompile_limit_hit=True)
        # No pool of compiling processes: they would outlive the compiling, into what is timed.
        alone = torch._inductor.config.patch(compile_threads=1)
        with _kernel_cache(cache), limits, alone:
            for batch in sorted(set(batches)):
                images = torch.zeros((batch, *shape), dtype=dtype).contiguous(memory_format=memory_format)
                try:
                    session.run(images)
                except (torch._dynamo.exc.TorchDynamoException, torch._inductor.exc.CppCompileError) as error:
                    reason = str(error).strip().splitlines()[0]
                    raise NotApplicableError(f"torch.compile failed at batch {batch}: {reason}") from error
        return session

    def profile(self, folder: Path, manifest: Manifest, question: Question) -> Profile:
        """Times of the operators that Inductor calls, and of all the kernels together that it generated."""
        batches = (len(question.images),)
        return self.open(folder, manifest, threads=question.threads, batches=batches, cache=question.cache).profile(
            question
        )


def _require_compiler() -> None:
    compiler = os.environ.get("CXX", "g++")
    if shutil.which(compiler) is None:
        raise NotApplicableError(f"torch.compile needs a C++ compiler and there is no '{compiler}'; CXX can name one")


@contextlib.contextmanager
def _kernel_cache(folder: Path) -> Iterator[None]:
    """Let Inductor keep its kernels in `folder`; it takes the place from its environment only."""
    name = "TORCHINDUCTOR_CACHE_DIR"
    before = os.environ.get(name)
    os.environ[name] = str(folder.absolute())
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before
