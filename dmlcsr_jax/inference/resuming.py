"""What an earlier call of `predict` left, so that the next one goes on where it was stopped."""

import json
import pathlib
from collections.abc import Sequence

import numpy as np

from dmlcsr_jax.datasets import FaceSpec
from dmlcsr_jax.errors import UserError
from dmlcsr_jax.files import write_text
from dmlcsr_jax.inference.inputs import is_video
from dmlcsr_jax.inference.options import Options
from dmlcsr_jax.inference.photos import Input
from dmlcsr_jax.inference.records import read_records
from dmlcsr_jax.inference.results import ResultWriter


def write_classes(output: pathlib.Path, spec: FaceSpec, *, same: bool) -> None:
    """Writes classes.json, the names of the class numbers.

    Raises:
      UserError: `same`, and the file that is there has other classes.
    """
    path, text = output / "classes.json", json.dumps({"classes": spec.class_names})
    if same and path.exists() and path.read_text(encoding="utf-8") != text:
        raise UserError(f"{output} has results in other classes, see {path}; name another folder")
    write_text(path, text)


def unfinished(
    inputs: Sequence[tuple[str, Input]], output: pathlib.Path, options: Options, results: ResultWriter
) -> list[tuple[str, Input]]:
    """The inputs, (name, source) each, some of whose results are not in `output` yet."""
    recorded = read_records(output) if "json" in options.write else None
    overlays = "overlays" in options.write

    def is_finished(name: str, source: Input) -> bool:
        if recorded is not None and not recorded.get(name, False):
            return name in recorded  # then it is a photo without a face, which has no files
        if isinstance(source, np.ndarray) or not is_video(source):
            return all(path.exists() for path in results.photo_files(name))
        files = [*results.frame_folders(name), *([output / f"{name}_overlay.mp4"] if overlays else [])]
        return (overlays or recorded is not None) and all(path.exists() for path in files)  # what is written last

    return [(name, source) for name, source in inputs if not is_finished(name, source)]


def is_own_folder(output: pathlib.Path, inputs: Sequence[tuple[str, Input]]) -> bool:
    """Whether results would be written into a folder that inputs are in."""
    folder = output.resolve()
    parents = {source.parent for _, source in inputs if not isinstance(source, np.ndarray)}
    inside = {path.relative_to(folder) for path in map(pathlib.Path.resolve, parents) if path.is_relative_to(folder)}
    if not inside:
        return False
    names = {pathlib.Path(name) for name, _ in inputs}
    return bool(inside & (names | {name.parent for name in names}))
