"""Stamp and checksum of a serialised image, without making a message of it.

A 4K picture takes a tenth of a second to deserialise; the bridge's set points cannot wait for it.
The serialisation is CDR (OMG DDSI-RTPS): four bytes that name the encoding, then the header's
stamp, its frame, and the rest.
"""

from __future__ import annotations

import struct

from robots.checksum import checksum
from robots.limits import SafetyError

HEADER = 12  # bytes of encoding and stamp


def stamp_of(data: bytes) -> float:
    """The stamp [s] of a serialised sensor_msgs/Image or CompressedImage."""
    if len(data) < HEADER:
        raise SafetyError("bad_message", f"an image message has {len(data)} bytes; it is cut off")
    order = "<" if data[1] & 1 else ">"
    seconds, nanoseconds = struct.unpack_from(f"{order}iI", data, 4)
    return seconds + 1e-9 * nanoseconds


def content_of(data: bytes) -> int:
    """Checksum of all that follows the stamp."""
    return checksum(memoryview(data)[HEADER:])
