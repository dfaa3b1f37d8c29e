"""The one kind of error that is the user's to mend: a single line that the command line prints. And SIGTERM's end."""

import contextlib
import difflib
import re
from collections.abc import Iterable

LONGEST = 700  # characters of a message


class VaezooError(ValueError):
    """Bad input. The message says, on one line, what was given, what is allowed and how to mend it.

    Args:
        message: may quote a stranger's file: what would break the line or steer the terminal is shown escaped, and
            the middle of a very long message is left out.
    """

    def __init__(self, message: str):
        if len(message) > LONGEST:
            message = f"{message[: LONGEST // 2]} ... {message[-LONGEST // 4 :]}"
        super().__init__("".join(c if c.isprintable() else ascii(c)[1:-1] for c in message))


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
    allowed, given = sorted(allowed), str(given)
    nearest = difflib.get_close_matches(given, allowed, n=1, cutoff=0.5)
    suggestion = f" Did you mean '{nearest[0]}'?" if nearest else ""
    return VaezooError(f"unknown {kind} '{given}'.{suggestion} {hint or 'Allowed: ' + ', '.join(allowed) + '.'}")


@contextlib.contextmanager
def errors_of_readers():
    """Give back a VaezooError that was raised while TensorFlow read the images: it makes an error of its own of it."""
    try:
        yield
    except Exception as error:
        if not type(error).__module__.startswith("tensorflow."):  # not imported here, where it may not be needed
            raise
        found = re.search("VaezooError: (.*)", str(error))
        if not found:
            raise
        raise VaezooError(found[1]) from error
