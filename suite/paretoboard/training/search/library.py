"""Optuna, which is an extra."""

from __future__ import annotations

from typing import Any

from paretoboard.errors import NotApplicableError


def optuna() -> Any:
    """The library, told to speak of warnings only.

    Raises: NotApplicableError where it is not installed.
    """
    try:
        import optuna
    except ModuleNotFoundError as error:
        raise NotApplicableError("optuna is missing: install the extra 'tune'") from error
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna
