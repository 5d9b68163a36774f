"""Parses many images and videos and writes the results to files."""

import collections
import contextlib
import dataclasses
import itertools
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.markup import escape
from rich.progress import Progress

from dmlcsr_jax.console import print_plain, progress_bar, repeat_warnings
from dmlcsr_jax.datasets import FaceSpec, get_spec
from dmlcsr_jax.datasets.formats import describe_endings
from dmlcsr_jax.drawing.contact_sheet import ContactSheet
from dmlcsr_jax.errors import UserError
from dmlcsr_jax.files import printable
from dmlcsr_jax.inference.face import ParsedFace
from dmlcsr_jax.inference.inputs import is_video
from dmlcsr_jax.inference.options import FORMS as FORMS
from dmlcsr_jax.inference.options import Options
from dmlcsr_jax.inference.photos import Input, Photo, Result, process_photos
from dmlcsr_jax.inference.records import RecordWriter
from dmlcsr_jax.inference.results import ResultWriter
from dmlcsr_jax.inference.resuming import is_own_folder, unfinished, write_classes
from dmlcsr_jax.inference.video.smoothing import smoothed
from dmlcsr_jax.paths import local_path

if TYPE_CHECKING:
    from dmlcsr_jax.inference.parser import FaceParser
    from dmlcsr_jax.inference.video.reading import Frame, VideoReader
    from dmlcsr_jax.inference.video.writing import VideoWriter

_FRAMES_ON_SHEET = 10  # of each video


def predict(
    parser: "FaceParser",
    inputs: Sequence[tuple[str, Input]],
    *,
    output: pathlib.Path,
    options: Options,
    left_out: Mapping[str, int] | None = None,
    host: tuple[int, int] = (0, 1),
) -> None:
    """Parses images and videos and writes the results into a folder.

    For an image NAME: NAME.png, NAME_overlay.jpg and so on (see `ResultWriter`), at the size of the image. For a video:
    NAME/000000.png and so on, and NAME_overlay.mp4 with its sound. For all inputs together: sheet_1.jpg, sheet_2.jpg,
    predictions.jsonl (a line for each photo, then one for each video: `name`, `file` and `ParsedFace.summary`; a video
    has one of each frame in `frames`, with its `time` in seconds), and classes.json with the names of the classes.
    Photos are decoded, parsed and written at the same time, a few of them at once.

    Args:
      parser: the network.
      inputs: (name, file or [H, W, 3] uint8 RGB) of each image or video; names may have slashes.
      output: the folder, which is made if it does not exist.
      options: what to write.
      left_out: ending -> how many files in the named folders are neither images nor videos.
      host: index and number of the processes that share the inputs. Of several, each writes sheets and predictions of
        its own: predictions-00001-of-00004.jsonl.

    Raises:
      UserError: the folder cannot be written, or contains the inputs; or, after all others were parsed, some inputs
        could not be read.
    """
    output = local_path(output, "--output", "name a local folder, and copy the results from there")
    spec = get_spec(options.remap) if options.remap else parser.spec
    options.check_parts(spec)
    _check(inputs, output, options)
    own = inputs[host[0] :: host[1]]
    try:
        output.mkdir(parents=True, exist_ok=True)
        if "json" in options.write and host[0] == 0:
            write_classes(output, spec, same=options.skip_existing)
        job = _Job(parser, output, options, spec, "" if host[1] == 1 else f"-{host[0] + 1:05d}-of-{host[1]:05d}")
        with progress_bar("predicting") as progress:
            job.run(own, progress)
    except OSError as error:
        raise UserError(
            f"--output={output} cannot be written ({error.strerror or error}); name another folder"
        ) from error
    job.report(len(own), left_out or {})


def _check(inputs: Sequence[tuple[str, Input]], output: pathlib.Path, options: Options) -> None:
    files = [source for _, source in inputs if not isinstance(source, np.ndarray)]
    if options.boxes and (len(inputs) != 1 or any(map(is_video, files))):
        raise UserError(
            f"--boxes are the faces of one image, but {len(inputs)} images or videos are named; name one image"
        )
    if is_own_folder(output, inputs):
        raise UserError(
            f"--output={output} is the images' own folder, where they could be overwritten; name another folder"
        )


