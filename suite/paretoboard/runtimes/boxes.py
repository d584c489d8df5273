"""Calls that end with boxes: decoded and suppressed in the call, after the network."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from paretoboard.detection.found import Postprocessing
from paretoboard.runtimes import Runtime, Session

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from paretoboard.artifact import Manifest
    from paretoboard.detection.found import Found
    from paretoboard.runtimes.profiling import Profile, Question


class BoxSession(Session):
    """A detector's session with its post-processing behind it."""

    def __init__(self, inner: Session, postprocessing: Postprocessing) -> None:
        self._inner, self.postprocessing = inner, postprocessing

    def prepare(self, images: NDArray[np.float32]) -> Any:
        """The network's own input."""
        return self._inner.prepare(images)

    def run(self, native: Any) -> tuple[Any, list[Found]]:
        """What the network gives, and the boxes in it."""
        output = self._inner.run(native)
        return output, self.postprocessing(self._inner.logits(output))

    def logits(self, native: tuple[Any, list[Found]]) -> NDArray[np.float32]:
        """The network's numbers: what is scored, whether or not calls end with boxes."""
        return self._inner.logits(native[0])

    def refresh(self) -> None:
        """Put the network's weights into fresh buffers."""
        self._inner.refresh()

    def close(self) -> None:
        """Let go of the network."""
        self._inner.close()


class WithBoxes(Runtime):
    """A runtime whose calls end with boxes."""

    def __init__(self, inner: Runtime) -> None:
        self._inner = inner

    def idle(self) -> None:
        """Import what the runtime needs."""
        self._inner.idle()

    def open(
        self, folder: Path, manifest: Manifest, *, threads: int, batches: tuple[int, ...], cache: Path
    ) -> BoxSession:
        """The network's session, and what its manifest says of boxes."""
        execution = manifest.execution
        assert execution.boxes is not None
        session = self._inner.open(folder, manifest, threads=threads, batches=batches, cache=cache)
        return BoxSession(session, Postprocessing(use=execution.boxes, library=execution.nms))

    def profile(self, folder: Path, manifest: Manifest, question: Question) -> Profile:
        """A call taken apart: post-processing as one operator, beside those of the network."""
        from paretoboard.runtimes.profiling import OperatorTime, time_calls

        batch = len(question.images)
        session = self.open(folder, manifest, threads=question.threads, batches=(batch,), cache=question.cache)
        native = session.prepare(question.images)
        call_s = time_calls(session.run, native, question.seconds)
        output = session.logits(session.run(native))
        boxes_s = time_calls(session.postprocessing, output, question.seconds)
        session.close()
        network = self._inner.profile(folder, manifest, question)
        last = OperatorTime(
            type="decoding and suppression",
            kind="boxes",
            dtype=str(output.dtype),
            calls=1,
            seconds=boxes_s,
            macs=0,
            bytes=output.nbytes,
        )
        operators = (*network.operators, last) if network.operators else ()
        return dataclasses.replace(network, call_s=call_s, operators=operators)
