"""Opens video files, and only those."""

import os
import pathlib

import av
import av.logging
from av.container import InputContainer

from dmlcsr_jax.errors import UserError

# A playlist or a script under a video's name could make FFmpeg open other files or addresses.
_FORMATS = "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpegts,mpeg,mpegvideo,asf,flv,ogg,h264,hevc,m4v,dv,mxf,ivf"
_OPTIONS = {"protocol_whitelist": "file", "format_whitelist": _FORMATS}


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