class _Job:
    """One call of `predict`: writes results and collects what `report` prints."""

    def __init__(self, parser: "FaceParser", output: pathlib.Path, options: Options, spec: FaceSpec, suffix: str):
        self._parser, self._output, self._options, self._suffix = parser, output, options, suffix
        self._results = ResultWriter(output, options.write, spec, options.parts)
        self._sheet = ContactSheet(output, f"sheet{suffix}")
        self._records: RecordWriter | None = None
        self._failed: list[str] = []
        self._faceless: list[str] = []
        self._skipped = 0

    def run(self, inputs: Sequence[tuple[str, Input]], progress: Progress) -> None:
        """Parses the photos, many at once, and then the videos, one by one."""
        skip = self._options.skip_existing
        todo = unfinished(inputs, self._output, self._options, self._results) if skip else inputs
        self._skipped = len(inputs) - len(todo)
        task = progress.add_task("", total=len(todo), text="")
        videos = [(name, path) for name, path in todo if not isinstance(path, np.ndarray) and is_video(path)]
        names = {name for name, _ in videos}
        photos = [Photo(name, source) for name, source in todo if name not in names]
        with contextlib.ExitStack() as stack:
            if "json" in self._options.write:
                replaced = {name for name, _ in todo} if skip else None
                self._records = stack.enter_context(
                    RecordWriter(self._output / f"predictions{self._suffix}.jsonl", replaced)
                )
            for result in process_photos(photos, self._parser, self._options, self._results):
                self._add(result)
                progress.update(task, advance=1, text=_shown(result.photo.name))
            for name, path in videos:
                try:
                    (self._output / name).parent.mkdir(parents=True, exist_ok=True)
                    self._write_video(name, path, progress)
                except UserError as error:
                    self._failed.append(str(error))
                progress.update(task, advance=1, text=_shown(name))
        self._sheet.flush()

    def _add(self, result: Result) -> None:
        if result.error:
            self._failed.append(result.error)
        if not result.has_face:
            self._faceless.append(result.photo.name)
        self._record(result.entry)
        if result.overlay is not None:
            self._sheet.add(result.overlay, result.photo.name)

    def _record(self, entry: dict[str, Any] | None) -> None:
        if self._records and entry:
            self._records.add(entry)

    def _write_video(self, name: str, path: pathlib.Path, progress: Progress) -> None:
        # PyAV takes a seventh of a second to load, which photos need not wait for.
        from dmlcsr_jax.inference.video.reading import VideoReader
        from dmlcsr_jax.inference.video.writing import VideoWriter

        reader = VideoReader(path)
        task = progress.add_task("", total=reader.count or None, text=_shown(path.name))
        entries, faceless = [], 0
        overlay = self._output / f"{name}_overlay.mp4"
        with VideoWriter(overlay, time_base=reader.time_base, rate=reader.rate, sound_of=reader) as writer:
            for index, (frame, face) in enumerate(self._parse_frames(reader)):
                faceless += not face.crops
                if "json" in self._options.write:
                    entries.append({"time": round(float(frame.time), 6), **face.summary()})
                if index == 0:
                    self._results.remove_frames(name)
                self._write_frame(name, index, frame, face, reader.count, writer)
                progress.advance(task)
        progress.remove_task(task)
        if writer.lost_tracks:
            print_plain(f"{overlay.name}: {writer.lost_tracks} audio tracks of unknown kind are left out")
        entry = {"name": name, "file": str(path), "rate": float(reader.rate), "frames": entries}
        if faceless:
            self._faceless.append(f"{name} (in {faceless} frames)")
        try:
            reader.check()
        except UserError as error:
            entry["error"] = str(error)
            raise
        finally:
            self._record(entry)

    def _write_frame(
        self, name: str, index: int, frame: "Frame", face: ParsedFace, count: int, writer: "VideoWriter"
    ) -> None:
        write = self._options.write
        self._results.write(name, face, frame=index)
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

    def _remapped(self, face: ParsedFace) -> ParsedFace:
        return face.remapped(self._options.remap) if self._options.remap else face

    def report(self, count: int, left_out: Mapping[str, int]) -> None:
        """Prints what became of `count` inputs; the last line counts them.

        Raises:
          UserError: some could not be read.
        """
        repeat_warnings()
        if self._faceless:
            print_plain(f"no face found, no labels or overlay: {_listed(self._faceless, ', ')}")
        parsed = count - self._skipped - len(self._failed)
        notes = [f"parsed: {parsed} of {count}", f"{', '.join(self._options.write)} in {self._output}"]
        notes += [f"already there: {self._skipped}"] if self._skipped else []
        notes += [f"neither image nor video: {describe_endings(left_out)}"] if left_out else []
        print_plain("; ".join(notes))
        if self._failed:
            raise UserError(f"{len(self._failed)} of {count} files were skipped: {_listed(self._failed, '; ')}")


def _shown(name: str) -> str:
    """A name in the progress bar."""
    return escape(printable(name))


def _listed(texts: Sequence[str], separator: str, most: int = 20) -> str:
    more = [f"and {len(texts) - most} more"] if len(texts) > most else []
    return separator.join([*texts[:most], *more])
