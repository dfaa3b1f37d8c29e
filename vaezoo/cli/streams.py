"""Standard output and standard error that outlast their readers, and take every character."""

import contextlib
import os
import sys


class Lasting:
    """A text stream that goes on without its reader: after a write that fails, the rest is written to nowhere.

    Args:
        stream: the text stream.

    Attributes:
        error: the OSError of the write that failed; None while all of them succeed.
    """

    def __init__(self, stream):
        self._stream, self.error = stream, None
        if hasattr(stream, "reconfigure") and not _takes_signs(stream.encoding):
            stream.reconfigure(errors="replace")

    def write(self, text):
        """Write a text."""
        with self._giving_up():
            self._stream.write(text)
        return len(text)

    def flush(self):
        """Flush what was written."""
        with self._giving_up():
            self._stream.flush()

    def __getattr__(self, name):
        return getattr(self._stream, name)

    @contextlib.contextmanager
    def _giving_up(self):
        try:
            yield
        except OSError as error:
            self.error = self.error or error
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self._stream.fileno())
            os.close(nowhere)


@contextlib.contextmanager
def lasting_streams():
    """Make `sys.stdout` and `sys.stderr` outlast their readers; yields both."""
    before = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = lasting = Lasting(sys.stdout), Lasting(sys.stderr)
    try:
        yield lasting
    finally:
        for stream in lasting:
            stream.flush()
        sys.stdout, sys.stderr = before


def _takes_signs(encoding):
    try:
        "±−→‖".encode(encoding or "ascii")
    except UnicodeEncodeError:
        return False
    return True
