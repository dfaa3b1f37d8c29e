"""Errors caused by user input, each a single line that the command line prints, and the end by SIGTERM."""

import contextlib
import difflib
import re
from collections.abc import Iterable

LONGEST = 700  # characters of a message


class VaezooError(ValueError):
    """Invalid input. The message says on one line what was given, what is allowed and how to fix it.

    Args:
        message: may quote an untrusted file: line breaks and control characters are escaped, and the middle of a very
            long message is omitted.
    """

    def __init__(self, message: str):
        if len(message) > LONGEST:
            message = f"{message[: LONGEST // 2]} ... {message[-LONGEST // 4 :]}"
        super().__init__(printable(message))


def printable(text: str) -> str:
    """The text on one line, with line breaks and control characters escaped: it may quote an untrusted file."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def printable_lines(text: str) -> str:
    """As `printable`, but with its line breaks kept: for the terminal."""
    return "\n".join(map(printable, text.split("\n")))


class Terminated(KeyboardInterrupt):
    """The process received SIGTERM and has stored its results. A KeyboardInterrupt with another exit code."""


def unknown(kind: str, given: object, allowed: Iterable[str], hint: str = "") -> VaezooError:
    """The error for an unknown name, with the most similar allowed name.

    Args:
        kind: the kind of thing that has the name, as in "model" or "likelihood".
        given: the name that was given.
        allowed: all allowed names.
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
    """Raise a VaezooError that occurred while TensorFlow read examples; TensorFlow wraps it in an error of its own."""
    try:
        yield
    except Exception as error:
        if not type(error).__module__.startswith("tensorflow."):  # by name, since importing TensorFlow takes seconds
            raise
        found = re.search(r"\bvaezoo\.\S+Error: (.*)", str(error))
        if not found:
            raise
        raise VaezooError(found[1]) from error
