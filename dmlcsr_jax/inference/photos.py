"""Photos on their way through decoder threads, the network and encoder threads, a few of them at once."""

import functools
import itertools
import pathlib
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import numpy as np

from dmlcsr_jax.datasets.formats import count_pixels
from dmlcsr_jax.datasets.parallel import parallel_map
from dmlcsr_jax.errors import UserError
from dmlcsr_jax.inference.face import ParsedFace
from dmlcsr_jax.inference.images import as_array
from dmlcsr_jax.inference.options import Options
from dmlcsr_jax.inference.results import ResultWriter
from dmlcsr_jax.processor import usable_cores

if TYPE_CHECKING:
    from dmlcsr_jax.inference.parser import FaceParser

# Decoded and encoded images ahead may have this many pixels per thread, or be a single image.
_PIXELS_PER_THREAD = 1 << 24
# An image this large is parsed without waiting for others, and so is a batch.
_LARGE_IMAGE, _LARGE_BATCH = 1 << 24, 1 << 26

Input: TypeAlias = pathlib.Path | np.ndarray


class Photo(NamedTuple):
    """A file, or [H, W, 3] uint8 RGB, and the name of its results."""

    name: str
    source: Input


class Result(NamedTuple):
    """What became of a photo.

    Attributes:
      photo: the photo.
      error: why it could not be read or written; "" if it could.
      has_face: whether a face was found in it.
      entry: what predictions.jsonl says about it, if that is written.
      overlay: [H, W, 3] uint8 RGB for the contact sheet, if that is written.
    """

    photo: Photo
    error: str = ""
    has_face: bool = True
    entry: dict[str, Any] | None = None
    overlay: np.ndarray | None = None


class _Image(NamedTuple):
    photo: Photo
    image: np.ndarray | None
    error: str = ""

    @property
    def pixels(self) -> int:
        return 0 if self.image is None else self.image.size // 3


class _Parsed(NamedTuple):
    image: _Image
    face: ParsedFace | None
    alpha: np.ndarray | None


def process_photos(
    photos: Iterable[Photo], parser: "FaceParser", options: Options, results: ResultWriter
) -> Iterator[Result]:
    """Decodes, parses and writes photos; the results are in order.

    Threads decode the next photos and write the last ones while the network has a batch, and the next batch is ready
    when it is done. How many images are in memory does not depend on the number of photos.
    """
    threads = usable_cores()
    limit = {"ahead": 2 * threads, "heaviest": threads * _PIXELS_PER_THREAD}
    decode_limit = limit | {"ahead": 2 * threads + parser.batch_size}
    images = parallel_map(_decode, photos, threads, weigh=_count_pixels, **decode_limit)
    batches = _batched(images, parser.batch_size)
    parse = functools.partial(_parse, parser=parser, options=options)
    parsed = parallel_map(parse, batches, 1, ahead=2, weigh=_batch_pixels, heaviest=_LARGE_BATCH)
    write = functools.partial(_write, options=options, results=results)
    faces = itertools.chain.from_iterable(parsed)
    return parallel_map(write, faces, threads, weigh=lambda one: one.image.pixels, **limit)


def _count_pixels(photo: Photo) -> int:
    return photo.source.size // 3 if isinstance(photo.source, np.ndarray) else count_pixels(photo.source)


def _decode(photo: Photo) -> _Image:
    try:
        return _Image(photo, as_array(photo.source))
    except UserError as error:
        return _Image(photo, None, str(error))


def _batched(images: Iterable[_Image], size: int) -> Iterator[list[_Image]]:
    """Groups of `size` images, fewer if they are large."""
    batch: list[_Image] = []
    for image in images:
        batch.append(image)
        large = image.pixels >= _LARGE_IMAGE or _batch_pixels(batch) >= _LARGE_BATCH
        if large or len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch


def _batch_pixels(batch: Sequence[_Image]) -> int:
    return sum(image.pixels for image in batch)


def _parse(batch: Sequence[_Image], *, parser: "FaceParser", options: Options) -> list[_Parsed]:
    """The faces and their cut-outs: all that needs the network, which one thread uses."""
    images = [one.image for one in batch if one.image is not None]
    given = {"boxes": [options.boxes]} if options.boxes else {}
    faces = iter(parser(images, **given)) if images else iter(())
    return [_Parsed(one, None, None) if one.image is None else _prepare(one, next(faces), options) for one in batch]


def _prepare(image: _Image, face: ParsedFace, options: Options) -> _Parsed:
    if options.remap:
        face = face.remapped(options.remap)
    alpha = face.alpha(*options.parts) if "cutout" in options.write and face.crops else None
    return _Parsed(image, face, alpha)


def _write(parsed: _Parsed, *, options: Options, results: ResultWriter) -> Result:
    photo, face, error = parsed.image.photo, parsed.face, parsed.image.error
    if face is None:
        return Result(photo, error)
    entry = None
    if "json" in options.write:
        file = "" if isinstance(photo.source, np.ndarray) else str(photo.source)
        entry = {"name": photo.name, "file": file, **face.summary()}
    if not face.crops:
        return Result(photo, has_face=False, entry=entry)
    overlay = None
    try:
        results.write(photo.name, face, parsed.alpha)
        if {"overlays", "sheet"} & set(options.write):
            overlay = face.overlay()
        if overlay is not None and "overlays" in options.write:
            results.write_overlay(photo.name, overlay)
    except UserError as problem:
        error = str(problem)
    return Result(photo, error, entry=entry, overlay=overlay if "sheet" in options.write else None)
