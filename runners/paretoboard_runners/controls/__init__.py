"""Controls: what a measurement holds still, and how it is seen that it holds.

A control is requested by a profile, applied as far as this machine allows, and observed: from inside the
process where only a library knows, from outside, through the kernel or the driver, everywhere else.
"""

from paretoboard_runners.controls.base import AS_IS, Control, NotHeldError, Setting
from paretoboard_runners.controls.catalogue import CATALOGUE
from paretoboard_runners.controls.operators import nondeterministic_operators
from paretoboard_runners.controls.process.memory import keep_freed_memory
from paretoboard_runners.controls.session import (
    apply_after_imports,
    apply_in_process,
    check_required,
    choose_cores,
    memory_environment,
    not_held,
    observe_process,
    session_environment,
    states,
)

__all__ = [
    "AS_IS",
    "CATALOGUE",
    "Control",
    "NotHeldError",
    "Setting",
    "apply_after_imports",
    "apply_in_process",
    "check_required",
    "choose_cores",
    "keep_freed_memory",
    "memory_environment",
    "nondeterministic_operators",
    "not_held",
    "observe_process",
    "session_environment",
    "states",
]
