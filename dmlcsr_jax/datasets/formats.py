"""Which image files can be read, by their endings."""

import functools
import os
import warnings
from collections.abc import Mapping

from PIL import Image, ImageFile

HEIF_SUFFIXES = (".heic", ".heics", ".heif", ".heifs", ".hif")
HEIF_EXTRA = "pip install 'dmlcsr_jax[heif]'"

_HEIF_BRANDS = (b"heic", b"heix", b"hevc", b"hevx")  # in the list at the start of a file
_OTHERS = ("EPS", "MPEG")  # Ghostscript decodes the one, and Pillow only recognizes the other


@functools.lru_cache
def image_suffixes() -> frozenset[str]:
    """The endings, in lower case, of all raster formats that Pillow decodes without another program.

    Those of HEIF are among them if `pillow-heif` is installed.
    """
    register_heif()
    Image.init()
    known = Image.registered_extensions().items()
    return frozenset(suffix for suffix, name in known if name == "MPO" or _is_decoded(name))


@functools.lru_cache
def register_heif() -> bool:
    """Lets Pillow read HEIF if `pillow-heif` is installed; whether it is."""
    try:
        from pillow_heif import register_heif_opener
    except ImportError:
        return False
    register_heif_opener()
    return True


def describe_endings(counts: Mapping[str, int]) -> str:
    """What is said of files that are not read, by their endings in lower case: "3 .txt, 1 without an ending"."""
    parts = [f"{count} {ending or 'without an ending'}" for ending, count in sorted(counts.items())]
    hint = f"; {HEIF_EXTRA} reads HEIF" if counts.keys() & set(HEIF_SUFFIXES) else ""
    return ", ".join(parts) + hint


def lacks_heif(data: bytes) -> bool:
    """Whether a file, whatever its name, is HEIF and `pillow-heif` is not installed."""
    return data[4:8] == b"ftyp" and any(brand in data[8:64] for brand in _HEIF_BRANDS) and not register_heif()


def count_pixels(path: str | os.PathLike[str]) -> int:
    """Width x height of an image file by its header; 0 if that cannot be read."""
    register_heif()
    _allow_large_images()
    try:
        with Image.open(path) as image:
            return image.width * image.height
    except Exception:  # readers raise anything; decoding the image names its error
        return 0


@functools.lru_cache
def _allow_large_images() -> None:
    warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)


def _is_decoded(name: str) -> bool:
    """Whether Pillow decodes a format by itself: it has a reader, which does not wait for a plug-in."""
    reader = Image.OPEN[name][0] if name in Image.OPEN and name not in _OTHERS else ImageFile.StubImageFile
    return not (isinstance(reader, type) and issubclass(reader, ImageFile.StubImageFile))
