"""Bytes as text inside a page: compressed, then 15 bits in each character. The page's packing.mjs reverses it.

Base64 has 6 bits in each byte, so it adds 33 %. The page is UTF-16, two bytes a character, and all of FIRST ... FIRST +
2^15 - 1 are ordinary characters, which a parser of HTML leaves as they are: this adds 7 %.
"""

import gzip

import numpy as np

FIRST = 0x3400
BITS = 15


def packed(content: bytes, width: int = 1) -> tuple[str, int]:
    """Pack bytes into text.

    Args:
        content: the bytes.
        width: the bytes of one number. All first bytes are stored, then all second ones, and so on: the first bits of
            a weight (its sign and size) repeat, the last ones do not.

    Returns:
        (the text, how many bytes it has once unpacked and before it is decompressed).
    """
    numbers = np.frombuffer(content + bytes(-len(content) % width), np.uint8).reshape(-1, width)
    squeezed = gzip.compress(numbers.T.tobytes(), 9, mtime=0)
    bits = np.unpackbits(np.frombuffer(squeezed, np.uint8))
    rows = np.pad(bits, (0, -len(bits) % BITS)).reshape(-1, BITS)
    codes = np.packbits(np.pad(rows, ((0, 0), (16 - BITS, 0))), axis=1).view(">u2").ravel() + FIRST
    return codes.astype("<u2").tobytes().decode("utf-16-le"), len(squeezed)
