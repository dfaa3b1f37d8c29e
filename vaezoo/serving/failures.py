"""Errors between the client and the server."""

from vaezoo.errors import VaezooError

LARGEST_ANSWER = 2**30  # bytes, whatever shapes the server's metadata claim


class ServingError(VaezooError):
    """The server could not be reached, or refused the request. The message is one line."""


class BusyError(ServingError):
    """The request may succeed later: nothing is listening yet, or the queue is full."""


def one_line(error) -> str:
    """The message of an error, on one line of at most 300 characters."""
    return " ".join(str(error).split())[:300] or type(error).__name__
