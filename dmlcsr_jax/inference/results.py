"""The files of one photo or one frame of a video: label map, overlay, masks and cut-out."""

import contextlib
import errno
import pathlib
import re
from collections.abc import Iterator, Sequence

import numpy as np

from dmlcsr_jax.datasets import FaceSpec
from dmlcsr_jax.drawing.cutouts import cut_out, encode_cutout, encode_mask
from dmlcsr_jax.drawing.images import write_image
from dmlcsr_jax.drawing.label_maps import encode_indexed_png
from dmlcsr_jax.errors import UserError
from dmlcsr_jax.files import write_bytes
from dmlcsr_jax.inference.face import ParsedFace


class ResultWriter:
    """Writes results into a folder; each file is whole or absent. Threads may share it.

    For a photo NAME:

    - labels: NAME.png, class numbers with a palette
    - overlays: NAME_overlay.jpg
    - masks: NAME_masks/PART.png for each part, 255 inside and 0 outside
    - cutout: NAME_cutout.png, the image with the alpha of all parts together

    For a frame of a video NAME/FRAME.png, NAME_masks/PART/FRAME.png and NAME_cutout/FRAME.png, without overlays.

    Args:
      output: the folder.
      forms: what to write, any of these four.
      spec: the classes.
      parts: the parts in masks and cut-outs; all but the background if empty.
    """

    def __init__(self, output: pathlib.Path, forms: Sequence[str], spec: FaceSpec, parts: Sequence[str] = ()):
        self._output, self._forms = output, forms
        self.parts = tuple(dict.fromkeys(parts)) or spec.class_names[1:]
        self._file_names = dict(zip(spec.class_names, _file_names(spec.class_names), strict=True))

    def photo_files(self, name: str) -> list[pathlib.Path]:
        """All files of a photo that has a face."""
        files = [self._output / f"{base}.png" for _, _, base in self._bases(name)]
        return [*files, self._overlay(name)] if "overlays" in self._forms else files

    def frame_folders(self, name: str) -> list[pathlib.Path]:
        """The folders of a video's frames."""
        return [self._output / base for _, _, base in self._bases(name)]

    def remove_frames(self, name: str) -> None:
        """Removes what an earlier run wrote for a video of this name, which may have been longer."""
        for folder in self.frame_folders(name):
            for path in folder.glob("*.png"):
                if re.fullmatch(r"\d{6,}", path.stem):
                    path.unlink()

    def write(self, name: str, face: ParsedFace, alpha: np.ndarray | None = None, frame: int | None = None) -> None:
        """Writes all but the overlay.

        Args:
          name: of the photo or video.
          face: its parts.
          alpha: [H, W] uint8 of the cut-out; if None, the face computes it.
          frame: the number of the frame of a video.

        Raises:
          UserError: the name is too long for a file.
          OSError: a file cannot be written.
        """
        for form, part, base in self._bases(name):
            path = self._output / (f"{base}.png" if frame is None else f"{base}/{frame:06d}.png")
            with _prepared(path):
                write_bytes(path, self._encode(form, part, face, alpha))

    def write_overlay(self, name: str, overlay: np.ndarray) -> None:
        """Writes the overlay of a photo, [H, W, 3] uint8 RGB; raises as `write`, and UserError if it is too large."""
        path = self._overlay(name)
        with _prepared(path):
            write_image(path, overlay)

    def _bases(self, name: str) -> Iterator[tuple[str, str, str]]:
        """(form, part, path in the folder without its ending) of each file."""
        if "labels" in self._forms:
            yield "labels", "", name
        if "masks" in self._forms:
            yield from (("masks", part, f"{name}_masks/{self._file_names[part]}") for part in self.parts)
        if "cutout" in self._forms:
            yield "cutout", "", f"{name}_cutout"

    def _encode(self, form: str, part: str, face: ParsedFace, alpha: np.ndarray | None) -> bytes:
        if form == "labels":
            return encode_indexed_png(face.labels, face.spec)
        if form == "masks":
            return encode_mask(face.mask(part))
        return encode_cutout(cut_out(face.image, face.alpha(*self.parts) if alpha is None else alpha))

    def _overlay(self, name: str) -> pathlib.Path:
        return self._output / f"{name}_overlay.jpg"


@contextlib.contextmanager
def _prepared(path: pathlib.Path) -> Iterator[None]:
    """Makes the folder of a file; an OSError about the length of its name becomes a UserError."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield
    except OSError as error:
        if error.errno != errno.ENAMETOOLONG:
            raise
        raise UserError(f"{path} cannot be written: its name is too long; rename the input") from error


def _file_names(parts: Sequence[str]) -> list[str]:
    """The parts' names, without what no file name can have; with their numbers if they are the same then."""
    names = [re.sub(r"[/\\:]", "_", part).lstrip(".") for part in parts]
    folded = [name.casefold() for name in names]
    return [name if name and folded.count(name.casefold()) == 1 else f"{i}_{name}" for i, name in enumerate(names)]
