"""How long the input pipeline of an artifact takes alone, in the processes that its calls are timed in."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final

from paretoboard_runners import timing

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

SECONDS: Final = 0.1
_FEWEST: Final = 4  # calls, however slow


def measure(
    feed: Callable[[Any], Any], inputs: Sequence[Any], *, clock: Callable[[], float] = time.perf_counter
) -> tuple[float, ...]:
    """Seconds of calls of `feed` with the inputs of timed calls, one after the other, after a pass that warms up."""
    timing.warm_up(feed, inputs, calls=len(inputs))
    found: list[float] = []
    with timing.no_garbage_collection():
        while len(found) < _FEWEST or sum(found) < SECONDS:
            native = inputs[len(found) % len(inputs)]
            start = clock()
            feed(native)
            found.append(clock() - start)
    return tuple(found)
