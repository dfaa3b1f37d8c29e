"""A melody as files that every player opens."""

from pathlib import Path

from vaezoo.atomic import write_file
from vaezoo.errors import VaezooError
from vaezoo.music.midi import midi_bytes
from vaezoo.music.sound import wav_bytes

SLOWEST, FASTEST = 20, 400  # quarter notes a minute


def write_melody(path, tokens, tempo=120):
    """Write a melody as PATH.mid and PATH.wav.

    Args:
        path: without an extension; its folder must exist.
        tokens: integers [T] in 0..89, see `vaezoo.music.tokens`.
        tempo: quarter notes a minute, 20..400.

    Returns:
        The paths of the two files: (.mid, .wav).

    Raises:
        VaezooError: for a tempo or a token that is out of range, or a file that cannot be written.
    """
    if not SLOWEST <= tempo <= FASTEST:
        raise VaezooError(f"the tempo is {tempo}; it must be from {SLOWEST} to {FASTEST} quarter notes a minute")
    path = Path(path)
    try:
        contents = {".mid": midi_bytes(tokens, tempo), ".wav": wav_bytes(tokens, tempo)}
    except ValueError as error:
        raise VaezooError(f"no melody for '{path}': {error}") from None
    return tuple(
        write_file(
            path.with_name(path.name + suffix), lambda temporary, content=content: temporary.write_bytes(content)
        )
        for suffix, content in contents.items()
    )
