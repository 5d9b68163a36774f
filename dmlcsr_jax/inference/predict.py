"""Parses many images and videos and writes the results to files."""

import collections
import dataclasses
import itertools
import json
import pathlib
import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.progress import Progress

from dmlcsr_jax.console import console, progress_bar
from dmlcsr_jax.datasets import get_spec
from dmlcsr_jax.drawing.contact_sheet import ContactSheet
from dmlcsr_jax.drawing.images import write_image
from dmlcsr_jax.drawing.label_maps import write_indexed_png
from dmlcsr_jax.errors import UserError
from dmlcsr_jax.files import write_text
from dmlcsr_jax.inference.face import ParsedFace
from dmlcsr_jax.inference.images import as_array
from dmlcsr_jax.inference.inputs import is_video
from dmlcsr_jax.inference.video.smoothing import smoothed
from dmlcsr_jax.types import Box

if TYPE_CHECKING:
    from dmlcsr_jax.inference.parser import FaceParser
    from dmlcsr_jax.inference.video.reading import Frame, VideoReader
    from dmlcsr_jax.inference.video.writing import VideoWriter

FORMS = ("labels", "overlays", "sheet", "json")
_FRAMES_ON_SHEET = 10  # of each video
_PIXELS_AT_ONCE = 1 << 24  # a batch is parsed before it is full if its images have this many pixels together

Input = pathlib.Path | np.ndarray


@dataclasses.dataclass(frozen=True)
class Options:
    """What `predict` writes.

    Attributes:
      write: any of `FORMS`.
      remap: the data set whose classes are written; "" for those of the checkpoint.
      smooth: number of video frames that vote on each pixel; odd, 1 for no smoothing.
      boxes: the faces, if there is only one image.

    Raises:
      UserError: an option is invalid.
    """

    write: Sequence[str] = ("labels", "overlays")
    remap: str = ""
    smooth: int = 1
    boxes: tuple[Box, ...] = ()

    def __post_init__(self):
        for form in self.write or ("nothing",):
            if form not in FORMS:
                raise UserError(
                    f"--write={','.join(self.write)}: {form!r} cannot be written; choose {', '.join(FORMS)}"
                )
        if self.smooth < 1 or self.smooth % 2 == 0:
            raise UserError(f"--smooth={self.smooth} is not an odd number of frames; give 1, 3, 5 or more")
        if self.remap:
            get_spec(self.remap)


def predict(
    parser: "FaceParser", inputs: Sequence[tuple[str, Input]], *, output: pathlib.Path, options: Options
) -> None:
    """Parses images and videos and writes the results into a folder.

    For an image NAME: NAME.png (class numbers with a palette) and NAME_overlay.jpg, at the size of the image. For a
    video: NAME/000000.png and so on, and NAME_overlay.mp4 with its sound. For all inputs together: sheet_1.jpg,
    sheet_2.jpg, and predictions.json (`ParsedFace.summary` of each image and of each frame of a video).

    Args:
      parser: the network.
      inputs: (name, file or [H, W, 3] uint8 RGB) of each image or video.
      output: the folder, which is made if it does not exist.
      options: what to write.

    Raises:
      UserError: the folder cannot be written, or contains the inputs; or, after all others were parsed, some inputs
        could not be read.
    """
    if options.boxes and (len(inputs) != 1 or (isinstance(inputs[0][1], pathlib.Path) and is_video(inputs[0][1]))):
        raise UserError(
            f"--boxes are the faces of one image, but {len(inputs)} images or videos are named; name one image"
        )
    if any(not isinstance(source, np.ndarray) and source.resolve().parent == output.resolve() for _, source in inputs):
        raise UserError(
            f"--output={output} is the images' own folder, where they could be overwritten; name another folder"
        )
    try:
        output.mkdir(parents=True, exist_ok=True)
        job = _Job(parser, output, options)
        with progress_bar("predicting") as progress:
            job.run(inputs, progress)
        job.finish()
    except OSError as error:
        raise UserError(
            f"--output={output} cannot be written ({error.strerror or error}); name another folder"
        ) from error
    job.report(len(inputs))


