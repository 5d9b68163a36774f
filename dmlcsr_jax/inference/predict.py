"""Many pictures and videos in, files out."""

import dataclasses
import json
import pathlib
from collections.abc import Iterator, Sequence

import numpy as np
from rich.progress import Progress

from dmlcsr_jax.console import console, progress_bar
from dmlcsr_jax.datasets import FaceSpec, get_spec
from dmlcsr_jax.drawing import overlay as visualize
from dmlcsr_jax.drawing.contact_sheet import ContactSheet, write_image
from dmlcsr_jax.errors import UserError
from dmlcsr_jax.files import write_text
from dmlcsr_jax.inference.face import ParsedFace
from dmlcsr_jax.inference.images import as_array
from dmlcsr_jax.inference.inputs import is_video
from dmlcsr_jax.inference.parser import FaceParser
from dmlcsr_jax.inference.video import VideoReader, VideoWriter, smoothed

FORMS = ("labels", "overlays", "sheet", "json")
_FRAMES_ON_SHEET = 10  # of each video
_PIXELS_AT_ONCE = 1 << 24  # pictures wait for a full batch only as long as they are small together

Source = pathlib.Path | np.ndarray


@dataclasses.dataclass(frozen=True)
class Options:
    """What `predict` writes.

    Attributes:
      write: any of `FORMS`.
      remap: a data set whose classes the labels are given; "" for the checkpoint's own.
      smooth: how many frames of a video vote on each pixel; odd, 1 for none.
    """

    write: Sequence[str] = ("labels", "overlays")
    remap: str = ""
    smooth: int = 1

    def __post_init__(self):
        for form in self.write or ("nothing",):
            if form not in FORMS:
                raise UserError(
                    f"--write={','.join(self.write)}: {form!r} cannot be written; choose {', '.join(FORMS)}"
                )
        if self.smooth < 1 or self.smooth % 2 == 0:
            raise UserError(f"--smooth={self.smooth}: an odd number of frames votes; give 1, 3, 5 or more")
        if self.remap:
            get_spec(self.remap)


