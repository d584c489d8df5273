"""Finding objects: from a network's numbers to boxes, and how good those are. In numpy: no GPU and no torch needed.

    images --placement--> input --network--> numbers --heads--> boxes --nms--> Found --placement--> stored pixels
                                                                    Found + Objects --matching--> average precision

Boxes of a detector and of what there is to find are (left, top, width, height) in pixels of the image as it is stored,
as COCO has them; inside, where overlaps are computed, they are corners (left, top, right, bottom).
"""

from __future__ import annotations
