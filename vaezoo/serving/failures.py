"""What can go wrong between a client and a server."""

from vaezoo.errors import VaezooError


class ServingError(VaezooError):
    """The server could not be reached, or refused. The message is one line."""


class BusyError(ServingError):
    """Worth another try: nothing is listening yet, or the queue is full."""


def one_line(error) -> str:
    """What an error says, on one line of at most 300 characters."""
    return " ".join(str(error).split())[:300] or type(error).__name__