def predict(parser: FaceParser, inputs: Sequence[tuple[str, Source]], output: pathlib.Path, options: Options) -> None:
    """Parses pictures and videos one after the other and writes what `options` say into the folder `output`.

    Of a picture NAME: NAME.png (class numbers with a palette) and NAME_overlay.jpg, at its own size. Of a video:
    NAME/000000.png and so on, and NAME_overlay.mp4 without sound. Of all together: sheet_1.jpg, sheet_2.jpg, and
    predictions.json (`ParsedFace.summary` of each picture, and of each frame of a video).

    Raises:
      UserError: at the end, naming the files that were left out because they cannot be read; or the folder
        cannot be written, or is one that the pictures are in.
    """
    if any(not isinstance(source, np.ndarray) and source.resolve().parent == output.resolve() for _, source in inputs):
        raise UserError(f"--output={output} is the pictures' own folder, where they could be overwritten; name another")
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
    """One run of `predict`: what is written, and what has to be said at its end."""

    def __init__(self, parser: FaceParser, output: pathlib.Path, options: Options):
        self._parser, self._output, self._options = parser, output, options
        self._sheet = ContactSheet(output)
        self._entries: dict[str, list] = {"pictures": [], "videos": []}
        self._failed: list[str] = []
        self._faceless: list[str] = []

    def run(self, inputs: Sequence[tuple[str, Source]], progress: Progress) -> None:
        """Pictures as many at once as the network takes and memory allows; videos one by one."""
        task = progress.add_task("", total=len(inputs), text="")
        waiting, pixels = [], 0
        for name, source in inputs:
            try:
                if not isinstance(source, np.ndarray) and is_video(source):
                    self._video(name, source, progress)
                else:
                    waiting.append((name, source, as_array(source)))
                    pixels += waiting[-1][-1].size // 3
            except UserError as error:
                self._failed.append(str(error))
            if len(waiting) == self._parser.batch_size or pixels >= _PIXELS_AT_ONCE:
                self._pictures(waiting)
                waiting, pixels = [], 0
            progress.update(task, advance=1, text=name)
        if waiting:
            self._pictures(waiting)

    def _pictures(self, batch: Sequence[tuple[str, Source, np.ndarray]]) -> None:
        faces = self._parser([image for *_, image in batch])
        for (name, source, _), face in zip(batch, faces, strict=True):
            try:
                self._picture(name, source, self._renamed(face))
            except UserError as error:
                self._failed.append(str(error))

    def _renamed(self, face: ParsedFace) -> ParsedFace:
        return face.remapped(self._options.remap) if self._options.remap else face

    def _picture(self, name: str, source: Source, face: ParsedFace) -> None:
        write = self._options.write
        if "json" in write:
            file = "" if isinstance(source, np.ndarray) else str(source)
            self._entries["pictures"].append({"name": name, "file": file, **face.summary()})
        if not face.crops:
            self._faceless.append(name)
            return
        if "labels" in write:
            visualize.save_indexed_png(self._output / f"{name}.png", face.labels, face.spec)
        if "overlays" in write or "sheet" in write:
            overlay = face.overlay()
            if "overlays" in write:
                write_image(self._output / f"{name}_overlay.jpg", overlay)
            if "sheet" in write:
                self._sheet.add(overlay, name)

    def _video(self, name: str, path: pathlib.Path, progress: Progress) -> None:
        reader, write = VideoReader(path), self._options.write
        task = progress.add_task("", total=reader.count or None, text=path.name)
        every = max(1, reader.count // _FRAMES_ON_SHEET)
        entries, faceless = [], 0
        if "labels" in write:
            (self._output / name).mkdir(exist_ok=True)
        with VideoWriter(self._output / f"{name}_overlay.mp4", reader.rate) as writer:
            for index, face in enumerate(smoothed(self._frames(reader), self._options.smooth)):
                faceless += not face.crops
                if "labels" in write:
                    visualize.save_indexed_png(self._output / name / f"{index:06d}.png", face.labels, face.spec)
                if "overlays" in write:
                    writer.write(face.overlay(legend=False))
                if "sheet" in write and index % every == 0:
                    self._sheet.add(face.overlay(legend=False), f"{name} {index}")
                if "json" in write:
                    entries.append(face.summary())
                progress.advance(task)
        progress.remove_task(task)
        self._entries["videos"].append({"name": name, "file": str(path), "rate": reader.rate, "frames": entries})
        if faceless:
            self._faceless.append(f"{name} (in {faceless} frames)")
        reader.check()

    def _frames(self, reader: VideoReader) -> Iterator[ParsedFace]:
        frames = iter(reader)
        while batch := [frame for _, frame in zip(range(self._parser.batch_size), frames, strict=False)]:
            yield from map(self._renamed, self._parser(batch))

    def finish(self) -> None:
        """Writes what is written of all inputs together."""
        self._sheet.flush()
        if "json" in self._options.write:
            spec: FaceSpec = get_spec(self._options.remap) if self._options.remap else self._parser.spec
            text = json.dumps({"classes": list(spec.class_names), **self._entries}, indent=1)
            write_text(self._output / "predictions.json", text)

    def report(self, count: int) -> None:
        """Says what was done, what had no face, and, as an error, what could not be read."""
        console.print(
            f"parsed: {count - len(self._failed)} of {count}; {', '.join(self._options.write)} in {self._output}"
        )
        if self._faceless:
            console.print(f"no face found, nothing painted: {_listed(self._faceless, ', ')}")
        if self._failed:
            raise UserError(f"{len(self._failed)} of {count} files were left out: {_listed(self._failed, '; ')}")


def _listed(texts: Sequence[str], separator: str, most: int = 20) -> str:
    more = [f"and {len(texts) - most} more"] if len(texts) > most else []
    return separator.join([*texts[:most], *more])
