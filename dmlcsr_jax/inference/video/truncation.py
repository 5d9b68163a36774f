"""Finds out whether a file ends before its outermost element does, as after a broken download."""

import pathlib

_MATROSKA = b"\x1a\x45\xdf\xa3"
_ESSENTIAL = {b"moov", b"moof", b"mdat"}  # not what cameras and servers append
_SEGMENT = b"\x18\x53\x80\x67"


def is_cut(path: pathlib.Path) -> bool:
    """Whether an MKV, WebM, MP4 or MOV file claims more bytes than it has; False for others."""
    with path.open("rb") as file:
        head = file.read(4096)
        size = file.seek(0, 2)
        if head.startswith(_MATROSKA):
            return _segment_end(head) > size
        position = 0
        while head[4:8] in (b"ftyp", b"moov") and position < size:
            file.seek(position)
            header = file.read(16)
            length = _box_length(header)
            if length < 8 or position + length > size:  # up to the end of the file, or behind it
                return length >= 8 and header[4:8] in _ESSENTIAL
            position += length
    return False


def _segment_end(head: bytes) -> int:
    """The byte behind the segment, which holds all of a Matroska film; 0 if its writer did not know it."""
    start = head.find(_SEGMENT) + len(_SEGMENT)
    if start < len(_SEGMENT) or not head[start : start + 8]:
        return 0
    width = 9 - head[start].bit_length()  # bytes of the number: its leading zero bits say how many
    unknown = (1 << 7 * width) - 1
    length = int.from_bytes(head[start : start + width], "big") & unknown
    return 0 if length == unknown else start + width + length


def _box_length(header: bytes) -> int:
    length = int.from_bytes(header[:4], "big")
    return int.from_bytes(header[8:16], "big") if length == 1 else length
