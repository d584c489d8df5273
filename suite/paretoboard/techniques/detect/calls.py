"""What a detector's calls end with."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING

from paretoboard.errors import NotApplicableError
from paretoboard.spec import NmsLibrary
from paretoboard.techniques import Applied, Technique

if TYPE_CHECKING:
    from paretoboard.artifact import Candidate
    from paretoboard.techniques import Workbench


@dataclass(frozen=True, slots=True, kw_only=True)
class Boxes(Technique):
    """End each call with boxes: decoding and suppression are a part of the model that is timed.

    Beside the runtime alone it shows what they cost; with `data.stored` before it, a call goes from a stored image to
    boxes. What is scored is the same.
    """

    source = "MLCommons inference, SSD-ResNet34 and RetinaNet: post-processing within the timed query"
    takes = ("torch", "onnx")

    nms: NmsLibrary = "numpy"  # torchvision imports torch, whose memory then counts too

    def apply(self, candidate: Candidate, bench: Workbench) -> Applied:
        """Note how the task makes boxes of the network's numbers.

        Raises: NotApplicableError where the task has no boxes, and where calls end with them already.
        """
        if bench.detection is None:
            raise NotApplicableError("detect.boxes: the task names whole images, it has no boxes")
        if candidate.execution.boxes is not None:
            raise NotApplicableError("detect.boxes: calls end with boxes already")
        execution = dataclasses.replace(candidate.execution, boxes=bench.detection, nms=self.nms)
        note = f"calls end with boxes: decoding ({bench.detection.head}) and suppression in {self.nms} are timed"
        return Applied(candidate=dataclasses.replace(candidate, execution=execution), notes=(note,))
