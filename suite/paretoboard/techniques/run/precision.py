"""Is a graph computed in the precision that was asked for? The runtime's word is not enough: its answers tell."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

from paretoboard.errors import NotApplicableError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from paretoboard.artifact import Candidate

# Against float32 elsewhere, float32 gave 93 to 136 dB and bfloat16 18 to 53 dB (ResNets on CIFAR-10's and random
# images, Zen 4, 2026-11): rounding to 24 bits against rounding to 8.
FLOAT32_AT_LEAST_DB: Final = 80.0
# A precision of 8 bits or more leaves the answers recognizable.
REDUCED_AT_LEAST_DB: Final = 6.0
_IMAGES: Final = 8


def signal_to_noise_db(reference: NDArray[np.floating[Any]], found: NDArray[np.floating[Any]]) -> float:
    """Ten times the decimal logarithm of the reference's energy over that of its difference from `found`.

    Infinite where they are equal, -infinite for a reference of zeros that is not met.
    """
    import numpy as np

    noise = float(np.square(found.astype(np.float64) - reference).sum())
    signal = float(np.square(reference.astype(np.float64)).sum())
    if noise == 0.0:
        return math.inf
    return 10 * math.log10(signal / noise) if signal > 0.0 else -math.inf


def noise_images(candidate: Candidate, seed: int) -> NDArray[np.float32]:
    """Images of normal noise to compare runtimes on; any will do, and these need no data."""
    import numpy as np

    shape = (_IMAGES, *candidate.input_shape)
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def reference_logits(graph: bytes, images: NDArray[np.float32]) -> NDArray[np.float32]:
    """What ONNX Runtime's CPU provider answers, which computes float32 in float32."""
    from paretoboard.runtimes.ort import OrtSession, session_options

    session = OrtSession(graph, session_options(1))
    return session.logits(session.run(session.prepare(images)))


def is_quantized(graph: bytes) -> bool:
    """Whether a graph rounds to integers somewhere, where a step more or less hides the rounding of floats."""
    import onnx

    return any("Quantize" in node.op_type for node in onnx.load_model_from_string(graph).graph.node)


def check_precision(measured_db: float, precision: str, *, quantized: bool, runtime: str) -> None:
    """Judge answers of a runtime that was told to compute in `precision` ("f32", or the name of a shorter one).

    Raises: NotApplicableError where they are too far from float32's, or too near to have been computed in less.
    """
    said = f"{runtime} was told to compute in {precision}, and its answers are {measured_db:.1f} dB from float32's"
    if not measured_db >= REDUCED_AT_LEAST_DB:
        raise NotApplicableError(f"{said}: it does not compute this graph")
    if quantized:
        return
    if precision == "f32" and measured_db < FLOAT32_AT_LEAST_DB:
        raise NotApplicableError(f"{said}, where float32 keeps {FLOAT32_AT_LEAST_DB:g} dB or more: it computes in less")
    if precision != "f32" and measured_db >= FLOAT32_AT_LEAST_DB:
        raise NotApplicableError(f"{said}, as near as float32 itself: it does not compute in {precision}")
