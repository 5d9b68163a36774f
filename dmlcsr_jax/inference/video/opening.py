"""Opens video files, and only those."""

import os
import pathlib
from fractions import Fraction

import av
from av.container import InputContainer

from dmlcsr_jax.errors import UserError

# A playlist or a script under a video's name could make FFmpeg open other files or addresses.
_FORMATS = "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpegts,mpeg,mpegvideo,asf,flv,ogg,h264,hevc,m4v,dv,mxf,ivf"
_OPTIONS = {"protocol_whitelist": "file", "format_whitelist": _FORMATS}
_LATEST_START = 60  # seconds; what starts later is a piece of a broadcast, not a film with a pause before it


def open_video(path: pathlib.Path) -> InputContainer:
    """Opens a file without printing anything.

    Raises:
      UserError: it is missing or not a video.
    """
    av.logging.set_level(None)
    try:
        # The protocol is named because a file name may look like another one ("a:b.mp4").
        return av.open("file:" + os.fspath(path), "r", options=_OPTIONS, metadata_errors="replace")
    except Exception as error:  # whatever a demuxer raises
        raise UserError(
            f"{path} cannot be read as a video; replace it by a whole MP4, MOV, AVI, MKV or WebM file"
        ) from error


def start_of(container: InputContainer) -> Fraction:
    """Seconds to subtract from all times: 0, or the first one if the file starts more than a minute late."""
    start = Fraction(container.start_time or 0, av.time_base)
    return start if start > _LATEST_START else Fraction(0)