class _Job:
    """One call of `predict`: writes results and collects what `report` prints."""

    def __init__(self, parser: "FaceParser", output: pathlib.Path, options: Options):
        self._parser, self._output, self._options = parser, output, options
        self._sheet = ContactSheet(output)
        self._entries: dict[str, list[dict[str, Any]]] = {"pictures": [], "videos": []}
        self._failed: list[str] = []
        self._faceless: list[str] = []

    def run(self, inputs: Sequence[tuple[str, Input]], progress: Progress) -> None:
        """Parses images in batches that memory allows, and videos one by one."""
        task = progress.add_task("", total=len(inputs), text="")
        waiting, pixels = [], 0
        for name, source in inputs:
            try:
                if not isinstance(source, np.ndarray) and is_video(source):
                    self._write_video(name, source, progress)
                else:
                    waiting.append((name, source, as_array(source)))
                    pixels += waiting[-1][-1].size // 3
            except UserError as error:
                self._failed.append(str(error))
            if len(waiting) == self._parser.batch_size or pixels >= _PIXELS_AT_ONCE:
                self._write_images(waiting)
                waiting, pixels = [], 0
            progress.update(task, advance=1, text=name)
        if waiting:
            self._write_images(waiting)

    def _write_images(self, batch: Sequence[tuple[str, Input, np.ndarray]]) -> None:
        given = {"boxes": [self._options.boxes]} if self._options.boxes else {}
        faces = self._parser([image for *_, image in batch], **given)
        for (name, source, _), face in zip(batch, faces, strict=True):
            try:
                self._write_image(name, source, self._remapped(face))
            except UserError as error:
                self._failed.append(str(error))

    def _remapped(self, face: ParsedFace) -> ParsedFace:
        return face.remapped(self._options.remap) if self._options.remap else face

    def _write_image(self, name: str, source: Input, face: ParsedFace) -> None:
        write = self._options.write
        if "json" in write:
            file = "" if isinstance(source, np.ndarray) else str(source)
            self._entries["pictures"].append({"name": name, "file": file, **face.summary()})
        if not face.crops:
            self._faceless.append(name)
            return
        if "labels" in write:
            write_indexed_png(self._output / f"{name}.png", face.labels, face.spec)
        if "overlays" in write or "sheet" in write:
            overlay = face.overlay()
            if "overlays" in write:
                write_image(self._output / f"{name}_overlay.jpg", overlay)
            if "sheet" in write:
                self._sheet.add(overlay, name)

    def _write_video(self, name: str, path: pathlib.Path, progress: Progress) -> None:
        # PyAV takes a seventh of a second to load, which photos need not wait for.
        from dmlcsr_jax.inference.video.reading import VideoReader
        from dmlcsr_jax.inference.video.writing import VideoWriter

        reader = VideoReader(path)
        task = progress.add_task("", total=reader.count or None, text=path.name)
        entries, faceless = [], 0
        overlay = self._output / f"{name}_overlay.mp4"
        with VideoWriter(overlay, time_base=reader.time_base, rate=reader.rate, sound_of=reader) as writer:
            for index, (frame, face) in enumerate(self._parse_frames(reader)):
                faceless += not face.crops
                if "json" in self._options.write:
                    entries.append({"time": round(float(frame.time), 6), **face.summary()})
                if "labels" in self._options.write and index == 0:
                    _remove_frames(self._output / name)
                self._write_frame(name, index, frame, face, reader.count, writer)
                progress.advance(task)
        progress.remove_task(task)
        if writer.lost_tracks:
            console.print(
                f"{overlay.name}: {writer.lost_tracks} audio tracks of unknown kind are left out", markup=False
            )
        self._entries["videos"].append({"name": name, "file": str(path), "rate": float(reader.rate), "frames": entries})
        if faceless:
            self._faceless.append(f"{name} (in {faceless} frames)")
        reader.check()

    def _write_frame(
        self, name: str, index: int, frame: "Frame", face: ParsedFace, count: int, writer: "VideoWriter"
    ) -> None:
        write = self._options.write
        if "labels" in write:
            folder = self._output / name
            folder.mkdir(exist_ok=True)
            write_indexed_png(folder / f"{index:06d}.png", face.labels, face.spec)
        on_sheet = "sheet" in write and index % max(1, count // _FRAMES_ON_SHEET) == 0
        if "overlays" in write or on_sheet:
            overlay = face.overlay(legend=False)
            if "overlays" in write:
                writer.write(dataclasses.replace(frame, image=overlay))
            if on_sheet:
                self._sheet.add(overlay, f"{name} {index}")

    def _parse_frames(self, reader: "VideoReader") -> Iterator[tuple["Frame", ParsedFace]]:
        waiting: collections.deque[Frame] = collections.deque()

        def faces() -> Iterator[ParsedFace]:
            frames = iter(reader)
            while batch := list(itertools.islice(frames, self._parser.batch_size)):
                waiting.extend(batch)
                yield from map(self._remapped, self._parser([frame.image for frame in batch]))

        for face in smoothed(faces(), self._options.smooth):
            yield waiting.popleft(), face

    def finish(self) -> None:
        """Writes what covers all inputs: the last contact sheet and predictions.json."""
        self._sheet.flush()
        if "json" in self._options.write:
            spec = get_spec(self._options.remap) if self._options.remap else self._parser.spec
            text = json.dumps({"classes": list(spec.class_names), **self._entries}, indent=1)
            write_text(self._output / "predictions.json", text)

    def report(self, count: int) -> None:
        """Prints how many inputs were parsed and which had no face; raises UserError if some could not be read."""
        console.print(
            f"parsed: {count - len(self._failed)} of {count}; {', '.join(self._options.write)} in {self._output}"
        )
        if self._faceless:
            console.print(f"no face found, no labels or overlay: {_listed(self._faceless, ', ')}")
        if self._failed:
            raise UserError(f"{len(self._failed)} of {count} files were skipped: {_listed(self._failed, '; ')}")


def _remove_frames(folder: pathlib.Path) -> None:
    """Removes what an earlier run wrote for a film that may have been longer."""
    for path in folder.glob("*.png"):
        if re.fullmatch(r"\d{6,}", path.stem):
            path.unlink()


def _listed(texts: Sequence[str], separator: str, most: int = 20) -> str:
    more = [f"and {len(texts) - most} more"] if len(texts) > most else []
    return separator.join([*texts[:most], *more])
