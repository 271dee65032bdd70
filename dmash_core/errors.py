"""The exceptions for a user's mistake and for an interruption, and the sentence that names the nearest valid word."""

from collections.abc import Iterable, Sequence
from difflib import get_close_matches


class UserError(ValueError):
    """A mistake in what the user asked for: the command line prints it in one sentence and exits with status 2."""


class Diverged(UserError):
    """A loss, a parameter or the physics of an environment stopped being finite: the run has failed.

    ``seeds`` are those of a block whose numbers did, where that is known; ``environments`` the rows of a batch whose
    physics did.
    """

    def __init__(self, message: str, seeds: Sequence[int] = (), environments: Sequence[int] = ()):
        super().__init__(message)
        self.seeds, self.environments = list(seeds), list(environments)


class Interrupted(Exception):
    """Work was stopped by signal number ``signal``; the message says where it stands and how it goes on."""

    def __init__(self, message: str = "interrupted", signal: int = 2):
        super().__init__(message)
        self.signal = signal


def unknown(kind: str, given: str, valid: Iterable[str]) -> UserError:
    """The error for a name that does not exist: lists the valid ones and the nearest.

    >>> str(unknown("environment", "DJ", ["DI", "ODE"]))
    "unknown environment 'DJ'; did you mean 'DI'? Valid: DI, ODE"
    """
    valid = list(valid)
    lowered = {name.lower(): name for name in valid}
    near = get_close_matches(given.lower(), lowered, n=1, cutoff=0.4)
    hint = f"did you mean {lowered[near[0]]!r}? " if near else ""
    return UserError(f"unknown {kind} {given!r}; {hint}Valid: {', '.join(valid)}")
