"""Exceptions for user errors and interruptions, and an error message that suggests the nearest valid name."""

from collections.abc import Iterable, Sequence
from difflib import get_close_matches


class UserError(ValueError):
    """A mistake in the user's input: the command line prints it in one sentence and exits with status 2."""


class Diverged(UserError):
    """A run failed because a loss, a parameter or an environment's physics is no longer finite.

    ``seeds`` are the affected seeds of a block, if known; ``environments`` are the affected rows of a batch.
    """

    def __init__(self, message: str, seeds: Sequence[int] = (), environments: Sequence[int] = ()):
        super().__init__(message)
        self.seeds, self.environments = list(seeds), list(environments)


class Interrupted(Exception):
    """Work was stopped by signal number ``signal``; the message gives the progress and how to resume."""

    def __init__(self, message: str = "interrupted", signal: int = 2):
        super().__init__(message)
        self.signal = signal


def unknown(kind: str, given: str, valid: Iterable[str]) -> UserError:
    """The error for an unknown name: suggests the nearest valid name and lists all.

    >>> str(unknown("environment", "DJ", ["DI", "ODE"]))
    "unknown environment 'DJ'; did you mean 'DI'? Valid: DI, ODE"
    """
    valid = list(valid)
    lowered = {name.lower(): name for name in valid}
    near = get_close_matches(given.lower(), lowered, n=1, cutoff=0.4)
    hint = f"did you mean {lowered[near[0]]!r}? " if near else ""
    return UserError(f"unknown {kind} {given!r}; {hint}Valid: {', '.join(valid)}")
