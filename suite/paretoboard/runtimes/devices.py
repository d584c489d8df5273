"""torch on devices beside the CPU: weights and inputs are moved there, and a call ends when the device is done.

Without waiting, a call would only be the time in which work is handed over. Never run on real devices by this
project's authors, who have none.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch

from paretoboard.errors import NotApplicableError
from paretoboard.runtimes import Runtime
from paretoboard.runtimes.eager import TorchSession, ready_module

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

    from paretoboard.artifact import Execution, Manifest


class Device(Protocol):
    """A device that torch can compute on."""

    def why_not(self) -> str:
        """Why it can't be used here, "" where it can."""

    def place(self) -> torch.device:
        """torch's name for it."""

    def forward(self, module: torch.nn.Module) -> Callable[[torch.Tensor], torch.Tensor]:
        """What calls of a module that lies on the device go through."""

    def finish(self) -> None:
        """Wait until everything that was handed over is computed."""


class CudaDevice:
    """The first GPU that torch sees."""

    def __init__(self, library: Any = torch.cuda) -> None:
        """A device behind what looks like torch.cuda."""
        self._library = library

    def why_not(self) -> str:
        """As `Device.why_not`."""
        if self._library.is_available():
            return ""
        if torch.version.cuda is None:
            return f"this torch ({torch.__version__}) was built without CUDA"
        return f"torch, built for CUDA {torch.version.cuda}, finds no GPU or no driver that fits"

    def place(self) -> torch.device:
        """As `Device.place`."""
        return torch.device("cuda", 0)

    def forward(self, module: torch.nn.Module) -> Callable[[torch.Tensor], torch.Tensor]:
        """The module itself."""
        return module

    def finish(self) -> None:
        """Wait for an event behind all work of the current stream; the waiting thread spins, so CPU time counts it."""
        event = self._library.Event()
        event.record()
        event.synchronize()


class XlaDevice:
    """What PJRT finds: a TPU, or whatever PJRT_DEVICE names."""

    def why_not(self) -> str:
        """As `Device.why_not`."""
        try:
            import torch_xla
        except ImportError as error:
            return (
                f"torch_xla can't be imported ({error}): pip install torch_xla, on a machine with a TPU torch_xla[tpu]"
            )
        try:
            torch_xla.device()
        except RuntimeError as error:
            return f"torch_xla finds no device: {str(error).strip().splitlines()[0]}"
        return ""

    def place(self) -> torch.device:
        """As `Device.place`."""
        import torch_xla

        place: torch.device = torch_xla.device()
        return place

    def forward(self, module: torch.nn.Module) -> Callable[[torch.Tensor], torch.Tensor]:
        """The module, compiled by XLA at the first call of each shape."""
        forward: Callable[[torch.Tensor], torch.Tensor] = torch.compile(module, backend="openxla", dynamic=False)
        return forward

    def finish(self) -> None:
        """Hand over what is pending and wait for it."""
        import torch_xla

        torch_xla.sync(wait=True)


class DeviceSession(TorchSession):
    """A module on a device; inputs are moved there before the timed call, logits back after it."""

    def __init__(self, module: torch.nn.Module, execution: Execution, device: Device) -> None:
        moved = module.to(device.place())
        super().__init__(moved, device.forward(moved), execution)
        self._device = device

    def prepare(self, images: NDArray[np.float32]) -> torch.Tensor:
        """A tensor on the device."""
        native = super().prepare(images).to(self._device.place())
        self._device.finish()
        return native

    def run(self, native: torch.Tensor) -> torch.Tensor:
        """One forward pass, to its end."""
        logits = super().run(native)
        self._device.finish()
        return logits

    def logits(self, native: torch.Tensor) -> NDArray[np.float32]:
        """Copied back from the device."""
        return super().logits(native.cpu())

    def refresh(self) -> None:
        """Copy every parameter and buffer on the device."""
        super().refresh()
        self._device.finish()


class OnDevice(Runtime):
    """torch on a device."""

    def __init__(self, device: Device) -> None:
        self._device = device

    def idle(self) -> None:
        """Nothing beyond this module's own imports and the device's library.

        Raises: NotApplicableError where the device or its library is missing.
        """
        reason = self._device.why_not()
        if reason:
            raise NotApplicableError(reason)

    def open(
        self,
        folder: Path,
        manifest: Manifest,
        *,
        threads: int,
        batches: tuple[int, ...],
        cache: Path,  # noqa: ARG002 - what is generated stays in memory
    ) -> DeviceSession:
        """The module on the device, called once at each of `batches` so that all kernels are there."""
        self.idle()
        session = DeviceSession(ready_module(folder, manifest, threads), manifest.execution, self._device)
        for batch in sorted(set(batches)):
            session.run(session.prepare(np.zeros((batch, *manifest.input_shape), dtype=np.float32)))
        return session


class Cuda(OnDevice):
    """torch on an NVIDIA GPU."""

    def __init__(self) -> None:
        super().__init__(CudaDevice())


class Xla(OnDevice):
    """torch through XLA."""

    def __init__(self) -> None:
        super().__init__(XlaDevice())
