"""The one kind of error that is the user's to mend: a single line that the command line prints. And SIGTERM's end."""

import difflib
from collections.abc import Iterable


class VaezooError(ValueError):
    """Bad input. The message says, on one line, what was given, what is allowed and how to mend it."""


class Terminated(KeyboardInterrupt):
    """The process was asked to end by SIGTERM, and has kept what it had; a KeyboardInterrupt but for its exit code."""


def unknown(kind: str, given: object, allowed: Iterable[str], hint: str = "") -> VaezooError:
    """The error for a name that is none of those allowed, with the nearest one.

    Args:
        kind: what the name names, as in "model" or "likelihood".
        given: the name that was given.
        allowed: every name that would have been right.
        hint: the last sentence; by default it lists the allowed names.

    Returns:
        The error, ready to raise.
    """
    allowed = sorted(allowed)
    nearest = difflib.get_close_matches(str(given), allowed, n=1, cutoff=0.5)
    suggestion = f" Did you mean '{nearest[0]}'?" if nearest else ""
    return VaezooError(f"unknown {kind} '{given}'.{suggestion} {hint or 'Allowed: ' + ', '.join(allowed) + '.'}")
